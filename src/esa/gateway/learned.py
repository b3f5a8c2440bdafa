"""Learning of senders from what the spools tell: the part of `keep` that writes histories, on disk and into the memory receivers share.

Nothing is asked of a receiver for it: the records of its mail say who sent what, and what was found. Promises: each record is learned from
once, whatever dies in between; the number of histories is bounded, and those that say least are forgotten; a damaged file is put aside and
written anew from memory.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.policy.history import History, Kind, Learning, Seen, Subject, learned, subjects_of, taken_over
from esa.policy.senders import read_address
from esa.store.record import REFUSED_BY_FILTER, Event, EventName, Record
from esa.store.reputation import FILE_NAME, Position, ReputationStore
from esa.store.reputation_table import TableWriter
from esa.store.segments import Batch

TABLE = Path("run") / "reputation"  # in the state folder
SHARES = {  # of all histories, so that a flood of one kind, made-up names say, leaves the others alone
    Kind.ADDRESS: 0.40,
    Kind.NETWORK: 0.15,
    Kind.HELO: 0.10,
    Kind.DOMAIN: 0.10,
    Kind.SIGNER: 0.05,
    Kind.IMPORTED: 0.20,
}
FORGET_SHARE = 0.1  # of a kind that is full go at once: looking for those that say least takes a while
NAME_LIMIT = 255  # octets of a domain name (RFC 1035 section 2.3.4)


THIS_MACHINE = frozenset({"127.0.0.1", "::1"})  # programs beside the gateway, which cannot be kept out by their address


@dataclass(frozen=True, slots=True)
class LearnSettings:
    """How to learn. `relaying`: names of mail flow policies whose senders are our own, and are not learned of."""

    is_on: bool = True
    learning: Learning = field(default_factory=Learning)
    senders: int = 65_536
    relaying: frozenset[str] = frozenset({"RELAYED"})


@dataclass(frozen=True, slots=True)
class Observation:
    """What one record says of its sender. `signers`: domains whose DKIM signature verified, once mail is authenticated; nothing fills it yet."""

    client: str
    seen: Seen
    helo: str = ""
    domain: str = ""
    signers: tuple[str, ...] = ()

    def subjects(self) -> list[Subject]:
        """All whose history this is of."""
        address = read_address(self.client)
        if address is None or str(address) in THIS_MACHINE:
            return []
        named = [(Kind.HELO, _host(self.helo)), (Kind.DOMAIN, _host(self.domain)), *((Kind.SIGNER, _host(one)) for one in self.signers)]
        return [*subjects_of(address), *(Subject(kind, name) for kind, name in named if name)]


def _host(name: str) -> str:
    """A domain name as histories have it; empty for what is none, as an address in brackets."""
    name = name.rstrip(".").lower()
    return name if "." in name and len(name) <= NAME_LIMIT and name.isascii() and name.isprintable() and name[0] != "[" else ""


def invalid_recipients(told: Iterable[Event], valid: int) -> int:
    """Recipients that were refused for good, beyond as many valid ones: a long list of members has stale ones, a guesser has little else.

    Those that a content filter refuses are known ones, as people who have left.
    """
    refused = sum(
        event.name is EventName.RECIPIENT_REFUSED
        and str(event.fields.get("reply", "")).startswith("5")
        and event.fields.get("by") != REFUSED_BY_FILTER
        for event in told
    )
    return max(0, refused - valid)


def observations_of(record: Record, relaying: Collection[str]) -> list[Observation]:
    """What a record says of senders: nothing of our own ones, who relay or have authenticated."""
    if record.session.user:
        return []
    relayed_from = record.session.relayed_from  # the client behind an incoming relay, which said HELO to the relay
    verdict = None
    is_aborted = False
    for event in record.events:
        match event.name:
            case EventName.CONNECTED if event.fields.get("policy") in relaying and not relayed_from:
                return []
            case EventName.ACCEPTED | EventName.REFUSED if "copy_of" not in event.fields:  # a copy is not sent by anybody
                verdict = event.fields.get("verdict")
            case EventName.ABORTED:
                is_aborted = True
    invalid = invalid_recipients(record.events, len(record.envelope.recipients))
    if is_aborted and invalid:
        return [Observation(record.session.client_address, Seen(invalid=invalid))]
    if verdict is None:
        return []
    seen = Seen(1, int(verdict == "positive"), int(verdict == "suspect"), 0, invalid)
    domain = record.envelope.reverse_path.rpartition("@")[2]
    if relayed_from:
        return [Observation(relayed_from, seen, "", domain)]
    return [Observation(record.session.client_address, seen, record.session.helo, domain)]


class Learner:
    """All histories, in memory, on disk and in the shared table. Not for two threads at once."""

    def __init__(self, state: Path, settings: LearnSettings, *, now: Callable[[], float] = time.time) -> None:
        """Open or make the file. Raises StoreError. `now`: Unix seconds."""
        self._path, self._settings, self._now = state / FILE_NAME, settings, now
        self._histories: dict[Kind, dict[str, History]] = {kind: {} for kind in Kind}
        self._position: Position = {}
        self._store = self._open()
        self._table = TableWriter(state / TABLE, settings.senders)
        for subject, history in self._all():
            self._table.put(subject, history)
        self._table.tell_imported(len(self._histories[Kind.IMPORTED]))
        self._table.publish()

    def close(self) -> None:
        self._store.close()
        self._table.close()

    def __len__(self) -> int:
        return sum(map(len, self._histories.values()))

    def _open(self) -> ReputationStore:
        store = None
        try:
            store = ReputationStore(self._path.parent)
            found, self._position = store.load()
        except StoreError as fault:
            if store is not None:
                store.close()
            if not fault.is_damaged:
                raise
            self._put_aside(fault)
            return ReputationStore(self._path.parent)
        for (kind, name), history in found.items():
            self._histories[kind][name] = history
        return store

    def _put_aside(self, fault: StoreError) -> None:
        aside = self._path.with_name(f"{FILE_NAME}.damaged-{int(self._now())}")
        for end in ("", "-wal", "-shm"):
            path = self._path.with_name(FILE_NAME + end)
            if path.exists():
                path.rename(aside.with_name(aside.name + end))
        events.error(
            Log.REPUTATION_LOST, reason=str(fault), kept_as=aside.name, histories=len(self), consequence="it is written anew from memory"
        )

    def _all(self) -> Iterable[tuple[Subject, History]]:
        return ((Subject(kind, name), history) for kind, histories in self._histories.items() for name, history in histories.items())

    # --- learning

    def learn(self, batch: Batch) -> None:
        """Learn from the records that are new. Raises StoreError; then nothing of the batch has been learned, and it can be tried again."""
        position: Position = {}
        seen: dict[Subject, Seen] = {}
        at: dict[Subject, float] = {}
        now = self._now()
        for stored in batch.stored:
            place = stored.location
            segment = (place.writer, place.segment)
            if place.offset < self._position.get(segment, 0):
                continue
            position[segment] = place.offset + place.length
            moment = min(now, stored.record.session.received_at)
            for observation in observations_of(stored.record, self._settings.relaying) if self._settings.is_on else ():
                for subject in observation.subjects():
                    before = seen.get(subject)
                    seen[subject] = observation.seen if before is None else before.plus(observation.seen)
                    at[subject] = max(moment, at.get(subject, 0.0))
        if not position:
            return
        changed = {
            subject: learned(self._histories[subject.kind].get(subject.name), one, at[subject], self._settings.learning)
            for subject, one in seen.items()
        }
        self._change(changed, position=position)

    def _change(
        self, changed: dict[Subject, History], gone: Sequence[Subject] = (), position: Mapping[tuple[str, str], int] | None = None
    ) -> None:
        """On disk first, then in memory and for the receivers."""
        forgotten = [*gone, *self._too_many(changed)]
        for subject in forgotten:
            changed.pop(subject, None)
        try:
            self._store.save(changed, forgotten, position)
        except StoreError as fault:
            if not fault.is_damaged:
                raise
            self._store.close()
            self._put_aside(fault)
            self._store = ReputationStore(self._path.parent)
            self._store.save(dict(self._all()) | changed, forgotten, self._position | dict(position or {}))
        self._position.update(position or {})
        for subject in forgotten:
            self._histories[subject.kind].pop(subject.name, None)
            self._table.remove(subject)
        for subject, history in changed.items():
            self._histories[subject.kind][subject.name] = history
            self._table.put(subject, history)
        self._table.tell_imported(len(self._histories[Kind.IMPORTED]))

    def _too_many(self, changed: Mapping[Subject, History]) -> list[Subject]:
        """Those that say least, where a kind has more than its share."""
        gone: list[Subject] = []
        new: dict[Kind, dict[str, History]] = {}
        for (kind, name), history in changed.items():
            new.setdefault(kind, {})[name] = history
        for kind, histories in new.items():
            known = self._histories[kind]
            limit = self.room(kind)
            excess = len(known) + sum(name not in known for name in histories) - limit
            if excess > 0:
                half_life = self._settings.learning.half_life
                ranked = ((history.rank(half_life), name) for name, history in (known | histories).items())
                least = heapq.nsmallest(excess + int(limit * FORGET_SHARE), ranked)
                gone += [Subject(kind, name) for _, name in least]
        return gone

    def room(self, kind: Kind) -> int:
        """Most histories of a kind."""
        return int(self._settings.senders * SHARES[kind])

    def forget_segments(self, segments: Collection[tuple[str, str]]) -> None:
        """Segments that are gone need no position. Raises StoreError."""
        if old := [one for one in segments if one in self._position]:
            for one in old:
                del self._position[one]
            self._store.save({}, segments=self._position)

    # --- what an administrator asks for

    def forget(self, subjects: Iterable[Subject]) -> int:
        """Take histories away. Returns how many there were. Raises StoreError."""
        gone = [subject for subject in dict.fromkeys(subjects) if subject.name in self._histories[subject.kind]]
        if gone:
            self._change({}, gone)
        return len(gone)

    def forget_all(self) -> int:
        return self.forget([subject for subject, _ in self._all()])

    def take_over(self, scores: Mapping[str, float]) -> int:
        """Another gateway's scores by address or network, in place of what was taken over of these before. Returns how many. Raises StoreError."""
        now = self._now()
        self._change({Subject(Kind.IMPORTED, name): taken_over(score, now) for name, score in scores.items()})
        return len(scores)
