"""The queue as other processes read it: `keep`, the command line, and rehearsals, beside the living `deliver` or without one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from esa.store.database import open_read_only, telling_database
from esa.store.encoding import decode
from esa.store.entry import Entry, State
from esa.store.queue_table import CHANGES, FILE_NAME, VERSION, read_instance, select
from esa.store.record import Event, EventName


class QueueView:
    """The queue as another process reads it, beside a living writer or without one."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    def open(cls, state: Path) -> QueueView | None:
        """Open read-only; None if there is no queue yet. Raises StoreError."""
        connection = open_read_only(state / FILE_NAME, version=VERSION, changes=CHANGES)
        return None if connection is None else cls(connection, state / FILE_NAME)

    def close(self) -> None:
        self._connection.close()

    def instance(self) -> str:
        """Identifier of this queue file, as `Queue.instance`."""
        with telling_database(self.path):
            return read_instance(self._connection)

    def entries(self, keys: Sequence[str] | None = None, *, states: Sequence[State] = ("waiting", "in_flight", "failed")) -> list[Entry]:
        """Return entries by key or by message identifier (None: all), oldest first."""
        with telling_database(self.path):
            return list(select(self._connection, keys, states=states))

    def counts(self) -> dict[str, int]:
        """Entries per state."""
        with telling_database(self.path):
            return dict(self._connection.execute("SELECT state, count(*) FROM entry GROUP BY state").fetchall())

    def destinations(self) -> dict[str, tuple[int, int, float | None]]:
        """Of each destination with entries that are not failed: entries, recipients, and when the next is due (None: in flight)."""
        with telling_database(self.path):
            rows = self._connection.execute(
                """SELECT destination, count(*), sum(json_array_length(recipients)), min(CASE state WHEN 'waiting' THEN next_attempt END)
                   FROM entry WHERE state != 'failed' GROUP BY destination"""
            ).fetchall()
        return {name: (entries, recipients, due) for name, entries, recipients, due in rows}

    def outbox(self, after: int, limit: int = 1000) -> list[tuple[int, str, str, Event]]:
        """Return (sequence, event id, message id, event) behind `after`, in order."""
        with telling_database(self.path):
            rows = self._connection.execute(
                "SELECT sequence, id, message, name, at, fields FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
            ).fetchall()
        return [(row[0], row[1], row[2], Event(EventName(row[3]), row[4], decode(row[5]))) for row in rows]

    def finished_segments(self) -> set[tuple[str, str]]:
        """(writer, segment) that deliver has read to the end and that no entry refers to any more."""
        with telling_database(self.path):
            rows = self._connection.execute(
                """SELECT writer, segment FROM cursor WHERE finished = 1
                   AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.writer = cursor.writer AND entry.segment = cursor.segment)"""
            ).fetchall()
        return {(row[0], row[1]) for row in rows}
