"""The deliver process: takes committed messages out of the spools, hands them to their destinations, and keeps the queue.

Started by process.py; `esa queue` uses `OpenQueue` and `obey` itself where no service does. One step of the loop, in a thread: read new
records, store what came of attempts, claim what is due, all in one transaction of queue.db; then the claimed ones are sent while the next
step is prepared. So the batches grow by themselves under load, and nothing is sent before the queue says on disk that it is in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from esa.config.schema import Delivery
from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.bounces.bouncer import Bouncer
from esa.gateway.bounces.pace import Pace
from esa.gateway.bounces.profiles import BounceProfiles, BounceSettings
from esa.gateway.bounces.tagging import Tagging
from esa.gateway.delivery.back_off import BackOff
from esa.gateway.delivery.client import Timeouts
from esa.gateway.delivery.destinations import Destinations
from esa.gateway.delivery.exchangers import Exchangers, Ourselves, can_go_to
from esa.gateway.delivery.next_hop import DiscardHop, MaildirHop, NextHop, SmtpHop, recipient_numbers
from esa.gateway.delivery.open_queue import OpenQueue, is_damage, obey, socket_path
from esa.gateway.delivery.pool import Pool
from esa.gateway.delivery.published import Published
from esa.gateway.delivery.reaching import Interface, Reach
from esa.gateway.delivery.securing import ClientTls, Securing
from esa.gateway.delivery.signing import Signing
from esa.gateway.delivery.tls_report import Reporter
from esa.gateway.dns import Dns
from esa.gateway.events import Event as Log
from esa.gateway.peers.https import HTTPS
from esa.gateway.peers.probe import Manner
from esa.gateway.suspending import tell_suspension
from esa.policy.bounce_profile import RetrySchedule
from esa.policy.destination_controls import DEFAULT_CONTROL, DestinationControl
from esa.policy.routing import Destination, Router
from esa.policy.smtp_routes import TO_MAILDIR, RouteKind, SmtpRoute
from esa.store.control import ControlServer, Request
from esa.store.debts import EXPIRED
from esa.store.entry import Entry, Outcome, Result
from esa.store.maildir import Maildir
from esa.store.numbers import Numbers
from esa.store.outbox import stored_outbox
from esa.store.queue import Queue
from esa.store.segments import SpoolReader
from esa.store.suspension import NOTHING, SuspensionWatch

PACE = 0.005  # seconds from one step to the next at least: each costs a commit, and what comes meanwhile shares it
POLL = 0.02  # seconds between looks for new mail; and between steps where no mail waits for a delivery to end
_SLOW_POLL = 0.1  # when nothing has come for a second
_FAULT_PAUSE = 1.0  # after a fault of the disk
_DAMAGED_AGAIN = 60.0  # seconds after the queue was made anew in which damage is no accident any more, but the disk
_HOUSEKEEPING = 30.0
_TEND = 1.0
RECIPIENTS_A_LINE = 20  # named in a log line; more of them make further lines
SPARSE = 0.25  # share of a segment under which what is left in it is copied out
GRACE = 8.0  # seconds that what is in flight may take to finish at the end
_DEFAULTS = Delivery()
_TLS = ClientTls()

Kind = Literal["delivered", "deferred", "failed"]


@dataclass(frozen=True, slots=True)
class DeliverSettings:
    """What the deliver process needs to know. Times in seconds; what is not said is as in an empty configuration."""

    state: Path
    hostname: str  # argument of EHLO
    route: SmtpRoute = TO_MAILDIR  # of domains that none of `routes` is for
    routes: tuple[tuple[str, SmtpRoute], ...] = ()
    control: DestinationControl = DEFAULT_CONTROL  # of destinations that none of `controls` is for
    controls: tuple[tuple[str, DestinationControl], ...] = ()
    interfaces: tuple[tuple[str, Interface], ...] = ()  # by name
    maildir: Path | None = None  # None: state/Maildir
    connections: int = _DEFAULTS.max_connections
    retry_initial: float = _DEFAULTS.retry_initial
    retry_maximum: float = _DEFAULTS.retry_max
    expire: float = _DEFAULTS.expire
    connect_timeout: float = _DEFAULTS.connect_timeout
    command_timeout: float = _DEFAULTS.command_timeout
    signing: Signing | None = None  # with DKIM, of what leaves
    name_servers: tuple[str, ...] = ()  # address:port; empty: those of the machine
    dns_timeout: float = 4.0
    dns_port: int = _DEFAULTS.dns_port  # that hosts found by DNS are spoken to on
    dns_unreachable: tuple[str, ...] = _DEFAULTS.dns_unreachable
    tls: ClientTls = _TLS
    trusts_resolver: bool = False  # what it says of DNSSEC, though it is on another machine
    https_port: int = HTTPS  # that policies are fetched from
    sends_reports: bool = False  # on TLS, to domains that ask for them
    reports_from: str = ""  # mail address of who answers for them
    organization: str = ""
    bounces: BounceSettings | None = None  # None: nobody is told of anything, and what fails stays as failed
    tagging: Tagging | None = None  # of return paths, for destinations that want it
    listeners: tuple[tuple[str, int], ...] = ()  # addresses and ports of our own, which mail never goes to by DNS

    @property
    def schedule(self) -> RetrySchedule:
        return RetrySchedule(self.retry_initial, self.retry_maximum, self.expire)

    @property
    def router(self) -> Router:
        return Router(
            self.routes,
            self.route,
            self.controls,
            self.control,
            hostname=self.hostname,
            interfaces=[name for name, _ in self.interfaces],
        )

    def path_of(self, route: SmtpRoute) -> Path:
        """The Maildir of a route to one."""
        return self.state / route.maildir if route.maildir else self.maildir or self.state / "Maildir"

    @property
    def reporter(self) -> Reporter:
        return Reporter(self.hostname, self.organization, self.reports_from)

    @property
    def timeouts(self) -> Timeouts:
        command = self.command_timeout
        connect = self.connect_timeout
        return Timeouts(connect, connect, command, data=command, block=command, end_of_data=2 * command, handshake=connect)


class Count(Protocol):
    """Told of every attempt's end, for the counters."""

    def __call__(self, kind: Kind, recipients: int) -> None: ...


