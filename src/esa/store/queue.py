"""The queue of the deliver process: what is still to be delivered, to whom, when, and what the next hop said.

One SQLite file, written by `deliver` alone; `keep` and the command line read it. The mail itself stays in the segments: an entry is a
Location and the state of its recipients. Rules:

- One entry a splinter with action "deliver". It is imported exactly once: entries and the spool cursors are stored in one transaction.
- An entry is marked in flight, durably, before a byte of it is sent. One found in flight at start may have been delivered: it is tried
  again, and the event `delivery.possible_duplicate` says so.
- When all recipients are delivered, the entry goes. With a permanent failure or after expiry it stays, as failed, with its reasons.
- When little of a finished segment is still needed, that is copied into files of its own (survivors.py), and the segment can go.
- What happened is written to the outbox in the same transaction; `keep` takes it from there.

Per batch there is one transaction: outcomes, imports and the next claims together.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from esa.errors import StoreError
from esa.message.envelope import Envelope
from esa.store import survivors
from esa.store.database import open_database, open_read_only, printable, telling_database, transaction
from esa.store.identifier import LENGTH, new_identifier
from esa.store.record import Event, EventName, Record
from esa.store.segments import SURVIVORS, Batch, Cursor, Location, read_message

State = Literal["waiting", "in_flight", "failed"]
Status = Literal["pending", "delivered", "failed"]

FILE_NAME = "queue.db"
VERSION = 3
CHANGES = {
    1: ("ALTER TABLE entry ADD COLUMN mailhost TEXT NOT NULL DEFAULT ''",),
    2: ("ALTER TABLE entry ADD COLUMN signs INTEGER NOT NULL DEFAULT 0",),
}
SCHEMA = (
    """CREATE TABLE entry (
        key TEXT PRIMARY KEY, message TEXT NOT NULL, splinter INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
        next_attempt REAL NOT NULL, accepted_at REAL NOT NULL, reverse_path TEXT NOT NULL, size INTEGER NOT NULL, reason TEXT NOT NULL,
        envelope TEXT NOT NULL, recipients TEXT NOT NULL,
        writer TEXT NOT NULL, segment TEXT NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
        mailhost TEXT NOT NULL DEFAULT '', signs INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    "CREATE INDEX entry_due ON entry (state, next_attempt)",
    "CREATE INDEX entry_segment ON entry (writer, segment)",
    """CREATE TABLE cursor (writer TEXT, segment TEXT, offset INTEGER NOT NULL, sequence INTEGER NOT NULL, finished INTEGER NOT NULL,
        PRIMARY KEY (writer, segment)) WITHOUT ROWID""",
    """CREATE TABLE outbox (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, message TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL,
        fields TEXT NOT NULL)""",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)
_COLUMNS = (
    "key, message, splinter, state, attempts, next_attempt, accepted_at, size, reason, envelope, recipients, "
    "writer, segment, offset, length, mailhost, signs"
)
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Recipient:
    """A forward-path of an entry; `reply` is the last thing the next hop said about it."""

    address: str
    status: Status = "pending"
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One splinter to deliver. Times are Unix seconds; `attempts` counts the one in flight."""

    key: str
    message: str  # message identifier; `key` of a released message is longer
    splinter: int
    state: State
    attempts: int
    next_attempt: float
    accepted_at: float
    size: int  # octets of the content
    reason: str  # why it waits or failed
    envelope: Envelope  # its recipients are those of the whole message
    recipients: tuple[Recipient, ...]
    location: Location
    mailhost: str = ""  # next hop host:port in the place of the usual one
    signs: bool = False  # it leaves with a DKIM signature

    @property
    def pending(self) -> tuple[str, ...]:
        """The forward-paths still to be delivered."""
        return tuple(recipient.address for recipient in self.recipients if recipient.status == "pending")


@dataclass(frozen=True, slots=True)
class Result:
    """What one attempt came to for one forward-path: `deferred` stays pending."""

    address: str
    status: Literal["delivered", "deferred", "failed"]
    reply: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt: an entry that was in flight, and a result for each of its pending recipients."""

    entry: Entry
    results: tuple[Result, ...]
    next_hop: str
    at: float
    may_have_arrived: bool = False  # the connection broke between the final dot and the reply
    connection: int = 0  # its number in logs (AsyncOS's DCID); 0: none was made


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """When to try again: `initial` seconds, doubled each time up to `maximum`, each spread by ±20 %; given up after `expire` seconds."""

    initial: float = 60.0
    maximum: float = 3600.0
    expire: float = 259_200.0

    def delay(self, attempts: int, spread: float | None = None) -> float:
        """Seconds to wait after so many attempts; `spread` in [0, 1) instead of chance."""
        chance = random.random() if spread is None else spread  # noqa: S311 (jitter, not a secret)
        return min(self.maximum, self.initial * 2.0 ** min(max(attempts - 1, 0), 40)) * (0.8 + 0.4 * chance)


