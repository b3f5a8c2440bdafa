"""All patterns of a configuration, compiled into one program that is saved, mapped and shared.

Called by `esa.engine.listening`. Literals, words, addresses, names and checked numbers are the core's; regular expressions wait until the core has
seen their anchors, literals that it looks for with all others, and are searched for in the windows around these that it tells. Compiling is off the hot
path: a file holds what was compiled, with the tables of whoever compiled it, and is mapped by every process. One whose layout or content is not what it
should be is refused.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import esa_core
from esa.engine.expressions import Expression, Expressions, Match, ignoring_case
from esa.engine.required import find_anchor
from esa.errors import ConfigurationError
from esa_core import PATTERN_KINDS, REGION_NAMES

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.message.content import Message
    from esa_core import Batch

KINDS = (*PATTERN_KINDS, "expression")
NOT_FULLY_MATCHED = "not_fully_matched"  # flag: an expression was not tried on all of the message
_EVERYWHERE = 0xFFFF
_NO_TABLES: Mapping[str, Buffer] = MappingProxyType({})
_ALIGNED = 8  # tables begin at multiples of it, so that they may be of any kind of number


class Pattern(NamedTuple):  # and no dataclass: there may be a million, and each is hashed
    """What is looked for. `kind` is one of KINDS; `case`: whether case counts; `regions`: kinds of REGION_NAMES, all if empty.

    A number's kind (card, ssn, aba, cusip, iban) needs no text. An expression is in RE2's syntax; one that begins with (?i) ignores case, whatever
    `case` says.
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


def _pack(head: Mapping[str, object], tables: Mapping[str, Buffer]) -> bytes:
    """Octets of the head as JSON (8 octets, little endian), the head, and the tables, whose places stand in it."""
    places: dict[str, tuple[int, int]] = {}
    blocks: list[bytes] = []
    at = 0
    for name, table in tables.items():
        octets = memoryview(table).cast("B")
        places[name] = (at, len(octets))
        blocks += (bytes(octets), bytes(-len(octets) % _ALIGNED))
        at += len(octets) + -len(octets) % _ALIGNED
    written = json.dumps({**head, "tables": places}).encode()
    return b"".join([len(written).to_bytes(_ALIGNED, "little"), written, bytes(-len(written) % _ALIGNED), *blocks])


def _unpack(note: memoryview) -> tuple[Mapping[str, object], dict[str, memoryview]]:
    """Raises ValueError for octets that `_pack` did not write."""
    size = int.from_bytes(note[:_ALIGNED], "little")
    try:
        head = json.loads(bytes(note[_ALIGNED : _ALIGNED + size]))
    except RecursionError as error:
        raise ValueError("its head is nested too deeply") from error
    if not (isinstance(head, dict) and isinstance(head.get("tables"), dict)):
        raise ValueError("it has no head")
    first = _ALIGNED + size + -size % _ALIGNED
    return head, {name: note[first + at : first + at + length] for name, (at, length) in head["tables"].items()}


def _written(head: Mapping[str, object], native: esa_core.Program) -> Expressions:
    """The expressions of a head. Raises ValueError if it is not a head of this program."""
    rows, unfiltered = head.get("expressions"), head.get("unfiltered")
    if not (isinstance(rows, list) and isinstance(unfiltered, list)):
        raise ValueError("its head is not of this version")
    expressions = []
    for row in rows:
        match row:
            case [int(pattern), str(text), bool(case), list(regions)] if all(isinstance(region, str) for region in regions):
                expressions.append(Expression(pattern, text, case, frozenset(regions)))
            case _:
                raise ValueError(f"its head has an expression that is none: {row!r:.80}")
    known = {expression.pattern for expression in expressions}
    if not (known.issuperset(native.anchored) and all(isinstance(number, int) and 0 <= number < len(rows) for number in unfiltered)):
        raise ValueError("its head names other expressions than it is compiled for")
    return Expressions(expressions, unfiltered)


