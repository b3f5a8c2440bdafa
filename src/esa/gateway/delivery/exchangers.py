"""Which hosts take mail for a domain: MX records (RFC 5321 section 5.1), null MX (RFC 7505), address literals, and never ourselves.

`reaching` asks when a connection is to be opened. Rules:

- Mail exchangers in order of preference, equal ones by chance. A domain without any is its own, if it has an address.
- Where we are one of them, only those before us are asked: else mail would come back. If we are the first, it is undeliverable (5.4.6).
- A name server that does not answer, or answers nonsense, fails no mail: it waits (4.4.3). That a domain does not exist is believed only of
  name servers that have given an address lately, or know the one of a root server.
- Addresses that no stranger's mail exchanger can have (loopback, unspecified, multicast) are not gone to; mail waits, for it is name servers
  that filter who answer so.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from esa.engine.resolver import Lookup, Outcome, Resolver
from esa.gateway.delivery.replies import RemoteError
from esa.message.a_labels import as_a_labels

EXCHANGERS_LIMIT: Final = 12  # of a domain; real ones have up to about ten, more make us ask for nothing
PROBE: Final = "a.root-servers.net"  # has had its address since before most name servers ran
SOUND_SECONDS: Final = 3_600.0  # that one found name vouches for the name servers
UNREACHABLE: Final = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "::/128", "::1/128", "ff00::/8")
_IPV6_TAG = "ipv6:"


class Undeliverable(Exception):
    """Mail for this domain can never be delivered; the text is a reply, with both codes."""


@dataclass(frozen=True, slots=True)
class Exchanger:
    """A host that takes mail for a domain; `addresses` may be of both families."""

    host: str  # name, or the address itself
    addresses: tuple[str, ...]


class Ourselves:
    """What names and places are this gateway."""

    def __init__(self, names: Sequence[str] = (), listeners: Sequence[tuple[str, int]] = ()) -> None:
        """`listeners`: addresses (0.0.0.0 or :: for all of the machine) and ports that mail is taken on."""
        self._names = {name.lower().rstrip(".") for name in names if name}
        self._listeners = tuple(listeners)

    def has_name(self, host: str) -> bool:
        return host in self._names

    def has_place(self, address: str, port: int) -> bool:
        """Whether who connects there comes to us."""
        for listening, number in self._listeners:
            if number == port and (listening == address or (ipaddress.ip_address(listening).is_unspecified and _is_of_machine(address))):
                return True
        return False


def _is_of_machine(address: str) -> bool:
    """Whether an address is one of this machine: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def can_go_to(address: str, unreachable: Sequence[str]) -> bool:
    """Whether an address that a stranger names is in none of these networks."""
    return not any(ipaddress.ip_address(address) in ipaddress.ip_network(one) for one in unreachable)


