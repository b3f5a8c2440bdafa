"""The tables of mail policies: one stays simple, several stand in order, and what one does not say it takes from DEFAULT."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.config.advice import advise
from esa.config.content_filters import rules_of
from esa.config.load import check
from esa.config.policies import policies_of
from esa.config.schema import Configuration
from esa.config.text import write_text
from esa.message.edits import InsertHeader, TagSubject
from esa.policy.disposition import Action
from esa.policy.mail_policy import MailPolicy, Treatment
from esa.policy.policy_table import Senders


def read(text: str) -> Configuration:
    configuration, faults = check(text)
    assert configuration is not None, [str(fault) for fault in faults]
    return configuration


def fault_of(text: str) -> str:
    configuration, faults = check(text)
    assert configuration is None
    assert len(faults) == 1, [str(fault) for fault in faults]
    return str(faults[0])


def policy(text: str, recipient: str, *, outgoing: bool = False) -> MailPolicy:
    table = policies_of(read(text).mail_policy).of(is_outgoing=outgoing)
    return table.match(Senders(""), [recipient])[0].policy


def test_without_a_table_the_shipped_policy_holds_for_everybody() -> None:
    assert policy("", "a@example.org") == MailPolicy()


def test_one_table_is_the_policy_of_everybody_as_it_ever_was() -> None:
    text = '[mail_policy]\nsuspect_above = 10\npositive = "drop"\n'
    for outgoing in (False, True):
        found = policy(text, "a@example.org", outgoing=outgoing)
        assert (found.name, found.suspect_above, found.positive) == ("DEFAULT", 10.0, Treatment(Action.DROP))


def test_a_fault_of_one_table_is_told_with_its_line() -> None:
    assert fault_of('[gateway]\n[mail_policy]\nsuspect_above = 10\npositive = "refused"\n').startswith("esa.toml, line 4, ")


SEVERAL = """
[[mail_policy]]
name = "sales"
recipients = ["sales@"]
suspect = "deliver"

[[mail_policy]]
name = "out"
table = "outgoing"
recipients = ["ALL"]

[[mail_policy]]
suspect_above = 20
suspect = { action = "deliver", subject_tag = "[SPAM] ", header = "X-Spam: yes" }
positive = "quarantine"
"""


def test_what_a_policy_does_not_say_it_takes_from_default() -> None:
    tagged = Treatment(Action.DELIVER, (TagSubject("[SPAM] "), InsertHeader("X-Spam", "yes")))
    default, sales = policy(SEVERAL, "a@example.org"), policy(SEVERAL, "sales@example.org")
    assert (default.suspect_above, default.suspect, default.positive.action) == (20.0, tagged, Action.QUARANTINE)
    assert (sales.suspect_above, sales.suspect, sales.positive.action) == (20.0, Treatment(Action.DELIVER), Action.QUARANTINE)


def test_incoming_and_outgoing_mail_have_a_table_each() -> None:
    assert policy(SEVERAL, "a@example.org").name == "DEFAULT"
    assert policy(SEVERAL, "a@example.org", outgoing=True).name == "out"
    assert policy(SEVERAL, "sales@example.org", outgoing=True).name == "sales"


def test_a_configuration_is_written_and_read_back_as_it_was() -> None:
    configuration = read(SEVERAL)
    assert read(write_text(configuration)) == configuration
    assert Configuration.from_json(configuration.to_json()) == configuration


def test_anti_spam_off_holds_for_every_policy() -> None:
    table = policies_of(read(SEVERAL).mail_policy, anti_spam=False).incoming
    assert not any(policy.anti_spam for policy in table.policies)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[mail_policy]]\nname = "x"\n', "names nobody"),
        ('[[mail_policy]]\nrecipients = ["a@"]\n', "cannot name anybody"),
        ('[[mail_policy]]\nname = "x"\nrecipients = ["a b"]\n', "names nobody"),
        ("[[mail_policy]]\n[[mail_policy]]\n", "two incoming mail policies are called 'DEFAULT'"),
        ("[mail_policy]\nsuspect_above = 80\n", "is over positive_above"),
        ('[mail_policy]\nsuspect = { action = "deliver", header = "X Spam" }\n', "is no header field"),
        ('[mail_policy]\nsuspect = { action = "deliver", mailhost = "there" }\n', "is no SMTP route"),
        ('[mail_policy]\nsuspect = { action = "deliver", subject = "x" }\n', "no setting is called 'subject'"),
        (
            '[[mail_policy]]\nname = "x"\nrecipients = ["a@"]\n[[mail_policy]]\ntable = "incoming"\n[[mail_policy]]\ntable = "outgoing"\n',
            "DEFAULT differs between them",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_reason(text: str, said: str) -> None:
    assert said in fault_of(text)


def test_content_filters_are_read_in_the_language_of_message_filters(tmp_path: Path) -> None:
    text = """
[[content_filter]]
name = "f"
apply = "any"
conditions = ['subject == "a"', "body-size > 1M or rcpt-count > 3"]
actions = ['insert-header("X", "$Subject");', "drop()"]
[mail_policy]
content_filters = ["f"]
"""
    rules = rules_of(read(text), tmp_path)
    assert rules is not None
    assert rules.content(("f",)) is not None
    assert rules.messages.is_empty


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conditions = ['subject = \"a\"']\nactions = ['drop()']", "column 9"),
        ("conditions = ['subjekt == \"a\"']\nactions = ['drop()']", "subject"),
        ("actions = ['deliver(); drop()']", "no single action"),
        ("conditions = ['subject == \"a\"']", "it does nothing"),
        ("conditions = ['subject == \"(?=a)\"']\nactions = ['drop()']", "look-ahead"),
    ],
)
def test_a_content_filter_that_cannot_be_read_says_where(text: str, said: str) -> None:
    assert said in fault_of(f'[[content_filter]]\nname = "f"\n{text}\n')


def test_an_unknown_content_filter_is_told_with_those_there_are() -> None:
    told = fault_of('[[content_filter]]\nname = "leavers"\nactions = ["drop()"]\n[mail_policy]\ncontent_filters = ["leaver"]\n')
    assert "no content filter is called 'leaver'" in told
    assert "leavers" in told


def test_what_is_odd_about_policies_and_content_filters_is_told(tmp_path: Path) -> None:
    text = """
[[mail_policy]]
name = "domain"
recipients = ["example.org"]
[[mail_policy]]
name = "person"
recipients = ["a@example.org"]
[[mail_policy]]
anti_virus = false
[[content_filter]]
name = "idle"
conditions = ['dictionary-match("gone")']
actions = ["drop()"]
"""
    told = [f"{finding.table} {finding.group}: {finding.what}" for finding in advise(read(text), tmp_path)]
    assert "incoming mail policy person: never matches: domain stands before it and takes all that it names" in told
    assert "mail policy DEFAULT: anti_virus = false has no effect: there is no anti-virus engine yet" in told
    assert "content filter idle: no mail policy names it, so that it never runs" in told
    assert "content filter idle: there is no dictionary 'gone', so that its condition never holds" in told


def test_the_shipped_configuration_has_nothing_odd_about_its_policies() -> None:
    assert not [finding for finding in advise(read(write_text())) if "polic" in finding.table or "filter" in finding.table]
