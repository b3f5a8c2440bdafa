"""Entries of a sender group: which connecting hosts an entry means, in every form that AsyncOS writes them.

    10.1.1.10           one address                      host.example.org   a host by its confirmed name
    10.1.1.0/24 10.1/16 a network                        .example.org       every host below a domain
    10.1.1. 10.1.       a leading part of an address     SBRS[-10.0:-3.0]   a range of reputation, both ends in it
    10.1.1.10-20 10.1-5. a range in its last number      SBRS[none]         no reputation known
    10.1.1.10-10.1.2.3  a range from end to end          dnslist[zone]      listed in a DNS list
    2001:db8::/32       2001:db8::1-2001:db8::ff         ALL                everyone
    nx.domain serv.fail not.double.verified              no PTR, PTR lookup failed, PTR and address disagree

The configuration reads entries with `parse_sender`, `host_access` matches them. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from esa.errors import SyntaxFault
from esa.message.address import parse_domain

LOWEST, HIGHEST = -10.0, 10.0  # reputation
FORMS = "an IP address, network or range, a host, .domain, SBRS[low:high], SBRS[none], dnslist[zone], nx.domain, serv.fail or ALL"
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class ReverseDns(StrEnum):
    """What the reverse lookup of an address came to; the words are AsyncOS's own for entries of sender groups."""

    CONFIRMED = "confirmed"  # a name was found, and it leads back to the address
    NO_NAME = "nx.domain"
    FAILED = "serv.fail"
    MISMATCHED = "not.double.verified"


@dataclass(frozen=True, slots=True)
class Addresses:
    """A run of addresses of one IP version, both ends in it."""

    text: str
    version: int  # 4 or 6
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class HostName:
    """A host (`below` false), or all hosts below a domain. Lower case, without the leading dot."""

    text: str
    domain: str
    below: bool


@dataclass(frozen=True, slots=True)
class ReputationRange:
    """Reputation from `low` to `high`, both in it, in tenths as reputation is given."""

    text: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class NoReputation:
    """No reputation is known."""

    text: str


@dataclass(frozen=True, slots=True)
class DnsListed:
    """Listed in the DNS list `zone` (RFC 5782)."""

    text: str
    zone: str


@dataclass(frozen=True, slots=True)
class ReverseFault:
    """The reverse lookup came to this; never CONFIRMED."""

    text: str
    state: ReverseDns


@dataclass(frozen=True, slots=True)
class Everyone:
    """ALL."""

    text: str


SenderEntry: TypeAlias = Addresses | HostName | ReputationRange | NoReputation | DnsListed | ReverseFault | Everyone

_REPUTATION = re.compile(r"sbrs\[\s*(none|([+-]?\d+(?:\.\d+)?)\s*:\s*([+-]?\d+(?:\.\d+)?))\s*\]\Z", re.IGNORECASE)
_DNSLIST = re.compile(r"dnslist\[\s*([^\[\]\s]+)\s*\]\Z", re.IGNORECASE)
_NUMERIC = re.compile(r"[\d.]+(?:-[\d.]+|/\d+)?\Z")
_FAULTS = {state.value: state for state in ReverseDns if state is not ReverseDns.CONFIRMED}
_OWNER = re.compile(r"sbo:", re.IGNORECASE)


def parse_sender(text: str) -> SenderEntry:
    """Read one entry. Raises SyntaxFault that says what an entry may be."""
    text = text.strip()
    word = text.lower()
    if word == "all":
        return Everyone(text)
    if word in _FAULTS:
        return ReverseFault(text, _FAULTS[word])
    if match := _REPUTATION.match(text):
        return _reputation(text, match)
    if match := _DNSLIST.match(text):
        return DnsListed(text, parse_domain(match.group(1)))
    if _OWNER.match(text):
        raise SyntaxFault(f"{text!r} means a network owner, which nothing here knows", mend="name the networks of that owner instead")
    if _NUMERIC.match(text):
        return _version_4(text)
    if ":" in text:
        return _version_6(text)
    below = word.startswith(".")
    try:
        return HostName(text, parse_domain(word.removeprefix(".")), below)
    except SyntaxFault:
        raise _no_sender(text) from None


def read_address(text: str) -> IpAddress | None:
    """A connecting address as entries mean it: an IPv4 address in IPv6 clothes is IPv4. None for what is no IP address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 6 and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def network_of(address: IpAddress, significant_bits: int) -> str:
    """The network that makes one sender for counting, as text: so many leading bits of IPv4 (0 to 32), twice as many of IPv6."""
    length = significant_bits if address.version == 4 else 2 * significant_bits
    if length == address.max_prefixlen:
        return str(address)
    shift = address.max_prefixlen - length
    return f"{type(address)(int(address) >> shift << shift)}/{length}"


def _no_sender(text: str) -> SyntaxFault:
    return SyntaxFault(f"{text!r} names no sender", mend=f"write {FORMS}")


def _reputation(text: str, match: re.Match[str]) -> SenderEntry:
    if match.group(1).lower() == "none":
        return NoReputation(text)
    low, high = float(match.group(2)), float(match.group(3))
    if not LOWEST <= low <= high <= HIGHEST:
        raise SyntaxFault(f"{text!r} is no range of reputation", mend="write the lower end first, both from -10.0 to 10.0")
    return ReputationRange(text, low, high)


def _version_4(text: str) -> Addresses:
    front, slash, length = text.partition("/")
    if slash:
        octets = _octets(front.removesuffix("."), text)
        if "-" in front or int(length) > 32:
            raise _no_sender(text)
        first = _fill(octets, 0)
        mask = (1 << 32 - int(length)) - 1
        return _run(text, 4, first & ~mask, first | mask)
    front, dash, back = text.partition("-")
    octets = _octets(front.removesuffix(".") if not dash else front, text)
    if not dash:
        return _run(text, 4, _fill(octets, 0), _fill(octets, 255))
    ends = _octets(back.removesuffix("."), text)
    if len(ends) == 1:
        ends = (*octets[:-1], ends[0])
    if len(ends) != len(octets):
        raise _no_sender(text)
    return _run(text, 4, _fill(octets, 0), _fill(ends, 255))


def _octets(text: str, whole: str) -> tuple[int, ...]:
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not all(part.isdecimal() and len(part) <= 3 and int(part) <= 255 for part in parts):
        raise _no_sender(whole)
    return tuple(map(int, parts))


def _fill(octets: tuple[int, ...], filler: int) -> int:
    return int.from_bytes((*octets, *[filler] * (4 - len(octets))), "big")


def _version_6(text: str) -> Addresses:
    try:
        if "-" in text:
            first, last = (ipaddress.IPv6Address(end.strip()) for end in text.split("-"))
            return _run(text, 6, int(first), int(last))
        network = ipaddress.IPv6Network(text, strict=False)
        return _run(text, 6, int(network.network_address), int(network.broadcast_address))
    except ValueError:
        raise _no_sender(text) from None


def _run(text: str, version: int, first: int, last: int) -> Addresses:
    if last < first:
        raise SyntaxFault(f"{text!r} is a range that ends before it begins", mend="write the lower address first")
    return Addresses(text, version, first, last)
