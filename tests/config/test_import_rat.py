"""Recipient Access Tables as AsyncOS exports them become tables of esa.toml that mean the same."""

from __future__ import annotations

import pytest

from esa.config.importers.rat import import_rat
from esa.config.load import check
from esa.config.recipient_access import entries_of
from esa.errors import ConfigurationError
from esa.policy.recipient_access import RecipientAccess, RecipientMatch, recipient_of

EXPORTED = """\
# File exported by the appliance
postmaster@example.com ACCEPT (always) { bypass_receiving_control = yes, bypass_ldap = yes }
old@example.com REJECT { smtp_code = 551 smtp_text = "5.1.6 He has moved" }
example.com ACCEPT
.example.com\tACCEPT
[192.0.2.1] ACCEPT
ALL REJECT
"""


def matched(text: str, forward_path: str) -> RecipientMatch:
    configuration, faults = check(text)
    assert configuration is not None, faults
    return RecipientAccess(entries_of(configuration.recipient_access, (), listener="mail")).match(recipient_of(forward_path))


def test_an_exported_table_means_the_same() -> None:
    imported = import_rat(EXPORTED)
    assert imported.notes == []
    text = imported.text
    rule = matched(text, "postmaster@example.com").rule
    assert (rule.accepts, rule.bypass_recipient_check, rule.bypass_receiving_control) == (True, True, True)
    assert str(matched(text, "old@example.com").rule.reply) == "551 5.1.6 He has moved"
    rule = matched(text, "a@example.com").rule
    assert (rule.accepts, rule.bypass_recipient_check, rule.bypass_receiving_control, rule.reply) == (True, False, False, None)
    assert matched(text, "a@b.example.com").rule.accepts
    assert matched(text, "a@[192.0.2.1]").rule.accepts
    assert str(matched(text, "a@example.net").rule.reply) == "550 5.7.1 relaying denied"
    assert matched(text, "a@example.net").because == "ALL"


def test_entries_of_one_rule_that_follow_each_other_stand_in_one_table() -> None:
    assert import_rat(EXPORTED).text.count("[[recipient_access]]") == 4


def test_the_tables_may_be_for_one_listener() -> None:
    assert 'listeners = ["mail"]' in import_rat(EXPORTED, listener="mail").text


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("exa*mple ACCEPT", "names no recipients"),
        ("example.com ACCEPT { quota = 3 }", "quota = 3 left out"),
        ("example.com ACCEPT { smtp_code = 550 }", "code 550 left out"),
        ('example.com REJECT { smtp_text = "4.1.1 later" }', "the reply is left out"),
        ("example.com ACCEPT ;( what", "not understood"),
        ("ALL ACCEPT", "open relay"),
        ("ALL REJECT\nexample.com ACCEPT", "never matches"),
    ],
)
def test_what_is_not_taken_over_or_dangerous_is_a_note(line: str, note: str) -> None:
    assert note in "\n".join(import_rat(line).notes)


def test_what_is_no_such_export_is_an_error_with_its_line() -> None:
    with pytest.raises(ConfigurationError) as caught:
        import_rat("# fine\nexample.com PERHAPS\n", file="rat.txt")
    assert caught.value.where == "rat.txt, line 2"
