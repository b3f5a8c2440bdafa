"""The file of the keys that tag return paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.policy.bounce_verification import DAY, KEYS, Finding, check, tagged
from esa.store import bounce_keys
from esa.store.bounce_keys import Keys, add_key, purge_keys, read_keys
from tests.store.messages import mode

NOW = 1_800_000_000.0


def test_there_are_no_keys_before_one_is_made(tmp_path: Path) -> None:
    assert read_keys(tmp_path / "keys") == ()


def test_a_new_key_is_for_its_owner_only_and_makes_the_tags(tmp_path: Path) -> None:
    path = tmp_path / "state" / "keys"
    made = add_key(path, NOW)
    assert mode(path) == 0o600
    assert read_keys(path) == (made,)
    assert len(made.secret) == 32
    address = tagged("joe@example.com", read_keys(path), NOW)
    assert check(address, read_keys(path), NOW).finding is Finding.VALID


def test_the_key_before_is_accepted_for_a_week_more(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    add_key(path, NOW)
    address = tagged("joe@example.com", read_keys(path), NOW + DAY)
    add_key(path, NOW + DAY)
    keys = read_keys(path)
    assert [key.number for key in keys] == [1, 0]
    assert check(address, keys, NOW + 8 * DAY).finding is Finding.VALID
    assert check(address, keys, NOW + 9.1 * DAY).finding is Finding.FORGED


def test_numbers_go_round_and_the_eleventh_key_within_a_week_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    assert [add_key(path, NOW + step).number for step in range(KEYS)] == list(range(KEYS))
    with pytest.raises(StoreError) as fault:
        add_key(path, NOW + 11)
    assert "purge" in (fault.value.mend or "")
    assert add_key(path, NOW + 9 * DAY).number == 0
    assert [key.number for key in read_keys(path)] == [0, 9]


def test_purging_takes_old_keys_away_and_never_the_one_that_makes_tags(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    for step in range(3):
        add_key(path, NOW + step * DAY)
    assert [key.number for key in purge_keys(path, NOW + 3 * DAY, unused_for=1.5 * DAY)] == [0]
    assert [key.number for key in purge_keys(path, NOW + 3 * DAY, unused_for=0)] == [1]
    assert purge_keys(path, NOW + 3 * DAY, unused_for=0) == []
    assert [key.number for key in read_keys(path)] == [2]


def test_keys_that_others_can_read_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    add_key(path, NOW)
    path.chmod(0o640)
    with pytest.raises(StoreError) as fault:
        read_keys(path)
    assert "chmod 600" in (fault.value.mend or "")


@pytest.mark.parametrize(
    "octets", [b"", b"{}", b'{"keys": [{"number": 12}]}', b'{"keys": [{"number": 1, "secret": "%", "made_at": 1, "retired_at": null}]}']
)
def test_a_damaged_file_is_told(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "keys"
    path.write_bytes(octets)
    path.chmod(0o600)
    with pytest.raises(StoreError) as fault:
        read_keys(path)
    assert fault.value.is_damaged


def test_a_running_process_sees_a_new_key_and_keeps_the_old_ones_if_the_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounce_keys, "LOOK_AGAIN", 0.0)
    path = tmp_path / "keys"
    told: list[StoreError] = []
    keys = Keys(path, told.append)
    assert keys.current() == ()
    first = add_key(path, NOW)
    assert keys.current() == (first,)
    add_key(path, NOW + 1)
    both = keys.current()
    assert len(both) == 2
    path.write_bytes(b"damage")
    assert keys.current() == both and keys.current() == both
    assert len(told) == 1
