"""Conditions on attachments: their names, types and sizes. Each is true if one attachment fulfils it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esa.engine.check import Term
from esa.message.file_type import names_type
from esa.policy.filters.comparing import COMPARISONS, by_operator, number_of, text_of, text_rule
from esa.policy.filters.expression import matcher, matches_empty, split_case
from esa.policy.filters.gates import AttachmentAtom, TermAtom
from esa.policy.filters.words import COMPARES, MATCHES, Condition, Cost, Kind, Rule, Signature

if TYPE_CHECKING:
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Test
    from esa.policy.view import View
    from esa_core import Part

_READS = frozenset({"body"})
_NAMES = frozenset({"file_name"})


def encoded_size(part: Part) -> int:
    """Octets that a part takes in the message, before decoding."""
    return part.end - part.body_start


def _file_name(test: Test, scope: Scope) -> Rule:
    expression = text_of(test.value)
    if matches_empty(expression):
        matches = matcher(expression)
        anything = Rule(
            lambda view: any(matches(name) for part in view.attachments for name in part.file_names),
            Cost.STRUCTURE,
            frozenset({AttachmentAtom()}),
            _READS,
        )
        return by_operator(test, anything)
    text, is_cased = split_case(expression)
    term = scope.terms.number(Term(text, kind="expression", case=is_cased, regions=_NAMES))

    def evaluate(view: View) -> bool:
        if term not in view.counts:
            return False
        view.matched.append(lambda: next((name for part in view.attachments for name in part.file_names if matcher(expression)(name)), ""))
        return True

    return by_operator(test, Rule(evaluate, Cost.COUNTED, frozenset({TermAtom(term)}), _READS))


def _media_type(test: Test, scope: Scope) -> Rule:
    return text_rule(test, "media-type", lambda view: [part.media_type for part in view.attachments], Cost.STRUCTURE, reads=_READS)


def _size(test: Test, scope: Scope) -> Rule:
    wanted, compares = number_of(test.value), COMPARISONS[test.operator]
    clause = frozenset({AttachmentAtom(wanted if test.operator == ">" else wanted - 1 if test.operator in (">=", "==") else -1.0)})
    return Rule(lambda view: any(compares(encoded_size(part), wanted) for part in view.attachments), Cost.STRUCTURE, clause, _READS)


def _type(test: Test, scope: Scope) -> Rule:
    wanted = text_of(test.value)
    named = Rule(
        lambda view: any(names_type(part.file_names, part.media_type, wanted) for part in view.attachments),
        Cost.STRUCTURE,
        frozenset({AttachmentAtom()}),
        _READS,
    )
    return by_operator(test, named)


conditions = (
    Condition("attachment-filename", Signature(operators=MATCHES, value=Kind.EXPRESSION), "The name of an attachment matches.", _file_name),
    Condition(
        "attachment-mimetype",
        Signature(operators=MATCHES, value=Kind.EXPRESSION),
        "The declared type of an attachment matches.",
        _media_type,
    ),
    Condition(
        "attachment-type",
        Signature(operators=MATCHES, value=Kind.TEXT),
        'An attachment is of this MIME type, as "image/png" or "image/*", as it is declared or by the ending of its name.',
        _type,
    ),
    Condition(
        "attachment-size",
        Signature(operators=COMPARES, value=Kind.SIZE),
        "Octets of an attachment as it stands in the message, compared.",
        _size,
    ),
)
