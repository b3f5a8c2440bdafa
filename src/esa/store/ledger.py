"""The conservation of mail: every recipient that was acknowledged is delivered, failed, waiting, held, dropped by policy, or deleted by a person.

`esa queue audit` asks. Tracking says what became of each recipient; what it calls unfinished must be found where it is kept: in the queue, in the
quarantine, in the outbox that tracking has not read yet, or in the spool. On a living gateway mail moves on between one look and the next: only what
is missing at several looks is missing. Reads only.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from esa.store import outbox
from esa.store.database import open_read_only, telling_database
from esa.store.entry import entries_of
from esa.store.folder import is_locked
from esa.store.identifier import LENGTH
from esa.store.quarantine import CHANGES
from esa.store.queue_table import read_cursors
from esa.store.queue_view import QueueView
from esa.store.record import EventName
from esa.store.segments import Cursor, SpoolReader, Stored
from esa.store.versions import QUARANTINE_FILE, QUARANTINE_VERSION

LOOKS = 6  # before something counts as missing, on a living gateway
PAUSE = 0.5  # seconds between them: keep reads the outbox several times in that
_OPEN = ("queued", "deferred", "released", "quarantined")
_FATES = {
    "delivered": "delivered",
    "failed": "bounced or failed",
    "bounced": "bounced or failed",
    "queued": "queued",
    "deferred": "queued",
    "released": "queued",
    "quarantined": "quarantined",
    "dropped": "dropped by policy",
    "deleted": "deleted by an administrator",
    "expired": "expired in quarantine",
    "redirected": "redirected by policy",
}
FATES = tuple(dict.fromkeys(_FATES.values()))
_ACTIONS = {"deliver": "queued", "quarantine": "quarantined", "drop": "dropped by policy"}
_Key = tuple[str, str]  # message, forward-path


@dataclass(frozen=True, slots=True)
class Missing:
    """A recipient that was acknowledged and is nowhere. `status` is what tracking says."""

    message: str
    address: str
    status: str


@dataclass(frozen=True, slots=True)
class Audit:
    """Recipients by what became of them; those before `forgotten` are known as numbers only, for tracking has let them go."""

    messages: int  # that were accepted and tracking still knows, or the spool
    fates: dict[str, int]
    forgotten: dict[str, int]
    missing: tuple[Missing, ...]
    lost: int  # records known to have been in places of the spools that were damaged
    looks: int

    @property
    def acknowledged(self) -> int:
        """Recipients in all."""
        return sum(self.fates.values()) + sum(self.forgotten.values()) + len(self.missing)

    @property
    def is_balanced(self) -> bool:
        return not self.missing and not self.lost


@dataclass(slots=True)
class _Look:
    """What one look over all stores gave."""

    messages: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    open: dict[_Key, str] = field(default_factory=dict)  # unfinished, with the status
    forgotten: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    unread: list[Stored] = field(default_factory=list)  # accepted records that tracking has not read
    found: set[_Key] = field(default_factory=set)  # of the unfinished

    def missing(self) -> set[_Key]:
        return set(self.open) - self.found


def audit(state: Path, *, sleep: Callable[[float], None] = time.sleep) -> Audit:
    """Look until nothing is missing, or often enough. Raises StoreError for a store that cannot be read."""
    most = LOOKS if is_locked(state / "run" / "lock") else 1
    always: set[_Key] | None = None
    looks = 0
    while True:
        look = _look(state)
        looks += 1
        always = look.missing() if always is None else always & look.missing()
        if not always or looks >= most:
            break
        sleep(PAUSE)
    fates = Counter(dict.fromkeys(FATES, 0))
    for status, count in look.statuses.items():
        fates[_FATES[status]] += count
    for stored in look.unread:
        for splinter in stored.record.splinters:
            if not splinter.is_copy and splinter.action in _ACTIONS:
                fates[_ACTIONS[splinter.action]] += len(splinter.recipients)
    missing = tuple(
        Missing(message, address, look.open[message, address]) for message, address in sorted(always) if (message, address) in look.open
    )
    for one in missing:
        fates[_FATES[one.status]] -= 1
    messages = look.messages + sum(stored.record.is_first for stored in look.unread)
    return Audit(messages, dict(fates), look.forgotten, missing, look.lost, looks)


def _look(state: Path) -> _Look:
    look = _Look()
    spool = state / "spool"
    tracking = open_read_only(state / outbox.FILE_NAME, version=outbox.VERSION, changes=outbox.CHANGES)
    cursors: dict[tuple[str, str], Cursor] = {}
    if tracking is not None:
        with contextlib.closing(tracking), telling_database(state / outbox.FILE_NAME):
            tracking.execute("BEGIN")
            _read_tracking(tracking, look)
            cursors = read_cursors(tracking)
    look.unread = [
        stored for stored in _unread(spool, cursors) if stored.record.splinters and (stored.record.is_first or stored.record.is_splinter)
    ]
    _find_queued(state, look)
    _find_held(state, look)
    return look


def _read_tracking(connection: sqlite3.Connection, look: _Look) -> None:
    accepted = "FROM recipient JOIN message ON message.id = recipient.message WHERE message.outcome = 'accepted'"
    look.messages = int(connection.execute("SELECT count(*) FROM message WHERE outcome = 'accepted'").fetchone()[0])
    for status, count in connection.execute(f"SELECT status, count(*) {accepted} GROUP BY status"):
        if status in _FATES:  # refused at RCPT: never acknowledged
            look.statuses[status] += count
    marks = ",".join("?" * len(_OPEN))
    for message, address, status in connection.execute(f"SELECT message, address, status {accepted} AND status IN ({marks})", _OPEN):
        look.open[message, address] = status
    for status, count in connection.execute("SELECT status, recipients FROM past"):
        if status in _FATES:
            fate = _FATES[status]
            look.forgotten[fate] = look.forgotten.get(fate, 0) + count
    damaged = connection.execute("SELECT fields FROM event WHERE name = ?", (EventName.DAMAGED.value,))
    look.lost = sum(int(json.loads(fields).get("lost") or 0) for (fields,) in damaged)


def _unread(spool: Path, cursors: dict[tuple[str, str], Cursor]) -> Iterator[Stored]:
    reader = SpoolReader(spool, cursors)
    while batch := reader.read():
        yield from batch.stored
        reader.advance(batch)
        if batch.is_complete:
            return


def _find_queued(state: Path, look: _Look) -> None:
    """Of the unfinished: what the queue has, what its outbox says, and what it has not read yet."""
    view = QueueView.open(state)
    queued: dict[tuple[str, str], Cursor] = {}
    if view is not None:
        try:
            queued = view.cursors()
            for entry in view.entries():
                look.found.update((entry.message, one.address) for one in entry.recipients if one.status != "delivered")
            after = 0
            while rows := view.outbox(after):
                after = rows[-1][0]
                for _, _, message, event in rows:
                    addresses = event.fields.get("recipients")
                    if event.name in (EventName.DELIVERED, EventName.FAILED, EventName.DELETED) and isinstance(addresses, list):
                        look.found.update((message, str(address)) for address in addresses)
        finally:
            view.close()
    for stored in _unread(state / "spool", queued):
        for entry in entries_of(stored, 0.0):
            look.found.update((entry.message, one.address) for one in entry.recipients)


def _find_held(state: Path, look: _Look) -> None:
    """Of the unfinished: what the quarantine has."""
    connection = open_read_only(state / QUARANTINE_FILE, version=QUARANTINE_VERSION, changes=CHANGES)
    if connection is None:
        return
    with contextlib.closing(connection), telling_database(state / QUARANTINE_FILE):
        for message, recipients in connection.execute("SELECT message, recipients FROM item WHERE state IN ('held', 'releasing')"):
            look.found.update((message[:LENGTH], address) for address in json.loads(recipients))
