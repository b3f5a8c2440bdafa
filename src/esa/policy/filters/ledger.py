"""The cost ledger: what each filter of a plan costs on the mail that comes, and how often it fires.

Given to `FilterPlan.run` by whoever wants to know. Every message counts hits; one in `every` is measured, so that measuring costs a hundredth of what is
measured. Of one thread; ledgers of several are added up by whoever shows them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

EVERY = 64  # messages of which one is measured: reading the clock around each filter costs about what a filter costs


class Entry(NamedTuple):
    """One filter. `evaluated` and `nanoseconds` are of the messages that were measured."""

    name: str
    hits: int
    last_hit: float  # when the last message came that it acted for, Unix seconds; 0: never
    evaluated: int
    nanoseconds: int


class Ledger:
    """Counts and times of the filters of a plan, by their place in it."""

    def __init__(self, names: Sequence[str], *, every: int = EVERY, clock: Callable[[], int] = time.thread_time_ns) -> None:
        """`clock` gives nanoseconds."""
        self._names = tuple(names)
        self._every, self.clock = every, clock
        self._hits = [0] * len(names)
        self._last = [0.0] * len(names)
        self._evaluated = [0] * len(names)
        self._nanoseconds = [0] * len(names)
        self.messages = 0
        self.measured = 0  # messages
        self.choosing = 0  # nanoseconds spent on finding out which filters can fire, in those that were measured

    def begin(self) -> bool:
        """Count a message; whether it is to be measured."""
        is_measured = self.messages % self._every == 0
        self.messages += 1
        self.measured += is_measured
        return is_measured

    def spend(self, number: int, nanoseconds: int) -> None:
        """A filter was evaluated, and took so long."""
        self._evaluated[number] += 1
        self._nanoseconds[number] += nanoseconds

    def hit(self, number: int, now: float) -> None:
        """A filter acted."""
        self._hits[number] += 1
        self._last[number] = now

    def entries(self) -> Iterator[Entry]:
        """All filters in their order."""
        columns = zip(self._names, self._hits, self._last, self._evaluated, self._nanoseconds, strict=True)
        return (Entry(*column) for column in columns)

    def microseconds(self, nanoseconds: int) -> float:
        """A sum over the measured messages as the share of one message, in µs."""
        return nanoseconds / 1000 / self.measured if self.measured else 0.0
