"""Edits of a message, as values: what shall be changed, in the words of whoever asks for it.

Rules of the policy make them; applying them to octets is another matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class InsertHeader:
    """A field of its own at the end of the header."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class StripHeader:
    """All fields of this name go, in whatever case it is written."""

    name: str


@dataclass(frozen=True, slots=True)
class EditHeader:
    """Each match of the expression (RE2's syntax) in values of fields of this name is replaced; `\\1` stands for the first group."""

    name: str
    expression: str
    replacement: str


@dataclass(frozen=True, slots=True)
class EditBody:
    """Each match of the expression (RE2's syntax) in text that a reader sees is replaced."""

    expression: str
    replacement: str


@dataclass(frozen=True, slots=True)
class AddHeading:
    """Text before the body."""

    text: str


@dataclass(frozen=True, slots=True)
class AddFooter:
    """Text behind the body."""

    text: str


@dataclass(frozen=True, slots=True)
class ConvertHtml:
    """HTML becomes plain text."""


@dataclass(frozen=True, slots=True)
class DropParts:
    """Body parts go, by their numbers in `esa_core.parse`; `replacement`, if any, is text in their place."""

    parts: frozenset[int]
    replacement: str = ""


@dataclass(frozen=True, slots=True)
class TagSubject:
    """Text before the subject."""

    text: str


Edit: TypeAlias = InsertHeader | StripHeader | EditHeader | EditBody | AddHeading | AddFooter | ConvertHtml | DropParts | TagSubject
