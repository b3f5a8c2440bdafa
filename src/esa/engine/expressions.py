"""Regular expressions over the regions of a message, by RE2: linear in the text, whatever the expression or the text.

Called by `esa.engine.program`, which asks only about the windows in which the core has seen that an expression may match. Expressions without a
literal are tried on every message, all in one pass first. All of it is within a budget of octets; what an expression was not tried on is told as
incomplete, never as no match. Expressions that ignore case are matched in folded text, as all other patterns; those that do not in the text as written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from esa.errors import ConfigurationError

if TYPE_CHECKING:
    from esa_core import Region

MOST_UNFILTERED = 100  # expressions without a required literal in one program: each costs a pass over every message that has one of them
BUDGET = 16 << 20  # octets that all expressions together read of one message
# Instructions of RE2's program for which each octet counts once more. Where RE2 cannot keep states, an octet costs some 0.6 ns for each instruction: then
# the budget is 0.3 s. Where it can, which is nearly always, it is 0.02 s.
INSTRUCTIONS = 32
CALL = 1024  # octets that one search counts for at least: what calling RE2 costs
MOST_MATCHES = 1_000  # of one expression in one region that are counted
MEMORY = 32 << 20  # octets of the states that one expression may keep; past it RE2 goes on without keeping them, slower and still linear

_FLAGS = re.compile(r"\(\?([imsU]+)\)")
_Windows = list[tuple[int, int]]  # rising, none overlapping
_Chosen = dict[int, dict[int, _Windows]]  # by region and expression
_EVERYWHERE: _Windows = [(0, 0xFFFFFFFF)]


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
class Outcome:
    matches: tuple[Match, ...]
    is_complete: bool


def ignoring_case(text: str, *, case: bool) -> tuple[str, bool]:
    """The expression without an i among the flags that it begins with, and whether case counts then."""
    flags = _FLAGS.match(text)
    if flags is None or "i" not in flags[1]:
        return text, case
    others = flags[1].replace("i", "")
    return (f"(?{others})" if others else "") + text[flags.end() :], False


def _compile(text: str, *, case: bool) -> Any:
    import re2  # late: only who has expressions loads it

    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = case
    options.max_mem = MEMORY
    return re2.compile(text.encode(), options)


class Expressions:
    """Expressions, compiled when they are first searched for; shared by threads. `unfiltered` are the indices of those without an anchor."""

    def __init__(self, expressions: Sequence[Expression], unfiltered: Sequence[int]) -> None:
        self.expressions = tuple(expressions)
        self.unfiltered = tuple(unfiltered)
        self._by_pattern = {expression.pattern: number for number, expression in enumerate(expressions)}
        self._compiled: dict[int, Any] = {}
        self._together = {case: self._compile_together(case) for case in (False, True)}

    def check(self) -> None:
        """Raises ConfigurationError for an expression that cannot be used, with its text."""
        for number, expression in enumerate(self.expressions):
            try:
                compiled = self._compiled_one(number)
            except Exception as error:  # re2.error; without re2 an ImportError
                what = f"this regular expression cannot be used: {error}"
                raise ConfigurationError(
                    what, where=expression.text, mend="the syntax is RE2's, without look-around and back-references"
                ) from error
            if compiled.search(b"") is not None:
                raise ConfigurationError(
                    "this regular expression matches empty text", where=expression.text, mend="say what must stand there"
                )
        if len(self.unfiltered) > MOST_UNFILTERED:
            raise ConfigurationError(
                f"{len(self.unfiltered)} regular expressions have no text that must stand in what they match; {MOST_UNFILTERED} may",
                where=self.expressions[self.unfiltered[MOST_UNFILTERED]].text,
                mend="write some letters into them that do not vary, or write fewer of them",
            )

    def _compiled_one(self, number: int) -> Any:
        compiled = self._compiled.get(number)
        if compiled is None:
            expression = self.expressions[number]
            compiled = self._compiled.setdefault(number, _compile(expression.text, case=expression.case))
        return compiled

    def _weight(self, number: int) -> int:
        try:
            return 1 + int(self._compiled_one(number).programsize) // INSTRUCTIONS
        except Exception:  # it will fail when it is searched for, and is told of there
            return 1

    def _compile_together(self, case: bool) -> Any:
        """One expression that matches where any unfiltered one does, to be asked first; None if there are fewer than two."""
        texts = [self.expressions[number].text for number in self.unfiltered if self.expressions[number].case is case]
        if len(texts) < 2:
            return None
        try:
            return _compile("|".join(f"(?:{text})" for text in texts), case=case)
        except Exception:  # too large together, or a name of a group twice: each is asked alone
            return None

    def search(self, regions: Sequence[Region], windows: Sequence[tuple[int, int, int, int]] | None) -> Outcome:
        """Search for expressions in their windows (pattern, number of the region, start, end; None: anywhere), and for all unfiltered ones.

        The windows are sorted and none of an expression overlap.
        """
        chosen: _Chosen = {}
        if windows is None:
            chosen = {number: dict.fromkeys(range(len(self.expressions)), _EVERYWHERE) for number in range(len(regions))}
        else:
            for pattern, number, start, end in windows:
                chosen.setdefault(number, {}).setdefault(self._by_pattern[pattern], []).append((start, end))
            if self.unfiltered:
                self._wake(regions, chosen)
        found: dict[tuple[int, int], Match] = {}  # by pattern and region
        left = BUDGET - (sum(len(region.folded) + len(region.text) for region in regions) if self.unfiltered else 0)
        is_complete = True
        for number in sorted(chosen):
            region = regions[number]
            for index, where in chosen[number].items():
                expression = self.expressions[index]
                if expression.regions and regions[region.origin].kind not in expression.regions:
                    continue
                for text in _texts(expression, region):
                    left -= self._weight(index) * sum(min(end, len(text)) - min(start, len(text)) + CALL for start, end in where)
                    if left < 0:
                        return Outcome(tuple(found.values()), False)
                    first, count, whole = self._count(index, text, where)
                    is_complete &= whole
                    # disguised words stand among words of their context, which are in another region too
                    if count and (expression.pattern, region.origin) not in found:
                        found[expression.pattern, number] = Match(expression.pattern, region.kind, region.part, first, count)
                        break
        return Outcome(tuple(found.values()), is_complete)

    def _wake(self, regions: Sequence[Region], chosen: _Chosen) -> None:
        """Add the unfiltered expressions that may match."""
        for number, region in enumerate(regions):
            for case, text in ((False, region.folded), (True, _written(region))):
                numbers = [index for index in self.unfiltered if self.expressions[index].case is case]
                together = self._together[case]
                ascii_only = case or all(self.expressions[index].text.isascii() for index in numbers)
                if numbers and (together is None or not ascii_only or together.search(text) is not None):
                    chosen.setdefault(number, {}).update((index, _EVERYWHERE) for index in numbers)

    def _count(self, number: int, text: bytes, windows: _Windows) -> tuple[int, int, bool]:
        """Offset of the first match, matches, and whether the answer is all of it. A match lies in one window, with what stands around it in sight."""
        first = count = at = 0
        try:
            compiled = self._compiled_one(number)
            for start, end in windows:
                for found in compiled.finditer(text, max(start, at), end):
                    at = found.end()
                    if not count:
                        first = found.start()
                    count += 1
                    if count == MOST_MATCHES:
                        return first, count, False
        except Exception:  # whatever failed in the engine, the text was not wholly read
            return first, count, False
        return first, count, True


def _written(region: Region) -> bytes:
    return b"" if region.kind == "disguised" else region.text  # that stands in another region


def _texts(expression: Expression, region: Region) -> tuple[bytes, ...]:
    if expression.case:
        return (_written(region),)
    # a letter of the expression that folding replaces stands in the text as written only
    return (region.folded,) if expression.text.isascii() else (region.folded, _written(region))