def splinter_key(message: str, splinter: int) -> str:
    """The name of a splinter for people: the message identifier, with `.n` from the second on."""
    return message if splinter == 0 else f"{message}.{splinter}"


class Queue:
    """The open queue of the one process that writes it. Not for two threads at once."""

    def __init__(self, state: Path, schedule: RetrySchedule | None = None) -> None:
        """Open (or make) the queue in the state folder. Raises StoreError."""
        self.path = state / FILE_NAME
        self.schedule = schedule or RetrySchedule()
        self._spool = state / "spool"
        self._gone: list[str] = []  # files of messages kept apart whose entry goes with the transaction under way
        self._connection = open_database(self.path, SCHEMA, version=VERSION, changes=CHANGES)
        with self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO meta VALUES ('instance', ?)", (new_identifier(),))
            apart = self._connection.execute("SELECT segment FROM entry WHERE writer = ?", (SURVIVORS,)).fetchall()
        survivors.sweep(self._spool, {row[0] for row in apart})

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction; the files of entries that go with it are removed once they are gone for good."""
        self._gone.clear()
        with transaction(self._connection, self.path):
            yield
        survivors.remove(self._spool, self._gone)

    def _delete(self, entry: Entry) -> None:
        self._connection.execute("DELETE FROM entry WHERE key = ?", (entry.key,))
        if entry.location.writer == SURVIVORS:
            self._gone.append(entry.location.segment)

    def close(self) -> None:
        self._connection.close()

    def cursors(self) -> dict[tuple[str, str], Cursor]:
        """Return the stored spool cursors, for a SpoolReader."""
        with telling_database(self.path):
            return read_cursors(self._connection)

    def recover(self, now: float) -> list[Entry]:
        """Take back what was in flight when the last process ended; each may have been delivered. Returns those entries."""
        with self._transaction():
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM entry WHERE state = 'in_flight'").fetchall()  # noqa: S608
            entries = [_entry(row) for row in rows]
            self._connection.execute("UPDATE entry SET state = 'waiting', next_attempt = ? WHERE state = 'in_flight'", (now,))
            reason = "deliver ended while this was in flight"
            self._tell(
                (entry.message, Event(EventName.POSSIBLE_DUPLICATE, now, {"recipients": entry.pending, "reason": reason}))
                for entry in entries
            )
        return entries

    def step(self, batch: Batch, outcomes: Sequence[Outcome], *, capacity: int, now: float) -> list[Entry]:
        """Store outcomes, import a batch with its cursors, and claim up to `capacity` due entries; all durable on return.

        Returns the claimed entries, marked in flight, oldest due first. Raises StoreError; then nothing of it happened.
        """
        with self._transaction():
            for outcome in outcomes:
                self._settle(outcome)
            claimed = self._claim(capacity, now) if capacity > 0 else []
            claimed += self._import(batch, capacity - len(claimed), now)
        return claimed

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes alone, at the end. Raises StoreError."""
        with self._transaction():
            for outcome in outcomes:
                self._settle(outcome)

    def instance(self) -> str:
        """Identifier of this queue file: outbox numbers of another one mean nothing."""
        with telling_database(self.path):
            return _instance(self._connection)

    def _claim(self, capacity: int, now: float) -> list[Entry]:
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM entry WHERE state = 'waiting' AND next_attempt <= ? ORDER BY next_attempt LIMIT ?",  # noqa: S608
            (now, capacity),
        ).fetchall()
        self._connection.executemany(
            "UPDATE entry SET state = 'in_flight', attempts = attempts + 1 WHERE key = ?", [(row[0],) for row in rows]
        )
        return [_entry((*row[:3], "in_flight", row[4] + 1, *row[5:])) for row in rows]

    def _import(self, batch: Batch, capacity: int, now: float) -> list[Entry]:
        claimed: list[Entry] = []
        for stored in batch.stored:
            record = stored.record
            for splinter in _deliverable(record):
                is_claimed = len(claimed) < capacity
                entry = Entry(
                    splinter_key(record.id, splinter),
                    record.id[:LENGTH],  # longer: a released message, or further splinters
                    splinter,
                    "in_flight" if is_claimed else "waiting",
                    1 if is_claimed else 0,
                    now,
                    record.session.received_at or now,
                    record.size,
                    "",
                    record.envelope,
                    tuple(Recipient(address) for address in record.splinters[splinter].recipients),
                    stored.location,
                    record.splinters[splinter].mailhost,
                    record.splinters[splinter].signs,
                )
                added = self._connection.execute(
                    "INSERT OR IGNORE INTO entry VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", _row(entry)
                ).rowcount
                if is_claimed and added:
                    claimed.append(entry)
        if batch.cursors:
            write_cursors(self._connection, batch.cursors)
        return claimed

    def _settle(self, outcome: Outcome) -> None:
        entry, now = outcome.entry, outcome.at
        results = {result.address: result for result in outcome.results}
        expired = now - entry.accepted_at > self.schedule.expire
        recipients = []
        for recipient in entry.recipients:
            result = results.get(recipient.address) if recipient.status == "pending" else None
            if result is None:
                recipients.append(recipient)
            elif result.status == "deferred":
                status: Status = "failed" if expired else "pending"
                reply = f"expired; the last reply was: {result.reply}" if expired else result.reply
                recipients.append(Recipient(recipient.address, status, reply))
            else:
                recipients.append(Recipient(recipient.address, result.status, result.reply))
        pending = [recipient for recipient in recipients if recipient.status == "pending"]
        failed = [recipient for recipient in recipients if recipient.status == "failed"]
        next_attempt = now + self.schedule.delay(entry.attempts)
        if pending:
            self._update(entry.key, "waiting", next_attempt, pending[0].reply, recipients)
        elif failed:
            self._update(entry.key, "failed", 0.0, failed[0].reply, recipients)
        else:
            self._delete(entry)
        self._tell((entry.message, event) for event in _events(outcome, recipients, next_attempt))

    def _update(self, key: str, state: State, next_attempt: float, reason: str, recipients: Iterable[Recipient]) -> None:
        self._connection.execute(
            "UPDATE entry SET state = ?, next_attempt = ?, reason = ?, recipients = ? WHERE key = ?",
            (state, next_attempt, printable(reason), _encode([[r.address, r.status, r.reply] for r in recipients]), key),
        )

    def _tell(self, events: Iterable[tuple[str, Event]]) -> None:
        self._connection.executemany(
            "INSERT INTO outbox (id, message, name, at, fields) VALUES (?,?,?,?,?)",
            [(new_identifier(), message, event.name.value, event.at, _encode(dict(event.fields))) for message, event in events],
        )

    def expire(self, now: float, reason: str) -> list[Entry]:
        """Fail waiting entries that are past their time although they could not be tried (the route is down). Returns them."""
        with self._transaction():
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM entry WHERE state = 'waiting' AND accepted_at < ?",  # noqa: S608
                (now - self.schedule.expire,),
            ).fetchall()
            entries = [_entry(row) for row in rows]
            for entry in entries:
                results = tuple(Result(address, "deferred", entry.reason or reason) for address in entry.pending)
                self._settle(Outcome(entry, results, "", now))
        return entries

    def next_due(self) -> float | None:
        """When the next waiting entry is due, in Unix seconds; None if none waits."""
        with telling_database(self.path):
            row = self._connection.execute("SELECT min(next_attempt) FROM entry WHERE state = 'waiting'").fetchone()
        return None if row[0] is None else float(row[0])

    def retry(self, keys: Sequence[str] | None, now: float) -> int:
        """Make entries due now (failed ones too: their failed recipients are tried again); None for all. Returns how many."""
        count = 0
        with self._transaction():
            for entry in _select(self._connection, keys, states=("waiting", "failed")):
                recipients = [Recipient(r.address, "pending" if r.status == "failed" else r.status, r.reply) for r in entry.recipients]
                self._update(entry.key, "waiting", now, entry.reason, recipients)
                count += 1
                if entry.state == "failed":  # its time begins anew, or it would expire at the next 4xx
                    self._connection.execute("UPDATE entry SET accepted_at = ?, attempts = 0 WHERE key = ?", (now, entry.key))
        return count

    def delete(self, keys: Sequence[str], now: float) -> int:
        """Take entries out of the queue for good, unless they are in flight just now. Returns how many."""
        count = 0
        with self._transaction():
            for entry in _select(self._connection, keys, states=("waiting", "failed")):
                self._delete(entry)
                undelivered = [recipient.address for recipient in entry.recipients if recipient.status != "delivered"]
                self._tell([(entry.message, Event(EventName.DELETED, now, {"recipients": undelivered}))])
                count += 1
        return count

    def sparse_segments(self, share: float) -> list[tuple[str, str]]:
        """(writer, segment) read to the end of which entries still need something, but less than `share` of the file."""
        with telling_database(self.path):
            rows = self._connection.execute(
                """SELECT cursor.writer, cursor.segment, sum(entry.length), cursor.offset FROM cursor
                   JOIN entry ON entry.writer = cursor.writer AND entry.segment = cursor.segment
                   WHERE cursor.finished = 1 GROUP BY cursor.writer, cursor.segment"""
            ).fetchall()
        return [(writer, segment) for writer, segment, alive, size in rows if alive < share * size]

    def keep_apart(self, segment: tuple[str, str]) -> int:
        """Copy what entries still need of a segment into files of their own, so that it can go; not what is in flight. Returns how many.

        Raises StoreError; then the segment is needed as before. A message that is damaged stays where it is.
        """
        with telling_database(self.path):
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM entry WHERE writer = ? AND segment = ? AND state != 'in_flight'",  # noqa: S608
                segment,
            ).fetchall()
        moved = []
        for entry in map(_entry, rows):
            try:
                moved.append((entry, survivors.keep_apart(self._spool, entry.key, read_message(self._spool, entry.location))))
            except StoreError as fault:
                if not fault.is_damaged:
                    raise
        if moved:
            survivors.sync(self._spool)
            with self._transaction():
                self._connection.executemany(
                    "UPDATE entry SET writer = ?, segment = ?, offset = ?, length = ? WHERE key = ?",
                    [(place.writer, place.segment, place.offset, place.length, entry.key) for entry, place in moved],
                )
        return len(moved)

    def forget_outbox(self, up_to: int) -> None:
        """Drop outbox rows that `keep` has stored."""
        with self._transaction():
            self._connection.execute("DELETE FROM outbox WHERE sequence <= ?", (up_to,))

    def forget_cursors(self, gone: Iterable[tuple[str, str]]) -> None:
        """Drop the cursors of segments that are no longer there."""
        with self._transaction():
            self._connection.executemany("DELETE FROM cursor WHERE writer = ? AND segment = ?", list(gone))


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
            return _instance(self._connection)

    def entries(self, keys: Sequence[str] | None = None, *, states: Sequence[State] = ("waiting", "in_flight", "failed")) -> list[Entry]:
        """Return entries by key or by message identifier (None: all), oldest first."""
        with telling_database(self.path):
            return list(_select(self._connection, keys, states=states))

    def counts(self) -> dict[str, int]:
        """Entries per state."""
        with telling_database(self.path):
            return dict(self._connection.execute("SELECT state, count(*) FROM entry GROUP BY state").fetchall())

    def outbox(self, after: int, limit: int = 1000) -> list[tuple[int, str, str, Event]]:
        """Return (sequence, event id, message id, event) behind `after`, in order."""
        with telling_database(self.path):
            rows = self._connection.execute(
                "SELECT sequence, id, message, name, at, fields FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
            ).fetchall()
        return [(row[0], row[1], row[2], Event(EventName(row[3]), row[4], json.loads(row[5]))) for row in rows]

    def finished_segments(self) -> set[tuple[str, str]]:
        """(writer, segment) that deliver has read to the end and that no entry refers to any more."""
        with telling_database(self.path):
            rows = self._connection.execute(
                """SELECT writer, segment FROM cursor WHERE finished = 1
                   AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.writer = cursor.writer AND entry.segment = cursor.segment)"""
            ).fetchall()
        return {(row[0], row[1]) for row in rows}


