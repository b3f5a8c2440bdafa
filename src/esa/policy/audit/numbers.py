"""Sets of numbers, and of what stands in the place of a number where there is none: what conditions on numbers, addresses of clients and facts allow.

A bound is a number and a side of it (-1 just below, 0 itself, 1 just above), so that open and closed intervals are the same kind of thing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Nothing(Enum):
    """What is there in the place of a number."""

    ABSENT = "absent"  # there is none, and tests of it are false
    UNSCANNED = "unscanned"  # nobody knows, and tests of it are neither true nor false


Bound: TypeAlias = tuple[float, int]
Value: TypeAlias = float | Nothing
_LOWEST: Bound = (-math.inf, 0)
_HIGHEST: Bound = (math.inf, 0)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Sorted, disjoint intervals with both bounds in them, and what else is allowed. `is_whole`: there are whole numbers only."""

    intervals: tuple[tuple[Bound, Bound], ...]
    nothings: frozenset[Nothing] = frozenset()
    is_whole: bool = False

    def __contains__(self, value: Value) -> bool:
        if isinstance(value, Nothing):
            return value in self.nothings
        return any(low <= (value, 0) <= high for low, high in self.intervals)

    def __and__(self, other: Numbers) -> Numbers:
        both = [(max(low, its_low), min(high, its_high)) for low, high in self.intervals for its_low, its_high in other.intervals]
        return Numbers(_kept(both, self.is_whole), self.nothings & other.nothings, self.is_whole)

    def __sub__(self, other: Numbers) -> Numbers:
        out, at = [], _LOWEST
        for low, high in other.intervals:
            out.append((at, (low[0], low[1] - 1)))
            at = high[0], high[1] + 1
        out.append((at, _HIGHEST))
        rest = Numbers(tuple(pair for pair in out if pair[0] <= pair[1]), frozenset(Nothing), self.is_whole)
        left = self & rest
        return Numbers(left.intervals, self.nothings - other.nothings, self.is_whole)

    def any_of(self) -> Value | None:
        """A member, a number if there is one and not a large one where that can be chosen; None if it is empty."""
        for low, high in self.intervals:
            value = _between(low, high, self.is_whole)
            if value is not None:
                return value
        return next(iter(sorted(self.nothings, key=lambda one: one.value)), None)


def _kept(pairs: Iterable[tuple[Bound, Bound]], is_whole: bool) -> tuple[tuple[Bound, Bound], ...]:
    return tuple(sorted(pair for pair in pairs if _between(*pair, is_whole) is not None))


def _between(low: Bound, high: Bound, is_whole: bool) -> float | None:
    if low > high:
        return None
    if is_whole:
        first = low[0] if math.isinf(low[0]) else math.floor(low[0]) + 1 if low > (math.floor(low[0]), 0) else math.floor(low[0])
        last = high[0] if math.isinf(high[0]) else math.ceil(high[0]) - 1 if high < (math.ceil(high[0]), 0) else math.ceil(high[0])
        if first > last:
            return None
        return first if not math.isinf(first) else last if not math.isinf(last) else 0
    if low[0] == high[0]:
        return low[0] if low[1] <= 0 <= high[1] else None
    if low[1] <= 0 and not math.isinf(low[0]):
        return low[0]
    if high[1] >= 0 and not math.isinf(high[0]):
        return high[0]
    if math.isinf(low[0]):
        return 0.0 if math.isinf(high[0]) else high[0] - 1
    return low[0] + 1 if math.isinf(high[0]) else (low[0] + high[0]) / 2


def comparing(operator: str, wanted: float) -> Sequence[tuple[Bound, Bound]]:
    """What a comparison allows."""
    match operator:
        case "==":
            return [((wanted, 0), (wanted, 0))]
        case "!=":
            return [(_LOWEST, (wanted, -1)), ((wanted, 1), _HIGHEST)]
        case "<":
            return [(_LOWEST, (wanted, -1))]
        case "<=":
            return [(_LOWEST, (wanted, 0))]
        case ">":
            return [((wanted, 1), _HIGHEST)]
        case _:
            return [((wanted, 0), _HIGHEST)]


def domain(low: float, high: float = math.inf, *nothings: Nothing, is_whole: bool = False) -> Numbers:
    return Numbers((((low, 0), (high, 0)),), frozenset(nothings), is_whole)
