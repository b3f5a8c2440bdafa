"""queue.db made anew from the spools, where it is lost or damaged: each message is in its segment still, and tracking says what was delivered.

Called with the lock of `deliver` held, before the queue is opened. Promises: nothing that waits or has failed is left out; what tracking or the
outbox of the old file says was delivered, failed or deleted is not sent again, and senders who were not told of a failure yet are told; the old
file is kept in `corrupt/`; a crash in between leaves the old file or the whole new one. What was in flight, and what the old file alone knew, may
be delivered a second time.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from esa.errors import StoreError
from esa.store import outbox, survivors
from esa.store.database import open_database, open_read_only, telling_database, transaction
from esa.store.entry import FILE_NAME, Debt, Entry, base_key, encode, entries_of, row_of
from esa.store.folder import make_private, sync_directory, telling
from esa.store.identifier import new_identifier
from esa.store.queue_table import CHANGES, PLACES, SCHEMA, VERSION, write_cursors
from esa.store.record import Event, EventName
from esa.store.segments import SURVIVORS, SpoolReader

CORRUPT = "corrupt"  # folder of the state that damaged databases are moved to
_ASKED = 500  # messages that tracking is asked about at a time
_FATES = (
    EventName.DELIVERED,
    EventName.FAILED,
    EventName.BOUNCED,
    EventName.UNBOUNCED,
    EventName.DEFERRED,
    EventName.DELETED,
    EventName.RETRIED,
    EventName.REROUTED,
)

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of it."""

    waiting: int  # entries
    failed: int  # those whose sender is still to be told too
    done: int  # splinters of which nothing is left to do
    rescued: int  # events of the old file that tracking did not have yet
    unreadable: int  # places of the spools, and messages kept apart
    aside: Path | None  # the old file


def is_lost(state: Path) -> bool:
    """Whether there was a queue that has delivered or kept something, and its file is not there."""
    path = state / FILE_NAME
    if path.exists() and path.stat().st_size > 0:  # of none SQLite would make a new one
        return False
    content = state / "spool" / SURVIVORS / "content"
    if content.is_dir() and any(content.iterdir()):
        return True
    connection = outbox.open_tracking(state)
    if connection is None:
        return False
    with contextlib.closing(connection), telling_database(state / outbox.FILE_NAME):
        return connection.execute("SELECT 1 FROM outbox LIMIT 1").fetchone() is not None


def check_queue(state: Path) -> StoreError | None:
    """What SQLite finds wrong with queue.db as a file; None if nothing, or if there is none. Raises StoreError for any other fault."""
    try:
        connection = open_read_only(state / FILE_NAME, version=VERSION, changes=CHANGES)
        if connection is None:
            return None
        with contextlib.closing(connection), telling_database(state / FILE_NAME):
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except StoreError as fault:
        if fault.is_damaged:
            return fault
        raise
    return None if found == "ok" else StoreError(f"the database is damaged: {found}", where=str(state / FILE_NAME), is_damaged=True)


def rebuild(state: Path, *, now: float | None = None, advance: Advance | None = None) -> Rebuilt:
    """Make queue.db anew. `advance` is told of octets of segments that have been read. Entries have no destination yet: `Queue.reroute` gives one.

    Raises StoreError; then all is as it was.
    """
    moment = time.time() if now is None else now
    old, new = state / FILE_NAME, state / f"{FILE_NAME}.new"
    with telling(new):
        for path in _with_logs(new):
            path.unlink(missing_ok=True)
    rescued = _rescue(old) if old.exists() else _Rescued([], set())
    connection = open_database(new, SCHEMA, version=VERSION)
    try:
        made = _fill(connection, state, rescued, moment, advance or (lambda _: None))
        with telling_database(new):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return replace(made, aside=_put_in_place(state, old, new, moment))


@dataclass(frozen=True, slots=True)
class _Rescued:
    """What could be read of a damaged file."""

    outbox: list[tuple[str, str, str, float, str]]  # id, message, name, at, fields
    in_flight: set[str]


