"""Asking real name servers, through c-ares, which keeps answers for as long as they may be kept.

Workers make one if a sender group asks for something that only the domain name system knows.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import aiodns
import pycares

from esa.engine.resolver import FAILED, NOTHING, Lookup, Outcome, RecordType

TRIES = 2
ANSWERS = 20  # records of one answer that are looked at; more is an attack
_NOTHING_CODES = frozenset({pycares.errno.ARES_ENODATA, pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_EBADNAME})
_TYPES: dict[RecordType, int] = {
    "A": pycares.QUERY_TYPE_A,
    "AAAA": pycares.QUERY_TYPE_AAAA,
    "PTR": pycares.QUERY_TYPE_PTR,
    "MX": pycares.QUERY_TYPE_MX,
}


class Dns:
    """Name servers as `address:port`; none means those of the machine. Belongs to one event loop; close it before the loop."""

    def __init__(self, servers: Sequence[str] = (), *, timeout: float) -> None:
        """`timeout`: seconds for one try; there are two."""
        self._resolver = aiodns.DNSResolver(list(servers) or None, timeout=timeout / TRIES, tries=TRIES)

    async def look_up(self, name: str, kind: RecordType) -> Lookup:
        try:
            answer = await self._resolver.query_dns(name, kind)
        except aiodns.error.DNSError as error:
            return NOTHING if error.args and error.args[0] in _NOTHING_CODES else FAILED
        except (ValueError, UnicodeError):  # a name that cannot stand in a question
            return NOTHING
        records = [record for record in answer.answer[: 2 * ANSWERS] if record.type == _TYPES[kind]][:ANSWERS]
        values = tuple(text for record in records if (text := _text(record.data)) is not None)
        return Lookup(Outcome.FOUND, values, min(record.ttl for record in records)) if values else NOTHING

    async def addresses(self, host: str) -> Lookup:
        """IPv4 and IPv6 addresses of a host, as the machine finds them: its hosts file too."""
        try:
            answer = await self._resolver.getaddrinfo(host, socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            return NOTHING if error.args and error.args[0] in _NOTHING_CODES else FAILED
        except (ValueError, UnicodeError):
            return NOTHING
        found = [node.addr[0] for node in answer.nodes[: 2 * ANSWERS]]
        values = tuple(dict.fromkeys(one.decode() if isinstance(one, bytes) else str(one) for one in found))
        return Lookup(Outcome.FOUND, values) if values else NOTHING

    async def close(self) -> None:
        await self._resolver.close()
        await asyncio.sleep(0)  # what was cancelled is told to the loop before it goes


def _text(data: object) -> str | None:
    match data:
        case pycares.PTRRecordData():
            return str(data.dname).rstrip(".").lower()
        case pycares.ARecordData() | pycares.AAAARecordData():
            return str(data.addr)
        case pycares.MXRecordData():
            return f"{data.priority} {data.exchange.rstrip('.').lower()}"
    return None
