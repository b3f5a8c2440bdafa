"""TLS of one destination: what each of its hosts must show, the handshake, and what mail then goes over. `reaching` asks for each host.

The decision is `policy.tls_modes`; here is what it is asked about. Rules:

- What DNS and the domain's policy promise of a host is found out before anything is said to it; a host that they forbid is not connected to.
- A verifying mode hands the chain to OpenSSL in the handshake; names are compared by `certificates.names`, TLSA records by `peers.dane`.
- Mail goes in the clear, or to a server that is not verified, only where the mode says so; after a handshake that failed, over a new connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from esa.config.ciphers import DEFAULT
from esa.config.delivery_tls import DeliveryTls
from esa.engine.resolver import Outcome
from esa.errors import ConfigurationError
from esa.gateway.certificates.names import matching_name
from esa.gateway.delivery.client import Connection
from esa.gateway.delivery.replies import RemoteError, TlsError
from esa.gateway.delivery.tally import REASON_LIMIT, Tally, failure_of, policy_of, today, trouble_of
from esa.gateway.peers import dane, mta_sts
from esa.gateway.peers.answers import PeerResolver
from esa.gateway.peers.probe import chain_of, client_context
from esa.message.a_labels import as_a_labels
from esa.policy.tls_modes import NOT_OFFERED, Dane, Demand, Mode, MtaSts, Shown, Way, decide, decide_required, mode_for
from esa.store.entry import Security
from esa.store.tls_results import TlsResult

_Ends = tuple[tuple[str, int], tuple[str, int]]
_NOWHERE: Final[_Ends] = ("", 0), ("", 0)
_CHAIN_DEMANDED: Final = frozenset({Mode.REQUIRED_VERIFY, Mode.REQUIRED_VERIFY_HOSTED_DOMAINS})
_CHAIN_WANTED: Final = _CHAIN_DEMANDED | {Mode.PREFERRED_VERIFY}


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How delivery speaks TLS, whatever the destination. `ciphers`: a profile or an OpenSSL string; `authorities`: None means the machine's."""

    ciphers: str = DEFAULT
    authorities: Path | None = None
    certificate: tuple[Path, Path] | None = None  # chain and key, for servers that ask for one

    def contexts(self) -> None:
        """Make what connections will use, of the files as they are now. Raises ConfigurationError for those that cannot be used."""
        client_context.cache_clear()
        for verifies in (False, True):
            client_context(self.authorities, self.ciphers, verifies, self.certificate)


def client_tls(table: DeliveryTls) -> ClientTls:
    """From the configuration, whose files are named with their whole paths."""
    return ClientTls(
        table.ciphers,
        Path(table.authorities) if table.authorities else None,
        (Path(table.certificate), Path(table.key)) if table.certificate else None,
    )


@dataclass(frozen=True, slots=True)
class Host:
    """A server as TLS sees it."""

    name: str  # or address, without brackets
    port: int
    domain: str  # whose mail exchanger it is; empty: a route names it
    label: str  # as logs and tracking name it

    @property
    def is_given(self) -> bool:
        """An administrator named it: nobody can have forged it."""
        return not self.domain


class Promises(Protocol):
    """What domains publish of TLS of their servers."""

    def resolver(self) -> PeerResolver:
        """For DANE. Raises ConfigurationError if there is none."""

    async def policy(self, domain: str) -> mta_sts.Found:
        """For MTA-STS: the policy of a domain, as it counts now."""


