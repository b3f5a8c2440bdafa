"""Whatever the policies are, every recipient of every message gets exactly one disposition, and one reply tells the truth about them all."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from esa.engine.verdict import Report, Verdict
from esa.message.envelope import Envelope
from esa.policy.disposition import Action, Answer, plan
from esa.policy.mail_policy import MailPolicy, Treatment
from esa.policy.policy_table import Members, PolicyTable, Senders, parse_member
from esa.policy.splinters import decide

ENTRIES = ["a@", "b@x.example", "x.example", ".example", "ldap:staff", "ALL", "c@y.example", "@z.example"]
ADDRESSES = [f"{local}@{domain}" for local in "abc" for domain in ("x.example", "y.example", "w.z.example", "other.test")]

entries = st.lists(st.sampled_from(ENTRIES), max_size=3).map(lambda texts: tuple(map(parse_member, texts)))
members = st.builds(Members, entries, entries, entries, entries, st.booleans())
treatments = st.builds(Treatment, st.sampled_from([Action.DELIVER, Action.QUARANTINE, Action.DROP, Action.REFUSE, Action.DEFER]))
thresholds = st.tuples(st.floats(0, 100), st.floats(0, 100)).map(sorted)


@st.composite
def policies(draw: st.DrawFn, name: str) -> MailPolicy:
    suspect, positive = draw(thresholds)
    return MailPolicy(name, suspect, positive, draw(treatments), draw(treatments), draw(st.booleans()), drops_refused=draw(st.booleans()))


@st.composite
def tables(draw: st.DrawFn) -> PolicyTable:
    named = [(draw(policies(f"p{number}")), draw(members)) for number in range(draw(st.integers(0, 6)))]
    return PolicyTable(named, draw(policies("DEFAULT")))


@settings(max_examples=400, deadline=None)
@given(
    tables(),
    st.sampled_from(["", *ADDRESSES]),
    st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(ADDRESSES), st.just(frozenset({"staff"}))),
    st.floats(0, 100),
    st.booleans(),
)
def test_every_recipient_gets_exactly_one_disposition(
    table: PolicyTable, sender: str, recipients: list[str], groups: dict[str, frozenset[str]], score: float, spam_check: bool
) -> None:
    report = Report(Verdict.at(score), score, 0.0)
    envelope = Envelope(sender, tuple(recipients))
    found = decide(report, Senders(sender), envelope, table, groups=groups, spam_check=spam_check).dispositions
    assert Counter(who for one in found for who in one.recipients) == Counter(recipients)

    planned = plan(found)
    kinds = {one.action for one in found}
    if planned.answer is Answer.ACCEPT:
        assert Counter(who for one in planned.splinters for who in one.recipients) == Counter(recipients)
        assert not {one.action for one in planned.splinters} & {Action.REFUSE, Action.DEFER}
        assert kinds - {Action.REFUSE, Action.DEFER}
    else:
        assert planned.splinters == ()
        assert kinds <= {Action.REFUSE, Action.DEFER}
        assert (planned.answer is Answer.DEFER) == (Action.DEFER in kinds)
    for one in planned.splinters:
        before = next(earlier for earlier in found if set(one.recipients) & set(earlier.recipients))
        if before.action in (Action.REFUSE, Action.DEFER):
            assert one.action is (Action.DROP if before.drops_refused else Action.QUARANTINE)
            assert one.held
        else:
            assert one.action is before.action
            assert not one.held