async def run_deliver(
    settings: DeliverSettings,
    stop: asyncio.Event,
    *,
    count: Count | None = None,
    ready: Callable[[], None] | None = None,
    numbers: Numbers | None = None,
) -> None:
    """Deliver until `stop` is set, then finish what is in flight. Raises StoreError if the state cannot be used.

    `ready` is called once the queue is open; `count` after each attempt with the number of recipients it came to that for. `numbers` are
    those that the log names connections by.
    """
    router = settings.router
    dns = Dns(settings.name_servers, timeout=settings.dns_timeout)
    published = make_published(settings)
    damage: StoreError | None = None
    rebuilt_at = 0.0
    try:
        bounces = settings.bounces
        profiles = BounceProfiles(bounces.profiles, bounces.listeners, router) if bounces is not None else None
        while True:
            try:
                with (
                    OpenQueue(settings.state, settings.schedule, router, profiles, checks=True, damage=damage) as queue,
                    contextlib.ExitStack() as stack,
                ):
                    bouncer = None
                    if bounces is not None and profiles is not None:
                        bouncer = make_bouncer(settings, bounces, queue, profiles)
                        stack.callback(bouncer.close)
                    destinations = make_destinations(settings, router, dns, published, numbers)
                    deliverer = Deliverer(settings.state, queue, destinations, count, bouncer)
                    control = await ControlServer.start(socket_path(settings.state), deliverer.obey)
                    reporting = published.reporting(settings.reporter, sends=settings.sends_reports)
                    beside = [asyncio.create_task(reporting.run())]
                    if any(control.tls.asks_dane for control in (settings.control, *(control for _, control in settings.controls))):
                        beside.append(asyncio.create_task(published.tell_of_dnssec()))
                    try:
                        if ready is not None:
                            ready()
                        await deliverer.run(stop)
                        return
                    finally:
                        await control.close()
                        for task in beside:
                            task.cancel()
                        await asyncio.wait(beside)
                        reporting.close()
            except StoreError as fault:
                if not is_damage(fault) or (damage is not None and time.monotonic() - rebuilt_at < _DAMAGED_AGAIN):
                    raise
                damage, rebuilt_at = fault, time.monotonic()
    finally:
        await published.close()
        await dns.close()


