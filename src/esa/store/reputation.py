"""Learned histories of senders, on disk: written by `keep` alone, read by `esa reputation`.

Exactly once: how far each segment of the spools has been learned from is stored in the same transaction. A commit is not flushed by itself
(synchronous=NORMAL): a power cut may take the last seconds of counts and never more, nor the file.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from esa.policy.history import History, Kind, Subject
from esa.store.database import open_database, open_read_only, printable, telling_database, transaction

FILE_NAME = "reputation.db"
VERSION = 1
_SCHEMA = (
    "CREATE TABLE history (kind TEXT NOT NULL, name TEXT NOT NULL, good REAL NOT NULL, bad REAL NOT NULL, at REAL NOT NULL, "
    "recent REAL NOT NULL, usual REAL NOT NULL, first_at REAL NOT NULL, messages INTEGER NOT NULL, positive INTEGER NOT NULL, "
    "suspect INTEGER NOT NULL, malware INTEGER NOT NULL, invalid INTEGER NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID",
    "CREATE TABLE learned (writer TEXT NOT NULL, segment TEXT NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (writer, segment)) WITHOUT ROWID",
)  # columns in the order of Subject and History
_PUT = "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_GET = "SELECT * FROM history WHERE kind = ? AND name = ?"
Position = dict[tuple[str, str], int]
"""(writer, segment) → offset in it behind the last record that was learned from."""


class ReputationStore:
    """The open file of the one process that writes it."""

    def __init__(self, state: Path) -> None:
        """Open or make it. Raises StoreError."""
        self.path = state / FILE_NAME
        self._database = open_database(self.path, _SCHEMA, version=VERSION)
        self._database.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        self._database.close()

    def load(self) -> tuple[dict[Subject, History], Position]:
        """All there is. A row that no history can be made of is left out. Raises StoreError."""
        with telling_database(self.path):
            return _histories(self._database), {
                (writer, segment): offset
                for writer, segment, offset in self._database.execute("SELECT writer, segment, offset FROM learned")
            }

    def save(
        self,
        changed: Mapping[Subject, History],
        gone: Iterable[Subject] = (),
        position: Mapping[tuple[str, str], int] | None = None,
        *,
        segments: Collection[tuple[str, str]] | None = None,
    ) -> None:
        """Store histories, take others away, and say how far was learned; all or nothing. Raises StoreError.

        `segments`: those there still are; of others it need not be known how far they were read.
        """
        with transaction(self._database, self.path):
            self._database.executemany(_PUT, ((kind.value, printable(name), *history) for (kind, name), history in changed.items()))
            self._database.executemany(
                "DELETE FROM history WHERE kind = ? AND name = ?", ((kind.value, printable(name)) for kind, name in gone)
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO learned VALUES (?, ?, ?)", ((*segment, offset) for segment, offset in (position or {}).items())
            )
            if segments is not None:
                known = self._database.execute("SELECT writer, segment FROM learned").fetchall()
                self._database.executemany(
                    "DELETE FROM learned WHERE writer = ? AND segment = ?", [one for one in known if one not in segments]
                )


class ReputationView:
    """The same as another process reads it."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database, self.path = database, path

    @classmethod
    def open(cls, state: Path) -> ReputationView | None:
        """Open read-only; None if nothing has been learned yet. Raises StoreError."""
        database = open_read_only(state / FILE_NAME, version=VERSION)
        return None if database is None else cls(database, state / FILE_NAME)

    def close(self) -> None:
        self._database.close()

    @property
    def has_imported(self) -> bool:
        return True  # it may be

    def look_up(self, subject: Subject) -> History | None:
        with telling_database(self.path):
            row: Sequence[float] | None = self._database.execute(_GET, (subject.kind.value, printable(subject.name))).fetchone()
        return None if row is None else History._make(row[2:])

    def all(self) -> dict[Subject, History]:
        """Every history. Raises StoreError."""
        with telling_database(self.path):
            return _histories(self._database)


def _histories(database: sqlite3.Connection) -> dict[Subject, History]:
    found: dict[Subject, History] = {}
    for kind, name, *values in database.execute("SELECT * FROM history"):
        with contextlib.suppress(ValueError, TypeError):
            history = History._make(values)
            if all(isinstance(value, int | float) and 0 <= value < 1e15 for value in history):
                found[Subject(Kind(kind), name)] = history
    return found
