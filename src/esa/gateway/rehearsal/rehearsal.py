"""A rehearsal: what a configuration would do with a message, by the gateway's own parts, without a socket, a write to disk or a question to the network.

    Mail → a session of the listener in memory (loopback) → reception, recipients, route: the same objects as in a receiving process → Judgement

`esa trace` and `esa replay` call it. What is left out, and said in the judgement: rates and directory harvests (they count what came before),
greylisting where it is not recorded who is known, the delay of greetings, TLS handshakes and passwords (the mail says what they came to). Names, DNS
lists and directories answer what is recorded; recipients that stand in files and SQLite databases are looked up there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from esa.config.content_filters import rules_of
from esa.config.places import Places
from esa.config.schema import Configuration, Listener
from esa.engine.resolver import Resolver
from esa.engine.scanner import Scanner
from esa.errors import ConfigurationError
from esa.gateway.assembly import assemble, make_limits, make_resolver
from esa.gateway.directory.build import directory_of, make_sources
from esa.gateway.greylisting import Greylisting
from esa.gateway.listener import EXTENSIONS, NOBODY, Server
from esa.gateway.mail_in_work import Arrival
from esa.gateway.metrics import Counter, Row
from esa.gateway.patterns import engine_digest, scanner_here
from esa.gateway.receive import Route, Scans
from esa.gateway.rehearsal.answers import Answers, Recording
from esa.gateway.rehearsal.explaining import stages_of
from esa.gateway.rehearsal.fates import fates_of
from esa.gateway.rehearsal.judgement import Judgement, Kept, Mail
from esa.gateway.rehearsal.loopback import Spoken
from esa.gateway.rehearsal.performance import Performance, speak
from esa.gateway.rehearsal.watching import Watch, WatchedAccess, WatchedDecider, WatchedDirectory
from esa.policy.filters.witness import Witness
from esa.policy.reputation import Histories

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.engine.verdict import Report
    from esa.gateway.dns import Dns
    from esa.gateway.protocol import Connection
    from esa.gateway.receiver import Transaction
    from esa.gateway.reception import ListenerReceiver
    from esa.message.envelope import Envelope, Session
    from esa.store.record import Record
    from esa.store.spool import Group

UNBOUNDED = 1 << 62
BATCH_MESSAGES, BATCH_OCTETS = 64, 8 << 20  # sessions that go on at one time: as many as the route scans together


class Nowhere:
    """A spool that keeps nothing."""

    def append(self, records: Sequence[Record]) -> None: ...

    def free_bytes(self) -> int:
        return 1 << 62

    def begin(self, records: Sequence[Record]) -> Group | None:
        return None

    def end(self, group: Group, error: OSError | None, *, is_flush: bool = False) -> None: ...


class KnownReports:
    """A scanner that does not scan again what it knows already, for the same session and envelope. Forget it now and then."""

    def __init__(self, scanner: Scans) -> None:
        self._scanner = scanner
        self._known: dict[tuple[object, ...], Report] = {}

    def scan_batch(
        self, raws: Sequence[Buffer], *, sessions: Sequence[Session | None] | None, envelopes: Sequence[Envelope | None] | None
    ) -> list[Report]:
        assert sessions is not None
        assert envelopes is not None
        keys = list(zip(map(bytes, raws), sessions, envelopes, strict=True))
        new = [place for place, key in enumerate(keys) if key not in self._known]
        if new:
            reports = self._scanner.scan_batch(
                [raws[place] for place in new],
                sessions=[sessions[place] for place in new],
                envelopes=[envelopes[place] for place in new],
            )
            self._known.update(zip((keys[place] for place in new), reports, strict=True))
        return [self._known[key] for key in keys]

    def forget(self) -> None:
        self._known.clear()


class Rehearsal:
    """One configuration, opened to judge mail. A context manager; has an event loop of its own, so call it from a thread without one."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        answers: Answers | None = None,
        asks_dns: bool = False,
        histories: Histories | None = None,
        like: Rehearsal | None = None,
        places: Places | None = None,
        explains: bool = True,
    ) -> None:
        """`answers` are recorded; with `asks_dns` name servers are asked in their place, and `recording` has what they said.

        `histories`: what was learned of senders. `like`: another rehearsal, whose scanner and reports are shared where both find the same in every
        message. `places`: where the configuration stands. Without `explains` judgements have no stages, and come many times faster.

        Raises ConfigurationError, ModelError.
        """
        self.configuration = configuration
        self.answers = answers or Answers()
        self.unanswered = 0  # questions so far that had no recorded answer
        self.places = places or Places()
        self.witness = Witness() if explains else None
        self._resolver: Resolver = self.answers
        self._dns: Dns | None = None
        self.recording: Recording | None = None
        self._histories = histories
        self.rules = rules_of(configuration, witness=self.witness)
        self.engine = engine_digest(configuration, self.rules)
        shared = like if like is not None and like.engine == self.engine else None
        self.scanner: Scanner = scanner_here(configuration, self.rules) if shared is None else shared.scanner
        self.scans: KnownReports = KnownReports(self.scanner) if shared is None else shared.scans
        self.assembly = assemble(_at_once(configuration), self.scanner, self.rules, histories)
        self._listeners = {listener.name: listener for listener in configuration.listener}
        self._sources = make_sources(configuration, instead=self.answers.source)
        self._performances: dict[Connection, Performance] = {}
        self._servers: dict[str, Server] = {}
        self._loop = asyncio.new_event_loop()  # a Runner writes out, as text, what each of its tasks has come to
        try:
            self._loop.run_until_complete(self._open(asks_dns=asks_dns))
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        self._loop.run_until_complete(self._close())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def judge(self, mail: Mail) -> Judgement:
        """What becomes of a message, with all stages if this explains. Raises ConfigurationError for a listener that there is not."""
        [judgement] = self.judge_all([mail])
        self.scans.forget()
        return judgement

    def judge_all(self, mails: Sequence[Mail]) -> list[Judgement]:
        """What becomes of each, in order. What was scanned is known until `scans.forget`."""
        for mail in mails:
            self.listener_of(mail)
        judgements: list[Judgement] = []
        for batch in [[mail] for mail in mails] if self.witness is not None else batches(mails, BATCH_MESSAGES, BATCH_OCTETS):
            self.answers.missing.clear()
            performances = self._loop.run_until_complete(self._perform_all(batch))
            self.unanswered += len(self.answers.missing)
            judgements += [self._judgement(performance) for performance in performances]
        return judgements

    # --- the stage

    async def _open(self, *, asks_dns: bool) -> None:
        if asks_dns:
            self._dns = make_resolver(self.assembly.configuration, self.assembly.hosts.values(), self.assembly.reputation)
        if self._dns is not None:
            self._resolver = self.recording = Recording(self._dns)
        for placed in self._sources:
            await placed.source.start()
        greylist = self.answers.greylist(self.configuration.greylisting.delay)
        self._row = Row(memoryview(bytearray(8 * len(Counter))).cast("q"))
        self._route = Route(
            loop=asyncio.get_running_loop(),
            scanner=self.scans,
            spool=Nowhere(),
            decider=self.assembly.decider,
            hostname=self.configuration.gateway.hostname,
            row=self._row,
            greylisting=None if greylist is None else Greylisting(greylist),
            identify=self._identify,
            decided=self._decided,
        )

    async def _close(self) -> None:
        for server in self._servers.values():
            server.close()
        await self._route.drain()
        for placed in self._sources:
            await placed.source.close()
        if self._dns is not None:
            await self._dns.close()

    def _identify(self, transaction: Transaction) -> str:
        connection = transaction.connection
        assert isinstance(connection, Spoken)
        return connection.identifier

    def _decided(self, arrival: Arrival, reason: str) -> None:
        performance = self._performances.get(arrival.transaction.connection)
        if performance is not None:
            performance.arrival, performance.reason = arrival, reason

    def listener_of(self, mail: Mail) -> Listener:
        """The listener that a message comes to. Raises ConfigurationError."""
        name = mail.session.listener or next(iter(self._listeners))
        try:
            return self._listeners[name]
        except KeyError:
            known = ", ".join(self._listeners)
            raise ConfigurationError(f"no listener is called {name!r}", where=mail.name or None, mend=f"choose of {known}") from None

    def _server(self, listener: Listener) -> Server:
        """The listener, which listens on nothing."""
        server = self._servers.get(listener.name)
        if server is None:
            server = Server(
                self._receiver(listener, None, 0.0),
                hostname=self.configuration.gateway.hostname,
                limits=replace(
                    make_limits(self.configuration, listener), memory=UNBOUNDED, connections=UNBOUNDED
                ),  # of all sessions together
                spill_directory=None,
                listener=listener.name,
                bare_newline=listener.bare_newline,
                extensions=EXTENSIONS,
                tls=None,
                authenticator=None,
                needs_authentication=listener.authentication == "required",
                trust=NOBODY,
            )
            server.needs_tls = listener.tls in ("required", "implicit")
            self._servers[listener.name] = server
        return server

    def _receiver(self, listener: Listener, watch: Watch | None, now: float) -> ListenerReceiver:
        """New for each message, so that nothing that is remembered of one counts for the next."""
        facts = self.assembly.sender_facts(self._resolver, now=lambda: now)
        assembly, directory = self.assembly, directory_of(self._sources, listener.name)
        if watch is not None and self.witness is not None:
            assembly = replace(assembly, access={listener.name: WatchedAccess(assembly.access[listener.name], watch)})
            directory = None if directory is None else WatchedDirectory(directory, watch)
        groups = self.answers if self.assembly.decider.groups and self._knows_groups else None
        return assembly.receiver(listener.name, self._route, facts, directory=directory, groups=groups)

    @property
    def greylists(self) -> bool:
        """Whether strangers are put off where a mail flow policy says so."""
        return self._route.greylisting is not None

    @property
    def _knows_groups(self) -> bool:
        return bool(self.configuration.group_ldap) or self.answers.has_groups

    # --- the play

    async def _perform_all(self, mails: Sequence[Mail]) -> list[Performance]:
        return list(await asyncio.gather(*map(self._perform, mails)))

    async def _perform(self, mail: Mail) -> Performance:
        listener = self.listener_of(mail)
        server = self._server(listener)
        server.now = self._loop.time()
        watch = Watch()
        server.receiver = self._receiver(listener, watch, mail.session.received_at)
        connection = Spoken(server, mail.session, mail.identifier)
        performance = self._performances[connection] = Performance(mail, connection, watch)
        if self.witness is not None:
            self.witness.take()
            self._route.decider = WatchedDecider(self.assembly.decider, watch)
        try:
            await speak(performance, listener)
        finally:
            del self._performances[connection]
            connection.hang_up()
        return performance

    def _judgement(self, performance: Performance) -> Judgement:
        mail, arrival = performance.mail, performance.arrival
        last = performance.said[-1]
        fates = fates_of(performance)
        records = [] if arrival is None or arrival.record is None else [arrival.record, *arrival.more]
        return Judgement(
            mail,
            last.step,
            last.text,
            fates,
            plan=None if arrival is None or arrival.report is None else arrival.plan,
            report=None if arrival is None else arrival.report,
            verdict="" if arrival is None or arrival.report is None else str(arrival.verdict),
            stages=() if self.witness is None else stages_of(self, performance, fates),
            events=records[0].events if records else (),
            kept=tuple(Kept(_whom(one), one.prefix + one.content) for one in records if isinstance(one.content, bytes)),
            missing=() if self.witness is None else tuple(self.answers.missing),
        )


def batches(mails: Iterable[Mail], most: int, most_octets: int) -> Iterator[list[Mail]]:
    """In order, within the caps by number and octets; a batch ends with the mail that reaches one."""
    batch: list[Mail] = []
    octets = 0
    for mail in mails:
        batch.append(mail)
        octets += len(mail.content)
        if len(batch) >= most or octets >= most_octets:
            yield batch
            batch, octets = [], 0
    if batch:
        yield batch


def _at_once(configuration: Configuration) -> Configuration:
    """The same without the delay of greetings."""
    policies = {name: policy.model_copy(update={"greeting_delay": 0.0}) for name, policy in configuration.mail_flow_policy.items()}
    return configuration.model_copy(update={"mail_flow_policy": policies})


def _whom(record: Record) -> tuple[str, ...]:
    return tuple(dict.fromkeys(recipient for splinter in record.splinters for recipient in splinter.recipients))
