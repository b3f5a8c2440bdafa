"""Actions that take attachments out of a message, with a text in their place if one is given."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING

from esa.message.edits import DropParts
from esa.message.file_type import TYPES, file_type, is_of, names_type
from esa.policy.conditions.attachment import encoded_size
from esa.policy.filters.acting import number_at, text_at
from esa.policy.filters.body_text import attached_with, count_in_parts, wanted_of
from esa.policy.filters.expression import matcher
from esa.policy.filters.scope import Severity, Unusable
from esa.policy.filters.tree import Number
from esa.policy.filters.variables import Writer, writer_of
from esa.policy.filters.words import Action, Kind, Signature, Step

if TYPE_CHECKING:
    from esa.policy.filters.run import Run
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Call
    from esa.policy.view import View
    from esa_core import Part

_BODY = frozenset({"body"})


def _drop(chosen: Callable[[View, Part], bool], replacement: Writer) -> Step:
    def act(run: Run) -> None:
        view = run.current() if "body" in run.changed else run.view
        parts = [part for part in view.attachments if chosen(view, part)]
        if parts:
            view.dropped += parts
            run.edit(DropParts(frozenset(part.index for part in parts), replacement(run)))

    return Step(act, _BODY)


def _by_name(call: Call, scope: Scope) -> Step:
    matches = matcher(text_at(call, 0))
    return _drop(lambda view, part: any(matches(name) for name in part.file_names), writer_of(text_at(call, 1), has_lines=True))


def _by_media_type(call: Call, scope: Scope) -> Step:
    matches = matcher(text_at(call, 0))
    return _drop(lambda view, part: matches(part.media_type), writer_of(text_at(call, 1), has_lines=True))


def _by_type(call: Call, scope: Scope) -> Step:
    wanted = text_at(call, 0)
    return _drop(lambda view, part: names_type(part.file_names, part.media_type, wanted), writer_of(text_at(call, 1), has_lines=True))


def _by_file_type(call: Call, scope: Scope) -> Step:
    wanted = text_at(call, 0)
    if wanted.lower() not in TYPES:
        close = difflib.get_close_matches(wanted.lower(), TYPES, n=1)
        mend = f"did you mean {close[0]!r}?" if close else 'write a type, as "exe", or a group, as "Executable"'
        raise Unusable(Severity.ERROR, call.arguments[0].at, f"no type of file is called {wanted!r}", mend)
    return _drop(
        lambda view, part: any(is_of(file_type(content), wanted) for content in part.contents()),
        writer_of(text_at(call, 1), has_lines=True),
    )


def _by_size(call: Call, scope: Scope) -> Step:
    least = number_at(call, 0)
    return _drop(lambda view, part: encoded_size(part) >= least, writer_of(text_at(call, 1), has_lines=True))


def _where_contains(call: Call, scope: Scope) -> Step:
    wanted = wanted_of(call.arguments[0])
    least, replacement = _least(call)
    return _drop(lambda view, part: count_in_parts(view, wanted, attached_with(view, part)) >= least, replacement)


def _where_dictionary(call: Call, scope: Scope) -> Step:
    """By the words of each attachment, and its hashes, looked up in the dictionary."""
    name = text_at(call, 0)
    least, replacement = _least(call)

    def weighs(view: View, part: Part) -> bool:
        if name not in view.dictionaries or view.lookup is None:
            return False
        inner = attached_with(view, part)
        text = "\n".join(region.text.decode("utf-8", "replace") for region in view.parsed.regions if region.part in inner)
        found = view.lookup.text(text).get(name), view.lookup.content(part.content()).get(name)
        return sum(one.score for one in found if one is not None) >= least

    return _drop(weighs, replacement)


def _least(call: Call) -> tuple[float, Writer]:
    """The threshold, 1 unless given, and the replacement: either may be left out."""
    rest = call.arguments[1:]
    if rest and isinstance(rest[0], Number):
        return rest[0].value, writer_of(text_at(call, 2), has_lines=True)
    return 1, writer_of(text_at(call, 1), has_lines=True)


_NAMED = Signature((Kind.TEXT, Kind.TEXT), 1)
_MATCHED = Signature((Kind.EXPRESSION, Kind.TEXT), 1)

actions = (
    Action("drop-attachments-by-name", _MATCHED, "Attachments whose name matches go.", _by_name),
    Action("drop-attachments-by-mimetype", _MATCHED, "Attachments whose declared type matches go.", _by_media_type),
    Action("drop-attachments-by-size", Signature((Kind.SIZE, Kind.TEXT), 1), "Attachments of so many octets or more go.", _by_size),
    Action(
        "drop-attachments-by-type",
        _NAMED,
        'Attachments of this MIME type, as "image/png" or "image/*", as it is declared or by the ending of their names, go.',
        _by_type,
    ),
    Action(
        "drop-attachments-by-filetype",
        _NAMED,
        'Attachments whose content is of this type, as "exe", or group, as "Executable", go, whatever they are called.',
        _by_file_type,
    ),
    Action(
        "drop-attachments-where-contains",
        Signature((Kind.EXPRESSION, Kind.TEXT_OR_NUMBER, Kind.TEXT), 1),
        "Attachments whose text matches, so often at least, go.",
        _where_contains,
    ),
    Action(
        "drop-attachments-where-dictionary-match",
        Signature((Kind.DICTIONARY, Kind.TEXT_OR_NUMBER, Kind.TEXT), 1),
        "Attachments in whose text entries of a dictionary weigh so much at least go.",
        _where_dictionary,
    ),
)