def _instance(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT value FROM meta WHERE name = 'instance'").fetchone()
    return str(row[0]) if row else ""


def read_cursors(connection: sqlite3.Connection) -> dict[tuple[str, str], Cursor]:
    """Return the table `cursor` of a database that has one."""
    rows = connection.execute("SELECT writer, segment, offset, sequence, finished FROM cursor").fetchall()
    return {(writer, segment): Cursor(offset, sequence, bool(finished)) for writer, segment, offset, sequence, finished in rows}


def write_cursors(connection: sqlite3.Connection, cursors: Mapping[tuple[str, str], Cursor]) -> None:
    """Store cursors, within the caller's transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO cursor VALUES (?,?,?,?,?)",
        [(*key, cursor.offset, cursor.sequence, int(cursor.finished)) for key, cursor in cursors.items()],
    )


def _deliverable(record: Record) -> list[int]:
    return [index for index, splinter in enumerate(record.splinters) if splinter.action == "deliver" and splinter.recipients]


def _row(entry: Entry) -> tuple[object, ...]:
    envelope, location = entry.envelope, entry.location
    return (
        entry.key,
        entry.message,
        entry.splinter,
        entry.state,
        entry.attempts,
        entry.next_attempt,
        entry.accepted_at,
        printable(envelope.reverse_path),
        entry.size,
        entry.reason,
        _encode(envelope.to_list()),
        _encode([[r.address, r.status, r.reply] for r in entry.recipients]),
        location.writer,
        location.segment,
        location.offset,
        location.length,
        entry.mailhost,
        int(entry.signs),
    )


def _entry(row: Sequence[object]) -> Entry:
    key, message, splinter, state, attempts, next_attempt, accepted_at, size, reason, envelope, recipients, *location, mailhost, signs = row
    return Entry(
        str(key),
        str(message),
        int(splinter),  # type: ignore[call-overload]
        state,  # type: ignore[arg-type]
        attempts,  # type: ignore[arg-type]
        next_attempt,  # type: ignore[arg-type]
        accepted_at,  # type: ignore[arg-type]
        size,  # type: ignore[arg-type]
        str(reason),
        Envelope.from_list(json.loads(str(envelope))),
        tuple(Recipient(address, status, reply) for address, status, reply in json.loads(str(recipients))),
        Location(*location),  # type: ignore[arg-type]
        str(mailhost),
        bool(signs),
    )


def _select(connection: sqlite3.Connection, keys: Sequence[str] | None, *, states: Sequence[State]) -> Iterator[Entry]:
    marks = ",".join("?" * len(states))
    if keys is None:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM entry WHERE state IN ({marks}) ORDER BY accepted_at, key", states).fetchall()  # noqa: S608
        yield from map(_entry, rows)
        return
    for key in dict.fromkeys(keys):
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM entry WHERE (key = ? OR message = ?) AND state IN ({marks}) ORDER BY key",  # noqa: S608
            (key, key, *states),
        ).fetchall()
        yield from map(_entry, rows)


def _events(outcome: Outcome, recipients: Sequence[Recipient], next_attempt: float) -> Iterator[Event]:
    """One event for each kind of result of the attempt."""
    tried = {result.address: result for result in outcome.results}
    common = {"next_hop": outcome.next_hop, "attempt": outcome.entry.attempts}
    for name, status in ((EventName.DELIVERED, "delivered"), (EventName.FAILED, "failed"), (EventName.DEFERRED, "pending")):
        concerned = [recipient for recipient in recipients if recipient.status == status and recipient.address in tried]
        if not concerned:
            continue
        fields: dict[str, object] = {"recipients": [r.address for r in concerned], "reply": concerned[0].reply, **common}
        if name is EventName.DEFERRED:
            fields["next_attempt"] = next_attempt
            if outcome.may_have_arrived:
                fields["may_have_arrived"] = True
        yield Event(name, outcome.at, fields)
