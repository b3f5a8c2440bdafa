"""Quarantined mail: a table of items and one file each with the message as it would have left; written by `keep` alone.

    state/quarantine.db            items and what became of them
    state/quarantine/<hh>/<item>   the octets, mode 0600; there while the item is held

An item is added exactly once: its key is that of the splinter, and files are on disk before the row. A release is a record in the spool
that `keep` itself writes; the item is released when that record is read back, so a crash in between neither forgets nor repeats it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sqlalchemy import Column, Engine, Float, Index, Integer, MetaData, Row, String, Table, Text, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from esa.errors import StoreError
from esa.message.envelope import Envelope, Session
from esa.store.database import printable
from esa.store.entry import splinter_key
from esa.store.folder import make_private, store_error, sync_directory
from esa.store.identifier import LENGTH
from esa.store.record import INLINE_LIMIT, Event, EventName, Record, Splinter
from esa.store.segments import Batch, Location, Stored, StoredMessage
from esa.store.spool import Spool
from esa.store.tables import open_tables, open_tables_read_only, transaction
from esa.store.versions import QUARANTINE_FILE, QUARANTINE_VERSION

FILE_NAME = QUARANTINE_FILE
VERSION = QUARANTINE_VERSION
FOLDER = "quarantine"
CHANGES = {
    1: (
        "ALTER TABLE item ADD COLUMN quarantines TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE item ADD COLUMN mailhost TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE item ADD COLUMN encrypts INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE item ADD COLUMN is_copy INTEGER NOT NULL DEFAULT 0",
    ),
    2: ("ALTER TABLE item ADD COLUMN signs INTEGER NOT NULL DEFAULT 0",),
    3: (
        "ALTER TABLE item ADD COLUMN bounce_profile TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE item ADD COLUMN is_outgoing INTEGER NOT NULL DEFAULT 0",
    ),
}
RELEASE_SUFFIX = "-R"
State = Literal["held", "releasing", "released", "deleted", "expired"]
CLOSED: tuple[State, ...] = ("released", "deleted", "expired")

TABLES = MetaData()
ITEM = Table(
    "item",
    TABLES,
    Column("id", Text, primary_key=True),
    Column("message", String(26), nullable=False),
    Column("state", Text, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("reverse_path", Text, nullable=False),
    Column("recipients", Text, nullable=False),  # JSON list
    Column("subject", Text, nullable=False),
    Column("size", Integer, nullable=False),  # octets of the file
    Column("reason", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("score", Float),
    Column("envelope", Text, nullable=False),  # JSON
    Column("session", Text, nullable=False),  # JSON
    Column("quarantines", Text, nullable=False, server_default="[]"),  # JSON list of names
    Column("mailhost", Text, nullable=False, server_default=""),
    Column("encrypts", Integer, nullable=False, server_default="0"),
    Column("is_copy", Integer, nullable=False, server_default="0"),
    Column("signs", Integer, nullable=False, server_default="0"),
    Column("bounce_profile", Text, nullable=False, server_default=""),
    Column("is_outgoing", Integer, nullable=False, server_default="0"),
    Index("item_message", "message"),
    Index("item_state", "state", "received_at"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One quarantined splinter. Times are Unix seconds; `size` is octets as it would be delivered."""

    id: str
    message: str
    state: State
    received_at: float
    changed_at: float
    recipients: tuple[str, ...]
    subject: str
    size: int
    reason: str
    verdict: str
    score: float | None
    envelope: Envelope
    session: Session
    quarantines: tuple[str, ...] = ()  # that it is held in; a release takes it out of all
    mailhost: str = ""  # next hop once it is released, in the place of the usual one
    encrypts: bool = False  # it must not leave unencrypted, and so cannot be released
    is_copy: bool = False  # of mail that went its way; named by its own key alone, not by that of its message
    signs: bool = False  # it leaves with a DKIM signature
    bounce_profile: str = ""  # that a filter names
    is_outgoing: bool = False  # its return path is that of a host or user of ours


def content_path(state: Path, item: str) -> Path:
    """Where the octets of an item lie."""
    return state / FOLDER / f"{zlib.crc32(item.encode()) & 0xFF:02x}" / item


