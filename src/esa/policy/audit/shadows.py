"""Filters that never act, because no message fulfils them or because filters before them end the way of every one that does.

For each case in which a filter acts a message is thought up; the filters before it are asked whether one of them ends its way. If none does, the
message is the example that the filter is alive. If one does, the next message must be one that it does not end, and so on: when there is none
left, the filters that were asked are the proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from esa.policy.audit.acting import Acting, Group
from esa.policy.audit.facts import Case, Fact, TextLiteral, shown
from esa.policy.audit.language import Answer
from esa.policy.audit.solving import World, solve
from esa.policy.filters.tree import Call
from esa.policy.view import Lookup

MOST_COVERING = 200  # cases of filters before it that together take what one case of a filter is for


@dataclass(frozen=True, slots=True)
class Ending:
    """A case in which a filter ends the way of a message, and by which action."""

    case: Case
    by: Acting
    call: Call


@dataclass(frozen=True, slots=True)
class Covered:
    """No message is left of a case: `by` took all; none: there never was one."""

    by: tuple[Ending, ...]


Fate: TypeAlias = Covered | World | Answer  # a world: a message for which it acts; Answer.UNKNOWN


@dataclass(frozen=True, slots=True)
class GroupFate:
    """What becomes of the actions of one block: Covered if none of them ever runs."""

    group: Group
    fate: Fate


@dataclass(frozen=True, slots=True)
class FilterFate:
    acting: Acting
    groups: tuple[GroupFate, ...]

    @property
    def example(self) -> World | None:
        return next((one.fate for one in self.groups if isinstance(one.fate, World)), None)


def fates(filters: Iterable[Acting], lookup: Lookup | None = None) -> Iterator[FilterFate]:
    """Of each filter, given in their order."""
    index = _Index(lookup)
    for one in filters:
        yield FilterFate(one, tuple(GroupFate(group, _fate(group, index, lookup)) for group in one.groups))
        for case, call in one.ends:
            index.add(Ending(case, one, call))


def _fate(group: Group, index: _Index, lookup: Lookup | None) -> Fate:
    if group.cases is None:
        return Answer.UNKNOWN
    by: dict[int, Ending] = {}
    is_unknown = False
    for case in group.cases:
        fate = _of_case(case, index, lookup)
        if isinstance(fate, World):
            return fate
        if isinstance(fate, Answer):
            is_unknown = True
        else:
            by.update((id(ending), ending) for ending in fate.by)
    return Answer.UNKNOWN if is_unknown else Covered(tuple(by.values()))


def _of_case(case: Case, index: _Index, lookup: Lookup | None) -> Fate:
    endings: list[Ending] = []
    while len(endings) <= MOST_COVERING:
        found = solve(case, [ending.case for ending in endings], lookup)
        if found is Answer.NONE:
            return Covered(_fewest(case, endings, lookup))
        if isinstance(found, Answer):
            return found
        ending = index.ending(found)
        if ending is None:
            return found
        if any(ending is other for other in endings):
            return Answer.UNKNOWN
        endings.append(ending)
    return Answer.UNKNOWN


def _fewest(case: Case, endings: list[Ending], lookup: Lookup | None) -> tuple[Ending, ...]:
    """Without those that the proof does not need."""
    kept = list(endings)
    for ending in endings:
        rest = [other for other in kept if other is not ending]
        if len(kept) > 1 and solve(case, [other.case for other in rest], lookup) is Answer.NONE:
            kept = rest
    return tuple(kept)


@dataclass(slots=True)
class _Index:
    """Endings by a literal that the message must fulfil: few of them have to be asked."""

    lookup: Lookup | None
    _exact: dict[tuple[Fact, str], list[Ending]] = field(default_factory=dict)
    _domains: dict[tuple[Fact, str], list[Ending]] = field(default_factory=dict)
    _by_fact: dict[Fact, list[Ending]] = field(default_factory=dict)
    _always: list[Ending] = field(default_factory=list)
    _text_facts: dict[Fact, None] = field(default_factory=dict)

    def add(self, ending: Ending) -> None:
        usual = World({}, self.lookup)
        texts = [one for one in ending.case if isinstance(one, TextLiteral) and one.is_in]
        for literal in texts:
            if (exact := literal.language.exact) is not None:
                self._exact.setdefault((literal.fact, exact), []).append(ending)
                self._text_facts[literal.fact] = None
                return
        for literal in texts:
            plain = literal.language.plain
            if plain is not None and plain.at_end and plain.text.startswith("@") and "@" not in plain.text[1:]:
                self._domains.setdefault((literal.fact, plain.text), []).append(ending)
                self._text_facts[literal.fact] = None
                return
        for needed in ending.case:
            if not usual.fulfils(needed) and needed.fact.looked_up is None:
                self._by_fact.setdefault(needed.fact, []).append(ending)
                return
        self._always.append(ending)

    def ending(self, world: World) -> Ending | None:
        """The first that ends the way of a message; None if none does."""
        best: Ending | None = None
        for ending in self._candidates(world):
            if (best is None or ending.by.number < best.by.number) and all(map(world.fulfils, ending.case)):
                best = ending
        return best

    def _candidates(self, world: World) -> Iterator[Ending]:
        yield from self._always
        for fact in world.given:
            yield from self._by_fact.get(fact, ())
        for fact in self._text_facts:
            value = world.value(fact)
            for text in (value,) if isinstance(value, str) else value:  # type: ignore[union-attr]
                assert isinstance(text, str)
                yield from self._exact.get((fact, text), ())
                yield from self._domains.get((fact, text[text.rfind("@") :]), ()) if "@" in text else ()


def proof_of(endings: Sequence[Ending]) -> str:
    """Filters that end the way of messages, and of which, in words."""
    said = dict.fromkeys(
        f"{one.by.filter.name} ({_place(one.by)}) ends by {one.call.word}() whatever fulfils {shown(one.case)}" for one in endings
    )
    return "; ".join(said)


def _place(acting: Acting) -> str:
    at = acting.filter.at
    return f"{at.file}:{at.line}" if at.file else f"line {at.line}"