class Unmet(RemoteError):
    """A server cannot give what a message demands (REQUIRETLS). The text is a reply, with both codes."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """What is known of a host before it is connected to."""

    mode: Mode
    is_required: bool = False  # by the message, whatever the mode
    is_sure: bool = False  # nobody can have forged the name of the host
    promise: dane.Promise | None = None  # None: not asked for
    found: mta_sts.Found | None = None

    @property
    def has_policy(self) -> bool:
        return self.found is not None and self.found.policy is not None and self.found.policy.mode != "none"

    @property
    def verifies(self) -> bool:
        """Whether OpenSSL judges the chain."""
        if self.is_required:
            has_records = self.promise is not None and self.promise.state is None
            return not has_records or self.mode in _CHAIN_DEMANDED or (self.mode.asks_mta_sts and self.has_policy)
        return self.mode in _CHAIN_WANTED or self.has_policy

    def shown(self, shown: Shown, host: Host) -> tuple[Shown, str]:
        """With what the promises make of it, and the words for that."""
        if self.promise is not None:
            found = Dane.MATCHED if shown.dane is Dane.MATCHED else Dane.MISMATCHED  # records that nothing was compared with do not fit
            shown = replace(shown, dane=self.promise.state or found)
        if self.found is None:
            return shown, ""
        refusal = shown.fault or ("" if shown.is_offered else NOT_OFFERED)
        if not refusal and shown.refusal:
            refusal = f"the certificate is not trusted: {shown.refusal}"
        state, reason = mta_sts.judge(self.found, host=host.name, refusal=refusal, matches_host=shown.matches_host)
        return replace(shown, mta_sts=state), reason


class Securing:
    """Of one destination."""

    def __init__(
        self,
        mode: Mode,
        *,
        tls: ClientTls | None = None,
        hostname: str,
        domain: str = "",
        names: tuple[str, ...] = (),
        promises: Promises | None = None,
        tally: Tally | None = None,
    ) -> None:
        """`domain`: of the recipients, if it is one; `names`: that a certificate may stand for in its place. `hostname`: said in EHLO.

        Without `promises` nothing is known of what domains publish. `tally` counts what comes of it.
        """
        self._mode, self._domain, self._names, self._hostname = mode, domain, names, hostname
        self._tls = tls or ClientTls()
        self._promises, self._tally = promises, tally

    @property
    def can_be_relaxed(self) -> bool:
        """Whether a message that asks for less gets less."""
        return mode_for(self._mode, Demand.RELAXED) is not self._mode

    async def open(self, host: Host, dial: Callable[[], Awaitable[Connection]], demand: Demand = Demand.USUAL) -> Connection:
        """A session with this host, secured as the mode and the message want; `dial` makes a new one, in the clear, behind its EHLO.

        Raises RemoteError for a host that mail may not go to, with the reason, and Unmet where it cannot give what the message demands;
        whatever `dial` raises.
        """
        mode = mode_for(self._mode, demand)
        if demand is Demand.REQUIRED:
            expected = await self._expect_all(host)
        elif mode is Mode.NONE:
            return await dial()
        else:
            expected = await self._expect(host, mode)
        connection = await self._negotiate(host, expected, dial)
        if demand is Demand.REQUIRED and "REQUIRETLS" not in connection.extensions:
            connection.close()
            raise Unmet(f"550 5.7.30 {host.label} does not offer REQUIRETLS, which this message needs")
        return connection

    async def _expect_all(self, host: Host) -> _Expected:
        """What is promised of a host, from whoever promises. Raises RemoteError if that cannot be found out, or the mode rules the host out."""
        found = (await self._expect(host, self._mode)).found
        promise = await self._promise(host)
        if promise.state is Dane.UNKNOWN:
            raise RemoteError(f"454 4.7.5 {host.label}: REQUIRETLS: {promise.reason}")
        is_sure = host.is_given or await self._is_signed(host)
        if not is_sure and self._promises is not None:
            policy = (await self._promises.policy(host.domain)).policy
            is_sure = policy is not None and policy.mode != "none" and policy.allows(host.name)
        return _Expected(self._mode, True, is_sure, promise, found)

    async def _expect(self, host: Host, mode: Mode) -> _Expected:
        """What is promised of a host. Raises RemoteError for one that is ruled out by it."""
        expected = _Expected(mode)
        if mode.asks_dane:
            expected = replace(expected, promise=await self._promise(host))
            if expected.promise is not None and expected.promise.state is Dane.UNKNOWN:
                self._note(host, expected, *trouble_of(expected.promise, None))
                raise RemoteError(self._deferred(host, expected.promise.reason))
        is_bound = expected.promise is not None and expected.promise.state is not Dane.ABSENT  # by records, which go before a policy
        if mode.asks_mta_sts and not is_bound and host.domain and self._promises is not None:
            found = await self._promises.policy(host.domain)
            expected = replace(expected, found=found)
            if (trouble := trouble_of(None, found))[0]:
                self._note(host, expected, *trouble)
            if found.policy is not None and found.policy.mode == "enforce" and not found.policy.allows(host.name):
                _, reason = mta_sts.judge(found, host=host.name, refusal="", matches_host=True)
                self._note(host, expected, "validation-failure", reason)
                raise RemoteError(self._deferred(host, f"MTA-STS, {reason}"))
        return expected

    async def _promise(self, host: Host) -> dane.Promise:
        """The TLSA records of a host. A mail exchanger must stand in a validated answer; a host of a route need not."""
        if self._promises is None:
            return dane.Promise(Dane.ABSENT, "nobody is asked for TLSA records")
        try:
            resolver = self._promises.resolver()
        except ConfigurationError as fault:
            return dane.Promise(Dane.UNKNOWN, str(fault))
        if host.is_given:
            return await dane.ask(resolver, host.name, host.port, is_host_sure=True)
        answer = await resolver.exchangers(host.domain)
        if answer.outcome is Outcome.FAILED:
            return dane.Promise(Dane.UNKNOWN, f"the name servers do not answer for the MX records of {host.domain}")
        hosts = {one.host for one in answer.values} or {as_a_labels(host.domain)}
        if answer.is_validated and host.name not in hosts:
            return dane.Promise(Dane.UNKNOWN, f"{host.name} is not among the signed MX records of {host.domain}")
        return await dane.ask(resolver, host.name, host.port, is_host_sure=answer.is_validated)

    async def _is_signed(self, host: Host) -> bool:
        """Whether a validated answer names a mail exchanger."""
        if self._promises is None:
            return False
        try:
            return (await self._promises.resolver().exchangers(host.domain)).is_validated
        except ConfigurationError:
            return False

    async def _negotiate(self, host: Host, expected: _Expected, dial: Callable[[], Awaitable[Connection]]) -> Connection:
        verifies = expected.verifies
        refusal = ""  # why its chain is not trusted, as a connection before found
        while True:
            connection = await dial()
            ends = connection.endpoints
            try:
                await self._begin(connection, host, expected, verifies)
                shown, way, reason = self._judge(host, expected, self._seen(connection, host, expected, refusal))
                if not refusal:
                    self._note(host, expected, *failure_of(expected.promise, expected.found, shown), ends)
            except TlsError as fault:
                step = fault.step
                shown, way, reason = self._judge(host, expected, _fault_shown(fault))
                self._note(host, expected, *failure_of(expected.promise, expected.found, shown), ends)
                is_clear = fault.step in ("offer", "reply") and connection.is_usable
                if way == "plain" and is_clear:
                    connection.security = Security(verification=f"in the clear: {reason}")
                    return connection
                connection.close()
                if way == "secure":  # with any certificate, then: it was only the chain that failed
                    verifies, refusal = False, shown.refusal
                    continue
            except BaseException:
                connection.close()
                raise
            else:
                if way == "secure":
                    connection.security = _security(connection, shown, host, reason, is_judged=expected.verifies)
                    return connection
                connection.close()
                step = "certificate"
            if way == "defer" and expected.is_required and step not in ("handshake", "injection"):  # these may be gone the next time
                raise Unmet(f"550 5.7.10 {host.label}: REQUIRETLS: {reason}")
            if way == "defer":
                raise RemoteError(self._deferred(host, reason))
            connection = await dial()
            connection.security = Security(verification=f"in the clear: {reason}")
            return connection

    async def _begin(self, connection: Connection, host: Host, expected: _Expected, verifies: bool) -> None:
        """STARTTLS, the handshake, and EHLO again. Raises TlsError."""
        context = client_context(self._tls.authorities, self._tls.ciphers, verifies, self._tls.certificate)
        base = expected.promise.base if expected.promise is not None else ""
        try:
            await connection.start_tls(context, server_name=as_a_labels(base or host.name), hostname=self._hostname)
        except TlsError:
            raise
        except RemoteError as fault:
            if connection.tls is None:
                raise
            # a server that wants a client's certificate ends the session here (TLS 1.3)
            raise TlsError("handshake", f"behind the handshake: {fault}") from fault

    def _judge(self, host: Host, expected: _Expected, shown: Shown) -> tuple[Shown, Way, str]:
        """The decision, and why it is no better."""
        shown, words = expected.shown(shown, host)
        decision = decide(expected.mode, shown)
        if expected.is_required and decision.way != "defer":  # what the administrator demands holds beside it
            decision = decide_required(shown, is_host_sure=expected.is_sure)
        reason = decision.reason
        if shown.mta_sts in (MtaSts.MISMATCHED, MtaSts.TESTING) and words:
            reason = f"MTA-STS, {words}"
        return shown, decision.way, reason

    def _seen(self, connection: Connection, host: Host, expected: _Expected, refusal: str) -> Shown:
        """What a handshake that was made showed."""
        chain = chain_of(connection.tls) if connection.tls is not None else ()
        first = chain[0] if chain else None
        domains = {self._domain, host.domain or host.name, *self._names} - {""}
        shown = Shown(
            refusal=refusal or ("" if first is not None else "it cannot be read"),
            matches_host=first is not None and matching_name(first, host.name) is not None,
            matches_domain=first is not None and any(matching_name(first, one) is not None for one in domains),
        )
        if expected.promise is not None and expected.promise.state is None:
            names = tuple(filter(None, (expected.promise.base, host.name, host.domain)))
            state, _ = dane.match(expected.promise.records, chain, names=names, now=datetime.now(UTC))
            shown = replace(shown, dane=state)
        return shown

    def _note(self, host: Host, expected: _Expected, result: str, reason: str, ends: _Ends = _NOWHERE) -> None:
        """For the report that the domain may ask for: of exchangers, and what the mode looked at."""
        if self._tally is None or host.is_given or expected.is_required:
            return
        kind, text, servers = policy_of(expected.promise, expected.found)
        found = TlsResult(today(), as_a_labels(host.domain), kind, text, servers, result)
        if result:
            (local, _), (address, _) = ends
            found = found._replace(host=host.name, local=local, address=address, reason=reason[:REASON_LIMIT])
        self._tally.note(found)

    def _deferred(self, host: Host, reason: str) -> str:
        return f"454 4.7.5 {host.label}: tls = {self._mode.value}: {reason}"


def _fault_shown(fault: TlsError) -> Shown:
    match fault.step:
        case "offer":
            return Shown(is_offered=False)
        case "certificate":
            return Shown(refusal=str(fault).partition(": ")[2])
        case _:
            return Shown(fault=str(fault))


def _security(connection: Connection, shown: Shown, host: Host, reason: str, *, is_judged: bool) -> Security:
    """What tracking is told of a connection in TLS."""
    tls = connection.tls
    cipher = tls.cipher() if tls is not None else None
    used = f"{tls.version()} {cipher[0]}" if tls is not None and cipher is not None else "TLS"
    if shown.dane is Dane.MATCHED:
        return Security(used, f"DANE: TLSA records of {host.name} fit")
    if shown.mta_sts is MtaSts.MATCHED:
        return Security(used, f"MTA-STS: the certificate of {host.name} is trusted, as its policy wants")
    if not is_judged:
        return Security(used, "not verified: no TLSA records" if shown.dane is not Dane.ABSENT else "not verified")
    if shown.refusal or not (shown.matches_host or shown.matches_domain):
        return Security(used, f"not verified: {reason or shown.refusal}")
    return Security(used, f"verified: {host.name if shown.matches_host else 'the domain'}")
