"""What filters are compiled in: the terms they share, the names they may mention, and the place to tell what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from esa.engine.check import Evidence, Finding, Term
from esa.policy.filters.tree import At, Call, Text
from esa.policy.filters.variables import Writer, writer_of
from esa.policy.view import CHECK, COUNTS

if TYPE_CHECKING:
    from esa.policy.filters.witness import Witness


class Terms:
    """The terms that all filters of a configuration look for, each once. Filters remember them by number."""

    def __init__(self) -> None:
        self._numbers: dict[Term, int] = {}
        self.used: set[int] = set()  # numbers asked for since somebody cleared it: those of the filter that is being compiled

    def number(self, term: Term) -> int:
        number = self._numbers.setdefault(term, len(self._numbers))
        self.used.add(number)
        return number

    @property
    def listed(self) -> tuple[Term, ...]:
        return tuple(self._numbers)


class Listener:
    """The check that tells filters which of their terms stand in a message, and how often. Made when all filters are compiled.

    For `Scanner(checks=…)`, beside those it has anyway.
    """

    name = CHECK

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms: Sequence[Term] = tuple(terms)

    def examine(self, evidence: Evidence) -> Finding | None:
        return Finding({COUNTS: evidence.matches})


class Fact(StrEnum):
    """What has to be found out beforehand, only if filters ask for it."""

    NAMES = "names"  # of the client, verified
    REPUTATION = "reputation"
    QUEUE = "queue"  # messages in work


_ASKED_BY = {"$remotehost": Fact.NAMES, "$reputation": Fact.REPUTATION}


class Severity(StrEnum):
    ERROR = "error"  # the configuration cannot be used while the filter is active
    INVALID = "invalid"  # the filter does not run: it names what is not there
    UNSCANNED = "unscanned"  # it waits for a fact that is not found out yet
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to tell about a filter: where, what, and how to mend it."""

    severity: Severity
    filter: str
    at: At
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.at}: {self.severity} in filter {self.filter!r}: {self.what}{f'. {self.mend[:1].upper()}{self.mend[1:]}' if self.mend else ''}"


class Unusable(Exception):
    """A filter cannot be compiled; carries the problem. Ends in the compiler."""

    def __init__(self, severity: Severity, at: At, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.severity, self.at, self.what, self.mend = severity, at, what, mend


@dataclass(slots=True)
class Scope:
    """Names that filters may mention; None: any, because nobody knows them here (a file is checked without a configuration).

    `texts` are text resources by name, for headings, footers and templates. `is_lenient`: a dictionary that is not there makes its condition false
    and no filter invalid, as content filters have it.
    """

    terms: Terms = field(default_factory=Terms)
    dictionaries: frozenset[str] | None = None
    listeners: frozenset[str] | None = None
    interfaces: frozenset[str] | None = None
    delivery_interfaces: frozenset[str] | None = None  # that mail can leave from
    bounce_profiles: frozenset[str] | None = None
    texts: Mapping[str, str] | None = None
    groups: set[str] = field(default_factory=set)  # directory groups that filters ask for: filled while compiling
    dns_lists: set[str] = field(default_factory=set)  # and DNS lists
    facts: set[Fact] = field(default_factory=set)  # and other facts
    redirections: set[str] = field(default_factory=set)  # addresses that messages may be redirected to
    is_left_to_right: bool = False
    is_lenient: bool = False
    witness: Witness | None = None  # is told what filters do

    def note_variables(self, call: Call) -> None:
        """Variables in the texts of an action may ask for facts."""
        for value in call.arguments:
            if isinstance(value, Text):
                self._note(value.value)

    def note_redirection(self, text: str) -> None:
        """Whose mail policies may be asked for, though they are no recipients of the message as it came."""
        if "$" not in text:
            self.redirections.update(part.strip(" <>") for part in text.split(","))

    def _note(self, text: str) -> None:
        if "$" in text:
            plain = text.lower().replace("_", "")
            self.facts.update(fact for name, fact in _ASKED_BY.items() if name in plain)

    def resource(self, call: Call, index: int) -> Writer:
        """What writes the text resource that an argument names. Raises Unusable if there is none of that name."""
        name = call.arguments[index]
        assert isinstance(name, Text)
        text = "" if self.texts is None else self.texts.get(name.value)
        if text is None:
            mend = f"write the file {name.value}.txt, or name one of: {', '.join(self.texts or ()) or 'there are none'}"
            raise Unusable(Severity.INVALID, name.at, f"there is no text resource {name.value!r}", mend)
        self._note(text)
        return writer_of(text, has_lines=True)
