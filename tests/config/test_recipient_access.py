"""Tables of recipient access: what may stand in them, what may not, and what they come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.config.advice import advise
from esa.config.load import check, load
from esa.config.recipient_access import entries_of
from esa.config.schema import Configuration
from esa.config.text import write_text
from esa.policy.recipient_access import RecipientAccess, recipient_of

RELAYING = '[delivery]\nroute = "mail.example.org:25"\n[[listener]]\nname = "public"\naddress = "0.0.0.0"\n'


def configured(text: str, base: Path = Path()) -> Configuration:
    configuration, faults = check(text, base=base)
    assert configuration is not None, faults
    return configuration


def access_of(configuration: Configuration, listener: str = "mail", base: Path = Path()) -> RecipientAccess:
    (given,) = [one for one in configuration.listener if one.name == listener]
    return RecipientAccess(entries_of(configuration.recipient_access, given.accept_domains, listener=listener, base=base))


def test_nothing_said_accepts_everyone_and_anything_said_ends_that() -> None:
    assert access_of(Configuration()).accepts_everyone
    assert not access_of(configured("[[recipient_access]]\n")).accepts_everyone
    assert not access_of(configured('[[listener]]\naccept_domains = ["example.org"]\n')).accepts_everyone


def test_the_domains_of_a_listener_come_behind_the_tables_and_before_their_all() -> None:
    text = (
        '[[listener]]\naccept_domains = ["example.org"]\n'
        '[[recipient_access]]\nrecipients = ["old@example.org"]\naccess = "REJECT"\ntext = "5.1.6 moved"\n'
        '[[recipient_access]]\nrecipients = ["ALL"]\naccess = "REJECT"\ncode = 450\ntext = "not here"\n'
    )
    access = access_of(configured(text))
    assert access.match(recipient_of("a@example.org")).rule.accepts
    assert str(access.match(recipient_of("old@example.org")).rule.reply) == "550 5.1.6 moved"
    assert str(access.match(recipient_of("a@example.net")).rule.reply) == "450 4.7.1 not here"


def test_a_table_is_for_the_listeners_that_it_names() -> None:
    text = (
        '[[listener]]\nname = "one"\nport = 2525\n[[listener]]\nname = "two"\nport = 2526\naccept_domains = ["example.net"]\n'
        '[[recipient_access]]\nrecipients = ["example.org"]\nlisteners = ["one"]\n'
    )
    configuration = configured(text)
    assert access_of(configuration, "one").match(recipient_of("a@example.org")).rule.accepts
    assert not access_of(configuration, "two").match(recipient_of("a@example.org")).rule.accepts


@pytest.mark.parametrize(
    ("table", "opens"),
    [
        ('recipients = ["example.org"]\n', False),
        ('recipients = ["ALL"]\n', True),
        ('recipients = ["example.org", "ALL"]\n', True),
        ('recipients = ["ALL"]\naccess = "REJECT"\n', False),
    ],
)
def test_all_that_accepts_on_a_public_listener_that_relays_is_an_open_relay(table: str, opens: bool) -> None:
    faults = check(f"{RELAYING}[[recipient_access]]\n{table}")[1]
    assert [fault.what.startswith("this would be an open relay") for fault in faults] == [True] * opens


@pytest.mark.parametrize(
    ("table", "key", "what"),
    [
        ('recipients = ["*.example.org"]', "recipients", "names no recipients"),
        ("code = 550", "code", "550 does not fit ACCEPT"),
        ('access = "REJECT"\ncode = 250', "code", "250 does not fit REJECT"),
        ('access = "REJECT"\ntext = "4.1.1 later"', "text", "a 550 reply cannot carry 4.1.1"),
        ('text = "\\u00e9"', "text", "cannot stand in a reply"),
        ('listeners = ["other"]', "listeners", "no listener is called 'other'"),
        ('recipient_files = ["none.txt"]', "recipient_files", "cannot be read"),
    ],
)
def test_what_cannot_be_served_is_a_fault_at_its_key(table: str, key: str, what: str) -> None:
    (fault,) = check(f"[[recipient_access]]\n{table}\n")[1]
    assert fault.key.startswith(key)
    assert what in fault.what


def test_entries_of_files_are_read_and_all_cannot_hide_there(tmp_path: Path) -> None:
    (tmp_path / "domains.txt").write_text("# ours\nexample.org\n.example.net\n")
    text = '[[recipient_access]]\nrecipient_files = ["domains.txt"]\n'
    (tmp_path / "esa.toml").write_text(text)
    assert access_of(load(tmp_path / "esa.toml"), base=Path("/")).match(recipient_of("a@b.example.net")).rule.accepts
    (tmp_path / "domains.txt").write_text("example.org\nALL\n")
    (fault,) = check(text, base=tmp_path)[1]
    assert "ALL cannot stand in a file" in fault.what


def test_advice_is_given_on_entries_that_never_match_and_none_on_the_shipped_state() -> None:
    assert advise(Configuration()) == []
    (found,) = advise(configured('[[recipient_access]]\nrecipients = ["example.org", "postmaster@example.org"]\n'))
    assert str(found).startswith("recipient access of mail: postmaster@example.org never matches")


def test_a_configuration_with_tables_is_written_as_it_is_read() -> None:
    text = '[[recipient_access]]\nrecipients = ["a@example.org"]\naccess = "REJECT"\ntext = "5.1.6 \\"moved\\""\n'
    configuration = configured(text)
    assert configured(write_text(configuration)) == configuration
