"""Regular expressions over the regions of a message, by RE2: linear in the text, whatever the expression or the text.

Called by `esa.engine.program`, which asks only about expressions of which a required literal stands in the message. The others are tried on every
message, all in one pass first, and within a budget of octets. What an expression was not tried on is told as incomplete, never as no match.
Expressions that ignore case are matched in folded text, as all other patterns; those that do not in the text as written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from esa.engine.required import required_clauses
from esa.errors import ConfigurationError

if TYPE_CHECKING:
    from esa_core import Region

MOST_UNFILTERED = 100  # expressions without a required literal in one program: each costs a pass over every message that has one of them
BUDGET = 16 << 20  # octets that all expressions together read of one message: some 0.1 s at RE2's speed
MOST_MATCHES = 1_000  # of one expression in one region that are counted
MEMORY = 32 << 20  # octets of the states that one expression may keep; past it RE2 goes on without keeping them, slower and still linear


class Match(NamedTuple):
    """A row of the match table: where first, and how often. `offset` counts octets of folded text, or of the text where case counts."""

    pattern: int
    kind: str
    part: int
    offset: int
    times: int


@dataclass(frozen=True, slots=True)
class Expression:
    """`pattern` is its number in the program; `regions` the kinds it counts in, all if empty."""

    pattern: int
    text: str
    case: bool = False
    regions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Where:
    """Regions in which a literal of each clause of an expression stands, by kind and part."""

    places: frozenset[tuple[str, int]]
    parts: frozenset[int]  # disguised words are told in the region they stand in, if they stand there too

    def holds(self, region: Region) -> bool:
        return region.part in self.parts if region.kind == "disguised" else (region.kind, region.part) in self.places


@dataclass(frozen=True, slots=True)
class Outcome:
    matches: tuple[Match, ...]
    is_complete: bool


def _compile(text: str, *, case: bool) -> Any:
    import re2  # late: only who has expressions loads it

    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = case
    options.max_mem = MEMORY
    return re2.compile(text.encode(), options)


class Expressions:
    """Compiled expressions; read-only, shared by threads. Raises ConfigurationError for one that cannot be used, with its text."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self.expressions = tuple(expressions)
        self.clauses = tuple(required_clauses(expression.text) for expression in expressions)
        self._compiled = [self._compile_one(expression) for expression in expressions]
        self.unfiltered = tuple(number for number, clauses in enumerate(self.clauses) if not clauses)
        if len(self.unfiltered) > MOST_UNFILTERED:
            raise ConfigurationError(
                f"{len(self.unfiltered)} regular expressions have no text that must stand in what they match; {MOST_UNFILTERED} may",
                where=self.expressions[self.unfiltered[MOST_UNFILTERED]].text,
                mend="write some letters into them that do not vary, or write fewer of them",
            )
        self._together = {case: self._compile_together(case) for case in (False, True)}

    @staticmethod
    def _compile_one(expression: Expression) -> Any:
        try:
            compiled = _compile(expression.text, case=expression.case)
        except Exception as error:  # re2.error; without re2 an ImportError
            what = f"this regular expression cannot be used: {error}"
            raise ConfigurationError(
                what, where=expression.text, mend="the syntax is RE2's, without look-around and back-references"
            ) from error
        if compiled.search(b"") is not None:
            raise ConfigurationError("this regular expression matches empty text", where=expression.text, mend="say what must stand there")
        return compiled

    def _compile_together(self, case: bool) -> Any:
        """One expression that matches where any unfiltered one does, to be asked first; None if there are fewer than two."""
        texts = [self.expressions[number].text for number in self.unfiltered if self.expressions[number].case is case]
        if len(texts) < 2:
            return None
        try:
            return _compile("|".join(f"(?:{text})" for text in texts), case=case)
        except Exception:  # too large together, or a name of a group twice: each is asked alone
            return None

    def search(self, regions: Sequence[Region], chosen: Mapping[int, Where | None]) -> Outcome:
        """Try the chosen expressions where they may match (None: anywhere), and all unfiltered ones, on a message's regions."""
        found: dict[tuple[int, int], Match] = {}  # by pattern and region
        left = BUDGET
        is_complete = True
        for number, region in enumerate(regions):
            written = b"" if region.kind == "disguised" else region.text  # that stands in another region
            if self.unfiltered:
                left -= len(region.folded) + len(written)
            there = [index for index, where in chosen.items() if where is None or where.holds(region)]
            for index in [*there, *self._awake(region.folded, written)]:
                expression = self.expressions[index]
                if expression.regions and regions[region.origin].kind not in expression.regions:
                    continue
                for text in self._texts(expression, region.folded, written):
                    left -= len(text)
                    if left < 0:
                        return Outcome(tuple(found.values()), False)
                    first, count, whole = self._count(index, text)
                    is_complete &= whole
                    # disguised words stand among words of their context, which are in another region too
                    if count and (expression.pattern, region.origin) not in found:
                        found[expression.pattern, number] = Match(expression.pattern, region.kind, region.part, first, count)
                        break
        return Outcome(tuple(found.values()), is_complete)

    @staticmethod
    def _texts(expression: Expression, folded: bytes, written: bytes) -> tuple[bytes, ...]:
        if expression.case:
            return (written,)
        # a letter of the expression that folding replaces stands in the text as written only
        return (folded,) if expression.text.isascii() else (folded, written)

    def _awake(self, folded: bytes, written: bytes) -> list[int]:
        """The unfiltered expressions that may match."""
        awake: list[int] = []
        for case, text in ((False, folded), (True, written)):
            numbers = [number for number in self.unfiltered if self.expressions[number].case is case]
            together = self._together[case]
            ascii_only = case or all(self.expressions[number].text.isascii() for number in numbers)
            if numbers and (together is None or not ascii_only or together.search(text) is not None):
                awake += numbers
        return awake

    def _count(self, number: int, text: bytes) -> tuple[int, int, bool]:
        """Offset of the first match, matches, and whether the answer is all of it."""
        first = count = 0
        try:
            for found in self._compiled[number].finditer(text):
                if not count:
                    first = found.start()
                count += 1
                if count == MOST_MATCHES:
                    return first, count, False
        except Exception:  # whatever failed in the engine, the text was not wholly read
            return first, count, False
        return first, count, True
