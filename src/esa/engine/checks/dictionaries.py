"""Content dictionaries: lists of weighted terms, matched in subject and text of every message in the one pass of the automaton.

A dictionary file has one term a line, with an optional weight after a comma, and comments:

    # words of the finance department
    ABA, 3
    account, 2
    "dear sir, 1"        a term in double quotes is taken as it stands
    [#]1 offer           [#] stands for a # that begins no comment

    *card                a number that passes its own check: *card, *ssn, *aba, *cusip, *iban

What a match means is for the policy to say: dictionaries report facts and add nothing to the score.
"""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final, overload

from esa.engine.check import Check, Evidence, Finding, Materials, Term
from esa.errors import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_WEIGHT = 10  # as AsyncOS has it: a term weighs 0 to 10
MAX_TERM_OCTETS = 1024  # bounds one line of a wrong file; the longest phrases in use have some tens

IDENTIFIERS = frozenset({"*card", "*ssn", "*aba", "*cusip", "*iban"})

_LENGTHS: Final = "Q"  # array type of places in all texts together
_COMMENT = re.compile(r"(?<!\[)#|#(?!\])")
_LINE = re.compile(r"""(?:"(?P<quoted>[^"]*)"|(?P<plain>.*?))(?:\s*,\s*(?P<weight>-?\d{1,2}))?\Z""")


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A named list of terms with weights 0–10. `whole_words`: a term matches only between word boundaries; `case_sensitive`: as it is written."""

    name: str
    terms: Mapping[str, int]
    whole_words: bool = True
    case_sensitive: bool = False

    @classmethod
    def from_text(
        cls, name: str, text: str, *, whole_words: bool = True, case_sensitive: bool = False, where: str | None = None
    ) -> Dictionary:
        """Read the lines of a dictionary file. Raises ConfigurationError with the line at fault."""
        terms: dict[str, int] = {}
        lines: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            at = f"{where or name}, line {number}"
            term, weight = _read_line(line, at)
            if not term:
                continue
            key = term if case_sensitive else term.casefold()
            if key in lines:
                raise ConfigurationError(f"{term!r} stands there twice", where=at, mend=f"remove this line or line {lines[key]}")
            lines[key] = number
            terms[term] = weight
        if not terms:
            raise ConfigurationError("the dictionary has no term", where=where or name, mend="write one term a line")
        return cls(name, terms, whole_words, case_sensitive)

    @classmethod
    def from_file(cls, path: Path, *, name: str | None = None, whole_words: bool = True, case_sensitive: bool = False) -> Dictionary:
        """Read a dictionary file (UTF-8); its name is that of the file without the ending unless given."""
        try:
            octets = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"the dictionary cannot be read: {error.strerror}", where=str(path)) from error
        return cls.from_octets(name or path.stem, octets, whole_words=whole_words, case_sensitive=case_sensitive, where=str(path))

    @classmethod
    def from_octets(cls, name: str, octets: bytes, *, whole_words: bool = True, case_sensitive: bool = False, where: str) -> Dictionary:
        """Read the content of a dictionary file."""
        try:
            text = octets.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"this is no UTF-8 text: {error.reason} at octet {error.start}", where=where) from error
        return cls.from_text(name, text, whole_words=whole_words, case_sensitive=case_sensitive, where=where)


def _read_line(line: str, where: str) -> tuple[str, int]:
    """Term and weight of one line; the term is empty for a comment or an empty line."""
    body = _COMMENT.split(line, maxsplit=1)[0].strip().replace("[#]", "#")
    if not body:
        return "", 1
    found = _LINE.match(body)
    assert found is not None
    quoted = found["quoted"]
    term = (found["plain"] if quoted is None else quoted).strip()
    weight = int(found["weight"] or 1)
    if not 0 <= weight <= MAX_WEIGHT:
        mend = "if the comma belongs to the term, put the term in double quotes"
        raise ConfigurationError(f"a term weighs 0 to {MAX_WEIGHT}, not {weight}", where=where, mend=mend)
    if not term:
        raise ConfigurationError("a weight without a term", where=where)
    if len(term.encode()) > MAX_TERM_OCTETS:
        raise ConfigurationError(f"a term has at most {MAX_TERM_OCTETS} octets", where=where)
    return term, weight


class _Terms(Sequence[Term]):
    """The terms of all dictionaries, one after another, made when asked for."""

    def __init__(self, entries: _Entries) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries.weights)

    @overload
    def __getitem__(self, index: int) -> Term: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Term]: ...
    def __getitem__(self, index: int | slice) -> Term | Sequence[Term]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        text = self._entries.text(index)
        if text in IDENTIFIERS:
            return Term("", kind=text[1:])
        _, _, whole_words, case = self._entries.books[self._entries.book(index)]
        return Term(text, whole_words, case=case)


class _Entries:
    """Terms and weights of dictionaries as flat tables, which a million of them share among processes.

    `books` are (name, index of its first term, whole words, case); `ends` the octets of `texts` at which each term ends; `weights` an octet each.
    """

    def __init__(self, books: Sequence[tuple[str, int, bool, bool]], ends: memoryview, texts: memoryview, weights: memoryview) -> None:
        self.books, self.ends, self.texts, self.weights = books, ends, texts, weights
        self._firsts = [first for _, first, _, _ in books]

    @classmethod
    def of(cls, dictionaries: Sequence[Dictionary]) -> _Entries:
        books, texts, weights = [], array(_LENGTHS), bytearray()
        pieces: list[bytes] = []
        for dictionary in dictionaries:
            books.append((dictionary.name, len(weights), dictionary.whole_words, dictionary.case_sensitive))
            pieces += (term.encode() for term in dictionary.terms)
            wrong = next((one for one in dictionary.terms.items() if not 0 <= one[1] <= MAX_WEIGHT), None)
            if wrong is not None:
                raise ConfigurationError(f"a term weighs 0 to {MAX_WEIGHT}, not {wrong[1]}", where=f"{dictionary.name}, {wrong[0]!r}")
            weights += bytes(dictionary.terms.values())
        texts.extend(accumulate(map(len, pieces)))
        return cls(books, memoryview(texts), memoryview(b"".join(pieces)), memoryview(weights))

    @classmethod
    def saved(cls, tables: Mapping[str, memoryview]) -> _Entries:
        books = [(str(name), int(first), bool(words), bool(case)) for name, first, words, case in json.loads(bytes(tables["books"]))]
        ends, weights = tables["ends"].cast(_LENGTHS), tables["weights"]
        if len(ends) != len(weights):
            raise ValueError("the dictionaries have more or fewer weights than terms")
        return cls(books, ends, tables["texts"], weights)

    def tables(self) -> dict[str, Buffer]:
        return {"books": json.dumps(self.books).encode(), "ends": self.ends, "texts": self.texts, "weights": self.weights}

    def text(self, index: int) -> str:
        if not 0 <= index < len(self.ends):
            raise IndexError(index)
        return str(self.texts[self.ends[index - 1] if index else 0 : self.ends[index]], "utf-8")

    def book(self, index: int) -> int:
        """Which dictionary a term is of."""
        return bisect_right(self._firsts, index) - 1


class Dictionaries:
    """Reports per dictionary the terms that stand in a message, how often, and the weighted sum of their occurrences."""

    name = "dictionaries"

    def __init__(self, entries: _Entries) -> None:
        names = [name for name, _, _, _ in entries.books]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigurationError(f"two dictionaries are called {twice!r}", mend="give one of them another name")
        self._entries = entries
        self.terms: Sequence[Term] = _Terms(entries)

    def save(self) -> Mapping[str, Buffer]:
        return self._entries.tables()

    def examine(self, evidence: Evidence) -> Finding | None:
        found: dict[str, dict[str, int]] = {}
        scores: dict[str, int] = {}
        entries = self._entries
        for index, count in evidence.matches.items():
            name = entries.books[entries.book(index)][0]
            found.setdefault(name, {})[entries.text(index)] = count
            scores[name] = scores.get(name, 0) + entries.weights[index] * count
        return Finding({name: {"score": scores[name], "terms": terms} for name, terms in found.items()})


def check(materials: Materials) -> Check | None:
    if Dictionaries.name in materials.saved:
        return Dictionaries(_Entries.saved(materials.saved[Dictionaries.name]))
    return Dictionaries(_Entries.of(materials.dictionaries)) if materials.dictionaries else None
