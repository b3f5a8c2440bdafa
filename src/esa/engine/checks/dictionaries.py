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

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from esa.engine.check import Check, Evidence, Finding, Materials, Term
from esa.errors import ConfigurationError

MAX_WEIGHT = 10  # as AsyncOS has it: a term weighs 0 to 10
MAX_TERM_OCTETS = 1024  # bounds one line of a wrong file; the longest phrases in use have some tens

IDENTIFIERS = frozenset({"*card", "*ssn", "*aba", "*cusip", "*iban"})

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
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"this is no UTF-8 text: {error.reason} at octet {error.start}", where=str(path)) from error
        except OSError as error:
            raise ConfigurationError(f"the dictionary cannot be read: {error.strerror}", where=str(path)) from error
        return cls.from_text(name or path.stem, text, whole_words=whole_words, case_sensitive=case_sensitive, where=str(path))


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


def _term_of(text: str, dictionary: Dictionary) -> Term:
    if text in IDENTIFIERS:
        return Term("", kind=text[1:])
    return Term(text, dictionary.whole_words, case=dictionary.case_sensitive)


class Dictionaries:
    """Reports per dictionary the terms that stand in a message, how often, and the weighted sum of their occurrences."""

    name = "dictionaries"

    def __init__(self, dictionaries: Sequence[Dictionary]) -> None:
        names = [dictionary.name for dictionary in dictionaries]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigurationError(f"two dictionaries are called {twice!r}", mend="give one of them another name")
        self._owners = [(dictionary.name, term, weight) for dictionary in dictionaries for term, weight in dictionary.terms.items()]
        self.terms: Sequence[Term] = tuple(_term_of(term, dictionary) for dictionary in dictionaries for term in dictionary.terms)

    def examine(self, evidence: Evidence) -> Finding | None:
        found: dict[str, dict[str, int]] = {}
        scores: dict[str, int] = {}
        for index, count in evidence.matches.items():
            name, term, weight = self._owners[index]
            found.setdefault(name, {})[term] = count
            scores[name] = scores.get(name, 0) + weight * count
        return Finding({name: {"score": scores[name], "terms": terms} for name, terms in found.items()})


def check(materials: Materials) -> Check | None:
    return Dictionaries(materials.dictionaries) if materials.dictionaries else None
