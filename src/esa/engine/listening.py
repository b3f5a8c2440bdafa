"""What the checks of a scanner listen for: one program of all their terms, and for each pattern of it who asked.

Called by the scanner. Made from the terms, which takes seconds for a million of them, or mapped from a file that another process made, which
takes milliseconds and memory that all processes share. Checks with many terms give tables into that file instead of making their terms anew
(`Saving`); the terms of the others must be those that the file was made with.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from esa.engine.check import Check, Saving, Term
from esa.engine.expressions import Match
from esa.engine.program import Pattern, Program
from esa.errors import ConfigurationError
from esa_core import fold

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.message.content import Message
    from esa_core import Batch

_TEXTS = frozenset({"text", "words", "address", "domain", "suffix"})  # kinds of pattern that are folded
_NUMBERS: Final = "I"  # array type of the tables: pattern, check and term numbers
_NOTHING = memoryview(array(_NUMBERS, [0]))


class Listening:
    """Immutable, shared by threads. `program` is None if nobody listens."""

    def __init__(self, checks: Sequence[Check], program: Program | None, starts: memoryview, askers: memoryview, terms: memoryview) -> None:
        """Who asked for pattern p stands at `starts[p]` to `starts[p + 1]` of `askers` (index of `checks`) and `terms` (index of its terms)."""
        self.checks = tuple(checks)
        self.program = program
        self._starts, self._askers, self._terms = starts, askers, terms

    @classmethod
    def to(cls, checks: Sequence[Check]) -> Listening:
        """Compile the terms of these checks. Raises ConfigurationError for one that cannot be used."""
        numbers: dict[Pattern, int] = {}
        patterns, askers, terms = array(_NUMBERS), array(_NUMBERS), array(_NUMBERS)
        for asker, check in enumerate(checks):
            for index, term in enumerate(check.terms):
                pattern = _pattern_of(term)
                if pattern is not None:
                    patterns.append(numbers.setdefault(pattern, len(numbers)))
                    askers.append(asker)
                    terms.append(index)
        if not numbers and not any(isinstance(check, Saving) for check in checks):
            return cls(checks, None, _NOTHING, _NOTHING, _NOTHING)
        order = sorted(range(len(patterns)), key=patterns.__getitem__)
        starts = array(_NUMBERS, bytes(4 * (len(numbers) + 1)))
        for number in patterns:
            starts[number + 1] += 1
        for number in range(len(numbers)):
            starts[number + 1] += starts[number]
        tables: dict[str, Buffer] = {
            "starts": starts,
            "askers": array(_NUMBERS, map(askers.__getitem__, order)),
            "terms": array(_NUMBERS, map(terms.__getitem__, order)),
            "checks": json.dumps([_described(check) for check in checks]).encode(),
        }
        saved = {f"{check.name}/{name}": table for check in checks if isinstance(check, Saving) for name, table in check.save().items()}
        return cls._of(checks, Program(tuple(numbers), {**tables, **saved}))

    @classmethod
    def load(cls, path: Path, build: Callable[[Mapping[str, Mapping[str, memoryview]]], Sequence[Check]]) -> Listening:
        """Map what `save` wrote. `build` makes the checks, of which some find their tables by their name in what it is given.

        Raises ConfigurationError that says what is wrong with the file.
        """
        program = Program.load(path)
        saved: dict[str, dict[str, memoryview]] = {}
        for name, table in program.tables.items():
            check, slash, key = name.rpartition("/")
            if slash:
                saved.setdefault(check, {})[key] = table
        try:
            checks = build(saved)
            described = [_described(check) for check in checks]
            if json.loads(bytes(program.tables["checks"])) != described:
                raise ValueError("they were made for other checks than there are now")
            return cls._of(checks, program)
        except (ValueError, TypeError, KeyError) as error:
            mend = "remove the file: it is made again from the configuration"
            raise ConfigurationError(f"the compiled patterns cannot be used: {error}", where=str(path), mend=mend) from error

    @classmethod
    def _of(cls, checks: Sequence[Check], program: Program) -> Listening:
        starts, askers, terms = (program.tables[name].cast(_NUMBERS) for name in ("starts", "askers", "terms"))
        if len(starts) != program.n_patterns + 1 or not starts[-1] == len(askers) == len(terms):
            raise ValueError("the tables of listeners have other lengths")
        return cls(checks, program, starts, askers, terms)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all. Raises OSError; ConfigurationError if nobody listens for anything."""
        if self.program is None:
            raise ConfigurationError("no check listens for anything: there is nothing to save", where=str(path))
        self.program.save(path)

    def heard(self, counts: Mapping[int, int]) -> dict[Check, dict[int, int]]:
        """Counts of patterns, handed to the checks that asked for them."""
        heard: dict[Check, dict[int, int]] = {}
        for pattern, count in counts.items():
            for at in range(self._starts[pattern], self._starts[pattern + 1]):
                heard.setdefault(self.checks[self._askers[at]], {})[self._terms[at]] = count
        return heard

    def where(
        self, check: Check, heard: Mapping[int, int], batch: Batch, row: int, message: Message, *, is_capped: bool = False
    ) -> list[tuple[int, Match]]:
        """In which regions and parts the terms stand that a check heard of one message. Expressions are searched once more for it."""
        program = self.program
        assert program is not None
        found = self._asked(check, (Match(*match) for match in batch.table(row) if match[0] < program.n_patterns))
        if len({term for term, _ in found}) < len(heard):
            found = self._asked(check, program.table(batch, row, message, is_capped=is_capped))
        return found

    def _asked(self, check: Check, matches: Iterable[Match]) -> list[tuple[int, Match]]:
        asker = self.checks.index(check)
        return [
            (self._terms[at], match)
            for match in matches
            for at in range(self._starts[match.pattern], self._starts[match.pattern + 1])
            if self._askers[at] == asker
        ]


def _pattern_of(term: Term) -> Pattern | None:
    """The pattern of a term; None if nothing is left of it that could stand in a text."""
    kind = term.kind or ("words" if term.whole_word else "text")
    if kind not in _TEXTS:
        return Pattern(term.text, kind, term.case, term.regions)
    text = term.text if term.case else fold(term.text.encode()).decode("utf-8", "surrogatepass")
    return Pattern(text, kind, term.case, term.regions) if text else None


def _described(check: Check) -> list[object]:
    """Name, number of terms, and their digest unless the check saves them itself; equal after a way through JSON."""
    if isinstance(check, Saving):
        return [check.name, len(check.terms), ""]
    written = [(term.text, term.whole_word, term.kind, term.case, sorted(term.regions)) for term in check.terms]
    return [check.name, len(check.terms), hashlib.sha256(json.dumps(written).encode()).hexdigest()]
