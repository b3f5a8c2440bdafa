"""Asking DNS lists (RFC 5782) whether they name an address; answers are kept, and a list is believed only while it behaves as one.

`sender_facts` asks. Rules. An answer outside 127/8 is none of a DNS list; one in 127.255.255/24 says "you may not ask" and is no answer.
Before a listing is believed, the list must not name 127.0.0.1, which section 5 forbids: a list that does names everybody, as a domain does
that has been given up and parked. A list that fails for several hosts in a row is left alone for a while, and only that one.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from esa.engine.resolver import Lookup, Outcome, RecordType, Resolver
from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.gateway.metrics import Counter, Row
from esa.policy.senders import IpAddress

LISTED = ipaddress.IPv4Network("127.0.0.0/8")  # RFC 5782 section 2.1
REFUSED_CODES = ipaddress.IPv4Network("127.255.255.0/24")
NEVER_LISTED = ipaddress.IPv4Address("127.0.0.1")
CACHED = 32_768  # answers kept, some 10 MB; more hosts within a few minutes are a flood
LEAST_SECONDS, MOST_SECONDS = 60.0, 3_600.0  # a listing is kept for its time to live within these
NOTHING_SECONDS = 300.0  # how long it is kept that a host is not listed: a new listing holds after that
FAILED_SECONDS = 10.0
SOUND_SECONDS = 3_600.0  # after which a list is tried again, whether it was found sound or not
GIVE_UP_AFTER, PAUSE = 3, 30.0  # hosts in a row without an answer, and seconds without questions then
Answer: TypeAlias = tuple[str, ...] | None
"""The 127/8 addresses of a listing; empty: not listed; None: there was no answer."""


class Questions:
    """A resolver that counts, with a bound for one host."""

    def __init__(self, resolver: Resolver, row: Row | None, budget: int) -> None:
        self._resolver, self._row, self.left = resolver, row, budget

    async def look_up(self, name: str, kind: RecordType) -> Lookup | None:
        """None past the budget."""
        if self.left <= 0:
            return None
        self.left -= 1
        if self._row is not None:
            self._row.add(Counter.DNS_QUESTIONS)
        return await self._resolver.look_up(name, kind)


class Silence:
    """Whether somebody who is asked answers at all; after several hosts without an answer there is a pause."""

    __slots__ = ("_missed", "until")

    def __init__(self) -> None:
        self._missed = 0
        self.until = 0.0

    def note(self, *, answered: bool, now: float) -> bool:
        """True if a pause begins with this."""
        self._missed = 0 if answered else self._missed + 1
        if self._missed < GIVE_UP_AFTER or now < self.until:
            return False
        self._missed = GIVE_UP_AFTER - 1  # after the pause, one host more is enough
        self.until = now + PAUSE
        return True


@dataclass(slots=True)
class _Zone:
    silence: Silence
    is_sound: bool = True
    sound_until: float = 0.0
    told_until: float = 0.0  # of a fault that is told once in SOUND_SECONDS


class DnsLists:
    """The lists that one worker asks, with what it knows of them."""

    def __init__(self, row: Row | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._row, self._clock = row, clock
        self._kept: dict[tuple[str, IpAddress], tuple[float, Answer]] = {}
        self._zones: dict[str, _Zone] = {}

    def recall(self, address: IpAddress, zones: Sequence[str]) -> dict[str, Answer]:
        """What is known of these zones without a question; those that are silent have no answer."""
        now = self._clock()
        found: dict[str, Answer] = {}
        for zone in zones:
            kept = self._kept.get((zone, address))
            if kept is not None and kept[0] > now:
                found[zone] = kept[1]
            elif self._zone(zone).silence.until > now:
                found[zone] = None
        if found and self._row is not None:
            self._row.add(Counter.DNS_CACHED, len(found))
        return found

    async def ask(self, questions: Questions, address: IpAddress, zone: str) -> Answer:
        """Ask one. May take long; cancel it. Call `note` with how it ended."""
        labels = _labels(address)
        lookup = await questions.look_up(f"{labels}.{zone}", "A")
        if lookup is None:
            return None
        if lookup.outcome is Outcome.FAILED:
            self._keep(address, zone, FAILED_SECONDS, None)
            return None
        values = tuple(value for value in lookup.values if _is_within(value, LISTED))
        if any(_is_within(value, REFUSED_CODES) for value in values):
            self._tell(zone, f"it refuses our questions ({values[0]})")
            self._keep(address, zone, MOST_SECONDS, None)
            return None
        if values and not await self._is_sound(questions, zone):
            return None
        seconds = min(MOST_SECONDS, max(LEAST_SECONDS, float(lookup.ttl))) if values else NOTHING_SECONDS
        self._keep(address, zone, seconds, values)
        return values

    def note(self, zone: str, *, answered: bool) -> bool:
        """Take note of whether a host had its answer. True if the zone is left alone from now on."""
        return self._zone(zone).silence.note(answered=answered, now=self._clock())

    async def _is_sound(self, questions: Questions, zone: str) -> bool:
        """Whether the list leaves out what no list may name."""
        state = self._zone(zone)
        now = self._clock()
        if now >= state.sound_until:
            lookup = await questions.look_up(f"{_labels(NEVER_LISTED)}.{zone}", "A")
            if lookup is None or lookup.outcome is Outcome.FAILED:
                return False  # of this host nothing is believed; the next asks again
            state.is_sound = not any(_is_within(value, LISTED) for value in lookup.values)
            state.sound_until = now + SOUND_SECONDS
        if not state.is_sound:
            self._tell(zone, "it names 127.0.0.1, and so everybody (RFC 5782 section 5)")
        return state.is_sound

    def _tell(self, zone: str, reason: str) -> None:
        state = self._zone(zone)
        now = self._clock()
        if now >= state.told_until:
            state.told_until = now + SOUND_SECONDS
            events.warning(Log.DNS_LIST_IGNORED, zone=zone, reason=reason)

    def _keep(self, address: IpAddress, zone: str, seconds: float, answer: Answer) -> None:
        kept = self._kept
        while len(kept) >= CACHED:
            del kept[next(iter(kept))]
        kept.pop((zone, address), None)
        kept[zone, address] = (self._clock() + seconds, answer)

    def _zone(self, zone: str) -> _Zone:
        state = self._zones.get(zone)
        if state is None:
            state = self._zones[zone] = _Zone(Silence())
        return state


def _labels(address: IpAddress) -> str:
    return address.reverse_pointer.rpartition(".")[0].rpartition(".")[0]  # without in-addr.arpa or ip6.arpa


def _is_within(value: str, network: ipaddress.IPv4Network) -> bool:
    try:
        return ipaddress.ip_address(value) in network
    except ValueError:
        return False
