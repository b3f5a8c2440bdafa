"""What became of every message: written by `keep` alone, from the spools and from deliver's outbox; read by `esa track`.

Exactly once: an event's identifier is its key, and the cursors that say what has been read are stored in the same transaction. What
happens to a released message is told under the identifier it first came with.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    case,
    delete,
    func,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from esa.store.database import printable
from esa.store.encoding import decode, encode
from esa.store.identifier import LENGTH
from esa.store.outbox import CHANGES, FILE_NAME, VERSION
from esa.store.record import Event, EventName, Record
from esa.store.segments import Batch, Cursor, Damage
from esa.store.tables import open_tables, open_tables_read_only, transaction

TABLES = MetaData()
MESSAGE = Table(
    "message",
    TABLES,
    Column("id", String(26), primary_key=True),
    Column("received_at", Float, nullable=False),  # Unix seconds
    Column("client", Text, nullable=False),
    Column("helo", Text, nullable=False),
    Column("listener", Text, nullable=False),
    Column("reverse_path", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("outcome", Text, nullable=False),  # accepted, refused, aborted: what the client was told
    Column("verdict", Text, nullable=False),
    Column("score", Float),
    Column("subject", Text, nullable=False),
    Index("message_received", "received_at"),
)
RECIPIENT = Table(
    "recipient",
    TABLES,
    Column("message", String(26), primary_key=True),
    Column("address", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("changed_at", Float, nullable=False),
)
EVENT = Table(
    "event",
    TABLES,
    Column("id", Text, primary_key=True),
    Column("message", String(26), nullable=False),
    Column("at", Float, nullable=False),
    Column("name", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Index("event_message", "message"),
    Index("event_at", "at"),
)
CURSOR = Table(
    "cursor",
    TABLES,
    Column("writer", Text, primary_key=True),
    Column("segment", Text, primary_key=True),
    Column("offset", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("finished", Integer, nullable=False),
    Column("damaged", Integer, nullable=False),
)
Index("message_reverse_path", func.lower(MESSAGE.c.reverse_path))
Index("recipient_address", func.lower(RECIPIENT.c.address))
OUTBOX = Table("outbox", TABLES, Column("instance", String(26), primary_key=True), Column("sequence", Integer, nullable=False))
PAST = Table(  # recipients of accepted messages that tracking has let go, by what became of them: so that the books balance for ever
    "past", TABLES, Column("status", Text, primary_key=True), Column("recipients", Integer, nullable=False)
)

_OUTCOMES = {
    EventName.ACCEPTED: "accepted",
    EventName.REFUSED: "refused",
    EventName.GREYLISTED: "greylisted",
    EventName.ABORTED: "aborted",
    EventName.MESSAGE_DEFERRED: "deferred",
    EventName.GENERATED: "generated",
}
_OF_NO_MESSAGE = [
    name.value
    for name in (
        EventName.DAMAGED,
        EventName.CONNECTION_REFUSED,
        EventName.HARVEST_DETECTED,
        EventName.HARVEST_REFUSED,
    )
]
_ACTIONS = {"deliver": "queued", "quarantine": "quarantined", "drop": "dropped"}
_STATUSES = {
    EventName.DELIVERED: "delivered",
    EventName.DEFERRED: "deferred",
    EventName.FAILED: "failed",
    EventName.BOUNCED: "bounced",
    EventName.DELETED: "deleted",
    EventName.RETRIED: "queued",
    EventName.RELEASED: "released",
    EventName.QUARANTINE_DELETED: "deleted",
    EventName.EXPIRED: "expired",
    EventName.RECIPIENT_REFUSED: "refused",
    EventName.REDIRECTED: "redirected",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An event with the key that makes it count once, and the identifier of its message."""

    id: str
    message: str
    event: Event


