"""The tables of who may authenticate: what may stand in them and what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.config.advice import advise
from esa.config.load import check, load
from esa.config.schema import Configuration
from esa.config.text import write_text
from esa.errors import ConfigurationError
from esa.gateway.directory.build import check_sources

WHOLE = """
[[listener]]
tls = "required"
authentication = "required"
[[certificate]]
chain = "chain.pem"
key = "key.pem"
[authentication]
users = "users.txt"
max_failures = 3
[[user_ldap]]
name = "people"
servers = ["ldaps://ldap.example.org"]
bind_dn = "cn=gateway"
password_file = "secret"
base = "dc=example"
"""
HASH = "$argon2id$v=19$m=64,t=1,p=1$QyDsqj4ZqF1Mf1xMZ2Zh8Q$mXxqvzSb1sZ9bT1pzSP8tkyU7j1nqoS9z1u7t6sVbHo"


def folder_with_all(folder: Path, text: str = WHOLE) -> Path:
    (folder / "users.txt").write_text(f"anna:{HASH}\n")
    (folder / "wrong.txt").write_text("anna:secret\n")
    (folder / "secret").write_text("a secret\n")
    (folder / "chain.pem").write_text("")
    (folder / "key.pem").write_text("")
    (folder / "esa.toml").write_text(text)
    return folder / "esa.toml"


def test_users_of_a_file_and_of_a_directory_stand_together(tmp_path: Path) -> None:
    configuration = load(folder_with_all(tmp_path))
    check_sources(configuration)
    assert configuration.user_ldap[0].password_file == str(tmp_path / "secret")
    assert Configuration.from_json(configuration.to_json()) == configuration
    assert check(write_text(configuration), base=tmp_path)[0] == configuration


def test_a_directory_alone_is_users_enough(tmp_path: Path) -> None:
    assert load(folder_with_all(tmp_path, WHOLE.replace('users = "users.txt"', ""))).has_users


@pytest.mark.parametrize(
    ("before", "after", "where", "what"),
    [
        ('servers = ["ldaps://ldap.example.org"]', "servers = []", "servers", "there is nobody to ask"),
        ('password_file = "secret"', "", "bind_dn", "belong together"),
        ('"ldaps://ldap.example.org"]', '"ldap://ldap.example.org"]\ntls = "off"', "tls", "passwords of users would cross the network"),
        ('name = "people"', 'name = "people"\n[[user_ldap]]\nname = "people"', "name", "two directories of users"),
        ("max_failures = 3", "max_failures = 0", "max_failures", "nobody could authenticate"),
        ("max_failures = 3", 'failure_window = "1 s"', "failure_window", "too small"),
        ('password_file = "secret"', 'password_file = "nowhere"', "password_file", "there is no file"),
        ('base = "dc=example"', 'scope = "all"', "scope", "is no choice here"),
        ('base = "dc=example"', "filters = 1", "filters", "no setting is called"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(tmp_path: Path, before: str, after: str, where: str, what: str) -> None:
    assert before in WHOLE
    path = folder_with_all(tmp_path, WHOLE.replace(before, after))
    found, faults = check(path.read_text(), base=tmp_path)
    assert found is None
    assert any(what in fault.what and where in fault.key for fault in faults), faults
    assert all(fault.line and fault.mend for fault in faults)


def test_a_listener_that_asks_for_users_needs_some(tmp_path: Path) -> None:
    text = WHOLE[: WHOLE.index("[authentication]")]
    _, faults = check(folder_with_all(tmp_path, text).read_text(), base=tmp_path)
    assert [(fault.key, fault.what) for fault in faults] == [("authentication", "authentication is required, but there are no users")]
    assert "[[user_ldap]]" in faults[0].mend


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ('users = "users.txt"', 'users = "wrong.txt"', "line 1: this is no user"),
        ("ldaps://ldap", "http://ldap", "no LDAP server"),
        ('base = "dc=example"', 'filter = "(uid={a)"', "at '"),
        ('base = "dc=example"', 'filter = "(uid=*)"', "does not ask for anybody"),
        ('base = "dc=example"', 'authorities = "users.txt"', "cannot be read"),
    ],
)
def test_what_only_trying_tells_is_an_error_too(tmp_path: Path, before: str, after: str, what: str) -> None:
    configuration = load(folder_with_all(tmp_path, WHOLE.replace(before, after)))
    with pytest.raises(ConfigurationError, match=what):
        check_sources(configuration)


def test_users_that_no_listener_asks_for_are_odd(tmp_path: Path) -> None:
    configuration = load(folder_with_all(tmp_path, WHOLE.replace('authentication = "required"', "")))
    assert any("no listener offers AUTH" in finding.what for finding in advise(configuration))
    assert not any("no listener offers AUTH" in finding.what for finding in advise(load(folder_with_all(tmp_path))))
