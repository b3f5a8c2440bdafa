"""Which mail policy holds for whom. The table and the three examples are those of AsyncOS's user guide (chapter Mail Policies)."""

from __future__ import annotations

import random

import pytest

from esa.errors import SyntaxFault
from esa.message.reply import Reply
from esa.policy.mail_policy import MailPolicy
from esa.policy.policy_table import Members, PolicyTable, SenderField, Senders, parse_member
from esa.policy.recipient_access import RecipientAccess, RecipientRule, recipient_of

ENGINEERS = {"amy@example.com": frozenset({"engineers"})}


def members(*recipients: str, senders: tuple[str, ...] = (), without: tuple[str, ...] = (), not_from: tuple[str, ...] = ()) -> Members:
    given = (recipients, senders, without, not_from)
    return Members(*(tuple(map(parse_member, entries)) for entries in given))  # type: ignore[arg-type]


def table(**policies: Members) -> PolicyTable:
    return PolicyTable([(MailPolicy(name), who) for name, who in policies.items()])


GUIDE = table(
    special_people=members("joe@example.com", "ann@example.com"),
    from_lawyers=members(senders=("@lawfirm.com",)),
    acquired_domains=members("@newdomain.com", "@anotherexample.com"),
    engineering=members("ldap:engineers"),
    sales_team=members("jim@", "john@", "larry@"),
)


def matched(policies: PolicyTable, sender: str, *recipients: str, author: str = "", reply_to: str = "") -> dict[str, tuple[str, ...]]:
    return {match.policy.name: match.recipients for match in policies.match(Senders(sender, author, reply_to), recipients, ENGINEERS)}


def test_guide_example_1_a_sender_match_stands_before_a_recipient_match() -> None:
    assert matched(GUIDE, "bill@lawfirm.com", "jim@example.com") == {"from_lawyers": ("jim@example.com",)}


def test_guide_example_2_three_recipients_fall_into_three_splinters() -> None:
    assert matched(GUIDE, "joe@yahoo.com", "john@example.com", "jane@newdomain.com", "bill@example.com") == {
        "sales_team": ("john@example.com",),
        "acquired_domains": ("jane@newdomain.com",),
        "DEFAULT": ("bill@example.com",),
    }


def test_guide_example_3_a_sender_match_binds_the_recipients_that_are_left() -> None:
    assert matched(GUIDE, "bill@lawfirm.com", "ann@example.com", "larry@example.com") == {
        "special_people": ("ann@example.com",),
        "from_lawyers": ("larry@example.com",),
    }


def test_members_of_a_group_are_known_by_what_was_gathered() -> None:
    assert matched(GUIDE, "x@example.net", "Amy@example.com", "bill@example.com") == {
        "engineering": ("Amy@example.com",),
        "DEFAULT": ("bill@example.com",),
    }
    assert GUIDE.groups == {"engineers"}


def test_recipients_of_one_policy_stay_together_in_their_order() -> None:
    assert matched(GUIDE, "x@example.net", "JIM@a.example", "bill@example.com", "larry@b.example") == {
        "sales_team": ("JIM@a.example", "larry@b.example"),
        "DEFAULT": ("bill@example.com",),
    }


def test_a_sender_is_looked_for_in_the_reverse_path_in_from_and_in_reply_to() -> None:
    for fields in ({"author": "bill@lawfirm.com"}, {"reply_to": "Bill@LAWFIRM.com"}):
        assert matched(GUIDE, "x@example.net", "jim@example.com", **fields) == {"from_lawyers": ("jim@example.com",)}
    assert matched(GUIDE, "", "jim@example.com") == {"sales_team": ("jim@example.com",)}


def test_a_policy_may_look_for_its_sender_in_one_field_only() -> None:
    only = PolicyTable([(MailPolicy("p"), Members(senders=(parse_member("@a.example"),), sender_fields=frozenset({SenderField.ENVELOPE})))])
    assert matched(only, "x@a.example", "b@example.org") == {"p": ("b@example.org",)}
    assert matched(only, "x@b.example", "b@example.org", author="x@a.example") == {"DEFAULT": ("b@example.org",)}
    assert not only.asks_authors


