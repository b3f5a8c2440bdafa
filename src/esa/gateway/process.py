"""One process of the gateway: `python -m esa.gateway.process NAME …`, started by service.py and by nobody else.

NAME is `receive-N`, `deliver` or `keep`. The configuration comes through a file descriptor, so that all processes of one start use the same
one even if the file has changed since. Promises: SIGTERM drains (finishes what has begun, takes nothing new); the process ends with its
parent; it says over the ready descriptor when it does its work. Exit status 0: drained; 3: failed, told on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esa.config.advice import ANTI_SPAM_OFF
from esa.config.content_filters import rules_of
from esa.config.destinations import controls_of, routes_of
from esa.config.reputation import learning_of
from esa.config.schema import Configuration, Listener
from esa.errors import EsaError
from esa.gateway import events
from esa.gateway.assembly import assemble, make_limits, make_resolver
from esa.gateway.authentication import Users
from esa.gateway.child import configuration_of, die_with_parent
from esa.gateway.costing import Costing
from esa.gateway.delivery.deliver import DeliverSettings, Kind, run_deliver
from esa.gateway.delivery.reaching import Interface
from esa.gateway.delivery.signing import open_signing
from esa.gateway.directory.build import directory_of, make_groups, make_sources, make_users
from esa.gateway.events import Event as Log
from esa.gateway.greylisting import Greylisting, tell_failure
from esa.gateway.keep import KeepSettings, run_keep
from esa.gateway.learned import TABLE, LearnSettings
from esa.gateway.listener import serve
from esa.gateway.metrics import Counter, Counters, Row
from esa.gateway.patterns import open_scanner
from esa.gateway.proxies import Trust
from esa.gateway.rates import NodeRates
from esa.gateway.receive import Route
from esa.gateway.recording import open_recording
from esa.gateway.tls import Tls, TlsSettings, certificates_of
from esa.message.envelope import Envelope, Session
from esa.policy.destination_controls import DestinationControl
from esa.store.greylist import Greylist, GreylistSettings
from esa.store.numbers import Numbers
from esa.store.reputation_table import TableReader
from esa.store.spool import Spool

FAILED = 3
_WARM_UP = b"Subject: hello\r\nFrom: a@example.org\r\n\r\nThe first scan of a process pays for what is loaded late.\r\n"
NICENESS = {"receive": 0, "deliver": 10, "keep": 10}  # who waits for a reply goes first; what is kept safe can be handed on a little later
ROTATE_SECONDS = 60.0  # age at which a live segment is closed, so that it can go once all in it is done
RENEW_SECONDS = 12 * 3600.0
RETIRE_SECONDS = 300.0  # that sessions have to end by themselves when a successor has taken over; then they are told to go
COUNTERS = Path("run") / "counters"


@dataclass(frozen=True, slots=True)
class Task:
    """What the command line of a process says."""

    name: str
    configuration: Configuration
    row: int
    ready: int  # descriptor to write one octet to when the work has begun; -1: nobody asks
    sockets: tuple[tuple[str, int], ...]  # listener name, descriptor of its bound socket
    rates: tuple[int, int] | None = None  # descriptor of the counts that receivers share, and the number of this one among them
    compiled: str = ""  # name of the file of compiled dictionaries and filters


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one process until it has drained."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent says when to stop
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # so does the end of a terminal
    task = _read_task(sys.argv[1:] if arguments is None else arguments)
    gateway = task.configuration.gateway
    events.configure(task.name, log_format=gateway.log_format, steps=gateway.log_steps)
    if not die_with_parent():  # with SIGTERM, so that we drain
        return FAILED
    try:
        import uvloop

        uvloop.run(_run(task))
    except EsaError as error:
        events.error(Log.PROCESS_FAILED, reason=str(error))
        return FAILED
    except Exception as error:
        events.error(Log.PROCESS_FAILED, cause=error)
        return FAILED
    events.info(Log.PROCESS_DRAINED, pid=os.getpid())
    return 0


def _read_task(arguments: Sequence[str]) -> Task:
    parser = argparse.ArgumentParser(prog="esa.gateway.process", description="One process of the gateway; started by `esa serve`.")
    parser.add_argument("name")
    parser.add_argument("--configuration", type=int, required=True, metavar="FD")
    parser.add_argument("--row", type=int, required=True)
    parser.add_argument("--ready", type=int, default=-1, metavar="FD")
    parser.add_argument("--rates", type=int, default=-1, metavar="FD")
    parser.add_argument("--number", type=int, default=0)
    parser.add_argument("--compiled", default="", metavar="FILE")
    parser.add_argument("--socket", action="append", default=[], metavar="LISTENER=FD")
    given = parser.parse_args(arguments)
    configuration = configuration_of(given.configuration)
    sockets = tuple((name, int(descriptor)) for name, _, descriptor in (one.rpartition("=") for one in given.socket))
    rates = (given.rates, given.number) if given.rates >= 0 else None
    return Task(given.name, configuration, given.row, given.ready, sockets, rates, given.compiled)


async def _run(task: Task) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    events.gather(loop)
    row = Counters(task.configuration.state / COUNTERS).row(task.row)
    row.reset_gauges()

    def ready() -> None:
        gc.collect()
        gc.freeze()  # what is loaded now stays; do not walk it again
        if task.ready >= 0:
            os.write(task.ready, b"1")
            os.close(task.ready)
        events.info(Log.PROCESS_STARTED, pid=os.getpid())

    work: dict[str, Callable[[Task, Row, asyncio.Event, Callable[[], None]], Awaitable[None]]] = {
        "receive": _receive,
        "deliver": _deliver,
        "keep": _keep,
    }
    role = task.name.partition("-")[0]
    os.nice(NICENESS[role])
    await work[role](task, row, stop, ready)


async def _receive(task: Task, row: Row, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    configuration = task.configuration
    listeners = {listener.name: listener for listener in configuration.listener}
    rules = rules_of(configuration)
    scanner = open_scanner(configuration, task.compiled, rules)
    scanner.scan_batch([_WARM_UP], sessions=[Session()], envelopes=[Envelope("", ())])
    spool = await asyncio.to_thread(Spool, configuration.state / "spool", task.name)
    costing = Costing(configuration.state, task.name, rules)
    histories, in_work = TableReader(configuration.state / TABLE), Counters(configuration.state / COUNTERS).in_work
    assembly = assemble(configuration, scanner, rules, histories, in_work, costing.ledger)
    groups = make_groups(configuration, assembly.decider.groups)
    loop = asyncio.get_running_loop()
    route = Route(
        loop=loop,
        scanner=scanner,
        spool=spool,
        decider=assembly.decider,
        hostname=configuration.gateway.hostname,
        row=row,
        in_flight=configuration.limits.scans_in_flight,
        numbers=make_numbers(configuration),
        greylisting=make_greylisting(configuration),
        recording=open_recording(configuration, scanner, rules, groups=assembly.decider.groups, writer=task.name, loop=loop, row=row),
    )
    resolver = make_resolver(configuration, assembly.hosts.values(), assembly.reputation, assembly.decider.needs)
    facts = assembly.sender_facts(resolver, row)
    if not configuration.scan.anti_spam and any(table.asks_reputation for table in assembly.hosts.values()):
        events.warning(Log.REPUTATION_OFF, reason=ANTI_SPAM_OFF)
    per_network = configuration.senders.connections_per_network
    rates = None if task.rates is None else NodeRates(*task.rates, connections_per_network=per_network)
    users = make_users(configuration, rates)
    sources = make_sources(configuration)
    for placed in sources:
        await placed.source.start()
    servers = [
        await serve(
            assembly.receiver(name, route, facts, rates=rates, directory=directory_of(sources, name), groups=groups),
            socket.socket(fileno=descriptor),
            hostname=configuration.gateway.hostname,
            limits=make_limits(configuration, listeners[name]),
            spill_directory=spool.incoming,
            listener=name,
            bare_newline=listeners[name].bare_newline,
            tls=make_tls(configuration, listeners[name]),
            authenticator=users if listeners[name].authentication != "off" else None,
            needs_authentication=listeners[name].authentication == "required",
            trust=Trust.of(listeners[name].proxy_header_from, listeners[name].xclient_from),
        )
        for name, descriptor in task.sockets
    ]
    contexts: list[Tls | Users] = [server.tls for server in servers if server.tls is not None]
    contexts += [users] if users is not None else []
    retired = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, retired.set)
    ready()
    rotation = asyncio.create_task(_rotate(spool))
    renewal = asyncio.create_task(_renew(contexts))
    accounts = asyncio.create_task(costing.run())
    await _first_of(stop, retired)
    if retired.is_set():
        await _first_of(stop, *(server.retire() for server in servers), patience=RETIRE_SECONDS)
    rotation.cancel()
    renewal.cancel()
    accounts.cancel()
    await asyncio.gather(*(server.drain(configuration.gateway.drain) for server in servers))
    await route.drain()
    await costing.close()
    if route.greylisting is not None:
        route.greylisting.close()
    for placed in sources:
        await placed.source.close()
    if groups is not None:
        await groups.close()
    if users is not None:
        await users.close()
    if resolver is not None:
        await resolver.close()
    spool.close()


async def _rotate(spool: Spool) -> None:
    """Close segments that have lived long enough, off the event loop: an append may hold the spool's lock."""
    while True:
        await asyncio.sleep(ROTATE_SECONDS / 4)
        await asyncio.to_thread(spool.rotate, older_than=ROTATE_SECONDS)


