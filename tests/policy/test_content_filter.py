"""Content filters: the language of message filters, for each recipient by itself."""

from __future__ import annotations

import pytest

from esa.engine.scanner import Scanner
from esa.engine.verdict import Report, Verdict
from esa.message.edits import InsertHeader, TagSubject
from esa.message.envelope import Envelope, Session
from esa.policy.content_filter import ContentPlan, Rules, content_filter
from esa.policy.disposition import Action, Answer, Disposition, plan
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.read import read
from esa.policy.filters.scope import Scope
from esa.policy.filters.tree import Call
from esa.policy.mail_policy import MailPolicy, Treatment
from esa.policy.policy_table import Members, PolicyTable, Senders, parse_member
from esa.policy.splinters import Decision, decide
from esa.policy.view import View

MAIL = b"From: a@example.net\r\nSubject: hello\r\n\r\nbody\r\n"
THREE = ("a@example.org", "b@example.org", "c@example.org")


def rules(messages: str = "", **chains: str) -> Rules:
    """`chains`: content filters by the name of their chain, as filters are written."""
    scope = Scope()
    content: dict[tuple[str, ...], ContentPlan] = {(name,): ContentPlan(read(text).filters, scope) for name, text in chains.items()}
    made = Rules(FilterPlan(read(messages).filters, scope), content, scope)
    assert not made.messages.problems
    assert not any(plan.problems for plan in content.values())
    return made


def decided(made: Rules, *policies: tuple[MailPolicy, Members], default: MailPolicy | None = None, score: float = 0.0) -> Decision:
    heard = Scanner(checks=[made.listener]).scan(MAIL).checks if made.listener is not None else {}
    report = Report(Verdict.at(score), score, 0.0, checks=heard)
    envelope = Envelope("a@example.net", THREE)

    def view_of(envelope: Envelope, mail_policy: str = "") -> View:
        return View(MAIL, Session(), envelope, report, mail_policy=mail_policy, groups={})

    table = PolicyTable(policies, default or MailPolicy(content_filters=("all",)))
    return decide(report, Senders("a@example.net"), envelope, table, rules=made, view_of=view_of)


def by_recipient(found: Decision) -> dict[str, Disposition]:
    return {who[0]: one for one in found.dispositions for who in one.recipients}


def test_a_condition_about_recipients_tells_them_apart() -> None:
    found = decided(rules(all="gone: if (rcpt-to == '^b@') { refuse('5.1.6 $EnvelopeRecipients is gone'); }"))
    assert [(one.action, one.recipients) for one in found.dispositions] == [
        (Action.DELIVER, ("a@example.org", "c@example.org")),
        (Action.REFUSE, ("b@example.org",)),
    ]
    assert found.dispositions[1].text == "5.1.6 b@example.org is gone"
    assert found.dispositions[1].reason == "content filter gone"


def test_recipients_for_whom_the_same_comes_out_stay_together() -> None:
    found = decided(rules(all="x: if (rcpt-to == '^[ab]@') { insert-header('X-To', 'staff'); }"))
    assert [(one.recipients, one.edits) for one in found.dispositions] == [
        (("a@example.org", "b@example.org"), (InsertHeader("X-To", "staff"),)),
        (("c@example.org",), ()),
    ]


def test_the_same_as_a_message_filter_hits_everybody() -> None:
    found = decided(rules("gone: if (rcpt-to == '^b@') { bounce(); }"))
    assert [(one.action, one.recipients) for one in found.dispositions] == [(Action.REFUSE, THREE)]
    assert plan(found.dispositions, found.messages).answer is Answer.REFUSE


def test_filters_run_in_their_order_and_a_final_action_ends_them() -> None:
    text = "one: if (true) { insert-header('X', '1'); } two: if (true) { skip-filters(); } three: if (true) { drop(); }"
    [one] = decided(rules(all=text)).dispositions
    assert (one.action, one.edits) == (Action.DELIVER, (InsertHeader("X", "1"),))


def test_a_filter_sees_what_message_filters_and_the_mail_policy_have_edited() -> None:
    made = rules("first: if (true) { insert-header('X-First', 'yes'); }", all="s: if (subject == '^TAG' and header('X-First')) { drop(); }")
    tagging = MailPolicy(suspect=Treatment(Action.DELIVER, (TagSubject("TAG"),)), content_filters=("all",))
    assert decided(made, default=tagging, score=50.0).dispositions[0].action is Action.DROP
    assert decided(made, default=tagging, score=0.0).dispositions[0].action is Action.DELIVER