def make_bouncer(settings: DeliverSettings, bounces: BounceSettings, queue: Queue, profiles: BounceProfiles) -> Bouncer:
    """What tells senders. Raises StoreError. It has numbers of its own, for it works in a thread of its own."""
    pace = Pace(bounces.per_hour, bounces.per_address)
    numbers = Numbers(settings.state)
    return Bouncer(settings.state, queue, profiles.of, pace, hostname=settings.hostname, wait=bounces.wait, numbers=numbers)


def make_published(settings: DeliverSettings) -> Published:
    """What domains publish of TLS. Raises ConfigurationError for files of TLS that cannot be used: said at the start, not with the first message."""
    settings.tls.contexts()
    return Published(
        settings.state,
        name_servers=settings.name_servers,
        trusts_resolver=settings.trusts_resolver,
        timeout=settings.dns_timeout,
        manner=Manner(settings.hostname, settings.tls.authorities, settings.tls.ciphers),
        https_port=settings.https_port,
        is_allowed=lambda address: can_go_to(address, settings.dns_unreachable),
    )


def make_destinations(
    settings: DeliverSettings, router: Router, dns: Dns, published: Published, numbers: Numbers | None = None
) -> Destinations:
    """All places that mail goes to, none of them opened yet. Raises StoreError if the usual Maildir cannot be made."""
    if settings.route.kind is RouteKind.MAILDIR:
        Maildir(settings.path_of(settings.route)).close()  # said at the start, not with the first message
    usual = Interface(settings.hostname)
    interfaces = dict(settings.interfaces)
    ourselves = Ourselves([settings.hostname, *(one.hostname for one in interfaces.values())], settings.listeners)
    exchangers = Exchangers(dns, ourselves, port=settings.dns_port, unreachable=settings.dns_unreachable)
    pool = Pool()
    spool = settings.state / "spool"

    def open_hop(there: Destination, back_off: BackOff) -> NextHop:
        if there.route.kind is RouteKind.DISCARD:
            return DiscardHop()
        if there.route.kind is RouteKind.MAILDIR:
            return MaildirHop(spool, settings.path_of(there.route))
        interface = interfaces.get(there.interface, usual)
        control = there.control
        securing = Securing(
            control.tls,
            tls=settings.tls,
            hostname=interface.hostname,
            domain=there.domain,
            names=control.tls_names,
            promises=published,
            tally=published.tally,
        )
        reach = Reach(
            there.route,
            there.domain,
            exchangers=exchangers,
            dns=dns,
            interface=interface,
            preference=control.ip_preference,
            timeouts=settings.timeouts,
            securing=securing,
        )
        return SmtpHop(
            spool,
            there.key,
            reach,
            back_off,
            pool,
            messages_per_connection=there.control.messages_per_connection,
            numbers=numbers,
            signing=settings.signing,
            tagging=settings.tagging if there.control.bounce_verification else None,
        )

    def make_back_off(limit: int) -> BackOff:
        return BackOff(limit, settings.schedule)

    return Destinations(router, open_hop, make_back_off, pool, settings.connections)


