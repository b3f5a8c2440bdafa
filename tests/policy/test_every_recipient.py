"""Whatever mail policies, message filters and content filters there are: every recipient of every message gets exactly one disposition, and one reply
tells the truth about them all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from esa.engine.model import DEFAULT_MODEL, Model
from esa.engine.scanner import Scanner
from esa.engine.verdict import Report, Verdict
from esa.message.edits import apply
from esa.message.envelope import Envelope, Session
from esa.policy.content_filter import ContentPlan, Rules
from esa.policy.disposition import Action, Answer, Disposition, plan
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.read import read
from esa.policy.filters.scope import Scope
from esa.policy.mail_policy import MailPolicy
from esa.policy.policy_table import PolicyTable, Senders
from esa.policy.splinters import Decision, decide
from esa.policy.view import View
from tests.policy.test_splinters import ADDRESSES, members, policies

MAIL = b"From: a@x.example\r\nSubject: hello\r\n\r\nbody\r\n"
MODEL = Model.load(DEFAULT_MODEL)
CONDITIONS = [
    "true",
    "rcpt-to == '^a@'",
    "rcpt-to == '@x.example$'",
    "not rcpt-to == '^[bc]@'",
    "rcpt-to-group == 'staff'",
    "rcpt-count > 2",
    "subject == 'hello'",
    "subject == '^seen'",
    "header('X-Seen')",
    "mail-from == 'nobody'",
    "spf-passed",
]
ACTIONS = [
    "drop()", "bounce()", "refuse('gone')", "refuse('5.1.6 $EnvelopeRecipients')", "skip-filters()", "deliver()", "encrypt()", "encrypt-deferred()",
    "quarantine('Q')", "duplicate-quarantine('D')", "archive('a')", "bcc('z@z.example')", "bcc-scan('z@z.example')", "notify('z@z.example')",
    "insert-header('X-Seen', '$EnvelopeRecipients')", "edit-header-text('Subject', '^', 'seen ')", "strip-header('X-Seen')",
    "alt-rcpt-to('a@x.example')", "alt-rcpt-to('new@y.example, b@x.example')", "alt-mailhost('h.example')", "skip-spamcheck()",
]  # fmt: skip
BLOCKS = ["{{ {0}; }}", "{{ {0}; {1}; }}", "{{ {0}; }} else {{ {1}; }}", "{{ if (rcpt-to == '^b@') {{ {0}; }} else {{ {1}; }} }}"]


@st.composite
def filters(draw: st.DrawFn) -> str:
    """Some filters as they are written."""
    written = []
    for number in range(draw(st.integers(0, 4))):
        block = draw(st.sampled_from(BLOCKS)).format(draw(st.sampled_from(ACTIONS)), draw(st.sampled_from(ACTIONS)))
        written.append(f"f{number}: if ({draw(st.sampled_from(CONDITIONS))}) {block}")
    return "\n".join(written)


def decided(
    messages: str, chains: list[str], table: PolicyTable, recipients: tuple[str, ...], groups: dict[str, frozenset[str]], score: float
) -> Decision:
    scope = Scope()
    content: dict[tuple[str, ...], ContentPlan] = {
        (str(number),): ContentPlan(read(text).filters, scope) for number, text in enumerate(chains)
    }
    made = Rules(FilterPlan(read(messages).filters, scope), content, scope)
    heard = Scanner(model=MODEL, checks=[made.listener]).scan(MAIL).checks if made.listener is not None else {}
    report = Report(Verdict.at(score), score, 0.0, checks=heard)
    envelope = Envelope("a@x.example", recipients)

    def view_of(envelope: Envelope, mail_policy: str = "") -> View:
        return View(MAIL, Session(), envelope, report, mail_policy=mail_policy, groups=groups)

    return decide(report, Senders("a@x.example"), envelope, table, groups=groups, rules=made, view_of=view_of)


@st.composite
def tables(draw: st.DrawFn) -> PolicyTable:
    def policy(name: str) -> MailPolicy:
        return replace(draw(policies(name)), content_filters=draw(st.sampled_from([(), ("0",), ("1",)])))

    named = [(policy(f"p{number}"), draw(members)) for number in range(draw(st.integers(0, 3)))]
    return PolicyTable(named, policy("DEFAULT"))


@settings(max_examples=200, deadline=None)
@given(
    filters(),
    st.lists(filters(), min_size=2, max_size=2),
    tables(),
    st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=5, unique=True).map(tuple),
    st.dictionaries(st.sampled_from(ADDRESSES), st.just(frozenset({"staff"}))),
    st.sampled_from([0.0, 50.0, 99.0]),
)
def test_every_recipient_gets_exactly_one_disposition_and_the_reply_is_true(
    messages: str, chains: list[str], table: PolicyTable, recipients: tuple[str, ...], groups: dict[str, frozenset[str]], score: float
) -> None:
    found = decided(messages, chains, table, recipients, groups, score)
    of_messages = found.messages
    has_ended = of_messages is not None and of_messages.final in ("drop", "bounce", "refuse")
    redirected = () if of_messages is None or has_ended else of_messages.recipients
    assert Counter(who for one in found.dispositions for who in one.recipients) == Counter(redirected or recipients)
    assert all(one.action is Action.QUARANTINE for one in found.dispositions if one.encrypts and one.action not in _ENDED)

    planned = plan(found.dispositions, of_messages)
    refusing = [one for one in found.dispositions if one.action in (Action.REFUSE, Action.DEFER)]
    if planned.answer is Answer.ACCEPT:
        assert len(refusing) < len(found.dispositions)
        assert Counter(who for one in planned.splinters for who in one.recipients) == Counter(redirected or recipients)
        assert all(one.action in (Action.DELIVER, Action.QUARANTINE, Action.DROP) for one in planned.splinters)
        assert {who for one in planned.splinters if one.held for who in one.recipients} == {
            who for one in refusing for who in one.recipients
        }
        assert all(one.quarantines for one in planned.splinters if one.action is Action.QUARANTINE)
    else:
        assert refusing == list(found.dispositions)
        assert planned.splinters == ()
        assert (planned.answer is Answer.DEFER) == any(one.action is Action.DEFER for one in refusing)
        words = {one.text for one in refusing}
        assert planned.text == ("" if planned.answer is Answer.DEFER or len(words) > 1 else words.pop())
    for one in planned.splinters:
        assert apply(MAIL, one.edits).endswith(b"\r\n\r\nbody\r\n")
    assert decided(messages, chains, table, recipients, groups, score) == found  # the same again
    assert by_itself(found) == by_itself(decided(messages, chains, table, recipients[::-1], groups, score)) or redirected


_ENDED = (Action.DROP, Action.REFUSE, Action.DEFER)


def by_itself(found: Decision) -> dict[str, Action]:
    """The action for each recipient: it does not depend on their order."""
    of: dict[str, Action] = {}
    one: Disposition
    for one in found.dispositions:
        of |= dict.fromkeys(one.recipients, one.action)
    return of
