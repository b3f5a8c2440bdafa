"""Going back to an older esa is refused before anything is touched."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.record import VERSION
from esa.store.versions import check_versions
from tests.cli.states import make_state
from tests.store.messages import segments_of


def digests(state: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(state.rglob("*")) if path.is_file()}


def test_a_state_of_this_version_or_an_older_one_is_taken(tmp_path: Path) -> None:
    check_versions(tmp_path)
    make_state(tmp_path)
    check_versions(tmp_path)
    with sqlite3.connect(tmp_path / "queue.db") as database:
        database.execute("PRAGMA user_version=1")
    database.close()
    check_versions(tmp_path)


@pytest.mark.parametrize("name", ["queue.db", "tracking.db", "quarantine.db"])
@pytest.mark.parametrize("is_in_log", [True, False])
def test_a_newer_database_is_refused_and_nothing_is_changed(tmp_path: Path, name: str, is_in_log: bool) -> None:
    make_state(tmp_path)
    database = sqlite3.connect(tmp_path / name)
    database.execute("PRAGMA user_version=99")
    if not is_in_log:
        database.close()
    before = digests(tmp_path)
    with pytest.raises(StoreError, match=f"{name} has schema 99"):
        check_versions(tmp_path)
    assert digests(tmp_path) == before
    database.close()


def test_newer_records_are_refused_and_not_taken_for_damage(tmp_path: Path) -> None:
    make_state(tmp_path)
    [segment] = segments_of(tmp_path)
    data = bytearray(segment.read_bytes())
    data[8:10] = (VERSION + 1).to_bytes(2, "little")
    segment.write_bytes(data)
    with pytest.raises(StoreError, match="records of version"):
        check_versions(tmp_path)
