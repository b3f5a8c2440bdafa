"""The cost ledger: hits of every message, times of those that are timed, and the same answers."""

from __future__ import annotations

import itertools
import random
import threading

from esa.policy.filters.costs import MESSAGES, Costs, FilterCost, digest_of
from esa.policy.filters.ledger import CONDITIONS, FILTERS, Ledger, Ledgers
from esa.policy.outcome import Outcome
from tests.policy.filters.running import MAIL, WITH_ATTACHMENTS, Running
from tests.policy.filters.test_plan import CONDITIONS as WORDS

TEXT = """
    always: if (true) { no-op(); }
    never: if (subject == "Goodbye") { no-op(); }
    tried: if (not subject == "Hello" and rcpt-count > 0) { no-op(); }
    ends: if (rcpt-count > 1) { drop(); }
    behind: if (true) { if (rcpt-count == 1) { no-op(); } }
"""


class Clock:
    """Goes on by so many nanoseconds with each look."""

    def __init__(self, step: int) -> None:
        self.now, self._step = 0, step

    def __call__(self) -> int:
        self.now += self._step
        return self.now


def run(running: Running, ledger: Ledger, raw: bytes = MAIL, **facts: object) -> Outcome:
    """As the gateway does: one message, one stage."""
    is_timed = ledger.begin()
    outcome = running.plan.run(running.view(raw, **facts), tally=ledger.tally(MESSAGES, running.plan.filters))  # type: ignore[arg-type]
    if is_timed:
        ledger.lap(MESSAGES)
        ledger.finish()
    return outcome


def by_name(ledger: Ledger) -> dict[str, FilterCost]:
    return {one.name: one for one in ledger.costs().filters}


def test_hits_are_counted_for_every_message_with_the_last() -> None:
    running, ledger = Running(TEXT), Ledger(every=64)
    for number in range(8):
        recipients = ("a@example.org", "b@example.org") if number == 7 else ("a@example.org",)
        run(running, ledger, recipients=recipients, received_at=100.0 + number)
    found = by_name(ledger)
    assert ledger.costs().messages == 8
    assert {name: one.hits for name, one in found.items()} == {"always": 8, "ends": 1, "behind": 7}
    assert (found["behind"].last_hit, found["ends"].last_hit) == (106.0, 107.0)


def test_messages_are_timed_by_chance_and_by_turns_their_filters_and_their_conditions() -> None:
    running, ledger = Running(TEXT), Ledger(every=16)
    timed = []
    for _ in range(4_000):
        is_timed = ledger.begin()
        timed.append(ledger.timing)
        if is_timed:
            ledger.finish()
    places = [number for number, timing in enumerate(timed) if timing]
    assert 200 < len(places) < 300
    assert len({later - earlier for earlier, later in itertools.pairwise(places)}) > 10
    assert abs(timed.count(FILTERS) - timed.count(CONDITIONS)) <= 1
    assert not running.plan.is_empty


def test_the_processor_time_of_a_message_is_divided_among_its_filters_and_stages() -> None:
    """The fast clock goes on by 10 with each look, the processor's by 1,000: what lies between two looks is all the ledger's own."""
    running = Running(TEXT)
    ledger = Ledger(every=1, clock=Clock(10), processor=Clock(1_000))
    run(running, ledger)
    costs = ledger.costs()
    assert (costs.messages, costs.timed) == (1, 1)
    assert {one.name: one.run for one in costs.filters} == {"always": 1, "tried": 1, "ends": 1, "behind": 1}
    assert all(one.nanoseconds == 0 for one in costs.filters)
    assert costs.total == 0


