"""Tables of sources of recipients: what may stand in them and what may not."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from esa.config.load import check, load
from esa.config.schema import Configuration
from esa.config.text import write_text
from esa.errors import ConfigurationError
from esa.gateway.directory.build import check_sources, directory_of, make_sources

WHOLE = """
[[recipient_file]]
name = "staff"
file = "staff.txt"
[[recipient_sql]]
name = "customers"
database = "c.sqlite"
listeners = ["mail"]
[[recipient_ldap]]
name = "people"
servers = ["ldaps://ldap.example.org"]
bind_dn = "cn=gateway"
password_file = "secret"
base = "dc=example"
[[recipient_call_ahead]]
name = "ahead"
next_hop = "[2001:db8::25]:25"
"""


def folder_with_all(folder: Path, text: str = WHOLE) -> Path:
    (folder / "staff.txt").write_text("anna@example.org\n")
    (folder / "secret").write_text("a secret\n")
    with sqlite3.connect(folder / "c.sqlite") as database:
        database.execute("CREATE TABLE IF NOT EXISTS recipients (address TEXT)")
    database.close()
    (folder / "esa.toml").write_text(text)
    return folder / "esa.toml"


def test_all_kinds_together_are_made_in_the_order_that_they_are_asked_in(tmp_path: Path) -> None:
    configuration = load(folder_with_all(tmp_path))
    sources = make_sources(configuration)
    assert [placed.source.scope.name for placed in sources] == ["staff", "customers", "people", "ahead"]
    assert directory_of(sources, "mail") is not None
    assert directory_of(sources[1:2], "other") is None
    assert configuration.recipient_file[0].file == str(tmp_path / "staff.txt")
    assert Configuration.from_json(configuration.to_json()) == configuration
    assert check(write_text(configuration), base=tmp_path)[0] == configuration


@pytest.mark.parametrize(
    ("table", "key", "what"),
    [
        ('[[recipient_file]]\nfile = "none.txt"', "file", "there is no file"),
        ("[[recipient_file]]\n[[recipient_sql]]\n", "name", "two sources of recipients are called 'recipients'"),
        ('[[recipient_ldap]]\nbind_dn = "cn=x"', "bind_dn", "a name and a password belong together"),
        ('[[recipient_ldap]]\nbind_dn = "cn=x"\npassword_file = "secret"\ntls = "off"', "tls", "in the clear"),
        ("[[recipient_ldap]]\nservers = []", "servers", "there is nobody to ask"),
        ("[[recipient_call_ahead]]", "next_hop", "there is nobody to ask"),
        ('[[recipient_call_ahead]]\nnext_hop = "mail"', "next_hop", "no SMTP route"),
        ('[[recipient_call_ahead]]\nnext_hop = "m:25"\noutage = "drop"', "outage", "no choice"),
        ('[[recipient_call_ahead]]\nnext_hop = "m:25"\nlisteners = ["x"]', "listeners", "no listener is called 'x'"),
        ('[[recipient_call_ahead]]\nnext_hop = "m:25"\ntext = "4.1.1 x"', "text", "a 550 reply cannot carry 4.1.1"),
    ],
)
def test_what_cannot_be_served_is_a_fault_at_its_key(tmp_path: Path, table: str, key: str, what: str) -> None:
    folder_with_all(tmp_path)
    faults = check(table, base=tmp_path)[1]
    assert any(fault.key.startswith(key) and what in fault.what for fault in faults), faults


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("ldaps://ldap", "http://ldap", "no LDAP server"),
        ('base = "dc=example"', 'filter = "(mail={a)"', "at '"),
        ('base = "dc=example"', 'filter = "(mail=*)"', "does not ask for anybody"),
        ('base = "dc=example"', 'authorities = "staff.txt"', "cannot be read"),
        ('database = "c.sqlite"', 'database = "staff.txt"', "cannot be asked"),
        ('database = "c.sqlite"', 'database = "c.sqlite"\nquery = "SELECT 1 FROM nobody"', "no such table: nobody"),
        ('file = "staff.txt"', 'file = "esa.toml"', "names"),
    ],
)
def test_what_only_trying_tells_is_an_error_too(tmp_path: Path, before: str, after: str, what: str) -> None:
    configuration = load(folder_with_all(tmp_path, WHOLE.replace(before, after)))
    with pytest.raises(ConfigurationError, match=what):
        check_sources(configuration)


def test_an_empty_password_is_never_used(tmp_path: Path) -> None:
    configuration = load(folder_with_all(tmp_path))
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(ConfigurationError, match="proves nothing"):
        check_sources(configuration)
