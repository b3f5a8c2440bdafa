"""The table of incoming relays; `relays_of` makes values of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from esa.config.values import Name, Table, fault
from esa.errors import SyntaxFault
from esa.policy.incoming_relay import RECEIVED
from esa.policy.incoming_relay import IncomingRelay as Relay
from esa.policy.senders import Addresses, parse_sender

MOST_HOPS = 20
_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}\Z")  # RFC 5322 section 3.6.8


def _host(value: str) -> str:
    try:
        entry = parse_sender(value)
    except SyntaxFault:
        entry = None
    if not isinstance(entry, Addresses):
        raise fault(
            f"{value!r} is no address", 'write the relay\'s address, network or range, as "10.2.3.4", "10.2.3.0/24" or "10.2.3.1-10"'
        )
    if entry.last - entry.first + 1 == 1 << (32 if entry.version == 4 else 128):
        raise fault("every host would be a relay, and could say who it is", "name your own relays")
    return value


def _header(value: str) -> str:
    name = value.removesuffix(":")
    if not _FIELD_NAME.match(name):
        raise fault(f"{value!r} is no name of a header field", 'write "Received", or a field that the relay adds, as "X-Sender-IP"')
    return name


class IncomingRelay(Table):
    """Relays of our own in front of this gateway. Of their mail the address that they took it from counts, as their header tells it."""

    name: Name = Field(default="RELAY", description="Name in logs and tracking.")
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], Field(strict=False)] = Field(
        default=(),
        description="Their addresses, networks and ranges, IPv4 and IPv6, in the forms of sender groups. From nobody else a header is believed.",
    )
    header: Annotated[str, AfterValidator(_header)] = Field(
        default="Received",
        description=(
            'Field that tells the address: "Received", or better one that the relay adds and removes from what it is given, as "X-Sender-IP".'
        ),
    )
    hops: int = Field(
        default=1, ge=1, le=MOST_HOPS, description="Which Received field: 1 is the uppermost, that of the relay itself; 2 the one below it."
    )
    match_after: str = Field(
        default="",
        max_length=100,
        description='The address is the first behind this text, as "[". Empty: the one that a Received field has for the peer (RFC 5321).',
    )
    match_up_to: str = Field(default="", max_length=100, description="And it stands before this text. Empty: anywhere.")


def relays_of(relays: Sequence[IncomingRelay]) -> list[Relay]:
    return [
        Relay(
            relay.name,
            tuple(entry for entry in map(parse_sender, relay.hosts) if isinstance(entry, Addresses)),
            RECEIVED if relay.header.lower() == RECEIVED.lower() else relay.header,
            relay.hops,
            relay.match_after,
            relay.match_up_to,
        )
        for relay in relays
    ]


def contradictions_of(relays: Sequence[IncomingRelay]) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What cannot stand together, as (place, what, mend)."""
    names: set[str] = set()
    for number, relay in enumerate(relays):
        if relay.name in names:
            yield ("incoming_relay", number, "name"), f"two incoming relays are called {relay.name!r}", "give each its own name"
        if not relay.hosts:
            yield ("incoming_relay", number, "hosts"), "it names no host", 'name the relay\'s addresses, as hosts = ["10.2.3.4"]'
        if relay.hops > 1 and relay.header.lower() != RECEIVED.lower():
            yield ("incoming_relay", number, "hops"), f"hops are of Received fields, not of {relay.header}", "leave hops out"
        names.add(relay.name)