def test_what_takes_long_is_told_of_the_filter_that_took_it() -> None:
    running = Running("quick: if (true) { no-op(); }\nslow: if (rcpt-count == 1) { no-op(); }")
    clock = Clock(0)
    ledger = Ledger(every=1, clock=clock, processor=clock)
    branch = running.plan.filters[1].branch
    inner = branch.evaluate

    def slow(view: object) -> bool | None:
        clock.now += 5_000
        return inner(view)  # type: ignore[arg-type]

    object.__setattr__(branch, "evaluate", slow)
    run(running, ledger)
    found = by_name(ledger)
    assert (found["quick"].nanoseconds, found["slow"].nanoseconds) == (0, 5_000)
    costs = ledger.costs()
    assert costs.stages[MESSAGES] == costs.total == 5_000
    assert costs.microseconds(costs.total) == 5.0
    assert [one.name for one in costs.dearest(1)] == ["slow"]


def test_conditions_are_told_as_they_are_written() -> None:
    running, ledger = Running(TEXT), Ledger(every=1)
    for _ in range(4):
        run(running, ledger)
    conditions = {one.condition: one.asked for one in by_name(ledger)["tried"].conditions}
    assert conditions == {"rcpt-count > 0": 2, 'subject == "Hello"': 2}


def test_a_ledger_changes_nothing_of_the_outcome() -> None:
    """Random conditions, with filters timed, conditions timed, and nothing timed."""
    draw = random.Random(5)

    def condition(depth: int) -> str:
        if depth == 0 or draw.random() < 0.3:
            return draw.choice(WORDS)
        if draw.random() < 0.25:
            return f"not ({condition(depth - 1)})"
        return f"({condition(depth - 1)}) {draw.choice(('and', 'or'))} ({condition(depth - 1)})"

    acted = 0
    for _ in range(15):
        filters = [f"f{number}: if ({condition(3)}) {{ log-entry('f{number}'); }} else {{ no-op(); }}" for number in range(10)]
        running, ledger = Running("\n".join(filters)), Ledger(every=1)
        for raw in (MAIL, WITH_ATTACHMENTS):
            expected = running.run(raw)
            assert run(running, ledger, raw) == expected
            assert run(running, ledger, raw) == expected
            acted += len(expected.trail)
        costs = ledger.costs()
        assert costs.messages == 4
        assert sum(one.hits for one in costs.filters) == 2 * sum(len(running.run(raw).trail) for raw in (MAIL, WITH_ATTACHMENTS))
    assert acted > 100


def test_pages_add_up_and_filters_with_another_text_are_others() -> None:
    first, second = Running(TEXT), Running(TEXT.replace("Goodbye", "Farewell").replace("> 1", "> 2"))
    ledgers = Ledger(), Ledger()
    for running, ledger in zip((first, second), ledgers, strict=True):
        run(running, ledger, recipients=("a@example.org",) * 3, received_at=7.0)
    total = Costs.sum(ledger.costs() for ledger in ledgers)
    assert total.messages == 2
    assert {(one.name, one.hits) for one in total.filters} == {("always", 2), ("ends", 1)}
    keys = {(MESSAGES, one.name, one.digest) for one in first.plan.filters}
    assert {(one.name, one.hits) for one in total.of(keys).filters} == {("always", 2), ("ends", 1)}
    assert digest_of(keys) != digest_of({(MESSAGES, one.name, one.digest) for one in second.plan.filters})
    assert total.hits.timed == 0


def test_messages_that_two_threads_decide_about_at_once_are_all_counted() -> None:
    running, ledgers = Running(TEXT), Ledgers()
    begun = threading.Barrier(3)

    def decide() -> None:
        begun.wait()
        for _ in range(200):
            ledger = ledgers.here()
            with ledger.guard:
                run(running, ledger)

    threads = [threading.Thread(target=decide) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait()
    while any(thread.is_alive() for thread in threads):
        ledgers.costs()  # asked for meanwhile, it loses nothing
    once = Running(TEXT)
    acting = {step.filter for step in once.plan.run(once.view(MAIL)).trail}
    costs = ledgers.costs()
    assert (ledgers.messages, costs.messages) == (400, 400)
    assert {one.name: one.hits for one in costs.filters if one.hits} == dict.fromkeys(acting, 400)
