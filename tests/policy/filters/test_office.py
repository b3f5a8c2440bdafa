"""A whole set of filters, in which every word of the language stands at least twice, is read, compiled, written and run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from esa.policy.filters import tree
from esa.policy.filters.read import read
from esa.policy.filters.scope import Scope, Severity
from esa.policy.filters.words import actions, conditions
from esa.policy.filters.write import write
from esa.policy.outcome import Outcome
from tests.policy.filters.office import CASES, DICTIONARIES, FILTERS, RESOURCES, TEXT, WAITING, Case
from tests.policy.filters.running import Running


@pytest.fixture(scope="module")
def office() -> Running:
    scope = Scope(
        dictionaries=frozenset(one.name for one in DICTIONARIES),
        listeners=frozenset({"InboundMail", "OutboundMail"}),
        interfaces=frozenset({"Data 1", "Data 2"}),
        texts=RESOURCES,
    )
    return Running(TEXT, *DICTIONARIES, scope=scope)


def run(office: Running, case: Case) -> Outcome:
    return office.run(case.raw, **case.facts)


def words_of(one: tree.Filter) -> tuple[list[str], list[str]]:
    tests = [test.word for statement in tree.statements_of(one.statement) for test in tree.tests_of(statement.condition)]
    return tests, [call.word for call in tree.calls_of(one.statement)]


def test_every_condition_and_every_action_stands_there_twice() -> None:
    tests = Counter(word for one in FILTERS for word in words_of(one)[0])
    calls = Counter(word for one in FILTERS for word in words_of(one)[1])
    assert [word for word in conditions() if tests[word] < 2] == []
    assert [word for word in actions() if calls[word] < 2] == []
    assert len(FILTERS) >= 60


def test_all_active_filters_compile(office: Running) -> None:
    assert [str(problem) for problem in office.plan.problems if problem.severity is not Severity.UNSCANNED] == []
    assert len(office.plan.filters) == sum(one.is_active for one in FILTERS)


def test_the_filters_that_wait_are_told_and_no_others(office: Running) -> None:
    told = {problem.filter for problem in office.plan.problems}
    assert told == WAITING | {"urls_replaced"}


def test_what_needs_another_product_is_refused_with_a_reason() -> None:
    refused = Running("\n".join(TEXT[one.span[0] : one.span[2]].replace("!", ":", 1) for one in FILTERS if not one.is_active))
    assert {problem.filter for problem in refused.plan.problems} == {"pictures", "proxies"}
    assert all("another" in problem.what for problem in refused.plan.problems)


def test_the_file_is_written_as_it_reads() -> None:
    assert read(write(read(TEXT))) == read(TEXT)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fires)
def test_each_filter_fires_for_its_message(office: Running, case: Case) -> None:
    fired = {step.filter for step in run(office, case).trail}
    assert case.fires in fired
    assert not fired & WAITING


def test_every_filter_that_can_fire_has_a_message() -> None:
    assert {case.fires for case in CASES} == {one.name for one in FILTERS if one.is_active} - WAITING - {"urls_replaced"}


def test_the_same_message_has_the_same_outcome_again(office: Running) -> None:
    for case in CASES[:20]:
        assert run(office, case) == run(office, case)


def test_the_documentation_has_every_word() -> None:
    text = (Path(__file__).parents[3] / "docs" / "filters.md").read_text("utf-8")
    assert [word for word in (*conditions(), *actions()) if f"| `{word}" not in text] == []
