"""How many notifications may be sent: so many an hour in all, and so many to one address. The deliver process asks.

A window slides by slots: what was sent more than an hour ago counts no more. After a restart nothing counts.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

WINDOW: Final = 3_600.0  # seconds
SLOT: Final = 60.0  # seconds that are counted together
ADDRESSES: Final = 20_000  # remembered; past them the longest unseen is forgotten


class _Window:
    """Counts of one hour."""

    __slots__ = ("_slots", "count")

    def __init__(self) -> None:
        self._slots: deque[list[float]] = deque()  # [beginning, count]
        self.count = 0

    def forget(self, now: float) -> None:
        while self._slots and self._slots[0][0] <= now - WINDOW:
            self.count -= int(self._slots.popleft()[1])

    def add(self, now: float) -> None:
        if not self._slots or now - self._slots[-1][0] >= SLOT:
            self._slots.append([now, 0])
        self._slots[-1][1] += 1
        self.count += 1


class Pace:
    """Limits of one process; 0 lifts one. `clock` gives monotonic seconds."""

    def __init__(self, per_hour: int, per_address: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_hour, self._per_address, self._clock = per_hour, per_address, clock
        self._all = _Window()
        self._addresses: OrderedDict[str, _Window] = OrderedDict()

    @property
    def is_spent(self) -> bool:
        """Whether nobody may be told anything just now."""
        self._all.forget(self._clock())
        return bool(self._per_hour) and self._all.count >= self._per_hour

    def take(self, address: str) -> bool:
        """Whether one more may be sent to this address; counts it if so."""
        if self.is_spent:
            return False
        now = self._clock()
        window = self._addresses.pop(address.lower(), None) or _Window()
        window.forget(now)
        self._addresses[address.lower()] = window
        if len(self._addresses) > ADDRESSES:
            self._addresses.popitem(last=False)
        if self._per_address and window.count >= self._per_address:
            return False
        window.add(now)
        self._all.add(now)
        return True
