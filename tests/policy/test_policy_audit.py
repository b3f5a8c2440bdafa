"""Mail policies that never match: every claim holds for all mail, and the plain cases are found."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.policy.mail_policy import MailPolicy
from esa.policy.policy_audit import audit
from esa.policy.policy_table import Members, PolicyTable, SenderField, Senders, parse_member

ENTRIES = ["a@", "a@x.example", "b@y.x.example", "x.example", ".example", ".x.example", "ldap:staff", "ALL"]
ADDRESSES = [f"{local}@{domain}" for local in "abc" for domain in ("x.example", "y.x.example", "other.test")]


def members(recipients: tuple[str, ...] = (), senders: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> Members:
    return Members(tuple(map(parse_member, recipients)), tuple(map(parse_member, senders)), tuple(map(parse_member, without)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (members(("x.example",)), members(("a@x.example", "b@x.example"))),
        (members((".example",)), members((".x.example",))),
        (members(("a@",)), members(("a@x.example",))),
        (members(("ldap:staff",)), members(("ldap:staff",), ("x.example",))),
        (members((), ("x.example",)), members(("b@y.x.example",), ("a@x.example",))),
        (members(("ALL",)), members((), ("a@x.example",))),
    ],
)
def test_a_policy_behind_one_that_takes_all_it_names_is_told(first: Members, second: Members) -> None:
    [finding] = audit([("first", first), ("second", second)], "incoming")
    assert finding.group == "second"
    assert "first stands before it" in finding.what
    assert audit([("second", second), ("first", first)], "incoming") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (members(("x.example",), (), ("a@x.example",)), members(("a@x.example",))),
        (members(("x.example",), ("y.example",)), members(("a@x.example",))),
        (members((".x.example",)), members(("x.example",))),
        (members(("a@x.example",)), members(("x.example",))),
    ],
)
def test_one_that_is_left_something_is_not_told(first: Members, second: Members) -> None:
    assert audit([("first", first), ("second", second)], "incoming") == []


entries = st.lists(st.sampled_from(ENTRIES), max_size=2).map(lambda texts: tuple(map(parse_member, texts)))
fields = st.sets(st.sampled_from(list(SenderField)), min_size=1).map(frozenset)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.builds(Members, entries, entries, entries, entries, st.booleans(), fields), min_size=2, max_size=4))
def test_what_is_told_never_to_match_never_matches(given_members: list[Members]) -> None:
    placed = [(f"p{number}", one) for number, one in enumerate(given_members)]
    dead = {finding.group for finding in audit(placed, "incoming")}
    if not dead:
        return
    table = PolicyTable([(MailPolicy(name), one) for name, one in placed])
    for sender in ["", *ADDRESSES]:
        for author in ("", "a@x.example", "c@other.test"):
            for groups in ({}, {address: frozenset({"staff"}) for address in ADDRESSES}):
                found = {match.policy.name for match in table.match(Senders(sender, author), ADDRESSES, groups)}
                assert not found & dead
