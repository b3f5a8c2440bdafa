"""What is odd about sender groups though they can be served: entries that never match, ranges that overlap or leave gaps, dangerous trust.

`esa config check` prints the findings. Each says where, what, and what an experienced administrator would do. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from esa.policy.address_table import AddressTable
from esa.policy.host_access import SenderGroup
from esa.policy.mail_flow import AccessRule
from esa.policy.senders import (
    HIGHEST,
    LOWEST,
    Addresses,
    DnsListed,
    Everyone,
    HostName,
    NoReputation,
    ReputationRange,
    ReverseFault,
    SenderEntry,
)

Placed = tuple[SenderGroup, SenderEntry]
WIDE_V4, WIDE_V6 = 1 << 24, 1 << 96  # addresses: a /8 and a /32


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at. `group` is the name of the sender group it stands at; empty for the groups together.

    `table` is what the name is of, where it is none of a sender group. `is_shadowed`: what it tells of never holds, because of what stands before it.
    """

    group: str
    what: str
    advice: str
    table: str = "sender group"
    is_shadowed: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        place = f"{self.table} {self.group}" if self.group else f"{self.table}s"
        end = "" if self.advice.endswith("?") else "."
        return f"{place}: {self.what}.\n  {self.advice[:1].upper()}{self.advice[1:]}{end}"


def audit(groups: Sequence[SenderGroup]) -> list[Finding]:
    """All findings: unreachable entries in their order, then reputation, then trust."""
    placed = [(group, entry) for group in groups if group.policy.access is not AccessRule.CONTINUE for entry in group.senders]
    return [*_unreachable(placed), *_reputation(placed), *_trust(placed)]


def _unreachable(placed: Sequence[Placed]) -> Iterator[Finding]:
    covered = _covered_networks(placed)
    seen: dict[object, str] = {}
    everyone: str | None = None
    for number, (group, entry) in enumerate(placed):
        if everyone is not None:
            yield _shadowed(group, entry, everyone, "ALL")
            continue
        match entry:
            case Addresses() if number in covered:
                yield _shadowed(group, entry, *covered[number])
            case HostName():
                before = _domains_over(entry)
                found = next((seen[key] for key in before if key in seen), None)
                if found is not None:
                    yield _shadowed(group, entry, found, "the same or a wider name")
                seen.setdefault((entry.domain, entry.below), group.name)
            case NoReputation() | DnsListed() | ReverseFault():
                key = (type(entry), getattr(entry, "zone", None), getattr(entry, "state", None))
                if key in seen:
                    yield _shadowed(group, entry, seen[key], "the same")
                seen.setdefault(key, group.name)
            case Everyone():
                everyone = group.name
            case _:
                pass


def _shadowed(group: SenderGroup, entry: SenderEntry, by: str, because: str) -> Finding:
    own = " itself" if by == group.name else ""
    what = f"{entry.text} never matches: {because} stands before it in {by}{own}"
    advice = "take it out, it is there twice" if own else f"take it out, or move {group.name} before {by}"
    return Finding(group.name, what, advice, is_shadowed=True)


def _covered_networks(placed: Sequence[Placed]) -> dict[int, tuple[str, str]]:
    """Number of each run of addresses that runs before it cover → group and entry that it loses its first address to."""
    covered: dict[int, tuple[str, str]] = {}
    for version in (4, 6):
        runs = [
            (entry.first, entry.last, number)
            for number, (_, entry) in enumerate(placed)
            if isinstance(entry, Addresses) and entry.version == version
        ]
        table = AddressTable(runs)
        winners = table.winners()
        for first, _, number in runs:
            if number not in winners:
                group, entry = placed[table.find(first)]
                covered[number] = (group.name, entry.text)
    return covered


def _domains_over(entry: HostName) -> Iterator[tuple[str, bool]]:
    """The names that match all that this one does: itself, and every domain above it."""
    yield (entry.domain, entry.below)
    domain = entry.domain
    while domain := domain.partition(".")[2]:
        yield (domain, True)