class Quarantine:
    """The open quarantine of the one process that writes it."""

    def __init__(self, state: Path) -> None:
        """Open or make it. Raises StoreError."""
        self._state = state
        self.path = state / FILE_NAME
        make_private(state / FOLDER)
        self._engine = open_tables(self.path, TABLES, version=VERSION, changes=CHANGES)

    def close(self) -> None:
        self._engine.dispose()

    def add(self, batch: Batch, read: Callable[[Location], StoredMessage]) -> list[Item]:
        """Take over the quarantine splinters of a batch; files and rows are durable on return. Returns those that are new.

        Raises StoreError; then the same batch can be added again. Release records of the batch close their items.
        """
        found = [
            (stored, index)
            for stored in batch.stored
            for index, splinter in enumerate(stored.record.splinters)
            if splinter.action == "quarantine" and splinter.recipients
        ]
        released = [stored.record.id.removesuffix(RELEASE_SUFFIX) for stored in batch.stored if stored.record.id.endswith(RELEASE_SUFFIX)]
        if not found and not released:
            return []
        with transaction(self._engine, self.path) as connection:
            keys = [splinter_key(stored.record.id, index) for stored, index in found]
            known = set(connection.execute(select(ITEM.c.id).where(ITEM.c.id.in_(keys))).scalars())
        items = self._write([(stored, index) for (stored, index), key in zip(found, keys, strict=True) if key not in known], read)
        with transaction(self._engine, self.path) as connection:
            if items:
                connection.execute(insert(ITEM).on_conflict_do_nothing(), [_row(item) for item in items])
            for item in released:
                connection.execute(update(ITEM).where(ITEM.c.id == item).values(state="released", changed_at=time.time()))
        for item in released:
            self._unlink(item)
        return items

    def _write(self, found: Sequence[tuple[Stored, int]], read: Callable[[Location], StoredMessage]) -> list[Item]:
        items = []
        folders = set()
        for stored, index in found:
            item = splinter_key(stored.record.id, index)
            try:
                message = read(stored.location)
                size = message.size
                folders.add(self._write_file(content_path(self._state, item), message))
            except StoreError as fault:
                if not fault.is_damaged:
                    raise
                size = 0  # the item is listed without its octets; the damage is told where it was found
            items.append(_item(stored.record, index, size=size))
        for folder in folders:
            try:
                sync_directory(folder)
            except OSError as error:
                raise store_error(error, folder) from error
        return items

    def _write_file(self, path: Path, message: StoredMessage) -> Path:
        make_private(path.parent)
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
                for chunk in message.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        except BaseException as error:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise store_error(error, path) from error
            raise
        return path.parent

    def items(self, keys: Sequence[str], *, states: Sequence[State] = ("held", "releasing")) -> list[Item]:
        """Return items by key or message identifier, in the order asked for."""
        return _select(self._engine, self.path, keys, states=states)

    def release(self, item: Item, spool: Spool) -> None:
        """Send a held item on: a deliver record in the spool of `keep`. Durable on return.

        Raises StoreError; one that was begun is released at the next start, or by the next call. The caller has read that spool to its end
        before, so that an item whose record is there already does not come here again.
        """
        path = content_path(self._state, item.id)
        if item.encrypts:
            mend = "delete it, and send what is in it another way"
            raise StoreError("it is to be sent encrypted only, and nothing encrypts yet", where=item.id, mend=mend)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise store_error(error, path) from error
        self._mark([item.id], "releasing")
        spool.append([self._release_record(item, path, size, spool.incoming)])

    def _release_record(self, item: Item, path: Path, size: int, incoming: Path) -> Record:
        now = time.time()
        content: bytes | Path
        try:
            if size <= INLINE_LIMIT:
                content = path.read_bytes()
            else:
                content = incoming / item.id
                content.unlink(missing_ok=True)
                os.link(path, content)
        except OSError as error:
            raise store_error(error, path) from error
        return Record(
            id=item.id + RELEASE_SUFFIX,
            envelope=item.envelope,
            session=replace(item.session, received_at=now),  # its time in the queue begins now
            splinters=(
                Splinter(
                    item.recipients,
                    "deliver",
                    "released from quarantine",
                    item.mailhost,
                    signs=item.signs,
                    bounce_profile=item.bounce_profile,
                    is_outgoing=item.is_outgoing,
                    is_silent=item.is_copy,  # of what was held by itself somebody has said that it is good
                ),
            ),
            events=(Event(EventName.RELEASED, now, {"item": item.id, "recipients": list(item.recipients)}),),
            content=content,
            size=size,
        )

    def unfinished(self) -> list[Item]:
        """Items whose release was begun."""
        return _select(self._engine, self.path, None, states=("releasing",))

    def overdue(self, before: float, *, limit: int = 500) -> list[Item]:
        """Held items received before that time."""
        return _select(self._engine, self.path, None, states=("held",), before=before, limit=limit)

    def close_items(self, items: Iterable[Item], state: Literal["deleted", "expired"]) -> None:
        """Mark items deleted or expired, then remove their octets."""
        keys = [item.id for item in items]
        self._mark(keys, state)
        for key in keys:
            self._unlink(key)

    def _mark(self, keys: Sequence[str], state: State) -> None:
        with transaction(self._engine, self.path) as connection:
            for start in range(0, len(keys), 500):
                statement = update(ITEM).where(ITEM.c.id.in_(keys[start : start + 500])).values(state=state, changed_at=time.time())
                connection.execute(statement)

    def _unlink(self, item: str) -> None:
        with contextlib.suppress(OSError):
            content_path(self._state, item).unlink(missing_ok=True)

    def sweep(self, before: float, *, older_than: float = 60.0) -> int:
        """Remove files without a held item (left by a crash), and rows of items closed before that time. Returns the number of files."""
        count = 0
        limit = time.time() - older_than
        for path in (self._state / FOLDER).glob("*/*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < limit and not self.items([path.name]):
                    path.unlink()
                    count += 1
        with transaction(self._engine, self.path) as connection:
            connection.execute(delete(ITEM).where(ITEM.c.state.in_(CLOSED), ITEM.c.changed_at < before))
        return count


class QuarantineView:
    """The quarantine as another process reads it."""

    def __init__(self, engine: Engine, state: Path) -> None:
        self._engine = engine
        self._state = state

    @classmethod
    def open(cls, state: Path) -> QuarantineView | None:
        """Open read-only; None if there is no quarantine yet. Raises StoreError."""
        engine = open_tables_read_only(state / FILE_NAME, version=VERSION, changes=CHANGES)
        return None if engine is None else cls(engine, state)

    def close(self) -> None:
        self._engine.dispose()

    def items(self, keys: Sequence[str] | None = None, *, states: Sequence[State] = ("held", "releasing")) -> list[Item]:
        """Return items by key or message identifier (None: all), oldest first."""
        return _select(self._engine, self._state / FILE_NAME, keys, states=states)

    def content(self, item: Item, *, limit: int = -1) -> bytes:
        """Return the octets of a held item, the first `limit` of them. Raises StoreError."""
        path = content_path(self._state, item.id)
        try:
            with path.open("rb") as file:
                return file.read(limit)
        except OSError as error:
            raise store_error(error, path) from error


def _select(
    engine: Engine,
    path: Path,
    keys: Sequence[str] | None,
    *,
    states: Sequence[State],
    before: float | None = None,
    limit: int | None = None,
) -> list[Item]:
    query = select(ITEM).where(ITEM.c.state.in_(states)).order_by(ITEM.c.received_at, ITEM.c.id).limit(limit)
    if before is not None:
        query = query.where(ITEM.c.received_at < before)
    with transaction(engine, path) as connection:
        if keys is None:
            return [_from_row(row) for row in connection.execute(query)]
        found: dict[str, Item] = {}
        for key in keys:
            for row in connection.execute(query.where((ITEM.c.id == key) | ((ITEM.c.message == key) & (ITEM.c.is_copy == 0)))):
                found[row.id] = _from_row(row)
        return list(found.values())


def _item(record: Record, index: int, *, size: int) -> Item:
    splinter = record.splinters[index]
    fields = next((event.fields for event in record.events if event.name in (EventName.ACCEPTED, EventName.SPLINTERED)), {})
    score = fields.get("score")
    return Item(
        id=splinter_key(record.id, index),
        message=record.id[:LENGTH],
        state="held",
        received_at=record.session.received_at,
        changed_at=time.time(),
        recipients=splinter.recipients,
        subject=str(fields.get("subject") or ""),
        size=size,
        reason=splinter.reason,
        verdict=str(fields.get("verdict") or ""),
        score=float(score) if isinstance(score, int | float) else None,
        envelope=record.envelope,
        session=record.session,
        quarantines=splinter.quarantines,
        mailhost=splinter.mailhost,
        encrypts=splinter.encrypts,
        is_copy=splinter.is_copy,
        signs=splinter.signs,
        bounce_profile=splinter.bounce_profile,
        is_outgoing=splinter.is_outgoing,
    )


def _row(item: Item) -> dict[str, object]:
    envelope, session = item.envelope, item.session
    return {
        "id": item.id,
        "message": item.message,
        "state": item.state,
        "received_at": item.received_at,
        "changed_at": item.changed_at,
        "reverse_path": printable(envelope.reverse_path),
        "recipients": json.dumps(item.recipients),
        "subject": printable(item.subject),
        "size": item.size,
        "reason": printable(item.reason),
        "verdict": item.verdict,
        "score": item.score,
        "envelope": json.dumps(envelope.to_list()),
        "session": json.dumps(session.to_list()),
        "quarantines": json.dumps(item.quarantines),
        "mailhost": item.mailhost,
        "encrypts": int(item.encrypts),
        "is_copy": int(item.is_copy),
        "signs": int(item.signs),
        "bounce_profile": item.bounce_profile,
        "is_outgoing": int(item.is_outgoing),
    }


def _from_row(row: Row[tuple[object, ...]]) -> Item:
    values = row._mapping
    return Item(
        id=values["id"],
        message=values["message"],
        state=values["state"],
        received_at=values["received_at"],
        changed_at=values["changed_at"],
        recipients=tuple(json.loads(values["recipients"])),
        subject=values["subject"],
        size=values["size"],
        reason=values["reason"],
        verdict=values["verdict"],
        score=values["score"],
        envelope=Envelope.from_list(json.loads(values["envelope"])),
        session=Session.from_list(json.loads(values["session"])),
        quarantines=tuple(json.loads(values["quarantines"])),
        mailhost=values["mailhost"],
        encrypts=bool(values["encrypts"]),
        is_copy=bool(values["is_copy"]),
        signs=bool(values["signs"]),
        bounce_profile=values["bounce_profile"],
        is_outgoing=bool(values["is_outgoing"]),
    )
