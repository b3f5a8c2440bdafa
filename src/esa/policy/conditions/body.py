"""Conditions on text: of the message, of its attachments, or both. The one pass counts; parts are looked at only where it found enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esa.policy.filters.body_text import TEXT_REGIONS, attached_parts, attached_with, count_in_parts, wanted_of
from esa.policy.filters.comparing import number_of, text_of
from esa.policy.filters.expression import count_in_octets
from esa.policy.filters.gates import AttachmentAtom, TermAtom
from esa.policy.filters.words import Condition, Cost, Kind, Rule, Signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from esa.policy.filters.body_text import Wanted
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Test
    from esa.policy.view import View

_READS = frozenset({"body"})
_CONTAINS = Signature((Kind.EXPRESSION, Kind.NUMBER), 1, is_bare=True)


def _threshold(test: Test) -> float:
    return number_of(test.arguments[1]) if len(test.arguments) > 1 else 1


def _counted(test: Test, scope: Scope, holds: Callable[[View, Wanted, float], bool] | None, cost: int) -> Rule:
    """Enough matches in the whole message, and then what `holds` says of its parts."""
    wanted, least = wanted_of(test.arguments[0]), _threshold(test)
    term = scope.terms.number(wanted.term(TEXT_REGIONS))

    def evaluate(view: View) -> bool:
        if view.counts.get(term, 0) < least or (holds is not None and not holds(view, wanted, least)):
            return False
        view.matched.append(lambda: wanted.find(view))
        return True

    return Rule(evaluate, cost, frozenset({TermAtom(term)}) if least > 0 else None, _READS)


def _in_text(view: View, wanted: Wanted, least: float) -> bool:
    return not view.attachments or count_in_parts(view, wanted, None) >= least


def _in_attachments(view: View, wanted: Wanted, least: float) -> bool:
    return bool(view.attachments) and count_in_parts(view, wanted, attached_parts(view)) >= least


def _in_every_attachment(view: View, wanted: Wanted, least: float) -> bool:
    attachments = view.attachments
    return bool(attachments) and all(count_in_parts(view, wanted, attached_with(view, part)) >= least for part in attachments)


def _body(test: Test, scope: Scope) -> Rule:
    return _counted(test, scope, None, Cost.COUNTED)


def _only_body(test: Test, scope: Scope) -> Rule:
    return _counted(test, scope, _in_text, Cost.TEXT)


def _attachment(test: Test, scope: Scope) -> Rule:
    return _counted(test, scope, _in_attachments, Cost.TEXT)


def _every_attachment(test: Test, scope: Scope) -> Rule:
    return _counted(test, scope, _in_every_attachment, Cost.TEXT)


def _binary(test: Test, scope: Scope) -> Rule:
    expression = text_of(test.arguments[0])

    def evaluate(view: View) -> bool:
        return any(count_in_octets(expression, part.content(), 1) for part in view.attachments)

    return Rule(evaluate, Cost.OCTETS, frozenset({AttachmentAtom()}), _READS)


conditions = (
    Condition("body-contains", _CONTAINS, "Text of the message or of an attachment matches, so often at least: once, unless said.", _body),
    Condition("only-body-contains", _CONTAINS, "Text of the message matches, attachments left out.", _only_body),
    Condition("attachment-contains", _CONTAINS, "Text of attachments matches.", _attachment),
    Condition("every-attachment-contains", _CONTAINS, "There are attachments, and text of each matches.", _every_attachment),
    Condition(
        "attachment-binary-contains",
        Signature((Kind.EXPRESSION,), 1, is_bare=True),
        "The octets of an attachment match, each being a character of its number: \\x{ff} is the octet FF.",
        _binary,
    ),
)
