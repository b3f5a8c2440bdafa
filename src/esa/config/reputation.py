"""The tables of reputation: DNS lists with the points of their answers, and what is learned of senders."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from esa.config.values import DAY, HOUR, Duration, Table, fault
from esa.errors import SyntaxFault
from esa.message.address import parse_domain
from esa.policy.history import Learning
from esa.policy.reputation import DnsZone
from esa.policy.senders import Addresses, parse_sender

LISTED = ipaddress.ip_network("127.0.0.0/8")  # RFC 5782 section 2.1


def _zone(value: str) -> str:
    try:
        return parse_domain(value)
    except SyntaxFault as wrong:
        raise fault(f"{value!r} is no zone", "write the domain of a DNS list, as bl.example.net") from wrong


def read_code(text: str) -> tuple[int, int]:
    """First and last IPv4 address, as numbers, of a return code or a run of them. Raises SyntaxFault."""
    entry = parse_sender(text)
    first, last = (entry.first, entry.last) if isinstance(entry, Addresses) and entry.version == 4 else (0, 0)
    if not int(LISTED[0]) <= first <= last <= int(LISTED[-1]):
        raise SyntaxFault(f"{text!r} is no return code", mend='write "127.0.0.2", "127.0.0.4-7" or "127.0.1.0/24", within 127.0.0.0/8')
    return first, last


def _codes(value: dict[str, float]) -> dict[str, float]:
    for text, points in value.items():
        try:
            read_code(text)
        except SyntaxFault as wrong:
            raise fault(wrong.what, wrong.mend or "") from wrong
        if not -10 <= points <= 10:
            raise fault(f"{points:g} points for {text}", "give from -10 to 10")
    return value


class DnsList(Table):
    """A DNS list (RFC 5782): a piece of evidence for the reputation of the connecting hosts that are in it."""

    zone: Annotated[str, AfterValidator(_zone)] = Field(default="bl.example.net", description="Domain of the list.")
    weight: float = Field(default=0.0, ge=-10, le=10, description="Points for a host that is in it: below 0 for a block list. 0: none.")
    codes: Annotated[dict[str, float], AfterValidator(_codes)] = Field(
        default_factory=dict,
        description=(
            'Points by the answer, as { "127.0.0.2" = -4.0, "127.0.0.10-11" = -1.5 }; the first that fits, else weight. Of several answers '
            "the worst counts."
        ),
    )


class Reputation(Table):
    """What is learned of senders from their mail. It makes their reputation, together with DNS lists; both need [scan] anti_spam."""

    learn: bool = Field(default=True, description="Whether what senders send is remembered and makes points.")
    half_life: Duration = Field(
        default=Learning().half_life,
        ge=HOUR,
        le=365 * DAY,
        description="Time in which what was seen loses half its weight.",
    )
    minimum: float = Field(
        default=Learning().minimum,
        ge=1,
        le=100,
        description="Messages' worth of evidence below which there is no score; of a network twice as many.",
    )
    senders: int = Field(
        default=65_536,
        ge=1_000,
        le=10_000_000,
        description="Most histories kept, 170 octets of memory and 150 of disk each. Past it those that say least are forgotten.",
    )


def dns_zones_of(lists: Iterable[DnsList]) -> list[DnsZone]:
    """The lists as values."""
    return [DnsZone(one.zone, one.weight, tuple((*read_code(text), points) for text, points in one.codes.items())) for one in lists]


def learning_of(given: Reputation) -> Learning:
    return Learning(given.half_life, given.minimum)


def repeated_zones(lists: Iterable[DnsList]) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Zones that are named twice, as (place, what, mend)."""
    seen: dict[str, int] = {}
    for number, one in enumerate(lists):
        if seen.setdefault(one.zone, number) != number:
            yield ("dns_list", number, "zone"), f"the DNS list {one.zone} is there twice", "take one out; several answers go into codes"


def makes_points(lists: Iterable[DnsList]) -> bool:
    """Whether any of these lists makes points."""
    return any(one.weight or any(one.codes.values()) for one in lists)
