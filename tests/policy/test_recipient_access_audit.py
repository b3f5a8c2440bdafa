"""What is odd about recipient access is told, and nothing else is."""

from __future__ import annotations

import itertools
import random

import pytest

from esa.policy.recipient_access import RecipientRule, parse_entry
from esa.policy.recipient_access_audit import audit
from tests.policy.test_recipient_access import ACCEPT, REJECT, matches


def told(*entries: tuple[str, RecipientRule]) -> list[str]:
    return [finding.what for finding in audit([(parse_entry(text), rule) for text, rule in entries], "mail")]


def test_a_table_in_order_is_not_spoken_of() -> None:
    assert told(("postmaster@example.org", ACCEPT), ("example.org", ACCEPT), (".example.org", ACCEPT), ("ALL", REJECT)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("example.org", "postmaster@example.org"),
        ("ALL", "example.org"),
        (".org", "example.org"),
        (".org", ".example.org"),
        ("a@", "a@example.org"),
        ("example.org", "Example.ORG"),
    ],
)
def test_an_entry_behind_a_wider_one_never_matches(before: str, after: str) -> None:
    (found, *_) = audit([(parse_entry(before), REJECT), (parse_entry(after), ACCEPT), (parse_entry("y.example"), ACCEPT)], "mail")
    assert found.what == f"{after} never matches: {before} stands before it"
    assert found.advice == f"move it before {before}: the first entry decides"
    assert str(found).startswith("recipient access of mail: ")


def test_what_is_said_twice_is_to_be_taken_out() -> None:
    (found,) = audit([(parse_entry("example.org"), ACCEPT), (parse_entry("a@example.org"), ACCEPT)], "mail")
    assert found.advice == "take it out: example.org says the same"


def test_all_that_accepts_a_user_everywhere_and_a_table_for_nobody_are_told() -> None:
    assert told(("ALL", ACCEPT)) == ["ALL accepts mail for every domain"]
    assert told(("abuse@", ACCEPT)) == ["abuse@ is accepted at every domain, at those of others too"]
    assert "no recipient is accepted" in told(("ALL", REJECT))
    assert told((".example.org", ACCEPT)) == [".example.org takes the domains below example.org, and no entry names example.org itself"]


def test_a_bypass_at_a_refusal_is_told() -> None:
    rule = RecipientRule(accepts=False, reply=REJECT.reply, bypass_recipient_check=True)
    assert told(("old@example.org", rule), ("example.org", ACCEPT)) == ["old@example.org is refused, so that it bypasses nothing"]


def test_of_many_tables_exactly_the_entries_that_no_recipient_reaches_by_one_entry_are_told() -> None:
    names, domains = ["a", "b"], ["x", "b.x", "c.b.x"]
    texts = [*domains, *("." + domain for domain in domains), "a@", *(f"{n}@{d}" for n in names for d in domains), "ALL"]
    chance = random.Random(11)
    space = list(itertools.product(["a", "b", "other"], [*domains, "z.x", "z.b.x", "z.c.b.x", "elsewhere"]))
    for _ in range(200):
        chosen = [parse_entry(text) for text in chance.choices(texts, k=6)]
        found = {finding.what for finding in audit([(entry, ACCEPT) for entry in chosen], "mail") if "never matches" in finding.what}
        for number, entry in enumerate(chosen):
            reach = {place for place in space if matches(entry, *place)}
            covered = any(reach <= {place for place in space if matches(other, *place)} for other in chosen[:number])
            assert any(what.startswith(f"{entry.text} never") for what in found) or not covered
        for what in found:
            number = max(place for place, entry in enumerate(chosen) if entry.text == what.split()[0])
            reach = {place for place in space if matches(chosen[number], *place)}
            assert any(reach <= {place for place in space if matches(other, *place)} for other in chosen[:number])
