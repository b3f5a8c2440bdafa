"""Recipients that are refused at RCPT: only where the message would be refused too, whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.engine.verdict import Report, Verdict
from esa.gateway.deciding import Asked, Case, Decider, Refused
from esa.message.envelope import Envelope, Session
from esa.policy.content_filter import ContentPlan, Rules
from esa.policy.disposition import Answer
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.read import read
from esa.policy.filters.scope import Scope
from esa.policy.mail_policy import MailPolicy
from esa.policy.policy_table import MailPolicies, Members, PolicyTable, parse_member
from tests.policy.test_every_recipient import MAIL, filters, tables
from tests.policy.test_splinters import ADDRESSES

SESSION = Session(client_address="192.0.2.1", listener="mail")


def decider(messages: str, *chains: str, table: PolicyTable | None = None) -> Decider:
    scope = Scope()
    content: dict[tuple[str, ...], ContentPlan] = {}
    for number, text in enumerate(chains):
        content[(str(number),)] = ContentPlan(read(text).filters, scope)
    table = table or PolicyTable((), MailPolicy(content_filters=("0",)))
    return Decider(MailPolicies(table, table), Rules(FilterPlan(read(messages).filters, scope), content, scope))


def asked(made: Decider, recipient: str, sender: str = "a@x.example") -> Refused | None:
    return made.refuse_recipient(Asked(SESSION, Envelope(sender, (recipient,)), None, False))


def test_a_filter_that_asks_the_envelope_alone_refuses_at_rcpt() -> None:
    made = decider("", "left: if (rcpt-to == '^bob@' and not mail-from == '@ours$') { refuse('5.1.6 $EnvelopeRecipients has left'); }")
    assert made.refuses_recipients
    assert asked(made, "bob@x.example") == Refused("5.1.6 bob@x.example has left", "content filter left", {})
    assert asked(made, "ann@x.example") is None
    assert asked(made, "bob@x.example", "boss@ours") is None


@pytest.mark.parametrize(
    "chain",
    [
        "f: if (rcpt-to == '^bob@' and subject == 'x') { refuse(); }",
        "f: if (rcpt-to == '^bob@') { refuse('no: $Subject'); }",
        "f: if (rcpt-to == '^bob@') { refuse('no: $Header[\\'X\\']'); }",
        "f: if (rcpt-to == '^bob@') { bcc('c@x.example'); refuse(); }",
        "f: if (rcpt-to == '^bob@') { drop(); }",
        "f: if (rcpt-count == 1) { refuse(); }",
        "a: if (subject == 'x') { skip-filters(); } f: if (rcpt-to == '^bob@') { refuse(); }",
        "a: if (subject == 'x') { archive('all'); } f: if (rcpt-to == '^bob@') { refuse(); }",
        "a: if (rcpt-to == '^bob@') { notify('c@x.example'); } f: if (rcpt-to == '^bob@') { refuse(); }",
        "f: if (rcpt-to-group == 'staff') { refuse(); }",
        "f: if (rcpt-to == '^bob@' and spf-passed) { refuse(); }",
    ],
)
def test_what_needs_the_message_or_does_more_waits_for_it(chain: str) -> None:
    assert asked(decider("", chain), "bob@x.example") is None


@pytest.mark.parametrize(
    ("messages", "is_early"),
    [
        ("m: if (subject == 'x') { insert-header('X', '1'); quarantine('Q'); skip-filters(); }", True),
        ("m: if (subject == 'x') { drop(); }", False),
        ("m: if (subject == 'x') { alt-rcpt-to('c@x.example'); }", False),
        ("m: if (true) { bcc('audit@x.example'); }", False),
        ("m! if (true) { drop(); }", True),
    ],
)
def test_message_filters_that_come_first_may_keep_it_from_being_so(messages: str, is_early: bool) -> None:
    chain = "a: if (subject == 'x') { strip-header('Y'); } f: if (rcpt-to == '^bob@') { bounce(); }"
    assert (asked(decider(messages, chain), "bob@x.example") is not None) == is_early


def test_where_a_policy_depends_on_the_message_or_a_directory_it_waits() -> None:
    chain = "f: if (true) { refuse(); }"
    strict = MailPolicy("strict", content_filters=("0",))
    for members in (Members(senders=(parse_member("@x.example"),)), Members((parse_member("ldap:staff"),))):
        made = decider("", chain, table=PolicyTable([(strict, members)]))
        assert asked(made, "bob@x.example") is None
    assert asked(decider("", chain, table=PolicyTable([(strict, Members((parse_member("bob@"),)))])), "bob@x.example") is not None


@settings(max_examples=300, deadline=None)
@given(filters(), st.lists(filters(), min_size=2, max_size=2), tables(), st.sampled_from(ADDRESSES))
def test_who_is_refused_at_rcpt_would_have_been_refused_with_the_message(
    messages: str, chains: list[str], table: PolicyTable, recipient: str
) -> None:
    made = decider(messages, *chains, table=table)
    refused = asked(made, recipient)
    if refused is not None:
        report = Report(Verdict.CLEAN, 0.0, 0.0)
        envelope = Envelope("a@x.example", (recipient,))
        case = Case("1", MAIL, MAIL.lower(), report, SESSION, envelope, spam_check=False)
        plan = made.decide(case).plan
        assert (plan.answer, plan.text) == (Answer.REFUSE, refused.text)
        assert plan.messages is None or not (plan.messages.blind_copies or plan.messages.notices or plan.messages.archives)