def test_edits_of_all_stages_hold_in_their_order() -> None:
    made = rules("m: if (true) { insert-header('X', 'm'); }", all="c: if (true) { insert-header('X', 'c'); }")
    policy = MailPolicy(suspect=Treatment(Action.DELIVER, (InsertHeader("X", "p"),)), content_filters=("all",))
    [one] = decided(made, default=policy, score=50.0).dispositions
    assert one.edits == (InsertHeader("X", "m"), InsertHeader("X", "p"), InsertHeader("X", "c"))


def test_a_quarantine_is_a_mark_and_what_is_dropped_later_is_not_held() -> None:
    held = decided(rules("q: if (true) { quarantine('Policy'); }", all="c: if (true) { quarantine('Legal'); }")).dispositions[0]
    assert (held.action, held.quarantines, held.reason) == (Action.QUARANTINE, ("Policy", "Legal"), "message filter q")
    dropped = decided(rules("q: if (true) { quarantine('Policy'); }", all="c: if (true) { drop(); }")).dispositions[0]
    assert (dropped.action, dropped.quarantines) == (Action.DROP, ())


def test_what_the_mail_policy_refuses_does_not_come_to_content_filters() -> None:
    made = rules(all="c: if (true) { quarantine('Legal'); }")
    assert decided(made, score=99.0).dispositions[0].action is Action.REFUSE


def test_a_message_filter_may_let_mail_pass_by_the_score() -> None:
    made = rules("w: if (mail-from == '@example.net$') { skip-spamcheck(); }")
    assert decided(made, score=99.0).dispositions[0].reason == "spam:unchecked"


@pytest.mark.parametrize("word", ["encrypt()", "encrypt-deferred()"])
def test_what_must_be_encrypted_is_held_and_never_sent(word: str) -> None:
    [one] = decided(rules(all=f"e: if (true) {{ {word}; }}")).dispositions
    assert (one.action, one.encrypts, one.quarantines) == (Action.QUARANTINE, True, ("Encryption",))


@pytest.mark.parametrize(
    ("given", "route"),
    [("mail.example.com", "mail.example.com:25"), ("192.0.2.1:2525", "192.0.2.1:2525"), ("[2001:db8::1]", "[2001:db8::1]:25")],
)
def test_recipients_and_next_hop_of_a_filter_hold(given: str, route: str) -> None:
    [one] = decided(rules(all=f"r: if (true) {{ alt-rcpt-to('x@example.com'); alt-mailhost('{given}'); }}")).dispositions
    assert (one.destinations, one.mailhost, one.recipients) == (("x@example.com",), route, THREE)


def test_each_policy_has_its_own_chain() -> None:
    made = rules(all="x: if (true) { insert-header('X', 'all'); }", strict="y: if (true) { drop(); }")
    strict = MailPolicy("strict", content_filters=("strict",))
    found = by_recipient(decided(made, (strict, Members((parse_member("a@"),)))))
    assert [found[name].action for name in "abc"] == [Action.DROP, Action.DELIVER, Action.DELIVER]


@pytest.mark.parametrize(("needs_all", "fires"), [(True, False), (False, True)])
def test_conditions_are_joined_by_all_or_any(needs_all: bool, fires: bool) -> None:
    conditions = [
        read(f"x: if ({text}) {{ no-op(); }}").filters[0].statement.condition for text in ("subject == 'hello'", "subject == 'bye'")
    ]
    scope = Scope()
    chain = ContentPlan([content_filter("f", conditions, [Call("drop")], needs_all=needs_all)], scope)
    [one] = decided(Rules(FilterPlan((), scope), {("all",): chain}, scope)).dispositions
    assert (one.action is Action.DROP) == fires


def test_a_filter_without_conditions_is_for_every_message() -> None:
    scope = Scope()
    chain = ContentPlan([content_filter("f", [], [Call("drop")], needs_all=True)], scope)
    assert decided(Rules(FilterPlan((), scope), {("all",): chain}, scope)).dispositions[0].action is Action.DROP
