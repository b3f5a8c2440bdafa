"""From a route to an open connection: hosts in their order, their addresses in both families, one after the other and a little side by side.

`next_hop` asks for a connection when none is kept. As RFC 8305 says, families take turns and the next address is tried while the one before
has not answered yet, so that one dead address costs a quarter of a second and not its time-out. All is bounded: addresses of a host, hosts of
an attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from esa.engine.resolver import Lookup, Outcome
from esa.gateway.delivery.client import Connection, Timeouts
from esa.gateway.delivery.exchangers import Exchangers, Undeliverable
from esa.gateway.delivery.replies import RemoteError
from esa.gateway.delivery.securing import Host, Securing, Unmet
from esa.gateway.dns import Dns
from esa.policy.destination_controls import IpPreference
from esa.policy.smtp_routes import RouteHost, RouteKind, SmtpRoute, turned
from esa.policy.tls_modes import Demand

ADDRESSES_LIMIT: Final = 6  # of one host that are tried
HOSTS_LIMIT: Final = 5  # that one attempt tries
HEAD_START: Final = 0.25  # seconds that an address has before the next is tried beside it (RFC 8305 section 8)
LEFT_ALONE: Final = 60.0  # seconds that a host which failed stands behind the others


@dataclass(frozen=True, slots=True)
class Interface:
    """What mail leaves from: addresses of this machine ("": any), and the name said in EHLO."""

    hostname: str
    ipv4: str = ""
    ipv6: str = ""

    def local(self, address: str) -> tuple[str, int] | None:
        """Where to bind to for going to this address; None: anywhere."""
        own = self.ipv6 if ":" in address else self.ipv4
        return (own, 0) if own else None

    def can_reach(self, address: str) -> bool:
        """An interface that has an address only in one family does not speak from another machine address in the other."""
        return bool(self.ipv6 if ":" in address else self.ipv4) or not (self.ipv4 or self.ipv6)


@dataclass(frozen=True, slots=True)
class Place:
    """One host to connect to."""

    name: str  # as logs and tracking name it
    addresses: tuple[str, ...] = ()
    port: int = 25
    speaks_lmtp: bool = False
    path: str = ""  # of a unix socket
    host: str = ""  # name or address, as a certificate would stand for it
    domain: str = ""  # whose mail exchanger it is; empty: a route names it


class Reach:
    """Opens connections to one destination."""

    def __init__(
        self,
        route: SmtpRoute,
        domain: str,
        *,
        exchangers: Exchangers,
        dns: Dns,
        interface: Interface,
        preference: IpPreference,
        timeouts: Timeouts,
        securing: Securing,
    ) -> None:
        """`domain`: whose mail exchangers are asked for, where the route says so."""
        self._route, self._domain, self._securing = route, domain, securing
        self._exchangers, self._dns = exchangers, dns
        self._interface, self._preference, self._timeouts = interface, preference, timeouts
        self._turn = 0
        self._left_alone: dict[str, float] = {}

    @property
    def can_be_relaxed(self) -> bool:
        """Whether a message that asks for less TLS gets less."""
        return self._securing.can_be_relaxed

    async def connect(self, demand: Demand = Demand.USUAL) -> Connection:
        """An open session with the first host that gives one; its `place` is the name. `demand`: of the message that it is for.

        Raises RemoteError with all reasons, or Undeliverable: also where no host can give what the message demands.
        """
        reasons: list[str] = []
        unmet = 0
        async for place in self._places():
            if isinstance(place, str):
                reasons.append(place)
            else:
                try:
                    return await self._open(place, demand)
                except RemoteError as fault:
                    reasons.append(str(fault))
                    unmet += isinstance(fault, Unmet)
                if demand is Demand.USUAL:
                    self._left_alone[place.name] = time.monotonic() + LEFT_ALONE
            if len(reasons) >= HOSTS_LIMIT:
                break
        words = "; ".join(dict.fromkeys(reasons)) or "the route names no host"
        if reasons and unmet == len(reasons):
            raise Undeliverable(words)
        raise RemoteError(words)

    async def _places(self) -> AsyncIterator[Place | str]:
        """Hosts in the order to try them; or why one cannot be tried. Looked up only when their turn comes."""
        if self._route.kind is RouteKind.DNS:
            async for place in self._exchangers_of(self._domain):
                yield place
            return
        self._turn += 1
        for host in turned(self._route.hosts, self._turn, self._left_alone, time.monotonic()):
            if host.asks_exchangers:
                async for place in self._exchangers_of(host.host):
                    yield place
            else:
                yield await self._place(host)

    async def _exchangers_of(self, domain: str) -> AsyncIterator[Place]:
        port = self._exchangers.port
        asked = "" if domain.startswith("[") else domain
        found = [
            Place(_named(one.host, port), one.addresses, port, host=one.host, domain=asked) for one in await self._exchangers.find(domain)
        ]
        now = time.monotonic()
        for place in sorted(found, key=lambda one: self._left_alone.get(one.name, 0.0) > now):
            yield place

    async def _place(self, host: RouteHost) -> Place | str:
        is_lmtp = host.speaks == "lmtp"
        if host.path:
            return Place(host.name, path=host.path, speaks_lmtp=is_lmtp)
        try:
            answer = Lookup(Outcome.FOUND, (str(ipaddress.ip_address(host.host)),))
        except ValueError:
            answer = await self._dns.addresses(host.host)
        if answer.outcome is Outcome.FAILED:
            return f"no connection to {host.name}: the name servers do not answer for {host.host}"
        if not answer.values:
            return f"no connection to {host.name}: there is no address of {host.host}"
        return Place(host.name, answer.values, host.port, is_lmtp, host=host.host)

    async def _open(self, place: Place, demand: Demand) -> Connection:
        """A session, secured as the destination wants it: but over a socket of this machine, where nobody listens."""
        if place.path:
            connection = await self._session(place)
            connection.is_local = True
            return connection
        host = Host(place.host, place.port, place.domain, place.name)
        return await self._securing.open(host, lambda: self._session(place), demand)

    async def _session(self, place: Place) -> Connection:
        """A session in the clear, behind its EHLO."""
        left = list(place.addresses)
        if not place.path:
            left = self._ordered(left)
            if not left:
                raise RemoteError(f"no connection to {place.name}: no address of it can be reached from here")
        reason = ""
        while left or place.path:
            connection, used = await self._race(place, left)
            try:
                await connection.open(self._interface.hostname)
            except RemoteError as fault:  # this address greets badly: another one of the host may not
                connection.close()
                reason = str(fault)
                left = [one for one in left if one != used]
                if place.path:
                    break
            except BaseException:
                connection.close()
                raise
            else:
                connection.place = place.name
                return connection
        raise RemoteError(reason)

    def _ordered(self, addresses: Sequence[str]) -> list[str]:
        """Those that can be reached, families by turns, the preferred first."""
        usable = [one for one in addresses if self._interface.can_reach(one)]
        six, four = [one for one in usable if ":" in one], [one for one in usable if ":" not in one]
        match self._preference:
            case "require-v6":
                return six[:ADDRESSES_LIMIT]
            case "require-v4":
                return four[:ADDRESSES_LIMIT]
            case "prefer-v4":
                six, four = four, six
        paired = [one for pair in zip_longest(six, four) for one in pair if one is not None]
        return paired[:ADDRESSES_LIMIT]

    async def _race(self, place: Place, addresses: Sequence[str]) -> tuple[Connection, str]:
        """The first connection that stands, and its address. Raises RemoteError."""
        if place.path:
            return await self._dial(place, ""), ""
        if len(addresses) == 1:
            return await self._dial(place, addresses[0]), addresses[0]
        waiting = list(addresses)
        dialling: dict[asyncio.Task[Connection], str] = {}
        reason = ""
        try:
            while waiting or dialling:
                if waiting:
                    address = waiting.pop(0)
                    dialling[asyncio.create_task(self._dial(place, address))] = address
                done, _ = await asyncio.wait(dialling, timeout=HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    address = dialling.pop(task)
                    if (fault := task.exception()) is None:
                        return task.result(), address
                    if not isinstance(fault, RemoteError):
                        raise fault
                    reason = str(fault)
        finally:
            for task in dialling:
                task.add_done_callback(_drop)
                task.cancel()
        raise RemoteError(reason)

    async def _dial(self, place: Place, address: str) -> Connection:
        loop = asyncio.get_running_loop()
        limits = self._timeouts
        what = place.name if len(place.addresses) < 2 else f"{place.name} ({address})"

        def make() -> Connection:
            return Connection(limits, speaks_lmtp=place.speaks_lmtp)

        try:
            async with asyncio.timeout(limits.connect):
                if place.path:
                    _, connection = await loop.create_unix_connection(make, place.path)
                else:
                    _, connection = await loop.create_connection(make, address, place.port, local_addr=self._interface.local(address))
        except TimeoutError:
            raise RemoteError(f"no connection to {what} within {limits.connect:g} s") from None
        except OSError as error:
            raise RemoteError(f"no connection to {what}: {error.strerror or error}") from None
        return connection


def _drop(task: asyncio.Task[Connection]) -> None:
    """A connection that came when another was there already."""
    with contextlib.suppress(asyncio.CancelledError, RemoteError):
        task.result().close()


def _named(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
