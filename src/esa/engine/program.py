"""All patterns of a configuration, compiled into one program that is saved, mapped and shared.

Called by the scanner. Literals, words, addresses, names and checked numbers are the core's; regular expressions wait until the core has seen one of
their required literals, which are patterns of the same program. Compiling is off the hot path: a file holds what was compiled, is mapped by every
process, and is made anew when the patterns, its layout or its content are not what they should be.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import esa_core
from esa.engine.expressions import Expression, Expressions, Match, Where
from esa.errors import ConfigurationError
from esa_core import PATTERN_KINDS, REGION_NAMES

if TYPE_CHECKING:
    from esa.message.content import Message
    from esa_core import Batch

KINDS = (*PATTERN_KINDS, "expression")
NOT_FULLY_MATCHED = "not_fully_matched"  # flag: an expression was not tried on all of the message
_EVERYWHERE = 0xFFFF


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is looked for. `kind` is one of KINDS; `case`: whether case counts; `regions`: kinds of REGION_NAMES, all if empty.

    A number's kind (card, ssn, aba, cusip, iban) needs no text. An expression is in RE2's syntax.
    """

    text: str = ""
    kind: str = "words"
    case: bool = False
    regions: frozenset[str] = frozenset()


def _mask(regions: frozenset[str]) -> int:
    unknown = regions - set(REGION_NAMES)
    if unknown:
        raise ConfigurationError(f"no part of a message is called {min(unknown)!r}", mend=f"these are known: {', '.join(REGION_NAMES)}")
    return sum(1 << REGION_NAMES.index(name) for name in regions) if regions else _EVERYWHERE


def digest_of(patterns: Sequence[Pattern]) -> str:
    """SHA-256 of all that decides what is compiled."""
    written = [(pattern.text, pattern.kind, pattern.case, sorted(pattern.regions)) for pattern in patterns]
    return hashlib.sha256(json.dumps(written).encode()).hexdigest()


