"""Whether there can be a message of which a case holds and others do not, and what it would be like. Called by `shadows` and `merging`.

Three answers: what its facts are, none (proved), unknown. Facts are taken to be independent of one another but for what is said here: a proof is a
proof whatever depends on what; that there is such a message is certain only when one has been made (`example`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from esa.policy.audit.facts import Case, Fact, Literal, NumberLiteral, Shape, TextLiteral
from esa.policy.audit.language import Answer, Language, find_text
from esa.policy.audit.numbers import Nothing, Numbers, Value
from esa.policy.view import Lookup

MOST_BRANCHES = 2_000  # ways to make cases untrue that one question tries

Given: TypeAlias = str | Value | tuple[str, ...] | tuple[float, ...]
_USUAL_TEXTS = {
    "mail-from": "someone@elsewhere.example",
    "rcpt-to": "anyone@here.example",
    "remote host": "host.elsewhere.example",
    "listener": "mail",
    "interface": "mail",
    "sender group": "UNKNOWNLIST",
    "Subject, decoded": "Hello",
}
_USUAL_NUMBERS: Mapping[str, float] = {"rcpt-count": 1, "body-size": 2_000, "valid": 1, "client": (198 << 24) + (51 << 16) + (100 << 8) + 7}


@dataclass(slots=True)
class World:
    """Facts of one message, as far as they were chosen; the others are as usual."""

    given: dict[Fact, Given]
    lookup: Lookup | None = None

    def value(self, fact: Fact) -> Given:
        found = self.given.get(fact)
        return self._usual(fact) if found is None else found

    def _usual(self, fact: Fact) -> Given:
        match fact.shape:
            case Shape.TEXT:
                return _USUAL_TEXTS.get(fact.name, "")
            case Shape.TEXTS | Shape.NUMBERS:
                return (_USUAL_TEXTS[fact.name],) if fact.name in _USUAL_TEXTS else ()
            case Shape.NUMBER:
                assert fact.values is not None
                if fact.looked_up is not None:
                    return self._score(fact)
                if fact.name in _USUAL_NUMBERS:
                    return _USUAL_NUMBERS[fact.name]
                absent = next((one for one in Nothing if one in fact.values.nothings), None)
                return absent if absent is not None else fact.values.any_of() or 0

    def _score(self, fact: Fact) -> Value:
        assert fact.looked_up is not None
        where, name = fact.looked_up
        scores = [_score_of(self.lookup, name, text) for text in self._texts(where, fact.version)]
        return max(scores, default=0) if self.lookup is not None else Nothing.UNSCANNED

    def _texts(self, where: str, version: int) -> list[str]:
        for fact, value in self.given.items():
            if (fact.name, fact.version) == (where, version):
                return [value] if isinstance(value, str) else [one for one in value if isinstance(one, str)]  # type: ignore[union-attr]
        return [_USUAL_TEXTS[where]] if where in _USUAL_TEXTS else []

    def fulfils(self, literal: Literal) -> bool:
        value = self.value(literal.fact)
        if isinstance(literal, TextLiteral):
            texts = (value,) if isinstance(value, str) else value
            return any(literal.language.holds(text) for text in texts) is literal.is_in  # type: ignore[union-attr, arg-type]
        if literal.fact.shape is Shape.NUMBERS:
            return any(one in literal.allowed for one in value) is literal.is_in  # type: ignore[union-attr, operator]
        return value in literal.allowed  # type: ignore[operator]


def _score_of(lookup: Lookup | None, name: str, text: str) -> int:
    found = None if lookup is None else lookup.text(text).get(name)
    return 0 if found is None else found.score


Solution: TypeAlias = World | Answer


@dataclass(slots=True)
class _Search:
    lookup: Lookup | None
    branches: int = 0
    is_unknown: bool = False
    known: dict[tuple[Fact, frozenset[Literal]], Given | Answer] = field(default_factory=dict)


def solve(case: Case, untrue: Sequence[Case] = (), lookup: Lookup | None = None) -> Solution:
    """A world in which the case holds and none of the others does.

    `lookup`: what dictionaries say of addresses; only entries without a last day may count.
    """
    search = _Search(lookup)
    said: dict[Fact, frozenset[Literal]] = {}
    for literal in case:
        said[literal.fact] = said.get(literal.fact, frozenset()) | {literal}
    chosen: dict[Fact, Given] = {}
    for fact in said:
        value = _value(search, said, fact)
        if value is Answer.NONE:
            return Answer.NONE
        if isinstance(value, Answer):
            search.is_unknown = True
        else:
            chosen[fact] = value
    found = _make_untrue(search, said, chosen, list(untrue))
    if found is None:
        return Answer.UNKNOWN if search.is_unknown else Answer.NONE
    return World(found, lookup) if said.keys() <= found.keys() else Answer.UNKNOWN


def _make_untrue(
    search: _Search, said: dict[Fact, frozenset[Literal]], chosen: dict[Fact, Given], untrue: list[Case]
) -> dict[Fact, Given] | None:
    """Choose for each of these cases a literal that shall not hold. None: there is no way, or none was found (`is_unknown`)."""
    if not untrue:
        return chosen
    case, *others = untrue
    world = World(chosen, search.lookup)
    # what is untrue already costs nothing: it is tried first
    for literal in sorted(case, key=lambda one: (one.fact in said and world.fulfils(one), one.shown)):
        search.branches += 1
        if search.branches > MOST_BRANCHES:
            search.is_unknown = True
            return None
        opposite = literal.opposite
        fact = literal.fact
        now = {**said, fact: said.get(fact, frozenset()) | {opposite}}
        value = _value(search, now, fact)
        if value is Answer.NONE:
            continue
        if isinstance(value, Answer):
            search.is_unknown = True
            continue
        if not _agree(search, now, fact):
            continue
        found = _make_untrue(search, now, {**chosen, fact: value}, others)
        if found is not None:
            return found
    return None


def _agree(search: _Search, said: Mapping[Fact, frozenset[Literal]], changed: Fact) -> bool:
    """Whether scores of dictionaries can be what is said of them, now that more is said of a text."""
    return all(
        _value(search, said, fact) is not Answer.NONE
        for fact in said
        if fact.looked_up is not None and (fact.looked_up[0], fact.version) == (changed.name, changed.version)
    )


def _value(search: _Search, said: Mapping[Fact, frozenset[Literal]], fact: Fact) -> Given | Answer:
    """What a fact can be, given all that is said of it."""
    literals = said[fact]
    if fact.looked_up is not None:
        return _number(fact, literals, _least_score(search, said, fact))
    key = fact, literals
    found = search.known.get(key)
    if found is None:
        found = search.known[key] = _texts(fact, literals) if fact.shape in (Shape.TEXT, Shape.TEXTS) else _number(fact, literals, 0)
    return found


def _texts(fact: Fact, literals: frozenset[Literal]) -> Given | Answer:
    wanted = [one.language for one in literals if isinstance(one, TextLiteral) and one.is_in]
    unwanted = [one.language for one in literals if isinstance(one, TextLiteral) and not one.is_in]
    if fact.shape is Shape.TEXT:
        return _text(fact, wanted, unwanted)
    texts: list[str] = []
    for language in wanted:
        found = _text(fact, [language], unwanted)
        if isinstance(found, Answer):
            return found
        texts.append(found)
    return tuple(texts)


def _text(fact: Fact, wanted: Sequence[Language], unwanted: Sequence[Language]) -> str | Answer:
    usual = _USUAL_TEXTS.get(fact.name)
    if usual is not None and all(one.holds(usual) for one in wanted) and not any(one.holds(usual) for one in unwanted):
        return usual
    return find_text(wanted, unwanted)


def _number(fact: Fact, literals: frozenset[Literal], least: int) -> Given | Answer:
    numbers = [one for one in literals if isinstance(one, NumberLiteral)]
    if fact.shape is Shape.NUMBERS:
        values: list[float] = []
        for one in numbers:
            if one.is_in:
                left = one.allowed
                for other in numbers:
                    left = left if other.is_in else left - other.allowed
                value = left.any_of()
                if value is None or isinstance(value, Nothing):
                    return Answer.NONE
                values.append(value)
        return tuple(values)
    assert fact.values is not None
    left = fact.values
    for one in numbers:
        left = left & one.allowed
    if least > 0:
        left = left & Numbers((((least, 0), (float("inf"), 0)),), is_whole=left.is_whole)
    usual = _USUAL_NUMBERS.get(fact.name)
    if usual is not None and usual in left:
        return usual
    value = left.any_of()
    return Answer.NONE if value is None else value


def _least_score(search: _Search, said: Mapping[Fact, frozenset[Literal]], score: Fact) -> int:
    """What entries of the dictionary count at least, where one of the texts is certain."""
    if search.lookup is None or score.looked_up is None:
        return 0
    where, name = score.looked_up
    texts = {
        literal.language.exact
        for fact, literals in said.items()
        if (fact.name, fact.version) == (where, score.version)
        for literal in literals
        if isinstance(literal, TextLiteral) and literal.is_in and literal.language.exact is not None
    }
    return max((_score_of(search.lookup, name, text) for text in texts if text is not None), default=0)
