"""Writes the notifications that queue entries owe: into a spool of its own, from which they go the way of all mail. The deliver process runs it.

    queue: debt and result in one transaction ─► notification composed ─► committed to the spool `bounces` ─► queue: debt paid

Promises: a debt is paid only behind the commit; what the spool holds already after a crash is paid by the queue as it reads it, before anything is
written here (see `begin`); the identifier of a notification is made of what it tells, so that one that is written twice is the same one. Past its
limits debts wait; what has waited too long is told to nobody, and to the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.bounces.notification import Notification, compose, envelope_of
from esa.gateway.bounces.pace import Pace
from esa.gateway.bounces.telling import DOUBLE, Message, Untold, given_up, plan
from esa.gateway.events import Event as Log
from esa.message.envelope import Options, Session
from esa.message.trace import strip_result_fields
from esa.policy.bounce_profile import BounceProfile
from esa.store.debts import WRITER, Payment, generated_event
from esa.store.entry import Entry
from esa.store.identifier import identifier_at, is_identifier, time_of
from esa.store.numbers import Kind, Numbers
from esa.store.queue import Queue
from esa.store.record import Record, Splinter
from esa.store.segments import StoredMessage, read_message
from esa.store.spool import Spool
from esa_core._header_lines import header_end

AT_ONCE: Final = 200  # entries looked at in one go: some hundred milliseconds of work
LOOK: Final = 0.25  # seconds between looks
ROTATION: Final = 60.0  # seconds after which a segment is closed, so that it can go
PUT_OFF: Final = 60.0  # seconds after which a notification past the limits is looked at again
HEADER_LIMIT: Final = 1 << 20  # octets of a header that are read
TOLD_AGAIN: Final = 600.0  # seconds after which it is said again that bounces wait


class Bouncer:
    """Of one deliver process. The queue is used under the caller's turn; all else is its own."""

    def __init__(
        self,
        state: Path,
        queue: Queue,
        profile_of: Callable[[Entry], BounceProfile],
        pace: Pace,
        *,
        hostname: str,
        wait: float,
        numbers: Numbers | None = None,
    ) -> None:
        """`wait`: seconds that a notification may wait past the limits. Raises StoreError if the spool is in use."""
        self._folder, self._queue, self._profile_of, self._pace = state / "spool", queue, profile_of, pace
        self._hostname, self._wait, self._numbers = hostname, wait, numbers
        self._spool = Spool(self._folder, WRITER)
        self._unpaid: list[Payment] = []  # of notifications that are committed
        self._late: list[str] = []  # keys of entries whose notification has to wait
        self._has_begun = self._is_working = False
        self._looked = self._told = self._rotated = 0.0
        self._found: list[Entry] = []

    def close(self) -> None:
        self._spool.close()

    def begin(self) -> None:
        """The queue has read all spools to their end once: what was committed before a crash is paid."""
        self._has_begun = True

    # --- in the thread of the queue

    def look(self) -> None:
        """Fetch what owes something by now; not while what was fetched is not paid, or it would be told twice. Raises StoreError."""
        now = time.monotonic()
        if not self._has_begun or self._is_working or self.has_work or now - self._looked < LOOK:
            return
        self._looked = now
        if self._pace.is_spent:
            self._tell_waiting()
        else:
            self._found = self._queue.owing(time.time(), AT_ONCE)

    def pay(self) -> None:
        """Raises StoreError; what is not paid then is paid the next time."""
        if self._unpaid:
            self._queue.pay(self._unpaid, time.time())
            self._unpaid = []
        if self._late:
            self._queue.put_off(self._late, time.time() + PUT_OFF)
            self._late = []

    # --- by itself

    @property
    def has_work(self) -> bool:
        return bool(self._found or self._unpaid or self._late)

    async def work(self, turn: asyncio.Lock) -> None:
        """Tell, and pay. Raises StoreError; what was found is looked for again then."""
        self._is_working = True
        try:
            found, self._found = self._found, []
            if not self._unpaid:
                await asyncio.to_thread(self._write, found, time.time())
            async with turn:
                await asyncio.to_thread(self.pay)
        finally:
            self._is_working = False

    def _write(self, entries: Sequence[Entry], now: float) -> None:
        """Commit notifications about these entries. Raises StoreError; then none of them is there, and nothing is paid."""
        if time.monotonic() - self._rotated > ROTATION:
            self._rotated = time.monotonic()
            self._spool.rotate(older_than=ROTATION)
        todo = plan(entries, self._profile_of, now)
        untold, records, payments, tells = list(todo.untold), [], [], []
        for message in todo.messages:
            if not self._pace.take(message.to):
                since = min(debt.at for debts in message.debts.values() for debt in debts)
                if now - since > self._wait:
                    untold += given_up(message, now)
                else:
                    self._late += message.debts
                    self._tell_waiting()
                continue
            record = self._record(message, now)
            records.append(record)
            payments += message.payments(record.id, now)
            tells.append((message, record))
        self._spool.append(records)
        self._unpaid = [*payments, *(one.payment for one in untold)]
        for message, record in tells:
            _tell_queued(message, record)
        for one in untold:
            _tell_untold(one)

    def _record(self, message: Message, now: float) -> Record:
        first = message.entries[0]
        identifier = identifier_of(message)
        original, is_whole = self._original(first, message.profile.max_copy)
        options = first.envelope.options
        composed = compose(
            Notification(
                message.kind,
                message.recipients,
                message.to,
                self._hostname,
                identifier,
                _arrived(first),
                original=original,
                returns_body=is_whole and first.is_outgoing and _wants_body(options),
                envelope_id=options.envelope_id if options is not None else "",
                smtputf8=first.envelope.smtputf8,
                profile=message.profile,
                now=now,
            )
        )
        number = self._numbers.next(Kind.MESSAGE) if self._numbers is not None else 0
        envelope = envelope_of(message.to, composed, number, requiretls=options is not None and options.requiretls)
        action = message.recipients[0].action
        reason = f"notification of {first.message}"
        splinter = Splinter((message.to,), "deliver", reason, signs=True, is_silent=message.is_alternate)
        return Record(
            identifier,
            envelope,
            Session(received_at=now),
            (splinter,),
            (generated_event(first.message, action, message.to, message.payments(identifier, now), now),),
            content=composed.content,
            size=len(composed.content),
        )

    def _original(self, entry: Entry, limit: int) -> tuple[bytes, bool]:
        """The message, or of a longer one its header; nothing of one that is damaged. Raises StoreError if it cannot be read just now."""
        try:
            message = read_message(self._folder, entry.location)
            is_whole = message.size <= limit
            octets = message.to_bytes() if is_whole else _header_of(message)
        except StoreError as fault:
            if not fault.is_damaged:
                raise
            return b"", False
        return strip_result_fields(octets), is_whole

    def _tell_waiting(self) -> None:
        now = time.monotonic()
        if now - self._told > TOLD_AGAIN:
            self._told = now
            events.warning(Log.BOUNCES_WAIT, reason="more than [bounces] lets pass in an hour", given_up_after=f"{self._wait:.0f} s")


