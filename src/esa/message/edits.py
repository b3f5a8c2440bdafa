"""Edits of a message, as values, and `apply`, which carries them out: what shall be changed, in the words of whoever asks for it.

Rules of the policy make them; the receive route applies those of a splinter before it is stored, and rules that look at an edited message see what
`apply` makes. Promises: edits hold in their order; octets that no edit names stay as they are, line ends too; no text that an edit brings, whatever a
sender put into it, adds a line to a header or ends a body part; nothing that a message is made of raises.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from esa.message import edited_body, edited_header
from esa_core import parse


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


def apply(raw: bytes | mmap.mmap, edits: Sequence[Edit]) -> bytes:
    """The message with these edits done, one after another; part numbers are those of the message as the edits before left it.

    Raises SyntaxFault for an edit that cannot be one, as a field name with a space: nothing of the message's making.
    """
    data = bytes(raw)
    head: bytes | None = None  # while edits of the header follow one another
    for edit in edits:
        if isinstance(edit, InsertHeader | StripHeader | EditHeader | TagSubject):
            if head is None:
                end = parse(data).parts[0].body_start
                head, data = data[:end], data[end:]
            head = _edit_header(head, edit)
            continue
        if head is not None:
            data, head = edited_header.joined(head, data), None
        data = _edit_body(data, edit)
    return data if head is None else edited_header.joined(head, data)


def _edit_header(head: bytes, edit: InsertHeader | StripHeader | EditHeader | TagSubject) -> bytes:
    match edit:
        case InsertHeader(name, value):
            return edited_header.insert(head, name, value)
        case StripHeader(name):
            return edited_header.strip(head, name)
        case EditHeader(name, expression, replacement):
            return edited_header.edit(head, name, expression, replacement)
        case TagSubject(text):
            return edited_header.tag_subject(head, text)


def _edit_body(raw: bytes, edit: EditBody | AddHeading | AddFooter | ConvertHtml | DropParts) -> bytes:
    match edit:
        case AddHeading(text):
            return edited_body.add_text(raw, text, is_heading=True)
        case AddFooter(text):
            return edited_body.add_text(raw, text, is_heading=False)
        case EditBody(expression, replacement):
            return edited_body.edit(raw, expression, replacement)
        case ConvertHtml():
            return edited_body.convert_html(raw)
        case DropParts(parts, replacement):
            return edited_body.drop_parts(raw, parts, replacement)
