"""The route: what a receive worker does with a message, from the connection to the reply.

    connection → mail → recipients → mail data → scan (batcher) → decide → record → commit (batcher) → reply

`Route` is one per worker and owns the stages; `reception` hands it what its listeners accept. Promises: a 250 is said only when
the record is on disk; a fault of ours (scanner, disk, too much in work) is a 4xx and is logged, so the sender keeps the message; a reply
carries the identifier of the message and never the rule. Refused mail leaves its events with the next commit.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from esa.engine.verdict import Report
from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.batcher import Ended, Stage
from esa.gateway.commit import GroupCommit, Groups
from esa.gateway.deciding import Asked, Case, Decided, Refused
from esa.gateway.events import Event as Log
from esa.gateway.events import FieldValue
from esa.gateway.greylisting import Greylisting
from esa.gateway.journal import Journal, fates
from esa.gateway.judging import copies_again, judge
from esa.gateway.mail_in_work import Arrival
from esa.gateway.metrics import Counter, Row
from esa.gateway.receiver import Transaction
from esa.gateway.records import Contents, Writer, scores_of, tracked
from esa.gateway.visit import visit_of
from esa.message.envelope import Envelope, Session
from esa.message.reply import Reply, refusal_of
from esa.message.subject import message_id_of
from esa.message.trace import result_field_ranges
from esa.policy.disposition import NOTHING, Action, Answer
from esa.policy.host_access import Needs
from esa.store.identifier import new_identifier
from esa.store.numbers import Numbers
from esa.store.record import Event, EventName, Record

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.gateway.recording import Recording
    from esa.store.recorded import Fate

LARGE = 128 << 10  # octets; a longer message is scanned on its own thread, so that it never delays a batch of small ones
SCAN_ITEMS, SCAN_OCTETS = 64, 2 << 20  # caps of a batch: past some tens of messages it is no faster, only later
COMMIT_ITEMS, COMMIT_OCTETS = 512, 16 << 20  # one writev run and one flush
HOP_LIMIT = 100  # Received fields after which a message is going in circles (RFC 5321 section 6.3)
FORGED_LIMIT = 1000  # ranges to leave out of one big message; more is an attack on the record's size
NOTE = ".note"  # end of an identifier that is of no message
UNHURRIED_ITEMS, UNHURRIED_SECONDS = 256, 1.0  # records of refused mail wait so long for a commit they can go with

TOO_BUSY = (451, "4.3.2", "too many messages in work, try again later")
LOCAL_FAULT = (451, "4.3.0", "local fault, try again later")
DISK_FULL = (452, "4.3.1", "insufficient system storage, try again later")
UNSURE_GROUP = (451, "4.4.3", "the directory cannot be asked, try again later")
LOOP = (554, "5.4.6", "routing loop: too many Received fields")
TOO_MANY_FORGED = (554, "5.6.0", "the header is not acceptable")
RESERVE_OCTETS = 64 << 20  # free space below which no mail is begun with, so that what was begun can end
SPACE_TOLD_SECONDS = 60.0  # a full disk is told so often, not with every client that knocks
ABORTS_A_SECOND = 100  # transactions without mail that tracking is told of; more is a flood, and tracking is for people
FREE_SPACE_SECONDS = 1.0  # how long a look at the free space is good for
_FATES: dict[EventName, Fate] = {EventName.REFUSED: "refused", EventName.MESSAGE_DEFERRED: "deferred", EventName.GREYLISTED: "greylisted"}


class Scans(Protocol):
    """What the route asks of a scanner; esa.engine.scanner.Scanner gives it. Must be usable from two threads at once."""

    def scan_batch(
        self, raws: Sequence[Buffer], *, sessions: Sequence[Session | None] | None, envelopes: Sequence[Envelope | None] | None
    ) -> list[Report]: ...


class Decides(Protocol):
    """What the route and its receivers ask of policy; esa.gateway.deciding.Decider gives it. `decide` must be usable from two threads at once."""

    @property
    def needs(self) -> Needs: ...

    @property
    def refuses_recipients(self) -> bool: ...

    def refuse_recipient(self, asked: Asked) -> Refused | None: ...

    def decide(self, case: Case) -> Decided: ...

    def addresses(self, reverse_path: str, recipients: Iterable[str], header: bytes) -> list[str]: ...


class Appends(Groups, Protocol):
    """What the route asks of a spool; esa.store.spool.Spool gives it."""

    def append(self, records: Sequence[Record]) -> None: ...

    def free_bytes(self) -> int: ...


class Route:
    """All that a worker's listeners share: the scan stages, the policy, the commit stage. Lives on one event loop."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        scanner: Scans,
        spool: Appends,
        decider: Decides,
        hostname: str,
        row: Row,
        in_flight: int = 2000,
        reserve: int = RESERVE_OCTETS,
        numbers: Numbers | None = None,
        greylisting: Greylisting | None = None,
        identify: Callable[[Transaction], str] | None = None,
        decided: Callable[[Arrival, str], None] | None = None,
        recording: Recording | None = None,
    ) -> None:
        """`in_flight` messages may be in scan or commit at once; the next is answered 451 4.3.2. `row` are the counters of this process.

        `numbers` are those that logs name connections and messages by; None: they have none. `greylisting` None lets everybody pass. `identify`
        gives a message its identifier; None: a new one. `decided` is told of each message once its reply is known, and why it is no 250. `recording`
        None keeps no record.
        """
        self.decider = decider
        self._scanner, self._spool, self._hostname = scanner, spool, hostname
        self.row = row
        self._loop = loop
        self.journal = Journal(loop, numbers, self._note_events)
        self.greylisting = greylisting
        self._identify, self._decided = identify, decided
        self._recording = recording
        self._aborts, self._aborts_since = 0, 0.0
        self._limit = in_flight
        self._reserve = reserve
        self._in_scan = self._in_commit = 0
        self._unhurried: list[Record] = []
        self._is_drained = False
        self._unhurried_timer: asyncio.TimerHandle | None = None
        self._free, self._free_until, self._told_until = 0, 0.0, 0.0
        self._empty = asyncio.Event()
        self._empty.set()
        self._small = Stage(
            "scan", self._scan, self._scanned, self._broken, loop=loop, batch_items=SCAN_ITEMS, batch_octets=SCAN_OCTETS, inline=True
        )
        self._large = Stage("scan-large", self._scan_large, self._scanned, self._broken, loop=loop, batch_items=1, batch_octets=0)
        self._groups = GroupCommit(loop, spool)
        self._commit = Stage(
            "commit",
            self._append,
            self._committed,
            self._uncommitted,
            loop=loop,
            batch_items=COMMIT_ITEMS,
            batch_octets=COMMIT_OCTETS,
            begin=self._begin_append,
        )

    # --- arrival --------------------------------------------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Whether a message of `size` octets (0: not said) may be begun with, by the free space of the disk."""
        now = self._loop.time()
        if now >= self._free_until:
            self._free_until = now + FREE_SPACE_SECONDS
            try:
                self._free = self._spool.free_bytes()
            except OSError as error:
                events.error(Log.COMMIT_FAILED, cause=error)
                self._free = 0
            if self._free < self._reserve and now >= self._told_until:
                self._told_until = now + SPACE_TOLD_SECONDS
                events.error(Log.SPACE_LOW, free_bytes=self._free, needed=self._reserve, consequence="mail is put off with 452")
        return self._free >= self._reserve + size

    def take(self, transaction: Transaction) -> None:
        """Begin with a message whose mail data is complete; its reply follows when it is decided and, if kept, on disk."""
        row = self.row
        row.add(Counter.MESSAGES_OFFERED)
        row.add(Counter.BYTES_OFFERED, transaction.size)
        identifier = new_identifier() if self._identify is None else self._identify(transaction)
        arrival = Arrival(
            identifier,
            transaction,
            transaction.session if transaction.origin is None else replace(transaction.session, relayed_from=transaction.origin.address),
            transaction.envelope,
            transaction.content,
            transaction.content_path,
            time.monotonic(),
            visit=visit_of(transaction.connection),
        )
        if self._in_scan + self._in_commit >= self._limit:
            self._defer(arrival, TOO_BUSY, "in_flight")
            return
        if arrival.path is not None:
            try:
                with arrival.path.open("rb") as file:
                    arrival.content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                events.error(Log.SCAN_FAILED, cause=error, id=identifier)
                self._defer(arrival, LOCAL_FAULT, "content")
                return
        if transaction.groups is not None and transaction.groups.is_unsure:
            self._defer(arrival, UNSURE_GROUP, "groups")
            return
        self._in_scan += 1
        row.set(Counter.IN_SCAN, self._in_scan)
        self._empty.clear()
        (self._small if transaction.size <= LARGE else self._large).put(arrival, transaction.size)

    # --- scan -----------------------------------------------------------------------------------------------------------------------

    def _scan(self, arrivals: list[Arrival]) -> list[Report | Exception]:
        """A report for each; where a batch raises, each alone, so that only the message at fault is deferred. On the stage's thread."""
        try:
            reports: list[Report | Exception] = list(
                self._scanner.scan_batch(
                    [arrival.content for arrival in arrivals],
                    sessions=[arrival.session for arrival in arrivals],
                    envelopes=[arrival.envelope for arrival in arrivals],
                )
            )
        except Exception as error:
            if len(arrivals) == 1:
                return [error]
            return [outcome for arrival in arrivals for outcome in self._scan([arrival])]
        for arrival in arrivals:
            if arrival.path is not None:  # big: what takes long is done here and not on the loop, nor while others wait for a commit
                arrival.omitted = tuple(islice(result_field_ranges(arrival.content), FORGED_LIMIT + 1))
                _flush(arrival.path)
        return reports

    def _scan_large(self, arrivals: list[Arrival]) -> list[Report | Exception]:
        """Large messages are also decided about and edited on the thread: that takes as long as the scan, and others would wait for it."""
        outcomes = self._scan(arrivals)
        for place, (arrival, report) in enumerate(zip(arrivals, outcomes, strict=True)):
            if isinstance(report, Report):
                try:
                    self._judge(arrival, report)
                    for one in (arrival, *arrival.again):
                        one.contents = one.contents or Contents(one.content, one.end, one.path)
                        one.contents.make(one.plan)
                except Exception as error:
                    outcomes[place] = error
        return outcomes

    def _scanned(self, arrivals: list[Arrival], reports: list[Report | Exception], microseconds: float) -> None:
        row = self.row
        self._in_scan -= len(arrivals)
        row.set(Counter.IN_SCAN, self._in_scan)
        row.add(Counter.SCAN_BATCHES)
        row.add(Counter.SCANNED, len(arrivals))
        row.add(Counter.SCAN_MICROSECONDS, int(microseconds))
        for arrival, report in zip(arrivals, reports, strict=True):
            if isinstance(report, Exception):
                row.add(Counter.SCAN_FAILURES)
                events.error(Log.SCAN_FAILED, cause=report, id=arrival.id, size=arrival.envelope.size)
                self._defer(arrival, LOCAL_FAULT, "scan")
                continue
            try:
                self._settle(arrival, report)
            except Exception as error:
                events.error(Log.SCAN_FAILED, cause=error, id=arrival.id, size=arrival.envelope.size)
                self._defer(arrival, LOCAL_FAULT, "route")
        self._note_empty()

    def _broken(self, arrivals: list[Arrival], error: Exception) -> None:
        self._scanned(arrivals, [error] * len(arrivals), 0.0)

    # --- decide ---------------------------------------------------------------------------------------------------------------------

    def _judge(self, arrival: Arrival, report: Report) -> None:
        """Decide about a message, and about copies of it that are to be scanned. For a large one on the thread of its stage."""
        judge(arrival, report, self.decider)
        arrival.again = copies_again(arrival, self._scanner, self.decider)

    def _settle(self, arrival: Arrival, report: Report) -> None:
        if arrival.report is None:
            self._judge(arrival, report)
        if events.tells_steps():
            self.journal.read(arrival.transaction, arrival.subject, message_id_of(arrival.content, arrival.head))
        if arrival.plan.answer is Answer.REFUSE:
            self._refuse(arrival, (550, *refusal_of(arrival.plan.text)), arrival.plan.reason)
        elif arrival.plan.answer is Answer.DEFER:
            self._refuse(arrival, (451, "4.7.1", "message deferred, try again later"), arrival.plan.reason, EventName.MESSAGE_DEFERRED)
        elif hops(arrival.head) >= HOP_LIMIT:
            arrival.plan = NOTHING
            self._refuse(arrival, LOOP, "Message loop")
        elif len(arrival.omitted) > FORGED_LIMIT:
            arrival.plan = NOTHING
            self._refuse(arrival, TOO_MANY_FORGED, "forged result fields")
        elif (words := self._greylisted(arrival)) is not None:
            arrival.plan = NOTHING
            self.row.add(Counter.GREYLISTED)
            self._refuse(arrival, (451, "4.7.1", words), "greylist", EventName.GREYLISTED)
        else:
            arrival.reply = Reply(250, "2.0.0", f"accepted as {arrival.id}")
            arrival.record, *arrival.more = Writer(arrival, hostname=self._hostname, end=arrival.end).accepted()
            self._tell_decided(arrival)
            arrival.unmap()
            self._hand_to_commit(arrival)

    def _greylisted(self, arrival: Arrival) -> str | None:
        """The words to put a message off with that would be kept; None if it may pass."""
        if self.greylisting is None:
            return None
        arrival.greylist, words = self.greylisting.message(arrival.transaction, arrival.visit, arrival.content)
        return words

    def _refuse(self, arrival: Arrival, words: tuple[int, str, str], reason: str, outcome: EventName = EventName.REFUSED) -> None:
        """Answer 5xx, or 451 to a stranger, at once; the events go to disk with a later commit, and their loss in a crash would lose no mail."""
        reply = arrival.reply = _reply(words, arrival.id)
        records = Writer(arrival, hostname=self._hostname).refused(outcome, reply)
        arrival.record, *arrival.more = records
        self._tell_decided(arrival, reason)
        refused = outcome is EventName.REFUSED
        self.row.add(Counter.MESSAGES_REFUSED if refused else Counter.MESSAGES_DEFERRED)
        self._log(Log.MESSAGE_REFUSED if refused else Log.MESSAGE_DEFERRED, arrival, reply, reason)
        arrival.transaction.finish(reply)
        if self._recording is not None:
            self._recording.add(arrival, _FATES[outcome], reason)
        arrival.unmap()
        for record in records:
            self._commit_unhurried(record)

    def _tell_decided(self, arrival: Arrival, reason: str = "") -> None:
        if self._decided is not None:
            self._decided(arrival, reason)

    def note(self, transaction: Transaction, event: Event) -> None:
        """Tell tracking of something that is of no message; it goes to disk with a later commit."""
        self._commit_unhurried(Record(f"{new_identifier()}{NOTE}", Envelope("", ()), transaction.session, events=(event,)))

    def _note_events(self, noted: list[Event]) -> None:
        self._commit_unhurried(Record(f"{new_identifier()}{NOTE}", Envelope("", ()), Session(received_at=time.time()), events=tuple(noted)))

    def note_aborted(self, transaction: Transaction) -> None:
        """Tell tracking of a transaction that ended without its mail, if there were recipients; past ABORTS_A_SECOND only the log has it."""
        if not transaction.recipients and not transaction.context:
            return
        now = self._loop.time()
        if now - self._aborts_since >= 1.0:
            self._aborts, self._aborts_since = 0, now
        self._aborts += 1
        if self._aborts <= ABORTS_A_SECOND:
            visit = visit_of(transaction.connection)
            arrival = Arrival(
                new_identifier(), transaction, transaction.session, transaction.envelope, b"", None, time.monotonic(), visit=visit
            )
            told = tracked(arrival, EventName.ABORTED, None)
            self._commit_unhurried(Record(arrival.id, arrival.envelope, arrival.session, events=told))

    def _commit_unhurried(self, record: Record) -> None:
        if self._is_drained:  # a session that was cut at the end; nothing of it was promised
            return
        self._unhurried.append(record)
        if len(self._unhurried) >= UNHURRIED_ITEMS:
            self._flush_unhurried()
        elif self._unhurried_timer is None:
            self._unhurried_timer = self._loop.call_later(UNHURRIED_SECONDS, self._flush_unhurried)

    def _defer(self, arrival: Arrival, words: tuple[int, str, str], reason: str) -> None:
        """Answer 4xx: the sender keeps the message. Leaves no record: the disk or the memory may be what is wrong."""
        arrival.discard()
        reply = arrival.reply = _reply(words, arrival.id)
        self._tell_decided(arrival, reason)
        self.row.add(Counter.MESSAGES_DEFERRED)
        self._log(Log.MESSAGE_DEFERRED, arrival, reply, reason)
        arrival.transaction.finish(reply)
        if self._recording is not None:
            self._recording.add(arrival, "deferred", reason)
        self._note_empty()

    # --- commit ---------------------------------------------------------------------------------------------------------------------

    def _hand_to_commit(self, arrival: Arrival) -> None:
        self._in_commit += 1
        self.row.set(Counter.IN_COMMIT, self._in_commit)
        self._empty.clear()
        self._commit.put(arrival, arrival.envelope.size)
        if self._unhurried:
            self._flush_unhurried()

    def _flush_unhurried(self) -> None:
        if self._unhurried_timer is not None:
            self._unhurried_timer.cancel()
            self._unhurried_timer = None
        waiting, self._unhurried = self._unhurried, []
        for record in waiting:
            self._commit.put(record, 0)
        if waiting:
            self._in_commit += len(waiting)
            self.row.set(Counter.IN_COMMIT, self._in_commit)
            self._empty.clear()

    def _begin_append(self, items: list[Arrival | Record], ended: Ended[None]) -> bool:
        return self._groups.begin(_records(items), ended)

    def _append(self, items: list[Arrival | Record]) -> None:
        self._spool.append(_records(items))

    def _committed(self, items: list[Arrival | Record], _: None, microseconds: float) -> None:
        row = self.row
        self._left_commit(len(items))
        row.add(Counter.COMMIT_GROUPS)
        row.add(Counter.COMMITTED, len(items))
        row.add(Counter.COMMIT_MICROSECONDS, int(microseconds))
        kept: list[tuple[Arrival, Reply]] = []
        for arrival in items:
            if isinstance(arrival, Record) or (reply := arrival.reply) is None:
                continue  # nobody waits for it
            actions = [splinter.action for splinter in arrival.plan.splinters]  # a list: the hash of an enum's member is slow
            row.add(Counter.MESSAGES_KEPT)
            if Action.QUARANTINE in actions:
                row.add(Counter.MESSAGES_QUARANTINED)
            if Action.DROP in actions:
                row.add(Counter.MESSAGES_DROPPED)
            arrival.transaction.finish(reply)
            kept.append((arrival, reply))
        for arrival, reply in kept:  # what nobody waits for comes behind all replies, while the clients go on
            self._log(Log.MESSAGE_KEPT, arrival, reply)
        if self._recording is not None:
            for arrival, _answer in kept:
                self._recording.add(arrival, "accepted")
        self._note_empty()

    def _uncommitted(self, items: list[Arrival | Record], error: Exception) -> None:
        """Nothing of the group counts: everyone who has no reply yet gets a 4xx."""
        self._left_commit(len(items))
        self.row.add(Counter.COMMIT_FAILURES)
        events.error(Log.COMMIT_FAILED, cause=error, records=len(items))
        words = DISK_FULL if isinstance(error, StoreError) and error.is_full else LOCAL_FAULT
        for arrival in items:
            if isinstance(arrival, Arrival):
                self._defer(arrival, words, "commit")
        self._note_empty()

    def _left_commit(self, count: int) -> None:
        self._in_commit -= count
        self.row.set(Counter.IN_COMMIT, self._in_commit)

    # --- end ------------------------------------------------------------------------------------------------------------------------

    def _note_empty(self) -> None:
        if not self._in_scan and not self._in_commit:
            self._empty.set()

    async def drain(self) -> None:
        """Return when every message taken has its reply and every record is on disk. The listeners have stopped taking messages."""
        self.journal.flush()
        while self._in_scan or self._in_commit or self._unhurried:
            self._flush_unhurried()
            await self._empty.wait()
        self._is_drained = True
        for stage in (self._small, self._large, self._commit):
            stage.close()
        self._groups.close()
        if self._recording is not None:
            await self._recording.close()

    def _log(self, event: Log, arrival: Arrival, reply: Reply, reason: str | None = None) -> None:
        report, visit, origin = arrival.report, arrival.visit, arrival.transaction.origin
        session, envelope = arrival.session, arrival.envelope
        named, *more = fates(arrival.plan, envelope.recipients, otherwise="refuse" if event is Log.MESSAGE_REFUSED else "defer")
        if origin is not None:
            named |= origin.fields()
        if events.tells_steps():
            named["spam_check"] = arrival.is_checked
            named["table"] = "outbound" if arrival.is_outgoing else "inbound"
            named["policies"] = " ".join(dict.fromkeys(one.policy for one in (*arrival.plan.splinters, *arrival.plan.refusals))) or None
        sender = None if visit is None else visit.sender
        fields: dict[str, FieldValue] = {
            "id": arrival.id,
            "client": session.client_address,
            "reverse_path": f"<{envelope.reverse_path}>",
            "recipients": len(envelope.recipients),
            "size": envelope.size,
        }
        if session.tls_version or session.user:
            fields |= {"tls": session.tls_version or None, "cipher": session.tls_cipher or None, "user": session.user or None}
        if report is not None:
            fields["verdict"] = arrival.verdict.value
            fields["score"] = round(report.score, 1)
            if scores := scores_of(report):
                fields["dictionaries"] = " ".join([f"{name}:{score}" for name, score in scores.items()])
        if splinters := arrival.plan.splinters:
            fields["disposition"] = "+".join(dict.fromkeys([splinter.action.value for splinter in splinters]))
        fields["reply"] = f"{reply.code}/{reply.enhanced}"
        fields["reason"] = reason
        if arrival.greylist:
            fields["greylist"] = arrival.greylist
        if visit is not None:
            fields["group"] = visit.match.group
            fields["because"] = visit.match.because
        fields["icid"] = arrival.transaction.connection.number or None
        fields["mid"] = envelope.number or None
        if sender is not None:
            fields["reputation"] = sender.reputation
        fields["ms"] = round((time.monotonic() - arrival.began) * 1000, 1)
        events.info(event, **fields, **named)
        for line in more:
            events.info(Log.MESSAGE_RECIPIENTS, id=arrival.id, **line)
        if entries := arrival.plan.log_entries:
            events.info_each(Log.FILTER_LOG, "entry", entries, id=arrival.id, mid=arrival.envelope.number or None)


def _records(items: Sequence[Arrival | Record]) -> list[Record]:
    found: list[Record] = []
    for item in items:
        if isinstance(item, Record):
            found.append(item)
        elif item.record is not None:
            found.append(item.record)
            found += item.more
    return found


def _reply(words: tuple[int, str, str], identifier: str) -> Reply:
    code, enhanced, text = words
    return Reply(code, enhanced, f"{text} ({identifier})")


def hops(head: bytes) -> int:
    """Received fields in a header in lower case."""
    return head.count(b"\nreceived:") + head.startswith(b"received:")


def _flush(path: Path) -> None:
    """Bring a big file to disk ahead of the commit, which then has little left to flush."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
