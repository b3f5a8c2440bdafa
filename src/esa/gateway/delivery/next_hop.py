"""What destinations.py hands messages to: hosts that speak SMTP or LMTP over kept connections, or a Maildir.

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
from esa.gateway.bounces.tagging import Tagging
from esa.gateway.delivery.back_off import BackOff
from esa.gateway.delivery.client import Connection
from esa.gateway.delivery.exchangers import Undeliverable
from esa.gateway.delivery.mail_data import needs_no_tls
from esa.gateway.delivery.pool import Pool, hang_up
from esa.gateway.delivery.reaching import Reach
from esa.gateway.delivery.replies import RemoteError
from esa.gateway.delivery.signing import Signing
from esa.gateway.delivery.transaction import Attempt
from esa.gateway.events import Event as Log
from esa.policy.tls_modes import NOT_OFFERED, Demand
from esa.store.entry import Entry, Outcome, Result
from esa.store.maildir import Maildir, Parcel
from esa.store.numbers import Kind, Numbers
from esa.store.segments import StoredMessage, read_message

MAILDIR_GROUP = 128  # messages that share a directory sync
MAILDIR_OCTETS = 32 << 20  # of content held in memory at a time; longer content stays in its file
MESSAGES_PER_CONNECTION = 50  # as AsyncOS has it


class NextHop(Protocol):
    """A place messages go to."""

    def groups(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        """Split entries into what is sent together."""

    async def send(self, group: Sequence[Entry]) -> list[Outcome]:
        """Send, and return an outcome for each entry. Raises nothing but cancellation."""

    async def close(self) -> None: ...


def _unreadable(entry: Entry, fault: StoreError, next_hop: str) -> Outcome:
    """A message that cannot be read from our own disk: failed for good if it is damaged, else to be tried again."""
    status: Literal["failed", "deferred"] = "failed" if fault.is_damaged else "deferred"
    reply = f"the stored message cannot be read: {fault.what} ({fault.where})"
    if fault.is_damaged:
        events.error(
            Log.SPOOL_DAMAGED, id=entry.message, segment=entry.location.segment, offset=entry.location.offset, kind="damaged", lost=1
        )
    return Outcome(entry, tuple(Result(address, status, reply) for address in entry.pending), next_hop, time.time())


class DiscardHop:
    """Throws mail away, as an administrator asked with the route /dev/null; tracking shows it as delivered there."""

    _NAME = "/dev/null"

    def groups(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        return [entries]

    async def send(self, group: Sequence[Entry]) -> list[Outcome]:
        now = time.time()
        return [
            Outcome(
                entry,
                tuple(Result(address, "delivered", "250 2.0.0 thrown away") for address in entry.pending),
                self._NAME,
                now,
                success="delivered",
            )
            for entry in group
        ]

    async def close(self) -> None:
        """Nothing is open."""


class MaildirHop:
    """Final delivery to a Maildir, groups at a time, in threads."""

    def __init__(self, spool: Path, maildir: Path) -> None:
        """It is made when the first message comes; while it cannot be, mail waits."""
        self._spool = spool
        self._path = maildir
        self._opened: Maildir | None = None
        self._name = str(maildir)

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

    def _maildir(self) -> Maildir:
        if self._opened is None:
            self._opened = Maildir(self._path)
        return self._opened

    def _send(self, group: Sequence[Entry]) -> list[Outcome]:
        try:
            maildir = self._maildir()
        except StoreError as fault:
            reply, now = f"{fault.where}: {fault.what}", time.time()
            return [Outcome(one, tuple(Result(path, "deferred", reply) for path in one.pending), self._name, now) for one in group]
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
        for entry, parcel, problem in zip(entries, parcels, maildir.deliver(parcels), strict=True):
            if problem is None:
                reply = f"250 2.0.0 delivered as {parcel.name}"
                results = tuple(Result(address, "delivered", reply) for address in entry.pending)
            elif problem.is_damaged:
                outcomes.append(_unreadable(entry, problem, self._name))
                continue
            else:
                results = tuple(Result(address, "deferred", f"{problem.where}: {problem.what}") for address in entry.pending)
            outcomes.append(Outcome(entry, results, self._name, now, success="delivered"))
        return outcomes

    async def close(self) -> None:
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)


def recipient_numbers(entry: Entry, addresses: Sequence[str]) -> str:
    """The places of forward-paths among those of the message, from 0, as "0, 2": what logs name them by (AsyncOS's RID)."""
    return ", ".join(map(str, entry.places(addresses)))


def _final_trace(entry: Entry) -> bytes:
    """Return-Path (RFC 5321 section 4.4) and the recipients of this copy, which are nowhere else in a Maildir."""
    fields = [f"Return-Path: <{entry.envelope.reverse_path}>", *(f"Delivered-To: {address}" for address in entry.pending)]
    return b"".join(field.encode("utf-8", "surrogateescape") + b"\r\n" for field in fields)


class SmtpHop:
    """One destination over SMTP or LMTP, with kept connections; how many at a time is said by who claims."""

    def __init__(
        self,
        spool: Path,
        name: str,
        reach: Reach,
        back_off: BackOff,
        pool: Pool,
        *,
        messages_per_connection: int = MESSAGES_PER_CONNECTION,
        numbers: Numbers | None = None,
        signing: Signing | None = None,
        tagging: Tagging | None = None,
    ) -> None:
        self._spool, self._name = spool, name
        self._reach, self._back_off, self._pool = reach, back_off, pool
        self._messages_per_connection = messages_per_connection
        self._numbers, self._signing, self._tagging = numbers, signing, tagging

    def groups(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        return [(entry,) for entry in entries]

    async def send(self, group: Sequence[Entry]) -> list[Outcome]:
        return [await self._send(entry) for entry in group]

    async def _send(self, entry: Entry) -> Outcome:
        began = time.monotonic()
        demand = Demand.USUAL
        try:
            message = await asyncio.to_thread(self._read, entry) if entry.size > _INLINE else self._read(entry)
            demand = self._demand(entry, message)
            attempt, connection = await self._offer(entry, message, demand)
        except StoreError as fault:
            return _unreadable(entry, fault, self._name)
        except Undeliverable as fault:
            return Outcome(entry, tuple(Result(address, "failed", str(fault)) for address in entry.pending), self._name, time.time())
        except RemoteError as fault:
            if demand is Demand.USUAL:  # or it is the message that is hard to please
                self._unreached(str(fault))
            return Outcome(entry, tuple(Result(address, "deferred", str(fault)) for address in entry.pending), self._name, time.time())
        if (held := self._back_off.note(attempt, began)) is not None:
            self._tell(self._back_off.trouble or "", held, connection.place)
        now = time.time()
        success: Literal["passed", "relayed"] = "passed" if "DSN" in connection.extensions else "relayed"
        return Outcome(
            entry, attempt.results, connection.place, now, attempt.may_have_arrived, connection.number, connection.security, success
        )

    def _read(self, entry: Entry) -> StoredMessage:
        message = read_message(self._spool, entry.location)
        return self._signing.signed(message) if entry.signs and self._signing is not None else message

    async def _offer(self, entry: Entry, message: StoredMessage, demand: Demand) -> tuple[Attempt, Connection]:
        while True:
            connection = self._pool.take(self._name, demand) or await self._connect(demand)
            if events.tells_steps():
                rids = recipient_numbers(entry, entry.pending)
                events.step(Log.DELIVERY_STARTED, dcid=connection.number, mid=entry.envelope.number, rids=rids, id=entry.message)
            envelope = entry.envelope if self._tagging is None else self._tagging.envelope(entry)
            attempt = await connection.send(envelope, entry.pending, message)
            if attempt.is_connection_usable and connection.sent < self._messages_per_connection:
                self._pool.give(self._name, connection, demand)
            else:
                hang_up(connection)
            if not attempt.is_stale:
                return attempt, connection

    def _demand(self, entry: Entry, message: StoredMessage) -> Demand:
        """What the message asks of the connection. With REQUIRETLS what its header says counts no more (RFC 8689 section 4.2)."""
        if entry.envelope.options is not None and entry.envelope.options.requiretls:
            return Demand.REQUIRED
        return Demand.RELAXED if self._reach.can_be_relaxed and needs_no_tls(message) else Demand.USUAL

    async def _connect(self, demand: Demand) -> Connection:
        connection = await self._reach.connect(demand)
        if self._numbers is not None:
            connection.number = self._numbers.next(Kind.DELIVERY)
        if events.tells_steps():
            (local, _), (address, port) = connection.endpoints
            events.step(Log.DELIVERY_CONNECTED, dcid=connection.number, next_hop=connection.place, local=local, address=address, port=port)
        security = connection.security
        if security.tls:
            if events.tells_steps():
                protocol, _, cipher = security.tls.partition(" ")
                events.step(
                    Log.DELIVERY_TLS_AGREED, dcid=connection.number, tls=protocol, cipher=cipher, verification=security.verification
                )
        elif security.verification:
            say = events.step if NOT_OFFERED in security.verification else events.info  # many offer none: that is no event
            say(Log.DELIVERY_TLS_FAILED, dcid=connection.number, next_hop=connection.place, reason=security.verification)
        return connection

    def _unreached(self, reason: str) -> None:
        if (held := self._back_off.fail(reason)) is not None:
            self._tell(reason, held, self._name)

    def _tell(self, reason: str, held: float, next_hop: str) -> None:
        events.warning(
            Log.DELIVERY_UNREACHABLE,
            next_hop=next_hop,
            reason=reason,
            left_alone=f"{held:.0f} s",
            dcid=self._numbers.next(Kind.DELIVERY) if self._numbers is not None else None,
        )

    async def close(self) -> None:
        """Kept connections are the pool's."""


_INLINE = 1 << 20