def _rescue(path: Path) -> _Rescued:
    """Read what can be read; a damaged page ends a table."""
    found = _Rescued([], set())
    with contextlib.suppress(sqlite3.Error, StoreError):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(connection):
            connection.text_factory = lambda octets: octets.decode("utf-8", "replace")
            with contextlib.suppress(sqlite3.Error):
                for row in connection.execute("SELECT id, message, name, at, fields FROM outbox ORDER BY sequence"):
                    if _is_event(row):
                        found.outbox.append(row)
            with contextlib.suppress(sqlite3.Error):
                found.in_flight.update(str(row[0]) for row in connection.execute("SELECT key FROM entry WHERE state = 'in_flight'"))
    return found


def _is_event(row: Sequence[object]) -> bool:
    try:
        return isinstance(json.loads(str(row[4])), dict) and isinstance(row[3], float) and EventName(str(row[2])) is not None
    except ValueError:
        return False


def _fill(connection: sqlite3.Connection, state: Path, rescued: _Rescued, now: float, advance: Advance) -> Rebuilt:
    path = state / f"{FILE_NAME}.new"
    tracking = outbox.open_tracking(state)
    told: dict[str, list[Event]] = {}
    for _, message, name, at, fields in rescued.outbox:
        told.setdefault(message, []).append(Event(EventName(name), at, json.loads(fields)))
    apart: dict[str, set[str]] = {}  # recipients of a splinter that is kept apart: its segment, or a link, may be there too
    waiting = failed = done = unreadable = 0
    with contextlib.closing(tracking) if tracking is not None else contextlib.nullcontext():
        with transaction(connection, path):
            connection.execute("INSERT INTO meta VALUES ('instance', ?)", (new_identifier(),))
            connection.executemany("INSERT INTO outbox (id, message, name, at, fields) VALUES (?,?,?,?,?)", rescued.outbox)

        def add(entries: Sequence[Entry]) -> None:
            nonlocal waiting, failed, done
            events = _events_of(tracking, {entry.message for entry in entries}, told)
            for before in entries:
                known = apart.get(base_key(before.key), set())
                if not (left := tuple(one for one in before.recipients if one.address not in known)):
                    continue
                entry = after(replace(before, recipients=left), events.get(before.message, ()), now)
                if entry is None:
                    done += 1
                    continue
                if not connection.execute(f"INSERT OR IGNORE INTO {PLACES}", row_of(entry)).rowcount:
                    continue
                waiting, failed = waiting + (entry.state == "waiting"), failed + (entry.state != "waiting")
                if entry.state == "waiting" and any(base_key(key) == entry.key for key in rescued.in_flight):
                    fields = {"recipients": entry.pending, "reason": "the queue was made anew while this was in flight"}
                    row = (new_identifier(), entry.message, EventName.POSSIBLE_DUPLICATE.value, now, encode(fields))
                    connection.execute("INSERT INTO outbox (id, message, name, at, fields) VALUES (?,?,?,?,?)", row)

        with transaction(connection, path):
            for file, entry in survivors.read_entries(state / "spool"):
                if entry is None:
                    survivors.set_aside(state / "spool", file)
                    unreadable += 1
                    continue
                add([entry])
                apart.setdefault(base_key(entry.key), set()).update(one.address for one in entry.recipients)
        reader = SpoolReader(state / "spool")
        while batch := reader.read():
            with transaction(connection, path):
                add([entry for stored in batch.stored for entry in entries_of(stored, now)])
                write_cursors(connection, batch.cursors)
            advance(
                sum(
                    cursor.offset - reader.cursors[key].offset if key in reader.cursors else cursor.offset
                    for key, cursor in batch.cursors.items()
                )
            )
            unreadable += sum(damage.kind != "torn" for damage in batch.damages)
            reader.advance(batch)
            if batch.is_complete:
                break
    return Rebuilt(waiting, failed, done, len(rescued.outbox), unreadable, None)


