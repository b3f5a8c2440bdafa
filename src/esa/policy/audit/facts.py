"""Facts that conditions are about, and literals: what one test says of one fact. A case is literals that hold together.

A fact is named with its version: how many actions before may have changed it. The same name with another version is another fact, of which nothing
is known from the first; so nothing is ever proved over an edit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeAlias

from esa.policy.audit.language import Language
from esa.policy.audit.numbers import Numbers


class Shape(Enum):
    TEXT = "text"  # there is one
    TEXTS = "texts"  # there are any number of them, and a test is true if one fulfils it
    NUMBER = "number"  # or none: see Nothing
    NUMBERS = "numbers"


@dataclass(frozen=True, slots=True)
class Fact:
    """`values`: what it can be, where it is a number. `looked_up`: the texts and the dictionary that a score is of."""

    name: str
    shape: Shape
    version: int = 0
    values: Numbers | None = None
    looked_up: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class TextLiteral:
    """The text, or one of the texts, is in the language; or not `is_in`: none is. `shown` is the test for people."""

    fact: Fact
    language: Language
    is_in: bool = True
    shown: str = field(default="", compare=False)

    @property
    def opposite(self) -> TextLiteral:
        return replace(self, is_in=not self.is_in, shown=_not(self.shown))


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """The number, or what stands in its place, is one of those allowed; of several numbers one is, or not `is_in`: none is."""

    fact: Fact
    allowed: Numbers
    is_in: bool = True
    shown: str = field(default="", compare=False)

    @property
    def opposite(self) -> NumberLiteral:
        """Whatever is no more true: false, or not known."""
        if self.fact.shape is Shape.NUMBERS:
            return replace(self, is_in=not self.is_in, shown=_not(self.shown))
        assert self.fact.values is not None
        return replace(self, allowed=self.fact.values - self.allowed, shown=_not(self.shown))


Literal: TypeAlias = TextLiteral | NumberLiteral
Case: TypeAlias = frozenset[Literal]


def _not(shown: str) -> str:
    return shown.removeprefix("not ") if shown.startswith("not ") else f"not {shown}"


def shown(case: Iterable[Literal]) -> str:
    """A case for people, in the words of the filters."""
    texts = sorted({literal.shown for literal in case if literal.shown})
    return " and ".join(texts) or "true"
