"""Asks real name servers about servers of other domains, and says which answers are validated (DNSSEC): a `PeerResolver`.

An answer is validated if the resolver said so (the AD bit, RFC 4035 section 3.2.3) and is trusted to: it runs on this machine, so that nobody stands
between, or an administrator says so. Nobody else's word counts (RFC 7672 section 2.1).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.rdata
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.TLSA
import dns.rdtypes.ANY.TXT
import dns.resolver

from esa.engine.resolver import Outcome
from esa.gateway.peers.answers import Answer, Exchanger, Tlsa
from esa.message.a_labels import as_a_labels

PAYLOAD = 1232  # octets of an answer over UDP that no network breaks up; longer ones come over TCP
QUESTION_SECONDS = 6.0  # for one question with all its tries, where an administrator waits
RECORDS = 50  # of one answer that are looked at


class ValidatingResolver:
    """Asks through dnspython, which shows the AD bit; c-ares does not. Belongs to one event loop."""

    def __init__(self, servers: Sequence[str] = (), *, timeout: float, is_trusted: bool = False, kept: int = 0) -> None:
        """`servers` as `address` or `address:port`, none: those of this machine. `timeout`: seconds for one question with all its tries.
        `kept`: answers that are kept for as long as they may be.

        Raises ConfigurationError if this machine has none.
        """
        from esa.errors import ConfigurationError

        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        except dns.exception.DNSException as error:
            raise ConfigurationError(
                "this machine names no name server", where="/etc/resolv.conf", mend="name one, or give [dns] servers in esa.toml"
            ) from error
        if servers:
            places = [_place(server) for server in servers]
            self._resolver.nameservers = [address for address, _ in places]
            self._resolver.nameserver_ports = dict(places)
        self._resolver.lifetime = timeout
        if kept:
            self._resolver.cache = dns.resolver.LRUCache(kept)
        self._resolver.use_edns(0, dns.flags.DO, PAYLOAD)
        self._resolver.flags = dns.flags.RD | dns.flags.AD
        self.is_trusted = is_trusted or all(ipaddress.ip_address(str(one)).is_loopback for one in self._resolver.nameservers)

    async def exchangers(self, domain: str) -> Answer[Exchanger]:
        found = await self._ask(domain, "MX")
        values = [
            Exchanger(one.preference, one.exchange.to_text(omit_final_dot=True).lower().removesuffix("."))
            for one in found.values
            if isinstance(one, dns.rdtypes.ANY.MX.MX)
        ]
        return Answer(found.outcome, tuple(sorted(values)), found.is_validated, found.canonical)

    async def addresses(self, host: str) -> Answer[str]:
        """IPv4 first: more mail servers take mail there than name a reverse record for their IPv6 clients."""
        four, six = await asyncio.gather(self._ask(host, "A"), self._ask(host, "AAAA"))
        values = tuple(one.to_text() for one in (*four.values, *six.values))
        is_validated, canonical = four.is_validated and six.is_validated, four.canonical or six.canonical
        if values:
            return Answer(Outcome.FOUND, values, is_validated, canonical)
        return Answer(Outcome.FAILED if Outcome.FAILED in (four.outcome, six.outcome) else Outcome.NOTHING, (), is_validated, canonical)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        found = await self._ask(name, "TLSA")
        values = [
            Tlsa(one.usage, one.selector, one.mtype, bytes(one.cert)) for one in found.values if isinstance(one, dns.rdtypes.ANY.TLSA.TLSA)
        ]
        return Answer(found.outcome, tuple(values), found.is_validated, found.canonical)

    async def texts(self, name: str) -> Answer[str]:
        found = await self._ask(name, "TXT")
        values = [b"".join(one.strings).decode("utf-8", "replace") for one in found.values if isinstance(one, dns.rdtypes.ANY.TXT.TXT)]
        return Answer(found.outcome, tuple(values), found.is_validated, found.canonical)

    async def validates(self) -> bool:
        """Whether it says of the root zone, which is signed, that its answers are validated, and is believed."""
        return (await self._ask("", "SOA")).is_validated

    async def _ask(self, name: str, kind: str) -> Answer[dns.rdata.Rdata]:
        asked = as_a_labels(name)
        try:
            answer = await self._resolver.resolve(asked + ".", kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN as error:
            return Answer(Outcome.NOTHING, (), any(self._is_validated(one) for one in error.kwargs.get("responses", {}).values()))
        except (dns.exception.DNSException, OSError, ValueError):
            return Answer(Outcome.FAILED)
        records = tuple(answer.rrset)[:RECORDS] if answer.rrset is not None else ()
        canonical = answer.canonical_name.to_text(omit_final_dot=True).lower()
        return Answer(
            Outcome.FOUND if records else Outcome.NOTHING,
            records,
            self._is_validated(answer.response),
            canonical if canonical != asked else "",
        )

    def _is_validated(self, response: dns.message.Message) -> bool:
        return self.is_trusted and bool(response.flags & dns.flags.AD)


def _place(server: str) -> tuple[str, int]:
    """Address and port of `192.0.2.53`, `192.0.2.53:5353`, `[2001:db8::53]:5353` or `2001:db8::53`."""
    if server.startswith("["):
        address, _, port = server[1:].partition("]")
        return address, int(port.removeprefix(":") or 53)
    if server.count(":") == 1:
        address, _, port = server.partition(":")
        return address, int(port)
    return server, 53
