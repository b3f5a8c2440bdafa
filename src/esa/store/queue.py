"""The queue of the deliver process: what is still to be delivered, to whom, when, and what the next hop said.

One SQLite file, written by `deliver` alone; `keep` and the command line read it. The mail itself stays in the segments: an entry is a
Location and the state of its recipients. Rules:

- One entry a splinter with action "deliver" and a destination: a splinter for several is split as it is imported, so that each is tried
  by itself. It is imported exactly once: entries and the spool cursors are stored in one transaction.
- Claims go by destination: of one without room (it is down, slow, or at its limit) no entry is looked at, however many wait.
- An entry is marked in flight, durably, before a byte of it is sent. One found in flight at start may have been delivered: it is tried
  again, and the event `delivery.possible_duplicate` says so.
- When all recipients are delivered, the entry goes. With a permanent failure or after expiry it stays until its sender has been told (debts.py), or
  as failed, with its reasons, where nobody is told.
- When little of a finished segment is still needed, that is copied into files of its own (survivors.py), and the segment can go.
- What happened is written to the outbox in the same transaction; `keep` takes it from there.

Per batch there is one transaction: outcomes, imports and the next claims together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from esa.errors import StoreError
from esa.policy.bounce_profile import BounceProfile, RetrySchedule
from esa.store import survivors
from esa.store.database import open_database, printable, telling_database, transaction
from esa.store.debts import EXPIRED, WRITER, Payment, Profiles, debts_of, is_owing, left_of, payments_in, report_time, warning_due
from esa.store.entry import (
    COLUMNS,
    FILE_NAME,
    Debt,
    Entry,
    Outcome,
    Recipient,
    Result,
    State,
    Status,
    encode,
    encode_recipients,
    entries_of,
    entry_of,
    naming,
    row_of,
    split,
)
from esa.store.identifier import new_identifier
from esa.store.queue_debts import entry_at, owe, owing, put_off
from esa.store.queue_table import (
    CHANGES,
    PLACES,
    SCHEMA,
    VERSION,
    read_cursors,
    read_instance,
    write_cursors,
)
from esa.store.record import Event, EventName
from esa.store.segments import SURVIVORS, Batch, Cursor, read_message
from esa.store.selection import Selection, selected
from esa.store.waiting import Rooms, Waiting

CLAIM_LIMIT = 512  # entries of one destination claimed at a time
_LOOK_AGAIN = 0.02  # seconds after which a destination without room is looked at again at the earliest
_AT_ONCE = 2_000  # entries in one transaction
BOUNCED = "554 5.0.0 returned to its sender by an administrator"


class Routing(Protocol):
    """Says where recipients go; the gateway implements it. Asked within one transaction of the queue."""

    @property
    def digest(self) -> str:
        """Changes with what it says."""

    def groups(self, recipients: Sequence[str], mailhost: str, interface: str) -> Sequence[tuple[str, Sequence[str]]]:
        """Destinations, each with those that go there at once."""


class Queue:
    """The open queue of the one process that writes it. Not for two threads at once."""

    def __init__(
        self, state: Path, schedule: RetrySchedule | None = None, routing: Routing | None = None, profiles: Profiles | None = None
    ) -> None:
        """Open (or make) the queue in the state folder; without `routing` all go to one destination. Raises StoreError.

        Without `profiles` all have this schedule, and senders are owed nothing: what fails stays as failed.
        """
        self.path = state / FILE_NAME
        self._usual = BounceProfile(schedule=schedule or RetrySchedule())
        self._profiles = profiles
        self._routing = routing
        self._known: Waiting | None = None  # None: to be read from the table
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
            rows = self._connection.execute(f"SELECT {COLUMNS} FROM entry WHERE state = 'in_flight'").fetchall()  # noqa: S608
            entries = [entry_of(row) for row in rows]
            self._connection.execute("UPDATE entry SET state = 'waiting', next_attempt = ? WHERE state = 'in_flight'", (now,))
            reason = "deliver ended while this was in flight"
            self._tell(
                (entry.message, Event(EventName.POSSIBLE_DUPLICATE, now, {"recipients": entry.pending, "reason": reason}))
                for entry in entries
            )
        return entries

    def step(self, batch: Batch, outcomes: Sequence[Outcome], *, rooms: Rooms, now: float) -> list[Entry]:
        """Store outcomes, import a batch with its cursors, and claim due entries for which there is room; all durable on return.

        Returns the claimed entries, marked in flight, of each destination the oldest due first. Raises StoreError; then nothing of it happened.
        """
        try:
            with self._transaction():
                for outcome in outcomes:
                    self._settle(outcome)
                claimed = self._claim(rooms, now)
                claimed += self._import(batch, rooms, now)
        except BaseException:
            self._known = None
            raise
        return claimed

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes alone, at the end. Raises StoreError."""
        try:
            with self._transaction():
                for outcome in outcomes:
                    self._settle(outcome)
        except BaseException:
            self._known = None
            raise

    def instance(self) -> str:
        """Identifier of this queue file: outbox numbers of another one mean nothing."""
        with telling_database(self.path):
            return read_instance(self._connection)

    @property
    def _waiting(self) -> Waiting:
        if self._known is None:
            rows = self._connection.execute("SELECT destination, min(next_attempt) FROM entry WHERE state = 'waiting' GROUP BY destination")
            self._known = Waiting((str(destination), float(due)) for destination, due in rows.fetchall())
        return self._known

    def _claim(self, rooms: Rooms, now: float) -> list[Entry]:
        waiting = self._waiting
        if waiting.is_crowded:
            waiting.let_in(rooms.free)
        claimed: list[Entry] = []
        left: list[tuple[str, float]] = []
        while (destination := waiting.pop(now)) is not None:
            room = rooms.room(destination, now)
            if room.entries > 0 and room.recipients > 0:
                claimed += self._claim_there(destination, room.entries, room.recipients, rooms, now)
                if (due := self._due_there(destination)) is not None:
                    left.append((destination, due))
            elif room.again is not None:
                left.append((destination, max(room.again, now + _LOOK_AGAIN)))
            else:
                waiting.park(destination, now, in_crowd=room.is_crowded)
        for destination, due in left:
            waiting.add(destination, due)
        return claimed

    def _claim_there(self, destination: str, count: int, recipients: int, rooms: Rooms, now: float) -> list[Entry]:
        """Claim up to `count` entries of one destination, and not more recipients; of an entry with more than that by itself, all."""
        rows = self._connection.execute(
            f"SELECT {COLUMNS} FROM entry WHERE state = 'waiting' AND destination = ? AND next_attempt <= ? "  # noqa: S608
            "ORDER BY next_attempt LIMIT ?",
            (destination, now, min(count, CLAIM_LIMIT)),
        ).fetchall()
        claimed: list[Entry] = []
        for row in rows:
            entry = entry_of((*row[:3], "in_flight", row[4] + 1, *row[5:]))
            recipients -= len(entry.pending)
            if recipients < 0 and claimed:
                break
            rooms.take(entry)
            claimed.append(entry)
        self._connection.executemany(
            "UPDATE entry SET state = 'in_flight', attempts = attempts + 1 WHERE key = ?", [(entry.key,) for entry in claimed]
        )
        return claimed

    def _due_there(self, destination: str) -> float | None:
        row = self._connection.execute(
            "SELECT min(next_attempt) FROM entry WHERE state = 'waiting' AND destination = ?", (destination,)
        ).fetchone()
        return None if row[0] is None else float(row[0])

    def _import(self, batch: Batch, rooms: Rooms, now: float) -> list[Entry]:
        claimed: list[Entry] = []
        for stored in batch.stored:
            if stored.location.writer == WRITER:
                for payment in payments_in(stored.record):
                    self._pay(payment, now)
            for entry in entries_of(stored, now):
                for one in self._routed(entry):
                    if self._profiles is not None and (due := warning_due(one, self._profiles.of(one))) is not None:
                        one = replace(one, report_at=due)
                    claimed += self._add(one, rooms, now)
        if batch.cursors:
            write_cursors(self._connection, batch.cursors)
        return claimed

    def _routed(self, entry: Entry) -> list[Entry]:
        """An entry for each destination of its pending recipients."""
        if self._routing is None:
            return [entry]
        return split(entry, self._routing.groups(entry.pending, entry.mailhost, entry.interface))

    def _add(self, entry: Entry, rooms: Rooms, now: float) -> list[Entry]:
        """Insert a new entry; claimed at once where none waits before it and there is room. Returns it if so."""
        is_claimed = False
        if entry.destination not in self._waiting:
            room = rooms.room(entry.destination, now)
            is_claimed = room.entries > 0 and room.recipients >= len(entry.pending)
        if is_claimed:
            entry = replace(entry, state="in_flight", attempts=1)
        added = self._connection.execute(f"INSERT OR IGNORE INTO {PLACES}", row_of(entry)).rowcount
        if added and not is_claimed:
            self._waiting.add(entry.destination, entry.next_attempt)
        if not (added and is_claimed):
            return []
        rooms.take(entry)
        return [entry]

    def reroute(self) -> int:
        """Where the routes have changed since, give all entries the destinations that they have now. Returns how many were looked at.

        Call it after `recover`, before the first step. Raises StoreError.
        """
        if self._routing is None:
            return 0
        digest = self._routing.digest
        with telling_database(self.path):
            row = self._connection.execute("SELECT value FROM meta WHERE name = 'routing'").fetchone()
        if row is not None and row[0] == digest:
            return 0
        count, last = 0, ""
        while True:  # some at a time, so that memory stays small; begun anew after a crash
            with self._transaction():
                rows = self._connection.execute(
                    f"SELECT {COLUMNS} FROM entry WHERE key > ? ORDER BY key LIMIT ?",  # noqa: S608
                    (last, _AT_ONCE),
                ).fetchall()
                for found in rows:
                    self._reroute(entry_of(found))
                if not rows:
                    self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('routing', ?)", (digest,))
                    break
                count, last = count + len(rows), rows[-1][0]
        self._known = None
        return count

    def _reroute(self, entry: Entry) -> None:
        if entry.state == "reporting":  # it goes nowhere any more
            return
        undelivered = [one.address for one in entry.recipients if one.status != "delivered"]
        if entry.pending:
            first, *others = self._routed(entry)
        else:  # failed: it may be tried again, and goes where the first of them goes
            assert self._routing is not None
            groups = self._routing.groups(undelivered[:1], entry.mailhost, entry.interface)
            first, others = replace(entry, destination=groups[0][0] if groups else ""), []
        if not others:
            if first.destination != entry.destination:
                self._connection.execute("UPDATE entry SET destination = ? WHERE key = ?", (first.destination, entry.key))
            return
        for other in others:
            other = replace(other, key=self._unused_key(other.key))
            if entry.location.writer == SURVIVORS:
                other = replace(other, location=survivors.link(self._spool, entry.location, other.key))
            self._connection.execute(f"INSERT INTO {PLACES}", row_of(other))
        self._connection.execute(
            "UPDATE entry SET destination = ?, recipients = ?, envelope = ? WHERE key = ?",
            (first.destination, encode_recipients(first.recipients), encode(first.envelope.to_list()), entry.key),
        )

    def _unused_key(self, key: str) -> str:
        while self._connection.execute("SELECT 1 FROM entry WHERE key = ?", (key,)).fetchone() is not None:
            key += "-1"
        return key

    def _profile(self, entry: Entry) -> BounceProfile:
        return self._usual if self._profiles is None else self._profiles.of(entry)

    def gives_up(self, outcome: Outcome) -> bool:
        """Whether what is deferred by this outcome is not tried again."""
        entry = outcome.entry
        return self._profile(entry).schedule.is_over(outcome.at - entry.accepted_at, entry.attempts)

    def _settle(self, outcome: Outcome) -> None:
        entry, now = outcome.entry, outcome.at
        profile, is_over = self._profile(entry), self.gives_up(outcome)
        results = {result.address: result for result in outcome.results}
        recipients = []
        failed_now: list[tuple[str, str]] = []
        for recipient in entry.recipients:
            result = results.get(recipient.address) if recipient.status == "pending" else None
            if result is None:
                recipients.append(recipient)
                continue
            status: Status = "pending" if result.status == "deferred" else result.status
            reply = result.reply
            if is_over and status == "pending":
                status, reply = "failed", f"{EXPIRED}{reply}"
            recipients.append(replace(recipient, status=status, reply=reply))
            if status == "failed":
                failed_now.append((recipient.address, reply))
        pending = [recipient for recipient in recipients if recipient.status == "pending"]
        failed = [recipient for recipient in recipients if recipient.status == "failed"]
        next_attempt = now + profile.schedule.delay(entry.attempts)
        debts: tuple[Debt, ...] = ()
        if self._profiles is not None:
            if entry.debts or (entry.report_at and pending):  # something may have been paid, or warned of, meanwhile
                entry = entry_at(self._connection, entry.key) or entry
            debts = (*entry.debts, *debts_of(outcome, failed_now))
        self._waiting.ended(entry.destination)
        if pending:
            self._update(entry.key, "waiting", next_attempt, pending[0].reply, recipients)
            self._waiting.add(entry.destination, next_attempt)
        elif debts:
            self._update(entry.key, _state_of(debts), 0.0, (failed or recipients)[0].reply, recipients)
        elif failed and self._profiles is None:
            self._update(entry.key, "failed", 0.0, failed[0].reply, recipients)
        else:
            self._delete(entry)
        if debts and (debts != entry.debts or not pending):
            report_at = report_time(entry, debts, profile, now, waits=bool(pending))
            owe(self._connection, entry.key, debts, report_at, entry.warnings)
        self._tell((entry.message, event) for event in _events(outcome, recipients, next_attempt))

    def owing(self, now: float, limit: int) -> list[Entry]:
        """Entries of which somebody has to be told by now, and those of the same messages. Raises StoreError."""
        with telling_database(self.path):
            return owing(self._connection, now, limit)

    def pay(self, payments: Sequence[Payment], now: float) -> None:
        """Take note of what is owed no more; durable on return. Raises StoreError."""
        with self._transaction():
            for payment in payments:
                self._pay(payment, now)

    def _pay(self, payment: Payment, now: float) -> None:
        """What has been paid already, and of an entry that is gone, counts no second time."""
        entry = entry_at(self._connection, payment.key)
        if entry is None:
            return
        debts = left_of(entry.debts, payment)
        warnings = max(entry.warnings, payment.warnings or 0)
        if debts == entry.debts and warnings == entry.warnings:
            return
        if entry.state == "reporting" and not debts:
            self._delete(entry)
        else:
            if entry.state == "reporting":
                self._connection.execute("UPDATE entry SET state = ? WHERE key = ?", (_state_of(debts), entry.key))
            waits = entry.state in ("waiting", "in_flight")
            report_at = report_time(replace(entry, warnings=warnings), debts, self._profile(entry), now, waits=waits)
            owe(self._connection, entry.key, debts, report_at, warnings)
        if payment.event is not None:
            self._tell([(entry.message, payment.event)])

    def put_off(self, keys: Sequence[str], until: float) -> None:
        """Look at what these entries owe not before `until`. Raises StoreError."""
        with self._transaction():
            put_off(self._connection, keys, until)

    def _update(self, key: str, state: State, next_attempt: float, reason: str, recipients: Iterable[Recipient]) -> None:
        self._connection.execute(
            "UPDATE entry SET state = ?, next_attempt = ?, reason = ?, recipients = ? WHERE key = ?",
            (state, next_attempt, printable(reason), encode_recipients(recipients), key),
        )

    def _tell(self, events: Iterable[tuple[str, Event]]) -> None:
        self._connection.executemany(
            "INSERT INTO outbox (id, message, name, at, fields) VALUES (?,?,?,?,?)",
            [(new_identifier(), message, event.name.value, event.at, encode(dict(event.fields))) for message, event in events],
        )

    def expire(self, now: float, troubles: Mapping[str, str]) -> list[Entry]:
        """Fail waiting entries that are past their time although they could not be tried: `troubles` are the destinations that are left alone,
        with the reason. Returns them."""
        entries: list[Entry] = []
        with self._transaction():
            for destination, reason in troubles.items():
                rows = self._connection.execute(
                    f"SELECT {COLUMNS} FROM entry WHERE state = 'waiting' AND destination = ? AND accepted_at < ?",  # noqa: S608
                    (destination, now - (self._usual.schedule.expire if self._profiles is None else self._profiles.shortest)),
                ).fetchall()
                for entry in map(entry_of, rows):
                    if not self._profile(entry).schedule.is_over(now - entry.accepted_at, 0):
                        continue
                    results = tuple(Result(address, "deferred", entry.reason or reason) for address in entry.pending)
                    self._settle(Outcome(entry, results, "", now))
                    entries.append(entry)
        return entries

    def next_due(self) -> float | None:
        """When the next waiting entry is to be looked at, in Unix seconds; None if none is before something ends."""
        with telling_database(self.path):
            return self._waiting.next_due()

    @property
    def is_crowded(self) -> bool:
        """Whether destinations wait for what others have."""
        return self._waiting.is_crowded

    def look_at_all(self) -> None:
        """Forget who had no room: an administrator asks for another try."""
        self._waiting.let_all_in()

    def retry(self, selection: Selection, now: float, *, states: Sequence[State] = ("waiting", "failed")) -> int:
        """Make entries due now (failed ones too: their failed recipients are tried again). Returns how many."""

        def again(entry: Entry) -> None:
            recipients = [replace(one, status="pending") if one.status == "failed" else one for one in entry.recipients]
            self._update(entry.key, "waiting", now, entry.reason, recipients)
            self._waiting.add(entry.destination, now)
            failed = [one.address for one in entry.recipients if one.status == "failed"]
            if failed:
                self._tell([(entry.message, Event(EventName.RETRIED, now, {"recipients": failed, **naming(entry.key)}))])
            if entry.state == "failed":  # its time begins anew, or it would expire at the next 4xx
                self._connection.execute("UPDATE entry SET accepted_at = ?, attempts = 0 WHERE key = ?", (now, entry.key))
                due = warning_due(replace(entry, accepted_at=now, warnings=0), self._profile(entry))
                owe(self._connection, entry.key, (), due or 0.0, 0)

        return self._each(selection, states, again)

    def delete(self, selection: Selection, now: float) -> int:
        """Take entries out of the queue for good, unless they are in flight just now. Returns how many."""

        def forget(entry: Entry) -> None:
            self._delete(entry)
            undelivered = [one.address for one in entry.recipients if one.status != "delivered"]
            self._tell([(entry.message, Event(EventName.DELETED, now, {"recipients": undelivered, **naming(entry.key)}))])

        return self._each(selection, ("waiting", "failed", "reporting"), forget)

    def bounce(self, selection: Selection, now: float) -> int:
        """Fail entries that wait, as if the next hop had refused them for good. Returns how many."""

        def fail(entry: Entry) -> None:
            self._settle(Outcome(entry, tuple(Result(address, "failed", BOUNCED) for address in entry.pending), "", now))

        return self._each(selection, ("waiting",), fail)

    def redirect(self, selection: Selection, mailhost: str, now: float) -> int:
        """Send entries to another next hop (host:port; empty: where their routes say), now. Returns how many."""

        def turn(entry: Entry) -> None:
            entry = replace(entry, mailhost=mailhost)
            self._connection.execute("UPDATE entry SET mailhost = ?, next_attempt = ? WHERE key = ?", (mailhost, now, entry.key))
            if self._routing is None:  # whoever delivers gives it its destination, at the start
                self._connection.execute("DELETE FROM meta WHERE name = 'routing'")
            else:
                self._reroute(replace(entry, next_attempt=now))
            fields = {"recipients": entry.pending, "next_hop": mailhost, **naming(entry.key)}
            self._tell([(entry.message, Event(EventName.REROUTED, now, fields))])

        count = self._each(selection, ("waiting",), turn)
        self._known = None
        return count

    def _each(self, selection: Selection, states: Sequence[State], do: Callable[[Entry], None]) -> int:
        """Do something to each entry that is meant, some in one transaction, so that a fault undoes little. Returns to how many. Raises StoreError."""
        with telling_database(self.path):
            keys = [entry.key for entry in selected(self._connection, selection, states=states)]
        try:
            for start in range(0, len(keys), _AT_ONCE):
                with self._transaction():
                    for key in keys[start : start + _AT_ONCE]:
                        row = self._connection.execute(f"SELECT {COLUMNS} FROM entry WHERE key = ?", (key,)).fetchone()  # noqa: S608
                        do(entry_of(row))
        except BaseException:
            self._known = None
            raise
        return len(keys)

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
                f"SELECT {COLUMNS} FROM entry WHERE writer = ? AND segment = ? AND state != 'in_flight'",  # noqa: S608
                segment,
            ).fetchall()
        moved = []
        for entry in map(entry_of, rows):
            try:
                moved.append((entry, survivors.keep_apart(self._spool, entry, read_message(self._spool, entry.location))))
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


def _state_of(debts: Sequence[Debt]) -> State:
    """Of an entry that waits for nothing else."""
    return "reporting" if is_owing(debts) else "failed"


def _events(outcome: Outcome, recipients: Sequence[Recipient], next_attempt: float) -> Iterator[Event]:
    """One event for each kind of result of the attempt."""
    tried = {result.address: result for result in outcome.results}
    common = {"next_hop": outcome.next_hop, "attempt": outcome.entry.attempts, **naming(outcome.entry.key)}
    common |= {name: value for name, value in outcome.security._asdict().items() if value}
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