class Deliverer:
    """The loop of the deliver process."""

    def __init__(
        self, state: Path, queue: Queue, destinations: Destinations, count: Count | None = None, bouncer: Bouncer | None = None
    ) -> None:
        """`bouncer` None tells senders nothing."""
        self._state = state
        self._queue = queue
        self._bouncer = bouncer
        self._telling: asyncio.Task[None] | None = None
        self._destinations = destinations
        self._count = count
        self._reader = SpoolReader(state / "spool", queue.cursors())
        self._watch = SuspensionWatch(state)
        self._look_at_suspension()
        self._outcomes: list[Outcome] = []
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()  # one at a time uses the queue
        self._housekept = self._tended = self._looked = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def obey(self, request: Request) -> dict[str, object]:
        """A request of `esa queue`."""
        if request.get("verb") == "hosts":
            return {"hosts": [asdict(status) for status in self._destinations.statuses()]}
        async with self._turn:
            answer = await asyncio.to_thread(obey, self._queue, request, time.time())
            if request.get("verb") in ("retry", "hurry", "redirect"):
                self._destinations.forgive()
                self._queue.look_at_all()
        self._wake.set()
        return answer

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, then wait for what is in flight, at most GRACE seconds; what is not done by then is tried again next
        time."""
        for entry in self._queue.recover(time.time()):
            events.warning(
                Log.DELIVERY_DUPLICATED,
                id=entry.message,
                mid=entry.envelope.number or None,
                rids=recipient_numbers(entry, entry.pending),
                recipients=len(entry.pending),
                reason="possible duplicate: deliver ended while in flight",
            )
        async with self._turn:
            await asyncio.to_thread(self._queue.reroute)
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        quiet_since = time.monotonic()
        try:
            while not stop.is_set():
                self._wake.clear()
                began = time.monotonic()
                try:
                    if await self._step():
                        quiet_since = time.monotonic()
                        is_idle = self._queue.next_due() is None and not self._outcomes
                        await asyncio.sleep(began + (POLL if is_idle else PACE) - quiet_since)
                        continue
                    pause = POLL if self._tasks or time.monotonic() - quiet_since < 1 else _SLOW_POLL
                except StoreError as fault:
                    if is_damage(fault):
                        raise
                    events.error(Log.PROCESS_FAILED, reason=str(fault), consequence="deliveries wait")
                    pause = _FAULT_PAUSE
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
        finally:
            stopping.cancel()
            await self._finish()

    async def _finish(self) -> None:
        if self._telling is not None:  # not cut off: it uses the queue in a thread
            await asyncio.wait([self._telling])
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=GRACE)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        outcomes, self._outcomes = self._outcomes, []
        try:
            if outcomes:
                async with self._turn:
                    await asyncio.to_thread(self._queue.settle, outcomes)
        finally:
            await self._destinations.close()

    async def _step(self) -> bool:
        """One round; True if there was something to do."""
        outcomes, self._outcomes = self._outcomes, []
        try:
            async with self._turn:
                claimed, was_busy = await asyncio.to_thread(self._round, outcomes)
        except BaseException:
            self._outcomes = outcomes + self._outcomes  # nothing of them is stored: keep them
            raise
        for outcome in outcomes:
            self._tell(outcome)
        for group in self._destinations.groups(claimed):
            task = asyncio.create_task(self._send(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._bouncer is not None and self._bouncer.has_work and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell_senders(self._bouncer))
        if (now := time.monotonic()) - self._tended > _TEND:
            self._tended = now
            self._destinations.tend(now)
            self._look_at_suspension()
            await self._destinations.forget_idle(now)
        return was_busy

    def _look_at_suspension(self) -> None:
        """Leave alone what an administrator has suspended, and go on with what was resumed."""
        try:
            changed = self._watch.look()
        except StoreError as fault:
            events.error(Log.SUSPENSION_UNREADABLE, reason=str(fault), consequence="nothing is suspended")
            changed = NOTHING, NOTHING
        if changed is not None:
            self._destinations.suspension = self._watch.current
            self._queue.look_at_all()
            tell_suspension(changed[0].destinations, changed[1].destinations, Log.DELIVERY_SUSPENDED, Log.DELIVERY_RESUMED)

    async def _tell_senders(self, bouncer: Bouncer) -> None:
        try:
            await bouncer.work(self._turn)
        except StoreError as fault:
            events.error(Log.PROCESS_FAILED, reason=str(fault), consequence="bounces wait")
            await asyncio.sleep(_FAULT_PAUSE)
        except Exception as fault:  # our own fault must not end the deliveries
            events.error(Log.PROCESS_FAILED, cause=fault, consequence="bounces wait")
            await asyncio.sleep(_FAULT_PAUSE)

    def _round(self, outcomes: Sequence[Outcome]) -> tuple[list[Entry], bool]:
        """The part of a step that reads and writes the disk; in a thread."""
        now, moment = time.time(), time.monotonic()
        if moment - self._housekept > _HOUSEKEEPING:
            self._housekept = moment
            self._keep_house(now)
        if self._bouncer is not None:
            self._bouncer.look()
        batch = self._reader.read()
        due = self._queue.next_due()
        is_crowd_due = self._queue.is_crowded and moment - self._looked > _SLOW_POLL
        if not (outcomes or batch or is_crowd_due or (due is not None and due <= now)):
            if self._bouncer is not None:
                self._bouncer.begin()
            return [], False
        self._looked = moment
        self._destinations.begin(outcomes)
        try:
            claimed = self._queue.step(batch, outcomes, rooms=self._destinations, now=now)
        except BaseException:
            self._destinations.undo()
            raise
        self._reader.advance(batch)
        if self._bouncer is not None and batch.is_complete:
            self._bouncer.begin()
        return claimed, bool(outcomes or batch or claimed)

    def _keep_house(self, now: float) -> None:
        """Drop what `keep` has stored or removed, and fail what could not be tried in time."""
        if (up_to := stored_outbox(self._state, self._queue.instance())) is not None:
            self._queue.forget_outbox(up_to)
        gone = [key for key in self._reader.cursors if not (self._state / "spool" / key[0] / "segments" / key[1]).exists()]
        if gone:
            self._queue.forget_cursors(gone)
            for key in gone:
                self._reader.forget(*key)
        for segment in self._queue.sparse_segments(SPARSE):
            self._queue.keep_apart(segment)
        if troubles := self._destinations.troubles():
            for entry in self._queue.expire(now, troubles):
                events.warning(
                    Log.DELIVERY_FAILED,
                    id=entry.message,
                    mid=entry.envelope.number or None,
                    rids=recipient_numbers(entry, entry.pending),
                    recipients=len(entry.pending),
                    reason=f"expired; {troubles[entry.destination]}",
                )

    async def _send(self, group: Sequence[Entry]) -> None:
        try:
            outcomes = await self._destinations.send(group)
        except Exception as fault:  # our own fault must not leave the entries in flight for ever
            events.error(Log.PROCESS_FAILED, cause=fault, id=group[0].message, consequence="tried again later")
            reply = f"451 4.3.0 a fault of esa: {type(fault).__name__}"
            outcomes = [
                Outcome(entry, tuple(Result(address, "deferred", reply) for address in entry.pending), "", time.time()) for entry in group
            ]
        self._outcomes += outcomes
        self._wake.set()

    def _tell(self, outcome: Outcome) -> None:
        """Log an attempt and count it."""
        entry = outcome.entry
        kinds: Mapping[Kind, Log] = _LOGGED
        if self._queue.gives_up(outcome):
            results = tuple(
                one if one.status != "deferred" else Result(one.address, "failed", f"{EXPIRED}{one.reply}") for one in outcome.results
            )
            outcome = replace(outcome, results=results)
        tried = {result.address for result in outcome.results}
        is_finished = all(recipient.status != "pending" or recipient.address in tried for recipient in entry.recipients)
        is_finished = is_finished and all(result.status != "deferred" for result in outcome.results)
        for kind, name in kinds.items():
            counted = sum(result.status == kind for result in outcome.results)
            if counted and self._count is not None:
                self._count(kind, counted)
            say = events.warning if kind == "failed" else events.info
            for reply in dict.fromkeys(result.reply for result in outcome.results if result.status == kind):
                whom = [result.address for result in outcome.results if result.status == kind and result.reply == reply]
                counted -= len(whom)
                for start in range(0, len(whom), RECIPIENTS_A_LINE):
                    named = whom[start : start + RECIPIENTS_A_LINE]
                    say(
                        name,
                        id=entry.message,
                        mid=entry.envelope.number or None,
                        dcid=outcome.connection or None,
                        reverse_path=f"<{entry.envelope.reverse_path}>",
                        recipients=len(named),
                        to=" ".join(f"<{address}>" for address in named),
                        rids=recipient_numbers(entry, named),
                        next_hop=outcome.next_hop,
                        tls=outcome.security.tls or None,
                        verification=outcome.security.verification or None,
                        attempt=entry.attempts,
                        reply=reply,
                        finished=is_finished and not counted and start + RECIPIENTS_A_LINE >= len(whom),
                    )
        if outcome.may_have_arrived:
            events.warning(
                Log.DELIVERY_DUPLICATED,
                id=entry.message,
                mid=entry.envelope.number or None,
                dcid=outcome.connection or None,
                rids=recipient_numbers(entry, [result.address for result in outcome.results]),
                recipients=len(outcome.results),
                reason="possible duplicate: lost after the final dot",
            )


_LOGGED: dict[Kind, Log] = {"delivered": Log.DELIVERY_SENT, "deferred": Log.DELIVERY_DEFERRED, "failed": Log.DELIVERY_FAILED}
