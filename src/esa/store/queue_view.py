"""The queue as other processes read it: `keep`, the command line, and rehearsals, beside the living `deliver` or without one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from esa.store.database import open_read_only, telling_database
from esa.store.encoding import decode
from esa.store.entry import FILE_NAME, STATES, Entry, State
from esa.store.queue_table import CHANGES, VERSION, read_cursors, read_instance
from esa.store.record import Event, EventName
from esa.store.segments import Cursor
from esa.store.selection import Selection, selected


@dataclass(frozen=True, slots=True)
class Backlog:
    """Entries and recipients of one destination. Times are Unix seconds."""

    entries: int = 0  # that wait or are in flight
    unattempted: int = 0  # recipients of them that were never tried
    attempted: int = 0
    next_due: float | None = None  # None: none waits
    oldest: float | None = None  # when it was accepted
    failed: int = 0  # entries that have failed for good


class QueueView:
    """The queue as another process reads it, beside a living writer or without one."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path
        self._file = _file_at(path)

    @classmethod
    def open(cls, state: Path) -> QueueView | None:
        """Open read-only; None if there is no queue yet. Raises StoreError."""
        connection = open_read_only(state / FILE_NAME, version=VERSION, changes=CHANGES)
        return None if connection is None else cls(connection, state / FILE_NAME)

    def close(self) -> None:
        self._connection.close()

    @property
    def is_replaced(self) -> bool:
        """Whether another file is there by now: the queue was made anew."""
        return _file_at(self.path) != self._file

    def instance(self) -> str:
        """Identifier of this queue file, as `Queue.instance`."""
        with telling_database(self.path):
            return read_instance(self._connection)

    def entries(self, keys: Sequence[str] | None = None, *, states: Sequence[State] = STATES) -> list[Entry]:
        """Return entries by key or by message identifier (None: all), oldest first."""
        return list(self.selected(Selection(None if keys is None else tuple(keys)), states=states))

    def selected(self, selection: Selection, *, states: Sequence[State] = STATES) -> Iterator[Entry]:
        """Yield the entries that are meant, oldest first."""
        with telling_database(self.path):
            yield from selected(self._connection, selection, states=states)

    def counts(self) -> dict[str, int]:
        """Entries per state."""
        with telling_database(self.path):
            return dict(self._connection.execute("SELECT state, count(*) FROM entry GROUP BY state").fetchall())

    def backlogs(self) -> dict[str, Backlog]:
        """What each destination has."""
        with telling_database(self.path):
            rows = self._connection.execute(
                """SELECT destination,
                     sum(state IN ('waiting', 'in_flight')),
                     sum(CASE WHEN state IN ('waiting', 'in_flight') AND attempts = 0 THEN json_array_length(recipients) ELSE 0 END),
                     sum(CASE WHEN state IN ('waiting', 'in_flight') AND attempts > 0 THEN json_array_length(recipients) ELSE 0 END),
                     min(CASE state WHEN 'waiting' THEN next_attempt END),
                     min(CASE WHEN state IN ('waiting', 'in_flight') THEN accepted_at END),
                     sum(state = 'failed')
                   FROM entry GROUP BY destination"""
            ).fetchall()
        return {name: Backlog(*values) for name, *values in rows}

    def cursors(self) -> dict[tuple[str, str], Cursor]:
        """How far deliver has read the spools."""
        with telling_database(self.path):
            return read_cursors(self._connection)

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


def _file_at(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