class Program:
    """Compiled patterns; immutable, shared by threads. Raises ConfigurationError for a pattern that cannot be used.

    `tables` are octets of the caller's that go with them, into the file and out of it, where they are mapped too.
    """

    def __init__(self, patterns: Sequence[Pattern], tables: Mapping[str, Buffer] = _NO_TABLES) -> None:
        written = [
            Expression(number, *ignoring_case(pattern.text, case=pattern.case), pattern.regions)
            for number, pattern in enumerate(patterns)
            if pattern.kind == "expression"
        ]
        found = [find_anchor(expression.text, case=expression.case) for expression in written]
        expressions = Expressions(written, [number for number, anchor in enumerate(found) if anchor is None])
        expressions.check()
        head = {
            "expressions": [[e.pattern, e.text, e.case, sorted(e.regions)] for e in written],
            "unfiltered": expressions.unfiltered,
        }
        try:
            native = esa_core.Program(
                # an expression is no text to look for: an empty text of its number never matches
                [b"" if pattern.kind == "expression" else pattern.text.encode("utf-8", "surrogatepass") for pattern in patterns],
                ["text" if pattern.kind == "expression" else pattern.kind for pattern in patterns],
                cased=[pattern.case for pattern in patterns],
                regions=[_mask(pattern.regions) for pattern in patterns],
                anchors=[
                    esa_core.Anchor(e.pattern, e.case and anchor.exact, _mask(e.regions), *anchor)
                    for e, anchor in zip(written, found, strict=True)
                    if anchor is not None
                ],
                keeps=bool(expressions.unfiltered),
                note=_pack(head, tables),
            )
        except ValueError as error:
            raise ConfigurationError(f"the patterns cannot be compiled: {error}", mend="Shorten or remove that one.") from error
        self._take(native, expressions)

    def _take(self, native: esa_core.Program, expressions: Expressions | None = None) -> None:
        head, self.tables = _unpack(native.note)
        self.native = native
        self.n_patterns: int = native.n_patterns
        self._expressions = expressions or _written(head, native)

    # --- files ------------------------------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: Path) -> Program:
        """Map a saved program, read-only. Raises ConfigurationError that says what is wrong with the file, and where in it."""
        mend = "remove the file: it is made again from the configuration"
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            program = cls.__new__(cls)
            program._take(esa_core.Program.from_image(mapped))
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

    # --- what a message has -------------------------------------------------------------------------------------------------------------

    def counts(self, batch: Batch, row: int, message: Message, *, is_capped: bool = False) -> tuple[dict[int, int], tuple[str, ...]]:
        """{pattern: matches} of one message of a batch, and flags to add: NOT_FULLY_MATCHED where expressions could not be tried on all of it.

        `is_capped`: the core did not look at all of the message (too_many_matches), so that any expression may match.
        """
        counts = batch.counts(row)
        windows = self._windows(batch, row, is_capped)
        if windows is None or windows or self._expressions.unfiltered:
            outcome = self._expressions.search(batch.regions(row) or message.parsed.regions, windows)
            for match in outcome.matches:
                counts[match.pattern] = counts.get(match.pattern, 0) + match.times
            return counts, () if outcome.is_complete else (NOT_FULLY_MATCHED,)
        return counts, ()

    def table(self, batch: Batch, row: int, message: Message, *, is_capped: bool = False) -> list[Match]:
        """The match table of one message, expressions included, sorted by pattern."""
        rows = [Match(*match) for match in batch.table(row)]
        windows = self._windows(batch, row, is_capped)
        if windows is None or windows or self._expressions.unfiltered:
            rows += self._expressions.search(batch.regions(row) or message.parsed.regions, windows).matches
            rows.sort(key=lambda match: match.pattern)
        return rows

    def may_stand(self, batch: Batch, row: int, starts: Sequence[int]) -> bool:
        """Whether anything may stand in a message, so that `counts` is worth asking. `starts`: `batch.match_starts` as a list."""
        return starts[row] != starts[row + 1] or self.tries_all or bool(batch.windows(row))

    @property
    def tries_all(self) -> bool:
        """Whether every message is tried, even one in which the core found nothing."""
        return bool(self._expressions.unfiltered)

    def _windows(self, batch: Batch, row: int, is_capped: bool) -> list[tuple[int, int, int, int]] | None:
        """Where expressions may match; None: anywhere."""
        return None if is_capped and self._expressions.expressions else batch.windows(row)
