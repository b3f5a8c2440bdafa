"""`esa bounce-verification`: keys of tags, in processes of their own."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from esa.policy.bounce_verification import tagged
from esa.store.bounce_keys import read_keys
from tests.cli.command import esa


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "esa.toml").write_text(f'[gateway]\nstate = "{tmp_path / "state"}"\n')
    return tmp_path / "esa.toml"


def keys_file(config: Path) -> Path:
    return config.parent / "state" / "bounce-verification.keys"


def test_a_new_key_is_secret_and_says_what_to_write_next(config: Path) -> None:
    done = esa("bounce-verification", "new", "--config", config)
    assert (done.code, done.out) == (0, "")
    assert "[[destination]]" in done.err and "bounce_verification = true" in done.err
    assert stat.S_IMODE(keys_file(config).stat().st_mode) == 0o600
    config.write_text(config.read_text() + '[[destination]]\ndomains = ["ALL"]\nbounce_verification = true\n')
    assert "[bounce_verification]" in esa("bounce-verification", "new", "--config", config).err


def test_keys_are_listed_without_their_secrets(config: Path) -> None:
    assert esa("bounce-verification", "list", "--config", config).code == 1
    for _ in range(2):
        esa("bounce-verification", "new", "--config", config)
    done = esa("bounce-verification", "list", "--config", config, "--json")
    assert [(one["number"], one["is_accepted"], one["accepted_until"] is None) for one in done.lines] == [(1, True, True), (0, True, False)]
    table = esa("bounce-verification", "list", "--config", config).out
    assert "makes the tags" in table and "is accepted" in table
    secret = read_keys(keys_file(config))[0].secret
    assert secret.hex() not in table + done.out


def test_purging_takes_away_what_is_asked_for_and_asks_before_bounces_are_lost(config: Path) -> None:
    for _ in range(3):
        esa("bounce-verification", "new", "--config", config)
    assert "purged 0 keys" in esa("bounce-verification", "purge", "--config", config).err
    assert esa("bounce-verification", "purge", "--all", "--config", config).code != 0
    assert len(read_keys(keys_file(config))) == 3
    done = esa("bounce-verification", "purge", "--all", "--yes", "--config", config, "--json")
    assert done.lines == [{"purged": [1, 0]}]
    assert [key.number for key in read_keys(keys_file(config))] == [2]


def test_an_address_is_looked_at_as_the_listener_does(config: Path) -> None:
    esa("bounce-verification", "new", "--config", config)
    address = tagged("joe@example.com", read_keys(keys_file(config)), time.time())
    good = esa("bounce-verification", "check", address, "--config", config, "--json")
    assert (good.code, good.lines) == (0, [{"address": "joe@example.com", "finding": "valid", "is_good": True}])
    bare = esa("bounce-verification", "check", "joe@example.com", "--config", config)
    assert (bare.code, bare.out) == (1, "joe@example.com: untagged\n")


def test_keys_that_others_can_read_are_told_and_not_used(config: Path) -> None:
    esa("bounce-verification", "new", "--config", config)
    keys_file(config).chmod(0o644)
    done = esa("bounce-verification", "list", "--config", config)
    assert done.code == 3 and "others can read" in done.err