@dataclass(frozen=True, slots=True)
class Harvest:
    """A directory harvest by one network. Counts are the highest within an hour; times are Unix seconds."""

    network: str
    first_at: float
    last_at: float
    attacks: int  # told of
    connections: int  # refused
    invalid: int  # recipients that were none
    learned: int  # valid recipients that it learned before it was stopped
    refused: int  # recipients that it was told nothing of
    sample: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefusedConnections:
    """Connections that were refused alike. Times are Unix seconds; `group` and `because` are empty where no sender group was asked."""

    group: str
    because: str
    reason: str  # empty: the group itself
    connections: int
    clients: int  # different ones
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class TrackedRecipient:
    """`status`: queued, delivered, deferred, failed, quarantined, released, deleted, expired, dropped, refused."""

    address: str
    status: str
    reply: str


@dataclass(frozen=True, slots=True)
class Tracked:
    """One message as tracking knows it. Times are Unix seconds; `score` is None if it was not scanned."""

    id: str
    received_at: float
    client: str
    helo: str
    listener: str
    reverse_path: str
    size: int
    outcome: str
    verdict: str
    score: float | None
    subject: str
    recipients: tuple[TrackedRecipient, ...]
    events: tuple[Event, ...]


class Tracking:
    """The open tracking database of the one process that writes it."""

    def __init__(self, state: Path) -> None:
        """Open or make it. Raises StoreError."""
        self.path = state / FILE_NAME
        self._engine = open_tables(self.path, TABLES, version=VERSION, changes=CHANGES)

    def close(self) -> None:
        self._engine.dispose()

    def cursors(self) -> dict[tuple[str, str], Cursor]:
        """The stored spool cursors."""
        with transaction(self._engine, self.path) as connection:
            rows = connection.execute(select(CURSOR)).all()
        return {(row.writer, row.segment): Cursor(row.offset, row.sequence, bool(row.finished)) for row in rows}

    def damaged_segments(self) -> set[tuple[str, str]]:
        """(writer, segment) in which damage was found that was no torn tail."""
        with transaction(self._engine, self.path) as connection:
            return {(row.writer, row.segment) for row in connection.execute(select(CURSOR).where(CURSOR.c.damaged == 1))}

    def outbox_position(self, instance: str) -> int:
        """The last number stored of this queue file's outbox."""
        with transaction(self._engine, self.path) as connection:
            return connection.execute(select(OUTBOX.c.sequence).where(OUTBOX.c.instance == instance)).scalar() or 0

    def add(self, batch: Batch, told: Sequence[Told] = (), *, outbox: tuple[str, int] | None = None) -> None:
        """Store a batch of the spools, other events, and how far both have been read; all or nothing. Raises StoreError."""
        messages, recipients, events = [], [], [_damage_event(damage) for damage in batch.damages]
        for stored in batch.stored:
            record = stored.record
            events += [Told(f"{record.id}:{index}", record.id[:LENGTH], event) for index, event in enumerate(record.events)]
            if record.is_first:  # not a released message, which tracking has under its first identifier
                messages.append(_message_row(record))
            if record.is_first or record.is_splinter:
                recipients += _recipient_rows(record)
        events += told
        with transaction(self._engine, self.path) as connection:
            if messages:
                connection.execute(insert(MESSAGE).on_conflict_do_nothing(), messages)
            if recipients:
                connection.execute(insert(RECIPIENT).on_conflict_do_nothing(), recipients)
            if events:
                connection.execute(insert(EVENT).on_conflict_do_nothing(), [_event_row(one) for one in events])
                _apply(connection, events)
            _store_cursors(connection, batch)
            if outbox is not None:
                instance, sequence = outbox
                statement = insert(OUTBOX).values(instance=instance, sequence=sequence)
                connection.execute(statement.on_conflict_do_update(index_elements=["instance"], set_={"sequence": sequence}))

    def forget(self, segments: Iterable[tuple[str, str]]) -> None:
        """Drop the cursors of segments that are gone."""
        with transaction(self._engine, self.path) as connection:
            for writer, segment in segments:
                connection.execute(delete(CURSOR).where(CURSOR.c.writer == writer, CURSOR.c.segment == segment))

    def expire(self, before: float, *, limit: int = 5000) -> int:
        """Delete what is about messages received before that time, `limit` messages at most. Returns how many went."""
        with transaction(self._engine, self.path) as connection:
            old = connection.execute(select(MESSAGE.c.id).where(MESSAGE.c.received_at < before).limit(limit)).scalars().all()
            for start in range(0, len(old), 500):
                group = old[start : start + 500]
                self._remember(connection, group)
                for table, column in ((EVENT, EVENT.c.message), (RECIPIENT, RECIPIENT.c.message), (MESSAGE, MESSAGE.c.id)):
                    connection.execute(delete(table).where(column.in_(group)))
            connection.execute(delete(EVENT).where(EVENT.c.name.in_(_OF_NO_MESSAGE), EVENT.c.at < before))
        return len(old)

    @staticmethod
    def _remember(connection: Connection, messages: Sequence[str]) -> None:
        """Count the recipients of messages that go."""
        query = select(RECIPIENT.c.status, func.count()).join(MESSAGE, MESSAGE.c.id == RECIPIENT.c.message)
        query = query.where(MESSAGE.c.id.in_(messages), MESSAGE.c.outcome == "accepted").group_by(RECIPIENT.c.status)
        for status, count in connection.execute(query).all():
            statement = insert(PAST).values(status=status, recipients=count)
            changes = {"recipients": PAST.c.recipients + statement.excluded.recipients}
            connection.execute(statement.on_conflict_do_update(index_elements=["status"], set_=changes))


