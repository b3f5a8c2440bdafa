"""Opening the databases of the state folder."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.database import open_database, open_read_only, printable, transaction
from tests.store.conftest import fill, make_read_only
from tests.store.messages import mode

SCHEMA = ("CREATE TABLE thing (name TEXT PRIMARY KEY, value BLOB)",)


def test_a_new_database_is_private_and_durable(tmp_path: Path) -> None:
    with contextlib.closing(open_database(tmp_path / "a.db", SCHEMA, version=3)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        with transaction(connection, tmp_path / "a.db"):
            connection.execute("INSERT INTO thing VALUES ('x', 1)")
        for path in tmp_path.iterdir():
            assert mode(path) == 0o600, path


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with contextlib.closing(open_database(path, SCHEMA, version=3)) as connection:
        with pytest.raises(StoreError), transaction(connection, path):
            connection.execute("INSERT INTO thing VALUES ('x', 1)")
            connection.execute("INSERT INTO thing VALUES ('x', 2)")
        assert connection.execute("SELECT count(*) FROM thing").fetchone() == (0,)
        with transaction(connection, path):
            connection.execute("INSERT INTO thing VALUES ('x', 1)")


def test_readers_read_beside_the_writer_and_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert open_read_only(path, version=3) is None
    assert not path.exists()
    with contextlib.closing(open_database(path, SCHEMA, version=3)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO thing VALUES ('x', 1)")
        reader = open_read_only(path, version=3)
        assert reader is not None
        with contextlib.closing(reader):
            assert reader.execute("SELECT count(*) FROM thing").fetchone() == (0,)
            writer.execute("COMMIT")
            assert reader.execute("SELECT count(*) FROM thing").fetchone() == (1,)
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("DELETE FROM thing")


def test_a_database_that_is_just_being_made_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"")
    assert open_read_only(tmp_path / "a.db", version=3) is None


def test_another_schema_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(path, SCHEMA, version=3).close()
    before = path.read_bytes()
    openings: list[Callable[[], object]] = [lambda: open_database(path, SCHEMA, version=4), lambda: open_read_only(path, version=4)]
    for opening in openings:
        with pytest.raises(StoreError, match="schema 3, this esa reads 4"):
            opening()
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database, whatever its name says" * 100, b"SQLite format 3\x00" + bytes(range(200))])
def test_a_damaged_database_is_a_clear_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)
    openings: list[Callable[[], object]] = [lambda: open_database(path, SCHEMA, version=3), lambda: open_read_only(path, version=3)]
    for opening in openings:
        with pytest.raises(StoreError, match="damaged") as caught:
            opening()
        assert str(path) in str(caught.value)
        assert "backup" in str(caught.value)


def test_a_folder_that_is_not_there_is_a_clear_message(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not there"):
        open_database(tmp_path / "absent" / "a.db", SCHEMA, version=3)


def test_a_full_disk_is_told_as_full_and_heals(small_disk: Path) -> None:
    path = small_disk / "a.db"
    with contextlib.closing(open_database(path, SCHEMA, version=3)) as connection:
        ballast = fill(small_disk, leave=64 << 10)
        stored = 0
        with pytest.raises(StoreError) as caught:
            while True:
                with transaction(connection, path):
                    connection.execute("INSERT INTO thing VALUES (?, ?)", (str(stored), os.urandom(3000)))
                stored += 1
        assert caught.value.is_full
        ballast.unlink()
        with transaction(connection, path):
            connection.execute("INSERT INTO thing VALUES ('last', 1)")
        assert connection.execute("SELECT count(*) FROM thing").fetchone() == (stored + 1,)


def test_a_disk_too_full_to_begin_is_told_as_full(small_disk: Path) -> None:
    open_database(small_disk / "a.db", SCHEMA, version=3).close()
    fill(small_disk)
    path = small_disk / "a.db"
    with (
        pytest.raises(StoreError) as caught,
        contextlib.closing(open_database(path, SCHEMA, version=3)) as connection,
        transaction(connection, path),
    ):
        connection.execute("INSERT INTO thing VALUES ('x', ?)", (bytes(5000),))
    assert caught.value.is_full


def test_a_read_only_disk_can_be_read_and_is_told_when_written(small_disk: Path) -> None:
    path = small_disk / "a.db"
    with contextlib.closing(open_database(path, SCHEMA, version=3)) as connection, transaction(connection, path):
        connection.execute("INSERT INTO thing VALUES ('x', 1)")
    make_read_only(small_disk)
    reader = open_read_only(path, version=3)
    assert reader is not None
    with contextlib.closing(reader):
        assert reader.execute("SELECT count(*) FROM thing").fetchone() == (1,)
    with pytest.raises(StoreError, match=r"cannot be (written|opened)"):
        open_database(path, SCHEMA, version=3)


def test_text_with_octets_that_are_no_utf8_can_be_stored() -> None:
    assert printable("café") == "café"
    assert printable("caf\udce9") == "caf\\udce9"


def test_an_older_file_is_brought_to_the_present_version_with_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with contextlib.closing(open_database(path, SCHEMA, version=1)) as connection:
        connection.execute("INSERT INTO thing VALUES ('x', 1)")
    changes = {1: ("ALTER TABLE thing ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",), 2: ("UPDATE thing SET value = value + 1",)}
    assert open_read_only(path, version=3, changes=changes) is None
    with pytest.raises(StoreError, match="schema 1, this esa reads 3"):
        open_database(path, SCHEMA, version=3, changes={2: changes[2]})
    with contextlib.closing(open_database(path, SCHEMA, version=3, changes=changes)) as connection:
        assert connection.execute("SELECT name, value, colour FROM thing").fetchall() == [("x", 2, "red")]
    reader = open_read_only(path, version=3, changes=changes)
    assert reader is not None
    reader.close()
