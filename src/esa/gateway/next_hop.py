"""Where delivery.py hands messages to: an SMTP next hop over kept connections, or a Maildir.

Each answers with one Outcome an entry, always. The third, DiscardHop, throws mail away and says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.client import Attempt, Connection, RemoteError, Timeouts, connect
from esa.gateway.events import Event as Log
from esa.gateway.signing import Signing
from esa.store.maildir import Maildir, Parcel
from esa.store.numbers import Kind, Numbers
from esa.store.queue import Entry, Outcome, Result, RetrySchedule
from esa.store.segments import StoredMessage, read_message

MAILDIR_GROUP = 128  # messages that share a directory sync
MAILDIR_OCTETS = 32 << 20  # of content held in memory at a time; longer content stays in its file
MESSAGES_A_CONNECTION = 500
IDLE_LIMIT = 5.0  # seconds a connection is kept without work: next hops have few to give away
_HOLD_INITIAL = 1 / 12  # of the first retry of a message: how long a route that refuses connections is left alone at first


class NextHop(Protocol):
    """A place messages go to."""

    def capacity(self, now: float) -> int:
        """How many entries may be in flight just now; `now` is monotonic. 0 while the hop is left alone after a failure."""

    def groups(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        """Split entries into what is sent together."""

    async def send(self, group: Sequence[Entry]) -> list[Outcome]:
        """Send, and return an outcome for each entry. Raises nothing but cancellation."""

    def trouble(self) -> str | None:
        """Why the hop is being left alone, or None if it works."""

    def forgive(self) -> None:
        """Try again at once: an administrator asks for it."""

    async def close(self) -> None: ...


def _unreadable(entry: Entry, fault: StoreError, next_hop: str) -> Outcome:
    """A message that cannot be read from our own disk: failed for good if it is damaged, else to be tried again."""
    status: Literal["failed", "deferred"] = "failed" if fault.is_damaged else "deferred"
    reply = f"the stored message cannot be read: {fault.what} ({fault.where})"
    return Outcome(entry, tuple(Result(address, status, reply) for address in entry.pending), next_hop, time.time())


class DiscardHop:
    """Throws mail away, as an administrator asked with the route /dev/null; tracking shows it as delivered there."""

    _NAME = "/dev/null"
    _GROUP = 512  # what one step of the queue settles at a time

    def capacity(self, now: float) -> int:
        return self._GROUP

    def groups(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        return [entries]

    async def send(self, group: Sequence[Entry]) -> list[Outcome]:
        now = time.time()
        return [
            Outcome(entry, tuple(Result(address, "delivered", "250 2.0.0 thrown away") for address in entry.pending), self._NAME, now)
            for entry in group
        ]

    def trouble(self) -> str | None:
        return None

    def forgive(self) -> None:
        """Nothing is held back here."""

    async def close(self) -> None:
        """Nothing is open."""


class MaildirHop:
    """Final delivery to a Maildir, groups at a time, in threads."""

    def __init__(self, spool: Path, maildir: Path) -> None:
        """Raises StoreError if the Maildir cannot be made."""
        self._spool = spool
        self._maildir = Maildir(maildir)
        self._name = str(maildir)

    def capacity(self, now: float) -> int:
        return 2 * MAILDIR_GROUP

    def groups(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        groups: list[Sequence[Entry]] = []
        group: list[Entry] = []
        octets = 0
        for entry in entries:
            if group and (len(group) >= MAILDIR_GROUP or octets + entry.location.length > MAILDIR_OCTETS):
                groups.append(group)
                group, octets = [], 0
            group.append(entry)
            octets += entry.location.length
        return [*groups, group] if group else groups

    async def send(self, group: Sequence[Entry]) -> list[Outcome]:
        return await asyncio.to_thread(self._send, group)

    def _send(self, group: Sequence[Entry]) -> list[Outcome]:
        outcomes = []
        entries: list[Entry] = []
        parcels: list[Parcel] = []
        for entry in group:
            try:
                message = read_message(self._spool, entry.location)
            except StoreError as fault:
                outcomes.append(_unreadable(entry, fault, self._name))
                continue
            entries.append(entry)
            parcels.append(Parcel(entry.key, entry.accepted_at, _final_trace(entry), message, entry.attempts > 1))
        now = time.time()
        for entry, parcel, problem in zip(entries, parcels, self._maildir.deliver(parcels), strict=True):
            if problem is None:
                reply = f"250 2.0.0 delivered as {parcel.name}"
                results = tuple(Result(address, "delivered", reply) for address in entry.pending)
            elif problem.is_damaged:
                outcomes.append(_unreadable(entry, problem, self._name))
                continue
            else:
                results = tuple(Result(address, "deferred", f"{problem.where}: {problem.what}") for address in entry.pending)
            outcomes.append(Outcome(entry, results, self._name, now))
        return outcomes

    def trouble(self) -> str | None:
        return None

    def forgive(self) -> None:
        """Nothing is held back here."""

    async def close(self) -> None:
        await asyncio.to_thread(self._maildir.close)


def recipient_numbers(entry: Entry, addresses: Sequence[str]) -> str:
    """The places of forward-paths among those of the message, from 0, as "0, 2": what logs name them by (AsyncOS's RID)."""
    places = {address: place for place, address in reversed(list(enumerate(entry.envelope.recipients)))}
    return ", ".join(str(places[address]) for address in addresses if address in places)


def _final_trace(entry: Entry) -> bytes:
    """Return-Path (RFC 5321 section 4.4) and the recipients of this copy, which are nowhere else in a Maildir."""
    fields = [f"Return-Path: <{entry.envelope.reverse_path}>", *(f"Delivered-To: {address}" for address in entry.pending)]
    return b"".join(field.encode("utf-8", "surrogateescape") + b"\r\n" for field in fields)


class SmtpHop:
    """One SMTP next hop with a bounded number of kept connections.

    While it refuses connections it is left alone for a growing time and then tried with one message; the others wait without being touched.
    """

    def __init__(
        self,
        spool: Path,
        host: str,
        port: int,
        *,
        hostname: str,
        concurrency: int,
        timeouts: Timeouts,
        schedule: RetrySchedule,
        numbers: Numbers | None = None,
        signing: Signing | None = None,
    ) -> None:
        self._numbers, self._signing = numbers, signing
        self._spool = spool
        self._host, self._port = host, port
        self._hostname = hostname
        self._concurrency = concurrency
        self._timeouts = timeouts
        self._hold = RetrySchedule(schedule.initial * _HOLD_INITIAL, min(schedule.maximum, 5 * schedule.initial))
        self._name = f"{host}:{port}"
        self._idle: list[tuple[float, Connection]] = []
        self._failures = 0
        self._held_until = 0.0
        self._trouble: str | None = None

    def capacity(self, now: float) -> int:
        self._close_idle(now)
        if self._failures == 0:
            return self._concurrency
        return 0 if now < self._held_until else 1

    def groups(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        return [(entry,) for entry in entries]

    async def send(self, group: Sequence[Entry]) -> list[Outcome]:
        return [await self._send(entry) for entry in group]

    async def _send(self, entry: Entry) -> Outcome:
        try:
            message = await asyncio.to_thread(self._read, entry) if entry.size > _INLINE else self._read(entry)
            attempt, number = await self._offer(entry, message)
        except StoreError as fault:
            return _unreadable(entry, fault, self._name)
        except RemoteError as fault:
            self._fail(str(fault))
            return Outcome(entry, tuple(Result(address, "deferred", str(fault)) for address in entry.pending), self._name, time.time())
        self._failures, self._trouble = 0, None
        return Outcome(entry, attempt.results, self._name, time.time(), attempt.may_have_arrived, number)

    def _read(self, entry: Entry) -> StoredMessage:
        message = read_message(self._spool, entry.location)
        return self._signing.signed(message) if entry.signs and self._signing is not None else message

    async def _offer(self, entry: Entry, message: StoredMessage) -> tuple[Attempt, int]:
        """The attempt, and the number of its connection in logs."""
        while True:
            connection = self._idle.pop()[1] if self._idle else None
            if connection is None:
                connection = await self._connect()
            if events.tells_steps():
                rids = recipient_numbers(entry, entry.pending)
                events.step(Log.DELIVERY_STARTED, dcid=connection.number, mid=entry.envelope.number, rids=rids, id=entry.message)
            attempt = await connection.send(entry.envelope, entry.pending, message)
            if attempt.is_connection_usable and connection.sent < MESSAGES_A_CONNECTION:
                self._idle.append((time.monotonic(), connection))
            else:
                self._close(connection)
            if not attempt.is_stale:
                return attempt, connection.number

    async def _connect(self) -> Connection:
        connection = await connect(self._host, self._port, hostname=self._hostname, timeouts=self._timeouts)
        if self._numbers is not None:
            connection.number = self._numbers.next(Kind.DELIVERY)
        if events.tells_steps():
            (local, _), (address, port) = connection.endpoints
            events.step(Log.DELIVERY_CONNECTED, dcid=connection.number, next_hop=self._name, local=local, address=address, port=port)
        return connection

    def _close(self, connection: Connection) -> None:
        connection.close()
        events.step(Log.DELIVERY_DISCONNECTED, dcid=connection.number, next_hop=self._name, messages=connection.sent)

    def _fail(self, reason: str) -> None:
        now = time.monotonic()
        if now >= self._held_until:  # the others that were under way at the same time are the same failure
            self._failures += 1
            held = self._hold.delay(self._failures)
            self._held_until = now + held
            events.warning(
                Log.DELIVERY_UNREACHABLE,
                next_hop=self._name,
                host=self._host,
                port=self._port,
                reason=reason,
                left_alone=f"{held:.0f} s",
                dcid=self._numbers.next(Kind.DELIVERY) if self._numbers is not None else None,
            )
        self._trouble = f"{self._name}: {reason}"

    def _close_idle(self, now: float) -> None:
        keep = []
        for since, connection in self._idle:
            if now - since < IDLE_LIMIT and connection.is_usable:
                keep.append((since, connection))
            else:
                self._close(connection)
        self._idle = keep

    def trouble(self) -> str | None:
        return self._trouble

    def forgive(self) -> None:
        self._held_until = 0.0

    async def close(self) -> None:
        for _, connection in self._idle:
            self._close(connection)
        self._idle = []


_INLINE = 1 << 20
