"""Host access: which sender group a connecting host belongs to, and so which mail flow policy it gets (AsyncOS's HAT).

Groups stand in order; the first with an entry that matches decides. The gateway asks `needs` what must be known of an address (its name, its
reputation, DNS lists), finds that out, and calls `match`. Nothing is needed that no group before the certain one asks for. Pure; built once,
used by all connections of a listener.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from esa.policy.address_table import NOTHING, AddressTable
from esa.policy.mail_flow import SHIPPED, AccessRule, MailFlowPolicy
from esa.policy.reputation import Evidence
from esa.policy.senders import (
    Addresses,
    DnsListed,
    Everyone,
    HostName,
    IpAddress,
    NoReputation,
    ReputationRange,
    ReverseDns,
    ReverseFault,
    SenderEntry,
)

EVERYONE = "ALL"  # name of the group for whom no other has an entry


@dataclass(frozen=True, slots=True)
class SenderGroup:
    """A named list of senders and the policy that they get."""

    name: str
    policy: MailFlowPolicy
    senders: tuple[SenderEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Sender:
    """What is known of a connecting host. Left at its default where it was not asked for."""

    address: IpAddress
    reverse: ReverseDns | None = None
    names: tuple[str, ...] = ()  # that lead back to the address; lower case
    reputation: float | None = None
    listed: frozenset[str] = frozenset()  # zones of DNS lists that name the address
    evidence: tuple[Evidence, ...] = ()  # what the reputation is made of


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be found out of an address before it can be matched."""

    reverse: bool = False
    reputation: bool = False
    zones: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.reverse or self.reputation or bool(self.zones)

    def __or__(self, other: Needs) -> Needs:
        """What either needs."""
        if not other:
            return self
        zones = tuple(dict.fromkeys((*self.zones, *other.zones)))
        return Needs(self.reverse or other.reverse, self.reputation or other.reputation, zones)


@dataclass(frozen=True, slots=True)
class Match:
    """The group of a connection; `because` is the entry that matched, as written."""

    group: str
    policy: MailFlowPolicy
    because: str


@dataclass(slots=True)
class _Places:
    """For each kind of entry, where it stands for the first time: its number among all entries in order."""

    networks: dict[int, list[tuple[int, int, int]]] = field(default_factory=lambda: {4: [], 6: []})
    hosts: dict[str, int] = field(default_factory=dict)
    domains: dict[str, int] = field(default_factory=dict)
    ranges: list[tuple[float, float, int]] = field(default_factory=list)
    unknown: int | None = None
    zones: dict[str, int] = field(default_factory=dict)
    faults: dict[ReverseDns, int] = field(default_factory=dict)
    everyone: int | None = None


class HostAccess:
    """The sender groups of a listener. Whoever is in none of them gets `otherwise`, as an entry ALL at the end."""

    def __init__(self, groups: Sequence[SenderGroup], otherwise: MailFlowPolicy = SHIPPED["ACCEPTED"]) -> None:
        places = _Places()
        self._matches: list[Match] = []
        for group in groups:
            if group.policy.access is not AccessRule.CONTINUE:
                for entry in group.senders:
                    self._put(places, entry)
                    self._matches.append(Match(group.name, group.policy, entry.text))
        self._greylists = otherwise.greylist or any(group.policy.greylist for group in groups)
        self._end = len(self._matches) if places.everyone is None else places.everyone
        self._matches.append(Match(EVERYONE, otherwise, EVERYONE))
        self._tables = {version: AddressTable(ranges) for version, ranges in places.networks.items()}
        self._hosts, self._domains, self._zones = places.hosts, places.domains, places.zones
        self._ranges, self._unknown, self._faults = places.ranges, places.unknown, places.faults
        nowhere = len(self._matches)
        self._first_reverse = min([*places.hosts.values(), *places.domains.values(), *places.faults.values()], default=nowhere)
        scored = [number for _, _, number in places.ranges] + ([] if places.unknown is None else [places.unknown])
        self._first_reputation = min(scored, default=nowhere)

    def _put(self, places: _Places, entry: SenderEntry) -> None:
        number = len(self._matches)
        match entry:
            case Addresses():
                places.networks[entry.version].append((entry.first, entry.last, number))
            case HostName():
                (places.domains if entry.below else places.hosts).setdefault(entry.domain, number)
            case ReputationRange():
                places.ranges.append((entry.low, entry.high, number))
            case NoReputation():
                places.unknown = number if places.unknown is None else places.unknown
            case DnsListed():
                places.zones.setdefault(entry.zone, number)
            case ReverseFault():
                places.faults.setdefault(entry.state, number)
            case Everyone():
                places.everyone = number if places.everyone is None else places.everyone

    @property
    def zones(self) -> tuple[str, ...]:
        """All DNS lists that entries name."""
        return tuple(self._zones)

    @property
    def asks_names(self) -> bool:
        return bool(self._hosts or self._domains or self._faults or self._greylists)

    @property
    def asks_reputation(self) -> bool:
        return bool(self._ranges) or self._unknown is not None

    def needs(self, address: IpAddress | None) -> Needs:
        """What must be known of an address; None is a client without one (a Unix socket), of which nothing can be."""
        if address is None:
            return Needs()
        certain = self._certain(address)
        zones = tuple(zone for zone, number in self._zones.items() if number < certain) if self._zones else ()
        return Needs(self._greylists or self._first_reverse < certain, self._first_reputation < certain, zones)

    def match(self, sender: Sender | None) -> Match:
        """The group of a sender; None is a client without an address, which is in the last."""
        if sender is None:
            return self._matches[self._end]
        best = self._certain(sender.address)
        if self._first_reputation < best:
            best = self._by_reputation(sender.reputation, best)
        if self._first_reverse < best:
            best = self._by_name(sender, best)
        for zone in sender.listed:
            best = min(best, self._zones.get(zone, best))
        return self._matches[best]

    def _certain(self, address: IpAddress) -> int:
        """The first entry that matches by the address alone."""
        found = self._tables[address.version].find(int(address))
        return self._end if found == NOTHING else min(found, self._end)

    def _by_reputation(self, reputation: float | None, best: int) -> int:
        if reputation is None:
            return best if self._unknown is None else min(best, self._unknown)
        return min((number for low, high, number in self._ranges if low <= reputation <= high and number < best), default=best)

    def _by_name(self, sender: Sender, best: int) -> int:
        if sender.reverse is not None:
            best = min(best, self._faults.get(sender.reverse, best))
        for name in sender.names:
            best = min(best, self._hosts.get(name, best))
            domain = name
            while self._domains and (domain := domain.partition(".")[2]):
                best = min(best, self._domains.get(domain, best))
        return best
