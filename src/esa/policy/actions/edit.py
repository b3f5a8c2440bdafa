"""Actions that change the message: fields of its header, its body, and marks that stay with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from esa.message.edits import AddFooter, AddHeading, ConvertHtml, EditBody, EditHeader, InsertHeader, StripHeader
from esa.policy.filters.acting import add_once, text_at, writer_at
from esa.policy.filters.expression import matches_empty
from esa.policy.filters.scope import Severity, Unusable
from esa.policy.filters.variables import writer_of
from esa.policy.filters.words import Action, Kind, Signature, Step

if TYPE_CHECKING:
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Call

_BODY = frozenset({"body"})
_FIELD_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 section 3.6.8


def _field(call: Call) -> tuple[str, frozenset[str]]:
    """The name of a field, and what an action on it changes."""
    name = text_at(call, 0).rstrip(":")
    if not _FIELD_NAME.fullmatch(name):
        raise Unusable(Severity.ERROR, call.arguments[0].at, f"{name!r} is no name of a header field", "write letters, digits and -")
    return name, frozenset({f"header:{name.lower()}"})


def _insert(call: Call, scope: Scope) -> Step:
    name, changes = _field(call)
    write = writer_at(call, 1)
    return Step(lambda run: run.edit(InsertHeader(name, write(run))), changes)


def _strip(call: Call, scope: Scope) -> Step:
    name, changes = _field(call)
    edit = StripHeader(name)
    return Step(lambda run: run.edit(edit), changes)


def _edit_header(call: Call, scope: Scope) -> Step:
    name, changes = _field(call)
    expression = _what(call, 1)
    write = writer_at(call, 2)
    return Step(lambda run: run.edit(EditHeader(name, expression, write(run))), changes)


def _edit_body(call: Call, scope: Scope) -> Step:
    expression = _what(call, 0)
    write = writer_at(call, 1, has_lines=True)
    return Step(lambda run: run.edit(EditBody(expression, write(run))), _BODY)


def _what(call: Call, index: int) -> str:
    expression = text_at(call, index)
    if matches_empty(expression):
        what = "this regular expression matches empty text, so that its replacement would stand everywhere"
        raise Unusable(Severity.ERROR, call.arguments[index].at, what, "write x+ for x*")
    return expression


def _heading(call: Call, scope: Scope) -> Step:
    write = scope.resource(call, 0)
    return Step(lambda run: run.edit(AddHeading(write(run))), _BODY)


def _footer(call: Call, scope: Scope) -> Step:
    write = scope.resource(call, 0)
    return Step(lambda run: run.edit(AddFooter(write(run))), _BODY)


def _convert(call: Call, scope: Scope) -> Step:
    return Step(lambda run: run.edit(ConvertHtml()), _BODY)


def _tag(call: Call, scope: Scope) -> Step:
    write = writer_at(call, 0)
    return Step(lambda run: add_once(run.outcome.tags, write(run)))


def _log(call: Call, scope: Scope) -> Step:
    text = text_at(call, 0)
    if "$" not in text:
        return Step(lambda run: run.outcome.log_entries.append(text))
    write = writer_of(text)
    return Step(lambda run: run.outcome.log_entries.append(write(run)))


_RESOURCE = Signature((Kind.RESOURCE,), 1)

actions = (
    Action("insert-header", Signature((Kind.HEADER, Kind.TEXT), 2), "A field with this name and value.", _insert),
    Action("strip-header", Signature((Kind.HEADER,), 1), "All fields of this name go.", _strip),
    Action(
        "edit-header-text",
        Signature((Kind.HEADER, Kind.EXPRESSION, Kind.TEXT), 3),
        "What matches in fields of this name is replaced; \\\\1 is the first group.",
        _edit_header,
    ),
    Action("edit-body-text", Signature((Kind.EXPRESSION, Kind.TEXT), 2), "What matches in the text is replaced.", _edit_body),
    Action("html-convert", Signature(), "HTML becomes plain text.", _convert),
    Action("add-heading", _RESOURCE, "This text resource stands before the text.", _heading),
    Action("add-footer", _RESOURCE, "This text resource stands behind the text.", _footer),
    Action("tag-message", Signature((Kind.TEXT,), 1), "The message carries a tag that later stages and tracking see.", _tag),
    Action("log-entry", Signature((Kind.TEXT,), 1), "The text goes into the mail log and into tracking.", _log),
)