class Exchangers:
    """Asks for mail exchangers. Answers are kept by the resolver, as long as their time to live says."""

    def __init__(
        self, resolver: Resolver, ourselves: Ourselves | None = None, *, port: int = 25, unreachable: Sequence[str] = UNREACHABLE
    ) -> None:
        """`port`: that mail exchangers are spoken to on. `unreachable`: networks of addresses that are not gone to."""
        self._resolver = resolver
        self._ourselves = ourselves or Ourselves()
        self.port = port
        self._unreachable = [ipaddress.ip_network(one) for one in unreachable]
        self._sound_until = 0.0

    async def find(self, domain: str) -> list[Exchanger]:
        """Those to try, in order; never empty.

        `domain` in lower case, or an address literal with its brackets. Raises Undeliverable for what can never be delivered, RemoteError for
        what cannot be found out now.
        """
        if domain.startswith("["):
            return [self._literal(domain)]
        name = _ascii(domain)
        answer = await self._resolver.look_up(name, "MX")
        if answer.outcome is Outcome.FAILED:
            raise RemoteError(f"451 4.4.3 the name servers do not say where mail for {domain} goes (MX)")
        if answer.outcome is Outcome.NOTHING:
            return [await self._domain_itself(name)]
        ranked = _ranked(answer.values)
        if ranked and all(not host for _, host in ranked):
            raise Undeliverable(f"556 5.1.10 {domain} takes no mail (null MX)")
        self._vouch()
        return await self._before_us(domain, ranked)

    async def _before_us(self, domain: str, ranked: Sequence[tuple[int, str]]) -> list[Exchanger]:
        ranked = [(preference, host) for preference, host in ranked if host]
        found = await asyncio.gather(*(self.addresses(host) for _, host in ranked))
        ours = [
            preference
            for (preference, host), answer in zip(ranked, found, strict=True)
            if self._ourselves.has_name(host) or any(self._ourselves.has_place(one, self.port) for one in answer.values)
        ]
        limit = min(ours, default=1 << 16)
        usable: list[Exchanger] = []
        reasons: list[str] = []
        for (preference, host), answer in zip(ranked, found, strict=True):
            if preference >= limit:
                continue
            if addresses := self._reachable(answer.values):
                usable.append(Exchanger(host, addresses))
            elif answer.outcome is Outcome.FAILED:
                reasons.append(f"the address of {host} is not to be found out")
            else:
                reasons.append(f"{host} has an address that no mail can go to" if answer.values else f"{host} has no address")
        if usable:
            return usable
        if reasons:
            raise RemoteError(f"451 4.4.3 no mail exchanger of {domain} can be reached: {'; '.join(reasons)}")
        raise Undeliverable(
            f"554 5.4.6 mail for {domain} would come back to us: we are its first mail exchanger, and no route says otherwise"
        )

    async def _domain_itself(self, name: str) -> Exchanger:
        """The implicit MX of RFC 5321 section 5.1."""
        answer = await self.addresses(name)
        if answer.outcome is Outcome.FAILED:
            raise RemoteError(f"451 4.4.3 the name servers do not say where mail for {name} goes (A, AAAA)")
        if not answer.values:
            if not await self._is_sound():
                raise RemoteError(f"451 4.4.3 the name servers know no {name}, but no root server either: they are not believed")
            raise Undeliverable(f"550 5.1.2 {name} has no mail exchanger and no address")
        if self._ourselves.has_name(name) or any(self._ourselves.has_place(one, self.port) for one in answer.values):
            raise Undeliverable(f"554 5.4.6 mail for {name} would come back to us: its address is ours, and no route says otherwise")
        addresses = self._reachable(answer.values)
        if not addresses:
            raise RemoteError(f"451 4.4.3 {name} has an address that no mail can go to")
        return Exchanger(name, addresses)

    def _literal(self, domain: str) -> Exchanger:
        text = domain.strip("[]")
        if text.startswith(_IPV6_TAG):
            text = text.removeprefix(_IPV6_TAG)
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            raise Undeliverable(f"501 5.1.3 {domain} is no address literal") from None
        if self._ourselves.has_place(address, self.port):
            raise Undeliverable(f"554 5.4.6 mail for {domain} would come back to us")
        if not self._reachable((address,)):
            raise Undeliverable(f"550 5.1.2 {domain} is no address that mail can go to")
        return Exchanger(address, (address,))

    async def addresses(self, host: str) -> Lookup:
        """Both families of one name. Failed if one has and the other has nothing."""
        try:
            return Lookup(Outcome.FOUND, (str(ipaddress.ip_address(host)),))  # not allowed as an exchanger, and common
        except ValueError:
            pass
        answers = await asyncio.gather(self._resolver.look_up(host, "AAAA"), self._resolver.look_up(host, "A"))
        values = tuple(value for answer in answers for value in answer.values)
        if values:
            self._vouch()
            return Lookup(Outcome.FOUND, values)
        return next((answer for answer in answers if answer.outcome is Outcome.FAILED), answers[0])

    def _reachable(self, addresses: Sequence[str]) -> tuple[str, ...]:
        return tuple(one for one in addresses if not any(ipaddress.ip_address(one) in network for network in self._unreachable))

    def _vouch(self) -> None:
        self._sound_until = time.monotonic() + SOUND_SECONDS

    async def _is_sound(self) -> bool:
        """Whether the name servers are believed when they know nothing."""
        if time.monotonic() >= self._sound_until:
            answers = await asyncio.gather(self._resolver.look_up(PROBE, "A"), self._resolver.look_up(PROBE, "AAAA"))
            if not any(answer.values for answer in answers):
                return False
            self._vouch()
        return True


def _ascii(domain: str) -> str:
    """The name as it is asked for (RFC 6531 section 3.2: A-labels)."""
    name = domain if domain.isascii() else as_a_labels(domain)
    if not name.isascii():
        raise Undeliverable(f"550 5.1.2 {domain} is no name that can be asked for")
    return name


def _ranked(values: Sequence[str]) -> list[tuple[int, str]]:
    """(preference, host), smallest preference first, equal ones by chance; a host once."""
    best: dict[str, int] = {}
    for value in values:
        preference, _, host = value.partition(" ")
        best[host] = min(int(preference), best.get(host, 1 << 16))
    ranked = [(preference, random.random(), host) for host, preference in best.items()]  # noqa: S311 (a fair order, not a secret)
    return [(preference, host) for preference, _, host in sorted(ranked)[:EXCHANGERS_LIMIT]]