class Program:
    """Compiled patterns; immutable, shared by threads. Raises ConfigurationError for a pattern that cannot be used."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        expressions = Expressions(
            [
                Expression(number, pattern.text, pattern.case, pattern.regions)
                for number, pattern in enumerate(patterns)
                if pattern.kind == "expression"
            ]
        )
        wakes = [
            (literal, number, clause)
            for number, clauses in enumerate(expressions.clauses)
            for clause, literals in enumerate(clauses)
            for literal in literals
        ]
        # an expression is no text to look for: an empty text of its number never matches
        texts = [b"" if pattern.kind == "expression" else pattern.text.encode("utf-8", "surrogatepass") for pattern in patterns]
        kinds = ["text" if pattern.kind == "expression" else pattern.kind for pattern in patterns]
        n = len(wakes)
        note = {
            "digest": digest_of(patterns),
            "patterns": len(patterns),
            "wakes": [[number, clause] for _, number, clause in wakes],
            "expressions": [[e.pattern, e.text, e.case, sorted(e.regions)] for e in expressions.expressions],
        }
        try:
            native = esa_core.Program(
                [*texts, *(literal.encode() for literal, _, _ in wakes)],
                [*kinds, *["text"] * n],
                cased=[*(pattern.case for pattern in patterns), *[False] * n],
                regions=[*(_mask(pattern.regions) for pattern in patterns), *[_EVERYWHERE] * n],
                note=json.dumps(note).encode(),
            )
        except ValueError as error:
            raise ConfigurationError(f"the patterns cannot be compiled: {error}", mend="Shorten or remove that one.") from error
        self._take(native, expressions, note)

    def _take(self, native: esa_core.Program, expressions: Expressions, note: Mapping[str, object]) -> None:
        self.native = native
        self.digest = str(note["digest"])
        self._expressions = expressions
        patterns, wakes = note["patterns"], note["wakes"]
        assert isinstance(patterns, int)
        assert isinstance(wakes, list)
        self.n_patterns: int = patterns
        self._wakes: list[tuple[int, int]] = [(number, clause) for number, clause in wakes]

    # --- files ------------------------------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: Path) -> Program:
        """Map a saved program, read-only. Raises ConfigurationError that says what is wrong with the file, and where in it."""
        mend = "remove the file: it is made again from the configuration"
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            native = esa_core.Program.from_image(mapped)
            note = json.loads(native.note)
            expressions = Expressions(
                [Expression(number, text, case, frozenset(regions)) for number, text, case, regions in note["expressions"]]
            )
            program = cls.__new__(cls)
            program._take(native, expressions, note)
        except OSError as error:
            raise ConfigurationError(f"the compiled patterns cannot be read: {error.strerror}", where=str(path), mend=mend) from error
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(f"the compiled patterns cannot be used: {error}", where=str(path), mend=mend) from error
        return program

    def save(self, path: Path) -> None:
        """Write the file whole or not at all: who maps it meanwhile keeps the one before. Raises OSError."""
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.native.image)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @classmethod
    def shared(cls, patterns: Sequence[Pattern], path: Path) -> Program:
        """The program of these patterns, mapped from `path`; compiled and saved there if the file is absent, damaged or of other patterns."""
        try:
            program = cls.load(path)
            if program.digest == digest_of(patterns):
                return program
        except ConfigurationError:
            pass
        cls(patterns).save(path)
        return cls.load(path)

    # --- what a message has -------------------------------------------------------------------------------------------------------------

    def counts(self, batch: Batch, row: int, message: Message, *, is_capped: bool = False) -> tuple[dict[int, int], tuple[str, ...]]:
        """{pattern: matches} of one message of a batch, and flags to add: NOT_FULLY_MATCHED where expressions could not be tried on all of it.

        `is_capped`: the core did not look at all of the message (too_many_matches), so that any expression may match.
        """
        counts, chosen = self._woken(batch, row, is_capped)
        if chosen or self._expressions.unfiltered:
            outcome = self._expressions.search(message.parsed.regions, chosen)
            for match in outcome.matches:
                counts[match.pattern] = counts.get(match.pattern, 0) + match.times
            return counts, () if outcome.is_complete else (NOT_FULLY_MATCHED,)
        return counts, ()

    def table(self, batch: Batch, row: int, message: Message, *, is_capped: bool = False) -> list[Match]:
        """The match table of one message, expressions included, sorted by pattern."""
        rows = [Match(*match) for match in batch.table(row) if match[0] < self.n_patterns]
        _, chosen = self._woken(batch, row, is_capped)
        if chosen or self._expressions.unfiltered:
            rows += self._expressions.search(message.parsed.regions, chosen).matches
            rows.sort(key=lambda match: match.pattern)
        return rows

    @property
    def tries_all(self) -> bool:
        """Whether every message is tried, even one in which the core found nothing."""
        return bool(self._expressions.unfiltered)

    def _woken(self, batch: Batch, row: int, is_capped: bool) -> tuple[dict[int, int], dict[int, Where | None]]:
        """Counts without the required literals, and the expressions that these wake, and where."""
        if not self._wakes:
            return batch.counts(row), {}
        counts: dict[int, int] = {}
        places: dict[int, dict[int, set[tuple[str, int]]]] = {}  # by expression and clause
        n = self.n_patterns
        for pattern, kind, part, _, times in batch.table(row):
            if pattern < n:
                counts[pattern] = counts.get(pattern, 0) + times
            else:
                number, clause = self._wakes[pattern - n]
                places.setdefault(number, {}).setdefault(clause, set()).add((kind, part))
        if is_capped:
            return counts, dict.fromkeys(number for number, _ in self._wakes)
        chosen: dict[int, Where | None] = {}
        for number, clauses in places.items():
            if len(clauses) == len(self._expressions.clauses[number]):
                parts = frozenset.intersection(*(frozenset(part for _, part in found) for found in clauses.values()))
                if parts:
                    chosen[number] = Where(frozenset.intersection(*map(frozenset, clauses.values())), parts)
        return counts, chosen
