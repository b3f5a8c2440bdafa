"""Changes files of filters and leaves alone what a change is not about: every other filter stays letter for letter, comments and all.

Called by the command line. A filter's piece of the text goes from the end of the filter before it to its own last brace, so that the comments above
it go with it. Each file is written whole or not at all.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from esa.config.filters import Source
from esa.errors import ConfigurationError
from esa.policy.filters.tree import Filter


@dataclass(frozen=True, slots=True)
class Placed:
    """A filter with its number, from 1 in the order that filters run in, and its file."""

    number: int
    filter: Filter
    source: Source


def placed(sources: Sequence[Source]) -> list[Placed]:
    """All filters of several files, numbered."""
    pairs = [(one, source) for source in sources for one in source.file.filters]
    return [Placed(number, one, source) for number, (one, source) in enumerate(pairs, start=1)]


def chosen(all_filters: Sequence[Placed], wanted: str) -> list[Placed]:
    """Filters by name, number, range of numbers (2-5) or "all". Raises ConfigurationError if there is none."""
    if wanted == "all":
        return list(all_filters)
    named = [one for one in all_filters if one.filter.name == wanted]
    if named:
        return named
    first, dash, last = wanted.partition("-")
    if first.isdecimal() and (not dash or last.isdecimal()):
        numbers = range(int(first), int(last if dash else first) + 1)
        found = [one for one in all_filters if one.number in numbers]
        if len(found) == len(numbers) and found:
            return found
        raise ConfigurationError(f"there is no filter number {wanted}", mend=f"write numbers from 1 to {len(all_filters)}")
    import difflib

    close = difflib.get_close_matches(wanted, [one.filter.name for one in all_filters], n=1)
    mend = f"did you mean {close[0]!r}?" if close else "see all with: esa filters list"
    raise ConfigurationError(f"no filter is called {wanted!r}", mend=mend)


def pieces_of(source: Source) -> tuple[list[str], str]:
    """The text of each filter with what stands before it, and what stands behind the last."""
    pieces, at = [], 0
    for one in source.file.filters:
        pieces.append(source.text[at : one.span[2]])
        at = one.span[2]
    return pieces, source.text[at:]


def text_of(one: Placed) -> str:
    """A filter as it is written, with the comments above it and without empty lines around."""
    pieces, _ = pieces_of(one.source)
    place = next(number for number, other in enumerate(one.source.file.filters) if other is one.filter)
    return pieces[place].strip("\n") + "\n"


def activated(source: Source, names: Collection[str], *, is_active: bool) -> str:
    """The text with the marks of these filters changed."""
    text = source.text
    for one in reversed(source.file.filters):
        if one.name in names:
            mark = one.span[1]
            text = f"{text[:mark]}{':' if is_active else '!'}{text[mark + 1 :]}"
    return text


def without(source: Source, names: Collection[str]) -> str:
    """The text without these filters and the comments above them."""
    pieces, rest = pieces_of(source)
    kept = [piece for piece, one in zip(pieces, source.file.filters, strict=True) if one.name not in names]
    text = "".join(kept) + rest
    return text.lstrip("\n") if not kept or kept[0] != pieces[0] else text


def with_piece(source: Source, piece: str, before: str | None) -> str:
    """The text with a filter's piece before the filter called `before`, or behind all."""
    pieces, rest = pieces_of(source)
    body = piece.strip("\n")
    if before is None:
        kept = "".join(pieces).rstrip("\n")
        tail = rest.strip("\n")
        return "\n\n".join(part for part in (kept, body, tail) if part) + "\n"
    place = next(number for number, one in enumerate(source.file.filters) if one.name == before)
    ahead, behind = "".join(pieces[:place]).rstrip("\n"), ("".join(pieces[place:]) + rest).lstrip("\n")
    return f"{ahead}\n\n{body}\n\n{behind}" if ahead else f"{body}\n\n{behind}"


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all, with the mode it had. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