async def _first_of(stop: asyncio.Event, *others: asyncio.Event, patience: float | None = None) -> None:
    """Wait for `stop`, or for all of `others`, but not longer than `patience` seconds."""
    ended: asyncio.Future[Any] = asyncio.gather(*(one.wait() for one in others))
    waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait()), ended]
    _, left = await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    for wait in left:
        wait.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _renew(contexts: Sequence[Tls | Users]) -> None:
    """Read certificates again now and then: new session ticket keys, and a renewed certificate that nobody told us of."""
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        for one in contexts:
            one.reload()


async def _deliver(task: Task, row: Row, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    counters: dict[Kind, Counter] = {
        "delivered": Counter.DELIVERIES_SENT,
        "deferred": Counter.DELIVERIES_DEFERRED,
        "failed": Counter.DELIVERIES_FAILED,
    }

    def count(kind: Kind, recipients: int) -> None:
        row.add(counters[kind])

    numbers = make_numbers(task.configuration)
    await run_deliver(deliver_settings(task.configuration), stop, count=count, ready=ready, numbers=numbers)


async def _keep(task: Task, row: Row, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    await run_keep(keep_settings(task.configuration), stop, ready=ready, row=row)


def make_numbers(configuration: Configuration) -> Numbers:
    """Numbers of connections and messages for the log."""
    return Numbers(configuration.state, failed=lambda error: events.error(Log.NUMBERS_FAILED, cause=error))


def make_greylisting(configuration: Configuration) -> Greylisting | None:
    """Greylisting, if any mail flow policy asks for it."""
    if not any(policy.greylist for policy in configuration.mail_flow_policy.values()):
        return None
    given = configuration.greylisting
    settings = GreylistSettings(given.delay, given.retry_window, given.lifetime, given.auto_allow, given.max_entries)
    return Greylisting(Greylist(configuration.state, settings, failed=tell_failure()))


def make_tls(configuration: Configuration, listener: Listener) -> TlsSettings | None:
    """TLS of one listener; None where there is none to offer."""
    if listener.tls == "off" or not configuration.certificate:
        return None
    return TlsSettings(
        mode=listener.tls,
        certificates=certificates_of([(one.chain, one.key) for one in configuration.certificate]),
        ciphers=listener.tls_ciphers,
        minimum=listener.tls_minimum,
        client_certificates=listener.tls_client_certificates,
        client_authorities=Path(listener.tls_client_authorities) if listener.tls_client_authorities else None,
    )


def deliver_settings(configuration: Configuration) -> DeliverSettings:
    """What the deliver process is told."""
    delivery, hostname = configuration.delivery, configuration.gateway.hostname
    return DeliverSettings(
        state=configuration.state,
        hostname=hostname,
        route=configuration.default_route,
        routes=tuple(routes_of(configuration.smtp_route)),
        control=DestinationControl(delivery.concurrency),
        controls=tuple(controls_of(configuration.destination, delivery.concurrency)),
        interfaces=tuple((one.name, Interface(one.hostname or hostname, one.ipv4, one.ipv6)) for one in configuration.delivery_interface),
        maildir=configuration.maildir,
        connections=delivery.max_connections,
        retry_initial=delivery.retry_initial,
        retry_maximum=delivery.retry_max,
        expire=delivery.expire,
        connect_timeout=delivery.connect_timeout,
        command_timeout=delivery.command_timeout,
        name_servers=configuration.dns.servers,
        dns_timeout=configuration.dns.timeout,
        dns_port=delivery.dns_port,
        dns_unreachable=delivery.dns_unreachable,
        listeners=tuple((one.address, one.port) for one in configuration.listener),
        signing=open_signing(configuration),
    )


def keep_settings(configuration: Configuration) -> KeepSettings:
    """What the keep process is told."""
    return KeepSettings(
        state=configuration.state,
        quarantine_retention=configuration.quarantine.retention,
        tracking_retention=configuration.tracking.retention,
        learning=LearnSettings(
            is_on=configuration.reputation.learn and configuration.scan.anti_spam,
            learning=learning_of(configuration.reputation),
            senders=configuration.reputation.senders,
            relaying=frozenset(name for name, policy in configuration.mail_flow_policy.items() if policy.access == "RELAY"),
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