def identifier_of(message: Message) -> str:
    """Of what it tells: written twice it is the same one."""
    told = [[one.address, one.action, one.at] for debts in message.debts.values() for one in debts]
    since = min(debt.at for debts in message.debts.values() for debt in debts)
    what = repr((message.entries[0].message, message.kind, message.to, sorted(message.debts), told, sorted(message.warnings.items())))
    return identifier_at(since, hashlib.sha256(what.encode("utf-8", "backslashreplace")).digest())


def _wants_body(options: Options | None) -> bool:
    """Whether the sender asked for all of the message; what never leaves without TLS is not handed about in notifications (RFC 8689 section 5)."""
    return options is not None and options.ret.upper() == "FULL" and not options.requiretls


def _arrived(entry: Entry) -> float:
    """When its message came in: a retry by hand begins its time in the queue anew."""
    return time_of(entry.message) if is_identifier(entry.message) else entry.accepted_at


def _header_of(message: StoredMessage) -> bytes:
    head = b""
    for chunk in message.chunks():
        head += chunk
        end = header_end(head)
        if end < len(head) or len(head) > HEADER_LIMIT:
            return head[:end]
    return head


def _tell_queued(message: Message, record: Record) -> None:
    first = message.entries[0]
    events.info(
        Log.BOUNCE_QUEUED,
        id=first.message,
        mid=first.envelope.number or None,
        action=message.recipients[0].action,
        recipients=len(message.recipients),
        to=f"<{message.to}>",
        notification=record.id,
        notification_mid=record.envelope.number or None,
        size=record.size,
        profile=message.profile.name,
    )


def _tell_untold(one: Untold) -> None:
    if one.payment.event is None:
        return
    say = events.warning if one.reason == DOUBLE else events.info
    say(
        Log.BOUNCE_DROPPED,
        id=one.entry.message,
        mid=one.entry.envelope.number or None,
        reverse_path=f"<{one.entry.envelope.reverse_path}>",
        recipients=len(one.payment.debts),
        reason=one.reason,
    )
