"""The keep process: drains events into tracking, keeps the quarantine, and lets segments go when all in them is done.

Started by process.py; `esa quarantine` uses `OpenKeep` itself where no service runs. The 250 of a message never waits for this process.
Order within a round, so that a crash at any point repeats work but never its effect: deliver's outbox is looked at first, then the spools
are read to their end, the quarantine and the archives are stored, then what is learned of senders, and last tracking with all cursors.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from esa.config import schema
from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.gateway.learned import Learner, LearnSettings
from esa.gateway.metrics import Counter, Row
from esa.policy.history import Kind, Subject
from esa.store.archives import Archives
from esa.store.checking import foreign, move_aside
from esa.store.control import ControlServer, Request
from esa.store.dictionary_hits import DictionaryHits
from esa.store.folder import make_private, sync_directory, take_lock, telling
from esa.store.quarantine import Item, Quarantine
from esa.store.queue_view import QueueView
from esa.store.record import Event, EventName
from esa.store.segments import Batch, Location, SpoolReader, StoredMessage, read_message
from esa.store.spool import Spool
from esa.store.tracking import Told, Tracking

WRITER = "keep"  # name of this process's own spool, for what it releases
POLL = 0.2  # seconds between rounds
_FAULT_PAUSE = 2.0  # after a fault of the disk
_HOUSEKEEPING = 5.0
_SWEEPING = 600.0
_ROTATION = 60.0
_OUTBOX_ROWS = 2000
_ROUND_BATCHES = 8  # of the spools in a round: under load that does not end, commands and housekeeping have their turn too


@dataclass(frozen=True, slots=True)
class KeepSettings:
    """What the keep process needs to know. Times in seconds; what is not said is as in an empty configuration."""

    state: Path
    quarantine_retention: float = schema.Quarantine().retention
    tracking_retention: float = schema.Tracking().retention
    learning: LearnSettings = field(default_factory=LearnSettings)


def socket_path(state: Path) -> Path:
    return state / "run" / "keep.sock"


class OpenKeep:
    """All that `keep` writes, open, with its lock held. Not for two threads at once."""

    def __init__(self, settings: KeepSettings) -> None:
        """Raises StoreError, with `is_in_use` while another process keeps this state."""
        self.settings = settings
        self._state = settings.state
        self._spool_folder = settings.state / "spool"
        make_private(settings.state / "run")
        with contextlib.ExitStack() as stack:
            lock = take_lock(settings.state / "run" / "keep.lock", what="the quarantine")
            stack.callback(os.close, lock)
            self.tracking = Tracking(settings.state)
            stack.callback(self.tracking.close)
            self.quarantine = Quarantine(settings.state)
            stack.callback(self.quarantine.close)
            self.archives = Archives(settings.state)
            self.learner = Learner(settings.state, settings.learning)
            stack.callback(self.learner.close)
            self.hits = DictionaryHits(settings.state)
            stack.callback(self.hits.close)
            self._spool = Spool(self._spool_folder, WRITER)
            stack.callback(self._spool.close)
            self._reader = SpoolReader(self._spool_folder, self.tracking.cursors())
            self._queue: QueueView | None = None
            stack.callback(self._close_queue)
            self._closing = stack.pop_all()
        self._housekept = self._swept = 0.0

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> OpenKeep:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _close_queue(self) -> None:
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    def _open_queue(self) -> QueueView | None:
        if self._queue is not None and self._queue.is_replaced:
            self._close_queue()
        if self._queue is None:
            self._queue = QueueView.open(self._state)
        return self._queue

    def start(self) -> None:
        """Catch up, and finish releases that a crash interrupted. Raises StoreError."""
        self.drain()
        for item in self.quarantine.unfinished():
            try:
                self.release([item])
            except StoreError as fault:  # one that cannot be read must not keep the rest from being kept
                events.error(Log.PROCESS_FAILED, id=item.id, reason=str(fault), consequence="this message is not released")

    def drain(self, *, batches: int | None = None) -> bool:
        """One round: outbox and spools into quarantine and tracking, to the end or so many batches of the spools.

        Returns whether the end was reached; if not, the outbox waits for it. Raises StoreError; nothing is lost then.
        """
        outbox, told = self._read_outbox()
        for _ in itertools.repeat(None) if batches is None else range(batches):
            batch = self._reader.read()
            if not batch and not told:
                return True
            for damage in batch.damages:
                say = events.warning if damage.kind == "torn" else events.error
                say(
                    Log.SPOOL_DAMAGED,
                    writer=damage.writer,
                    segment=damage.segment,
                    offset=damage.offset,
                    length=damage.length,
                    kind=damage.kind,
                    lost=damage.lost,
                )
            for item in self.quarantine.add(batch, self._read):
                events.info(
                    Log.QUARANTINE_KEPT, id=item.id, mid=item.envelope.number or None, recipients=len(item.recipients), reason=item.reason
                )
            self.archives.add(batch, self._read)
            self.learner.learn(batch)
            self._count(batch)
            if batch.is_complete:
                self.tracking.add(batch, told, outbox=outbox)
                self._reader.advance(batch)
                return True
            self.tracking.add(batch)
            self._reader.advance(batch)
        return False

    def _count(self, batch: Batch) -> None:
        """Count what was found of dictionaries. Raises StoreError, unless the counts are damaged: they begin anew then, and it is told."""
        self.hits.add(batch)
        if self.hits.lost:
            events.error(Log.DICTIONARY_HITS_LOST, kept_as=self.hits.lost, consequence="hits of entries are counted anew")
            self.hits.lost = ""

    def _read(self, location: Location) -> StoredMessage:
        return read_message(self._spool_folder, location)

    def _read_outbox(self) -> tuple[tuple[str, int] | None, list[Told]]:
        queue = self._open_queue()
        if queue is None:
            return None, []
        try:
            instance = queue.instance()
            rows = queue.outbox(self.tracking.outbox_position(instance), _OUTBOX_ROWS)
        except StoreError:
            self._close_queue()  # it may have been replaced
            raise
        if not rows:
            return None, []
        return (instance, rows[-1][0]), [Told(row[1], row[2][:26], row[3]) for row in rows]

    def release(self, items: Sequence[Item]) -> int:
        """Send items on and take note of it. Returns how many. Raises StoreError for the first that cannot be; those before it are sent."""
        try:
            for item in items:
                self.quarantine.release(item, self._spool)
                events.info(Log.QUARANTINE_RELEASED, id=item.id, mid=item.envelope.number or None, recipients=len(item.recipients))
        finally:
            self._spool.rotate()  # what was released can go with its segment as soon as it is delivered
        self.drain()
        return len(items)

    def delete(self, items: Sequence[Item], *, expired: bool = False) -> int:
        """Take items out of the quarantine for good. Returns how many. Raises StoreError."""
        name = EventName.EXPIRED if expired else EventName.QUARANTINE_DELETED
        now = time.time()
        told = [
            Told(f"{item.id}:{name.value}", item.message, Event(name, now, {"item": item.id, "recipients": list(item.recipients)}))
            for item in items
        ]
        self.tracking.add(Batch(), told)
        self.quarantine.close_items(items, "expired" if expired else "deleted")
        for item in items:
            name_of_log = Log.QUARANTINE_EXPIRED if expired else Log.QUARANTINE_DELETED
            events.info(name_of_log, id=item.id, mid=item.envelope.number or None, recipients=len(item.recipients))
        return len(items)

    def obey(self, request: Request) -> dict[str, object]:
        """Do what `esa quarantine` and `esa reputation` ask. Raises StoreError for anything else.

        {"verb": "release" | "delete", "keys": [message identifier …]}, {"verb": "forget", "keys": [[kind, name] …] or null for all},
        {"verb": "take over", "scores": {address or network: score}}.
        """
        match request:
            case {"verb": "forget", "keys": None}:
                return {"count": self.learner.forget_all()}
            case {"verb": "forget", "keys": [*pairs]}:
                return {"count": self.learner.forget([_subject(pair) for pair in pairs])}
            case {"verb": "take over", "scores": dict(scores)}:
                return {"count": self.learner.take_over(_scores(scores)), "room": self.learner.room(Kind.IMPORTED)}
            case {"verb": "release" | "delete" as verb, "keys": [*given]}:
                keys = _identifiers(given)
                self.drain()
                if verb == "release":
                    items = self.quarantine.items(keys)
                    return {"count": self.release(items), "items": [item.id for item in items]}
                items = self.quarantine.items(keys, states=("held",))
                return {"count": self.delete(items), "items": [item.id for item in items]}
            case _:
                raise StoreError("that is no request", mend="release or delete with keys, forget with keys, or take over with scores")

    def keep_house(self) -> None:
        """Let go what is done and what is past its time; cheap to call often. Raises StoreError."""
        now = time.monotonic()
        if now - self._housekept < _HOUSEKEEPING:
            return
        self._housekept = now
        self._spool.rotate(older_than=_ROTATION)
        self.remove_segments()
        if overdue := self.quarantine.overdue(time.time() - self.settings.quarantine_retention):
            self.delete(overdue, expired=True)
        self.tracking.expire(time.time() - self.settings.tracking_retention)
        if now - self._swept >= _SWEEPING or not self._swept:
            self._swept = now
            self.move_foreign_aside()
            self.quarantine.sweep(time.time() - self.settings.tracking_retention)

    def move_foreign_aside(self) -> int:
        """Move what is none of ours out of the spools, and tell of it. Returns how many. Raises StoreError."""
        count = 0
        for path, what in list(foreign(self._spool_folder)):
            kept = move_aside(path, self._spool_folder)
            events.error(Log.SPOOL_FOREIGN, path=str(path), reason=what, kept_as=str(kept))
            count += 1
        return count

    def remove_segments(self) -> list[tuple[str, str]]:
        """Delete the segments that `deliver` and `keep` have read to the end and no queue entry needs. Returns them. Raises StoreError.

        One in which damage was found is moved to the writer's folder `corrupt` instead, for whoever wants to look. Content files go before
        their segment: a crash in between leaves nothing that nobody would look for again.
        """
        finished = {key for key, cursor in self._reader.cursors.items() if cursor.finished}
        gone = {key for key in finished if not self._segment(key).exists()}
        queue = self._open_queue()
        done = sorted((finished - gone) & queue.finished_segments()) if queue is not None else []
        if done:
            damaged = self.tracking.damaged_segments()
            with telling(self._spool_folder):
                for key in done:
                    self._remove_segment(key, is_damaged=key in damaged)
                for writer in {writer for writer, _ in done}:
                    sync_directory(self._spool_folder / writer / "segments")
        if done or gone:
            self.tracking.forget([*done, *gone])
            self.learner.forget_segments([*done, *gone])
            self.hits.forget_segments([*done, *gone])
            for key in (*done, *gone):
                self._reader.forget(*key)
        return done

    def _segment(self, key: tuple[str, str]) -> Path:
        return self._spool_folder / key[0] / "segments" / key[1]

    def _remove_segment(self, key: tuple[str, str], *, is_damaged: bool) -> None:
        segment = self._segment(key)
        generation = segment.name.partition("-")[0]
        paths = [*(self._spool_folder / key[0] / "content").glob(f"{generation}-*"), segment]
        corrupt = make_private(self._spool_folder / key[0] / "corrupt") if is_damaged else None
        for path in paths:
            if corrupt is not None:
                path.rename(corrupt / path.name)
            else:
                path.unlink()


def _identifiers(given: Sequence[object]) -> list[str]:
    keys = [key for key in given if isinstance(key, str)]
    if len(keys) < len(given):
        raise StoreError("keys is a list of message identifiers")
    return keys


def _subject(pair: object) -> Subject:
    match pair:
        case [str(kind), str(name)] if kind in list(Kind):
            return Subject(Kind(kind), name)
    raise StoreError("a history is named by its kind and name")


def _scores(given: Mapping[object, object]) -> dict[str, float]:
    if not all(isinstance(name, str) and isinstance(score, int | float) for name, score in given.items()):
        raise StoreError("scores are numbers by address or network")
    return {str(name): float(str(score)) for name, score in given.items()}


async def run_keep(settings: KeepSettings, stop: asyncio.Event, *, ready: Callable[[], None] | None = None, row: Row | None = None) -> None:
    """Keep until `stop` is set. Raises StoreError if the state cannot be used. `ready` is called once it is open and has caught up.

    `row`: the counters of this process.
    """
    keep = await asyncio.to_thread(OpenKeep, settings)
    turn = asyncio.Lock()  # one at a time uses it
    wake = asyncio.Event()

    async def obey(request: Request) -> dict[str, object]:
        async with turn:
            return await asyncio.to_thread(keep.obey, request)

    try:
        await asyncio.to_thread(keep.start)
        control = await ControlServer.start(socket_path(settings.state), obey)
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: wake.set())
        try:
            if ready is not None:
                ready()
            while not stop.is_set():
                pause = POLL
                if row is not None:
                    row.set(Counter.REPUTATION_ROWS, len(keep.learner))
                try:
                    async with turn:
                        if not await asyncio.to_thread(_round, keep):
                            pause = 0.0
                except StoreError as fault:
                    events.error(Log.PROCESS_FAILED, reason=str(fault), consequence="tracking and quarantine wait")
                    pause = _FAULT_PAUSE
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await wake.wait()
        finally:
            stopping.cancel()
            await control.close()
    finally:
        await asyncio.to_thread(keep.close)


def _round(keep: OpenKeep) -> bool:
    """Returns False if there is more to do at once."""
    is_complete = keep.drain(batches=_ROUND_BATCHES)
    keep.keep_house()
    return is_complete