def _reputation(placed: Sequence[Placed]) -> Iterator[Finding]:
    ranges = [(group, entry) for group, entry in placed if isinstance(entry, ReputationRange)]
    if not ranges:
        return
    yield from _overlaps(ranges)
    for low, high in _gaps([entry for _, entry in ranges]):
        what = f"reputation from {low:.1f} to {high:.1f} is in no range"
        yield Finding("", what, "extend a neighbouring range, or such senders are treated as ALL")
    if not any(isinstance(entry, NoReputation) for _, entry in placed):
        what = "senders without a reputation (none) are in no group"
        yield Finding(
            "", what, "add SBRS[none] to UNKNOWNLIST, or to SUSPECTLIST: a sender of which little is known is often a source of spam"
        )
    for group, entry in ranges:
        if entry.high > 0 and group.policy.access is AccessRule.ACCEPT and not group.policy.spam_check:
            what = f"a positive score buys a scan bypass: {entry.text} gets {group.policy.name}, which has spam_check off"
            advice = "extend UNKNOWNLIST to +10 and leave WHITELIST without a range: put in by hand only whom you know"
            yield Finding(group.name, what, advice)


def _overlaps(ranges: Sequence[tuple[SenderGroup, ReputationRange]]) -> Iterator[Finding]:
    for number, (group, entry) in enumerate(ranges):
        before = ranges[:number]
        if not _gaps([other for _, other in before], entry.low, entry.high):
            covering = next(other for other, run in before if run.low <= entry.low <= run.high)
            yield _shadowed(group, entry, covering.name, "a range of all these scores")
            continue
        for other, run in before:
            low, high = max(entry.low, run.low), min(entry.high, run.high)
            if low == high:
                what = f"shares the endpoint {low:.1f} with {other.name}, which stands before it and gets that score"
                yield Finding(group.name, what, f"this is allowed; begin or end one of them at a tenth beside {low:.1f} to say it plainly")
            elif low < high:
                what = f"{entry.text} overlaps with {run.text} of {other.name}, which stands before it and gets {low:.1f} to {high:.1f}"
                yield Finding(group.name, what, "let the ranges meet and not overlap")


def _gaps(ranges: Sequence[ReputationRange], low: float = LOWEST, high: float = HIGHEST) -> list[tuple[float, float]]:
    """Runs of tenths from low to high that no range covers."""
    gaps: list[tuple[float, float]] = []
    place, end = round(low * 10), round(high * 10)
    for first, last in sorted((round(entry.low * 10), round(entry.high * 10)) for entry in ranges):
        if first > place and place <= end:
            gaps.append((place / 10, min(first - 1, end) / 10))
        place = max(place, last + 1)
    if place <= end:
        gaps.append((place / 10, high))
    return gaps


def _trust(placed: Sequence[Placed]) -> Iterator[Finding]:
    for group, entry in placed:
        policy = group.policy
        if not isinstance(entry, Addresses) or not policy.is_open:
            continue
        wide = entry.last - entry.first + 1 > (WIDE_V4 if entry.version == 4 else WIDE_V6)
        if wide and policy.access is AccessRule.RELAY:
            what = f"{entry.text} may relay to anywhere, and it is wider than any one organization"
            yield Finding(group.name, what, "name your own networks only")
        elif wide and not policy.spam_check:
            yield Finding(
                group.name, f"{entry.text} is not scanned for spam, and it is wider than any one organization", "name fewer networks"
            )


def relays_to_strangers(group: SenderGroup) -> SenderEntry | None:
    """An entry through which a host that nobody named may relay to anywhere: an open relay. None if there is none."""
    if group.policy.access is not AccessRule.RELAY:
        return None
    for entry in group.senders:
        if not isinstance(entry, (Addresses, HostName)):
            return entry
        if isinstance(entry, Addresses) and entry.first == 0 and entry.last >= (1 << (32 if entry.version == 4 else 128)) - 1:
            return entry
    return None