class TrackingView:
    """Tracking as another process reads it."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self.path = path

    @classmethod
    def open(cls, state: Path) -> TrackingView | None:
        """Open read-only; None if nothing has been tracked yet. Raises StoreError."""
        engine = open_tables_read_only(state / FILE_NAME, version=VERSION, changes=CHANGES)
        return None if engine is None else cls(engine, state / FILE_NAME)

    def close(self) -> None:
        self._engine.dispose()

    def search(
        self,
        *,
        identifier: str | None = None,
        sender: str | None = None,
        recipient: str | None = None,
        since: float | None = None,
        limit: int = 100,
    ) -> list[Tracked]:
        """Return the newest messages that fit all that is given, newest first.

        `sender` (reverse-path) and `recipient` are a whole address, or a part of one (as `@example.org`); case does not matter. `<>` is the
        null reverse-path. `since` is Unix seconds.
        """
        query = select(MESSAGE).order_by(MESSAGE.c.received_at.desc(), MESSAGE.c.id.desc()).limit(limit)
        if identifier is not None:
            query = query.where(MESSAGE.c.id == identifier[:LENGTH].upper())
        if sender is not None:
            query = query.where(_fits(MESSAGE.c.reverse_path, sender))
        if recipient is not None:
            query = query.where(MESSAGE.c.id.in_(select(RECIPIENT.c.message).where(_fits(RECIPIENT.c.address, recipient))))
        if since is not None:
            query = query.where(MESSAGE.c.received_at >= since)
        with transaction(self._engine, self.path) as connection:
            rows = connection.execute(query).all()
            identifiers = [row.id for row in rows]
            recipients: dict[str, list[TrackedRecipient]] = {one: [] for one in identifiers}
            events: dict[str, list[Event]] = {one: [] for one in identifiers}
            for start in range(0, len(identifiers), 500):
                group = identifiers[start : start + 500]
                for row in connection.execute(select(RECIPIENT).where(RECIPIENT.c.message.in_(group)).order_by(RECIPIENT.c.address)):
                    recipients[row.message].append(TrackedRecipient(row.address, row.status, row.reply))
                for row in connection.execute(select(EVENT).where(EVENT.c.message.in_(group)).order_by(EVENT.c.at, EVENT.c.id)):
                    events[row.message].append(Event(EventName(row.name), row.at, decode(row.fields)))
        return [Tracked(**row._mapping, recipients=tuple(recipients[row.id]), events=tuple(events[row.id])) for row in rows]

    def harvests(self, *, since: float = 0.0) -> list[Harvest]:
        """Directory harvests since that time (Unix seconds), by network, the latest first."""
        names = (EventName.HARVEST_DETECTED.value, EventName.HARVEST_REFUSED.value)
        query = select(EVENT).where(EVENT.c.name.in_(names), EVENT.c.at >= since).order_by(EVENT.c.at, EVENT.c.id)
        found: dict[str, list[Event]] = {}
        with transaction(self._engine, self.path) as connection:
            for row in connection.execute(query):
                event = Event(EventName(row.name), row.at, decode(row.fields))
                found.setdefault(str(event.fields.get("network", "")), []).append(event)
        return sorted((_harvest(network, events) for network, events in found.items()), key=lambda one: -one.last_at)

    def refused_connections(self, *, since: float = 0.0) -> list[RefusedConnections]:
        """Refused connections since that time (Unix seconds) by group, entry and reason, the most first."""
        query = select(EVENT.c.at, EVENT.c.fields).where(EVENT.c.name == EventName.CONNECTION_REFUSED.value, EVENT.c.at >= since)
        found: dict[tuple[str, str, str], list[tuple[float, int, str]]] = {}
        with transaction(self._engine, self.path) as connection:
            for at, text in connection.execute(query):
                fields = decode(text)
                group, because, reason = (str(fields.get(name) or "") for name in ("group", "because", "reason"))
                found.setdefault((group, because, reason), []).append((at, _number(fields.get("count")), str(fields.get("client", ""))))
        made = [
            RefusedConnections(
                *key,
                sum(count for _, count, _ in told),
                len({client for _, _, client in told}),
                min(at for at, _, _ in told),
                max(at for at, _, _ in told),
            )
            for key, told in found.items()
        ]
        return sorted(made, key=lambda one: -one.connections)

    def tls_history(self, since: float) -> dict[str, set[tuple[str, str]]]:
        """Clients of accepted and refused mail since `since` (Unix seconds): what each agreed on, as (version, cipher)."""
        found: dict[str, set[tuple[str, str]]] = {}
        wanted = (EVENT.c.name == EventName.CONNECTED) & (EVENT.c.at >= since)
        with transaction(self._engine, self.path) as connection:
            for (text,) in connection.execute(select(EVENT.c.fields).where(wanted)):
                fields = decode(text)
                if agreed := fields.get("tls"):
                    version, _, cipher = str(agreed).partition(" ")
                    found.setdefault(str(fields.get("client")), set()).add((version, cipher))
        return found


def _harvest(network: str, events: Sequence[Event]) -> Harvest:
    detected = [event for event in events if event.name is EventName.HARVEST_DETECTED]
    most = {key: max(_number(event.fields.get(key)) for event in events) for key in ("invalid", "learned", "refused")}
    sample = detected[-1].fields.get("sample") if detected else ()
    return Harvest(
        network,
        events[0].at,
        events[-1].at,
        len(detected),
        len(events) - len(detected),
        most["invalid"],
        most["learned"],
        most["refused"],
        tuple(map(str, sample)) if isinstance(sample, list | tuple) else (),
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _fits(column: Column[str], wanted: str) -> ColumnElement[bool]:
    if wanted == "<>":
        return column == ""
    text = wanted.strip("<>").lower()
    local, at, domain = text.rpartition("@")
    if at and local and domain:
        return func.lower(column) == text
    escaped = re.sub(r"([\\%_])", r"\\\1", text)
    return func.lower(column).like(f"%{escaped}%", escape="\\")


def _message_row(record: Record) -> dict[str, object]:
    outcome = "accepted"
    fields: Mapping[str, object] = {}
    for event in record.events:
        if event.name in _OUTCOMES:
            outcome, fields = _OUTCOMES[event.name], event.fields
    return {
        "id": record.id,
        "received_at": record.session.received_at,
        "client": record.session.client_address,
        "helo": printable(record.session.helo),
        "listener": record.session.listener,
        "reverse_path": printable(record.envelope.reverse_path),
        "size": record.size or record.envelope.size,
        "outcome": outcome,
        "verdict": str(fields.get("verdict") or ""),
        "score": fields.get("score"),
        "subject": printable(str(fields.get("subject") or "")),
    }


def _recipient_rows(record: Record) -> list[dict[str, object]]:
    """One row for each forward-path: where its splinter goes, or that the client was told no."""
    at = record.session.received_at
    if record.splinters:
        pairs = [
            (address, _ACTIONS[splinter.action], splinter.reason)
            for splinter in record.splinters
            if not splinter.is_copy
            for address in splinter.recipients
        ]  # an archive has none
    else:
        outcome = next((_OUTCOMES[event.name] for event in record.events if event.name in _OUTCOMES), "aborted")
        pairs = [(address, outcome, "") for address in record.envelope.recipients]
    return [
        {"message": record.id[:LENGTH], "address": printable(address), "status": status, "reply": printable(reply), "changed_at": at}
        for address, status, reply in pairs
    ]


def _event_row(told: Told) -> dict[str, object]:
    event = told.event
    return {"id": told.id, "message": told.message, "at": event.at, "name": event.name.value, "fields": encode(dict(event.fields)).decode()}


def _damage_event(damage: Damage) -> Told:
    fields = {"writer": damage.writer, "segment": damage.segment, "offset": damage.offset, "length": damage.length}
    event = Event(EventName.DAMAGED, time.time(), {**fields, "kind": damage.kind, "lost": damage.lost})
    return Told(f"damage:{damage.writer}:{damage.segment}:{damage.offset}", "", event)


def _apply(connection: Connection, events: Sequence[Told]) -> None:
    """Bring the recipients to what the events say, in order."""
    rows = []
    for told in events:
        status = _STATUSES.get(told.event.name)
        if status is None:
            continue
        fields = told.event.fields
        addresses = fields.get("recipients") or [fields.get("recipient")]
        for address in addresses if isinstance(addresses, list | tuple) else ():
            if isinstance(address, str):
                reply = printable(str(fields.get("reply") or fields.get("reason") or ""))
                rows.append(
                    {"message": told.message, "address": printable(address), "status": status, "reply": reply, "changed_at": told.event.at}
                )
    if rows:
        statement = insert(RECIPIENT)
        new = statement.excluded
        last = case((new.status == "bounced", RECIPIENT.c.reply), else_=new.reply)  # why it failed is why it bounced
        changes = {"status": new.status, "reply": last, "changed_at": new.changed_at}
        connection.execute(statement.on_conflict_do_update(index_elements=["message", "address"], set_=changes), rows)


def _store_cursors(connection: Connection, batch: Batch) -> None:
    damaged = {(damage.writer, damage.segment) for damage in batch.damages if damage.kind == "damaged"}
    rows = [
        {
            "writer": writer,
            "segment": segment,
            "offset": cursor.offset,
            "sequence": cursor.sequence,
            "finished": int(cursor.finished),
            "damaged": int((writer, segment) in damaged),
        }
        for (writer, segment), cursor in batch.cursors.items()
    ]
    if rows:
        statement = insert(CURSOR)
        new = statement.excluded
        changes = {
            "offset": new.offset,
            "sequence": new.sequence,
            "finished": new.finished,
            "damaged": func.max(CURSOR.c.damaged, new.damaged),
        }
        connection.execute(statement.on_conflict_do_update(index_elements=["writer", "segment"], set_=changes), rows)
