"""In which cases filters act, and in which they end all that stands behind them. Called by `shadows` and `merging`.

Cases are a condition with its `and`, `or`, `not` and nested `if`s multiplied out. Where they would be too many, it is not known when a filter acts;
those that are known in which it ends are still right.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from esa.policy.audit.facts import Case
from esa.policy.audit.meaning import Reader
from esa.policy.filters.scope import Scope, Unusable
from esa.policy.filters.tree import And, Block, Call, Condition, Filter, If, Not, Or, Test, flat
from esa.policy.filters.words import actions

MOST_CASES = 4_000  # of one filter: people write some tens, long lists by or some thousands; a condition of n parts may have 2^n


class Group(NamedTuple):
    """The actions of one block, and the cases in which they run; None: too many to tell."""

    calls: tuple[Call, ...]
    cases: tuple[Case, ...] | None


@dataclass(frozen=True, slots=True)
class Acting:
    """`ends`: cases, perhaps not all, in which no filter behind this one runs, and the action that ends them."""

    filter: Filter
    number: int
    groups: tuple[Group, ...]
    ends: tuple[tuple[Case, Call], ...]

    @property
    def cases(self) -> tuple[Case, ...] | None:
        """All in which it does something; None: too many to tell."""
        found: dict[Case, None] = {}
        for group in self.groups:
            if group.cases is None:
                return None
            found.update(dict.fromkeys(group.cases))
        return tuple(found)


class _Cases(NamedTuple):
    cases: tuple[Case, ...]
    are_all: bool = True


@dataclass(slots=True)
class Edits:
    """How many actions before a place may have changed what."""

    headers: dict[str, int] = field(default_factory=dict)
    body: int = 0
    places: int = 0

    def version(self, changes: str) -> int:
        """As `meaning.Versions` has it."""
        if not changes:
            return 0
        if changes == "size":  # an edit shows in the size when some later filter lets it be shown, so no two places are alike
            return self.places if self.body or self.headers else 0
        if changes == "body":
            return self.body + self.headers.get("header:subject", 0)  # after either all terms are counted anew
        return self.body + self.headers.get(changes, 0) + (self.headers.get("header:subject", 0) if changes == "header:subject" else 0)

    def add(self, changes: Iterable[str]) -> None:
        for change in changes:
            if change == "body":
                self.body += 1
            else:
                self.headers[change] = self.headers.get(change, 0) + 1


def acting(
    filters: Sequence[Filter], scope: Scope, *, now: float = 0.0, is_for_one: bool = False, edited_before: bool = False
) -> Iterator[Acting]:
    """Of each filter, in the order in which they run. All of them can run: those with faults are left out by the caller."""
    edits = Edits(body=int(edited_before))
    for number, one in enumerate(filters):
        walk = _Walk(edits, Reader(edits.version, now, is_for_one), scope)
        walk.statement(one.statement, _Cases((frozenset(),)))
        yield Acting(one, number, tuple(walk.groups), tuple(walk.ends))


class _Walk:
    """Through one filter, in the order in which it runs."""

    def __init__(self, edits: Edits, reader: Reader, scope: Scope) -> None:
        self._edits, self._reader, self._scope = edits, reader, scope
        self.groups: list[Group] = []
        self.ends: list[tuple[Case, Call]] = []

    def statement(self, statement: If, path: _Cases) -> None:
        self._edits.places += 1
        true, false = self._condition(statement.condition)
        self._block(statement.then, _both(path, true))
        if statement.otherwise is not None:
            self._block(statement.otherwise, _both(path, false))

    def _block(self, block: Block, path: _Cases) -> None:
        calls: list[Call] = []
        for item in block.items:
            self._edits.places += 1
            if isinstance(item, If):
                self.statement(item, path)
                continue
            calls.append(item)
            changes, is_final = _what(item, self._scope)
            self._edits.add(changes)
            if is_final:
                self.ends += [(case, item) for case in path.cases]
                break
        if calls:
            self.groups.append(Group(tuple(calls), path.cases if path.are_all else None))

    def _condition(self, condition: Condition) -> tuple[_Cases, _Cases]:
        """When it is true, and when it is false."""
        match condition:
            case Test():
                meaning = self._reader.read(condition)
                return _Cases(meaning.true), _Cases(meaning.false)
            case Not(inner):
                true, false = self._condition(inner)
                return false, true
            case And():
                sides = [self._condition(one) for one in flat(condition)]
                return _both(*(true for true, _ in sides)), _either(*(false for _, false in sides))
            case Or():
                sides = [self._condition(one) for one in flat(condition)]
                return _either(*(true for true, _ in sides)), _both(*(false for _, false in sides))


def _both(*sides: _Cases) -> _Cases:
    """Cases of which one of each side holds."""
    found: dict[Case, None] = {frozenset(): None}
    are_all = True
    for side in sides:
        pairs = ((case, its_case) for case in found for its_case in side.cases)
        found = {case | its_case: None for case, its_case in itertools.islice(pairs, MOST_CASES)}
        are_all = are_all and side.are_all and len(found) < MOST_CASES
    return _Cases(tuple(found), are_all)


def _either(*sides: _Cases) -> _Cases:
    found = dict.fromkeys(case for side in sides for case in side.cases)
    return _Cases(tuple(found)[:MOST_CASES], all(side.are_all for side in sides) and len(found) <= MOST_CASES)


def _what(call: Call, scope: Scope) -> tuple[frozenset[str], bool]:
    """What an action changes of the message, and whether it is final."""
    word = actions().get(call.word) or actions().get(call.word.lower())
    if word is None or word.build is None:
        return frozenset(), False
    try:
        step = word.build(call, scope)
    except Unusable:
        return frozenset(), False
    return step.changes, step.is_final
