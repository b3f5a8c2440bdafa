"""A machine that searches a text for an expression: states made when they are first reached, one character after another.

Called by `language`. A state is a set of places in the expression and what stands before, so that ^, $ and \\b are decided when the next character is
known. Once a match is found nothing can undo it, as in a search: state FOUND.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from esa.policy.audit.pattern import Assertion, Chars, Choice, Node, Repeat, Run, Unreadable, Where
from esa.policy.audit.ranges import WORD, Ranges, joined

MOST_PLACES = 4_000  # of an expression: (a{100}){100} would have ten thousand
MOST_STATES = 1_500  # of one machine: past them an answer takes seconds; ordinary expressions have tens
FOUND = 0  # number of the state in which a match has been found

BEGIN, NEWLINE, LETTER, OTHER = range(4)  # what stands before a place, and behind it; BEGIN also stands for the end


class _Place(NamedTuple):
    """`ranges` None: no character is taken. `where` None: nothing is asked. Then on to one of `nexts`; none and no ranges: the match."""

    ranges: Ranges | None
    where: Where | None
    nexts: tuple[int, ...]


def _holds(where: Where, before: int, behind: int) -> bool:
    match where:
        case Where.TEXT_BEGIN:
            return before == BEGIN
        case Where.TEXT_END:
            return behind == BEGIN
        case Where.LINE_BEGIN:
            return before in (BEGIN, NEWLINE)
        case Where.LINE_END:
            return behind in (BEGIN, NEWLINE)
        case Where.BOUNDARY:
            return (before == LETTER) != (behind == LETTER)


def kind_of(character: int) -> int:
    if character == 10:
        return NEWLINE
    return LETTER if any(low <= character <= high for low, high in WORD) else OTHER


class Machine:
    """Not for several threads at once. Raises Unreadable where it would grow past its limits."""

    def __init__(self, node: Node) -> None:
        self._places: list[_Place] = [_Place(None, None, ())]  # the match
        self._begin = self._build(node, 0)
        self._number: dict[tuple[frozenset[int], int], int] = {}
        self._states: list[tuple[frozenset[int], int]] = [(frozenset(), -1)]  # FOUND
        self._steps: list[dict[int, int]] = [{}]
        self._ends: list[bool | None] = [True]
        edges = {0, 10, 11}
        for ranges in [WORD, *(place.ranges for place in self._places if place.ranges is not None)]:
            for low, high in ranges:
                edges |= {low, high + 1}
        self.edges = tuple(sorted(edges))
        self.start = self._state(frozenset((self._begin,)), BEGIN)

    # --- building: each node leads to `then`

    def _add(self, place: _Place) -> int:
        if len(self._places) >= MOST_PLACES:
            raise Unreadable("an expression of too many places")
        self._places.append(place)
        return len(self._places) - 1

    def _build(self, node: Node, then: int) -> int:
        match node:
            case Chars(ranges):
                return self._add(_Place(joined(ranges), None, (then,)))
            case Assertion(where):
                return self._add(_Place(None, where, (then,)))
            case Run(items):
                for item in reversed(items):
                    then = self._build(item, then)
                return then
            case Choice(items):
                return self._add(_Place(None, None, tuple(self._build(item, then) for item in items)))
            case Repeat(inner, least, most):
                return self._repeat(inner, least, most, then)

    def _repeat(self, inner: Node, least: int, most: int | None, then: int) -> int:
        if most is None:
            loop = self._add(_Place(None, None, ()))
            self._places[loop] = _Place(None, None, (self._build(inner, loop), then))
            at = loop
        else:
            at = then
            for _ in range(most - least):
                at = self._add(_Place(None, None, (self._build(inner, at), then)))
        for _ in range(least):
            at = self._build(inner, at)
        return at

    # --- running

    def _state(self, places: frozenset[int], before: int) -> int:
        key = places, before
        number = self._number.get(key)
        if number is None:
            if len(self._states) >= MOST_STATES:
                raise Unreadable("an expression of too many states")
            number = self._number[key] = len(self._states)
            self._states.append(key)
            self._steps.append({})
            self._ends.append(None)
        return number

    def _reached(self, state: int, behind: int) -> set[int]:
        """All places reached without a character, if this stands behind."""
        places, before = self._states[state]
        reached: set[int] = set()
        waiting = list(places)
        while waiting:
            number = waiting.pop()
            if number in reached:
                continue
            reached.add(number)
            place = self._places[number]
            if place.ranges is None and (place.where is None or _holds(place.where, before, behind)):
                waiting += place.nexts
        return reached

    def step(self, state: int, character: int) -> int:
        """The state behind a character."""
        if state == FOUND:
            return FOUND
        group = bisect_right(self.edges, character)
        steps = self._steps[state]
        found = steps.get(group)
        if found is None:
            found = steps[group] = self._step(state, character)
        return found

    def _step(self, state: int, character: int) -> int:
        kind = kind_of(character)
        reached = self._reached(state, kind)
        if 0 in reached:
            return FOUND
        places = {self._begin}
        for number in reached:
            ranges = self._places[number].ranges
            if ranges is not None and any(low <= character <= high for low, high in ranges):
                places.add(self._places[number].nexts[0])
        return self._state(frozenset(places), kind)

    def matches_at_end(self, state: int) -> bool:
        """Whether the text may end here and has a match."""
        found = self._ends[state]
        if found is None:
            found = self._ends[state] = 0 in self._reached(state, BEGIN)
        return found
