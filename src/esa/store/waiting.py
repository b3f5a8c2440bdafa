"""Which destinations have something due, and which of them have to wait for room: in memory, beside the table of the queue.

`queue` keeps it, so that a claim asks the table only about destinations that can take something: however many entries wait for one that is
down, they are not looked at. Owned by one thread at a time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from esa.store.entry import Entry

UNLIMITED = 1 << 30


class Room(NamedTuple):
    """What a destination may have in flight besides what it has."""

    entries: int
    recipients: int = UNLIMITED  # of them together
    again: float | None = None  # without room: when to look again, in Unix seconds; None: when something has ended
    is_crowded: bool = False  # without room: because others have it, so that anything that ends may make some


class Rooms(Protocol):
    """Says how much a destination may take; the gateway implements it. Asked within one transaction of the queue."""

    @property
    def free(self) -> int:
        """What may be in flight besides what is, over all destinations."""

    def room(self, destination: str, now: float) -> Room: ...

    def take(self, entry: Entry) -> None:
        """This one is in flight from now on."""


class Capacity:
    """So many entries whatever their destinations: for tools and tests."""

    def __init__(self, entries: int) -> None:
        self.free = entries

    def room(self, destination: str, now: float) -> Room:
        return Room(self.free, is_crowded=True)

    def take(self, entry: Entry) -> None:
        self.free -= 1


class Waiting:
    """Destinations with entries that wait, each with the time when its first is due (or may be looked at again)."""

    def __init__(self, due: Iterable[tuple[str, float]]) -> None:
        self._due = dict(due)
        self._heap = [(at, destination) for destination, at in self._due.items()]
        heapq.heapify(self._heap)
        self._parked: dict[str, float] = {}  # until something of their own has ended
        self._crowd: dict[str, float] = {}  # until anything has; the longest there first

    def __contains__(self, destination: str) -> bool:
        return destination in self._due or destination in self._parked or destination in self._crowd

    @property
    def is_crowded(self) -> bool:
        return bool(self._crowd)

    def add(self, destination: str, due: float) -> None:
        """An entry waits there, or it is to be looked at again then."""
        for apart in (self._parked, self._crowd):
            if destination in apart:
                apart[destination] = min(apart[destination], due)
                return
        known = self._due.get(destination)
        if known is None or due < known:
            self._due[destination] = due
            heapq.heappush(self._heap, (due, destination))

    def next_due(self) -> float | None:
        """When the first destination is due, in Unix seconds; None if none is."""
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self, now: float) -> str | None:
        """Take out the destination that has been due longest; whoever takes it adds or parks it again if something is left."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, destination = heapq.heappop(self._heap)
        del self._due[destination]
        return destination

    def park(self, destination: str, due: float, *, in_crowd: bool) -> None:
        """It has no room."""
        (self._crowd if in_crowd else self._parked)[destination] = due

    def ended(self, destination: str) -> None:
        """Something of this one is no longer in flight."""
        if (due := self._parked.pop(destination, None)) is not None:
            self.add(destination, due)

    def let_in(self, count: int) -> None:
        """There is room for so many of those that others kept out."""
        for destination in list(self._crowd)[:count]:
            self.add(destination, self._crowd.pop(destination))

    def let_all_in(self) -> None:
        """Look at all again."""
        for destination in list(self._parked):
            self.ended(destination)
        self.let_in(len(self._crowd))