def test_where_senders_and_recipients_are_named_both_have_to_fit() -> None:
    both = table(p=members("b@example.org", senders=(".a.example",)))
    assert matched(both, "x@mail.a.example", "b@example.org", "c@example.org") == {"p": ("b@example.org",), "DEFAULT": ("c@example.org",)}
    assert matched(both, "x@a.example", "b@example.org") == {"DEFAULT": ("b@example.org",)}


def test_any_of_both_takes_either() -> None:
    who = Members((parse_member("b@example.org"),), (parse_member("@a.example"),), any_of_both=True)
    either = PolicyTable([(MailPolicy("p"), who)])
    assert matched(either, "x@a.example", "c@example.org") == {"p": ("c@example.org",)}
    assert matched(either, "x@b.example", "b@example.org", "c@example.org") == {"p": ("b@example.org",), "DEFAULT": ("c@example.org",)}


def test_exceptions_are_left_to_the_policies_below() -> None:
    policies = table(
        outsiders=members(without=("@example.org",), not_from=("boss@example.com",)),
        rest=members("ALL"),
    )
    assert matched(policies, "x@example.com", "a@example.net", "b@example.org") == {
        "outsiders": ("a@example.net",),
        "rest": ("b@example.org",),
    }
    assert matched(policies, "boss@example.com", "a@example.net") == {"rest": ("a@example.net",)}


def test_a_domain_below_matches_at_any_depth_and_not_itself() -> None:
    below = table(p=members("@.example.org"))
    assert matched(below, "", "a@x.example.org", "a@x.y.example.org", "a@example.org") == {
        "p": ("a@x.example.org", "a@x.y.example.org"),
        "DEFAULT": ("a@example.org",),
    }


@pytest.mark.parametrize("text", ["", "@", "a b@example.org", "ldap:", "exa mple"])
def test_what_names_nobody_is_no_entry(text: str) -> None:
    with pytest.raises(SyntaxFault, match="name"):
        parse_member(text)


def test_the_index_agrees_with_a_look_at_each_policy_in_turn() -> None:
    """Against recipient access, whose table of one policy is told apart from all others."""
    chance = random.Random(5)
    names = ["a@", "b@", "a@x.example", "b@y.example", "x.example", "y.example", ".example", ".y.example", "ALL"]
    addresses = [
        f"{local}@{domain}" for local in ("a", "b", "c", "B", '"a"') for domain in ("x.example", "Y.example", "z.y.example", "w.test")
    ]
    for _ in range(300):
        given = [
            (
                chance.sample(names, chance.randint(0, 2)),
                chance.sample(names, chance.randint(0, 2)),
                chance.sample(names, chance.randint(0, 1)),
            )
            for _ in range(chance.randint(1, 8))
        ]
        policies = table(
            **{f"p{number}": members(*to, senders=tuple(by), without=tuple(not_to)) for number, (to, by, not_to) in enumerate(given)}
        )
        sender = chance.choice([*addresses, ""])
        recipients = chance.sample(addresses, chance.randint(1, 6))
        expected: dict[str, list[str]] = {}
        for recipient in recipients:
            fits = (
                f"p{number}"
                for number, (to, by, not_to) in enumerate(given)
                if _names(to or ["ALL"], recipient) and (not by or _names(by, sender) or "ALL" in by) and not _names(not_to, recipient)
            )
            expected.setdefault(next(fits, "DEFAULT"), []).append(recipient)
        assert matched(policies, sender, *recipients) == {name: tuple(who) for name, who in expected.items()}


def _names(entries: list[str], address: str) -> bool:
    rule = RecipientRule(reply=Reply(250, "2.1.5", "named"))
    access = RecipientAccess([(entry, rule) for entry in map(_entry, entries)])
    return bool(address) and access.match(recipient_of(address)).rule is rule


def _entry(text: str):  # type: ignore[no-untyped-def]
    from esa.policy.recipient_access import parse_entry

    return parse_entry(text)