def _events_of(tracking: sqlite3.Connection | None, messages: set[str], told: dict[str, list[Event]]) -> dict[str, list[Event]]:
    """What happened in delivery to each of these messages, in order of time."""
    found = {message: list(told[message]) for message in messages if message in told}
    if tracking is not None:
        names = [name.value for name in _FATES]
        with telling_database(Path(outbox.FILE_NAME)):
            for group in _groups(sorted(messages), _ASKED):
                question = (
                    f"SELECT message, name, at, fields FROM event WHERE message IN ({','.join('?' * len(group))}) "  # noqa: S608
                    f"AND name IN ({','.join('?' * len(names))})"
                )
                for message, name, at, fields in tracking.execute(question, (*group, *names)):
                    found.setdefault(message, []).append(Event(EventName(name), at, json.loads(fields)))
    for events in found.values():
        events.sort(key=lambda event: event.at)
    return found


def _groups(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def after(entry: Entry, events: Sequence[Event], now: float) -> Entry | None:
    """An entry as events of its message left it; None if nothing is left of it to do."""
    recipients = {one.address: one for one in entry.recipients}
    debts: dict[str, Debt] = {}  # by recipient, what its sender was not told yet
    for event in events:
        if event.name not in _FATES or event.fields.get("entry", entry.message) != base_key(entry.key):
            continue
        entry = replace(entry, attempts=max(entry.attempts, _whole(event.fields.get("attempt"))))
        addresses = event.fields.get("recipients")
        reply = str(event.fields.get("reply") or "")
        for address in addresses if isinstance(addresses, list) else ():
            if (one := recipients.get(address)) is None:
                continue
            match event.name:
                case EventName.DELIVERED:
                    recipients[address] = replace(one, status="delivered", reply=reply)
                case EventName.FAILED:
                    recipients[address] = replace(one, status="failed", reply=reply)
                    debts[address] = Debt(address, "failed", event.at, reply, str(event.fields.get("next_hop") or ""))
                case EventName.BOUNCED:
                    debts.pop(address, None)
                    del recipients[address]
                case EventName.UNBOUNCED:  # it may have been kept for somebody to retry or delete
                    debts.pop(address, None)
                case EventName.DEFERRED:
                    recipients[address] = replace(one, status="pending", reply=reply)
                    due = event.fields.get("next_attempt")
                    entry = replace(entry, reason=reply, next_attempt=float(due) if isinstance(due, int | float) else now)
                case EventName.RETRIED:
                    recipients[address] = replace(one, status="pending")
                    debts.pop(address, None)
                    entry = replace(entry, accepted_at=event.at, attempts=0, next_attempt=now)
                case EventName.REROUTED:
                    entry = replace(entry, mailhost=str(event.fields.get("next_hop") or ""), next_attempt=now)
                case _:
                    debts.pop(address, None)
                    del recipients[address]
    left = [one for one in recipients.values() if one.status != "delivered"]
    if not left:
        return None
    entry = replace(entry, recipients=tuple(recipients.values()), next_attempt=max(entry.next_attempt, now))
    if debts:
        entry = replace(entry, debts=tuple(debts.values()), report_at=now)
    if any(one.status == "pending" for one in left):
        return replace(entry, state="waiting")
    return replace(entry, state="reporting" if debts else "failed", next_attempt=0.0, reason=left[0].reply)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _put_in_place(state: Path, old: Path, new: Path, now: float) -> Path | None:
    """The new file in the place of the old one, which is kept. Its log goes first: SQLite would apply it to the new file."""
    aside = None
    with telling(old):
        if old.exists():
            corrupt = make_private(state / CORRUPT)
            aside = corrupt / f"{FILE_NAME}.{int(now)}"
            for path in _with_logs(old):
                kept = corrupt / path.name.replace(FILE_NAME, aside.name, 1)
                with contextlib.suppress(FileNotFoundError):
                    kept.unlink(missing_ok=True)
                    os.link(path, kept)
            sync_directory(corrupt)
        for path in _with_logs(old)[1:]:
            path.unlink(missing_ok=True)
        new.replace(old)
        sync_directory(state)
    return aside


def _with_logs(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm"))]
