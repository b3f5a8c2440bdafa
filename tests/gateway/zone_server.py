"""A name server on loopback with its zone as text, over UDP, through dnspython; names under `signed` domains are answered as validated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class ZoneServer(asyncio.DatagramProtocol):
    """`zone`: (name, type) → values as in a zone file. `signed`: domains whose answers bear AD. `failing`: names that are answered SERVFAIL."""

    def __init__(self, zone: Mapping[tuple[str, str], Sequence[str]], signed: Sequence[str], failing: Sequence[str]) -> None:
        self.zone, self.signed, self.failing = zone, signed, failing
        self.asked: list[tuple[str, str]] = []
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        host, port = transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        (asked,) = question.question
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        if name in self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        else:
            if any(name == domain or name.endswith(f".{domain}") for domain in self.signed):
                answer.flags |= dns.flags.AD
            if (alias := self.zone.get((name, "CNAME"))) and kind in ("A", "AAAA"):
                answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "CNAME", *alias))
                name = alias[0].removesuffix(".")
                if values := self.zone.get((name, kind)):
                    answer.answer.append(dns.rrset.from_text(alias[0], 60, "IN", kind, *values))
            elif values := self.zone.get((name, kind)):
                answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *values))
            elif not any(owner == name for owner, _ in self.zone):
                answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), client)


@asynccontextmanager
async def zone_server(
    zone: Mapping[tuple[str, str], Sequence[str]], *, signed: Sequence[str] = (), failing: Sequence[str] = ()
) -> AsyncIterator[ZoneServer]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: ZoneServer(zone, signed, failing), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
