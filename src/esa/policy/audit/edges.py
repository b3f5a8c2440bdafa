"""Addresses, clients and hosts at the edges of what merged filters take: they themselves, and what is nearly the same. Called by `certificate`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from esa.message.envelope import Envelope, Session
from esa.policy.audit.merging import Member, Merge

_LIKE = str.maketrans("1l0o", "l1o0")  # characters that are taken for one another


class Edge(NamedTuple):
    """A session and envelope to try."""

    name: str
    session: Session
    envelope: Envelope
    remote_host: str = ""


def edges(merges: Iterable[Merge]) -> Iterator[Edge]:
    """Each once."""
    found: dict[tuple[str, str], None] = {}
    for merge in merges:
        for member in merge.members:
            found.update(dict.fromkeys(_near(member)))
    for kind, text in found:
        match kind:
            case "client":
                yield Edge(text, Session(client_address=text, listener="mail"), _ANY)
            case "host":
                yield Edge(text, Session(client_address="198.51.100.7", listener="mail"), _ANY, text)
            case _:
                yield Edge(text, Session(listener="mail"), Envelope(text, ("anyone@here.example",)))
                yield Edge(text, Session(listener="mail"), Envelope("someone@elsewhere.example", (text,)))


_ANY = Envelope("someone@elsewhere.example", ("anyone@here.example",))


def _near(member: Member) -> Iterator[tuple[str, str]]:
    entry = member.entry
    match entry.kind:
        case "network":
            network = ipaddress.ip_network(entry.text)
            first, last = int(network.network_address), int(network.broadcast_address)
            most = (1 << network.max_prefixlen) - 1
            made = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
            yield from (("client", str(made(place))) for place in (first - 1, first, last, last + 1) if 0 <= place <= most)
        case "domain":
            host = entry.text
            near = (host, host.upper(), f"x{host}", f"x.{host}", f"{host}x", f"{host}.example", host[1:], host[:-1], host.translate(_LIKE))
            yield from (("host", text) for text in (*near, host.partition(".")[2]))
        case "expression":
            return
        case _:
            yield from (("address", text) for text in _near_address(entry.text))


def _near_address(text: str) -> Iterator[str]:
    whole = f"someone{text}" if text.startswith("@") else text
    local_part, _, domain = whole.rpartition("@")
    yield from (whole, whole.upper(), whole.title(), f"x{whole}", f"{whole}x", whole[1:], whole[:-1], whole.translate(_LIKE))
    yield from (f"{local_part}@x.{domain}", f"{local_part}@x{domain}", f"{local_part}@{domain}.example", f"{local_part}@{domain.upper()}")
    yield from (f"{local_part.upper()}@{domain}", f"{local_part}+x@{domain}", f"{local_part}.x@{domain}", f"{domain}@{domain}")
    yield from (f"{local_part}-{whole}", f"{whole}.{domain}", domain, local_part)
