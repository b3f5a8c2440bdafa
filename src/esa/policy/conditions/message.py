"""Conditions on the message as a whole, the clock and the state of the gateway."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from esa.policy.filters.comparing import number_of, number_rule
from esa.policy.filters.gates import SizeAtom
from esa.policy.filters.scope import Fact, Severity, Unusable
from esa.policy.filters.tree import Number, Test, Text
from esa.policy.filters.words import COMPARES, Condition, Cost, Kind, Rule, Signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from esa.policy.filters.scope import Scope
    from esa.policy.view import View

_DATES = ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y")
_BARE = Signature(is_bare=True)

MALFORMED_HEADER = frozenset({"bad_header_line", "bad_encoded_word", "header_goes_on", "no_header_end", "nul_bytes"})
DUPLICATE_BOUNDARIES = frozenset({"several_boundaries"})
NOT_VALID = MALFORMED_HEADER | frozenset(
    {
        "ambiguous",
        "bad_base64",
        "bad_charset",
        "bad_quoted_printable",
        "encoded_container",
        "odd_boundary",
        "several_boundaries",
        "several_charsets",
        "several_content_types",
        "several_encodings",
        "text_outside_parts",
        "too_deep",
        "too_many_fields",
        "too_many_parts",
        "unterminated_multipart",
    }
)


def _true(test: Test, scope: Scope) -> Rule:
    return Rule(lambda view: True, Cost.NOTHING)


def _valid(test: Test, scope: Scope) -> Rule:
    return Rule(lambda view: NOT_VALID.isdisjoint(view.report.flags), Cost.FACT)


def _has(flags: frozenset[str]) -> Callable[[Test, Scope], Rule]:
    return lambda test, scope: Rule(lambda view: not flags.isdisjoint(view.report.flags), Cost.FACT)


def _body_size(test: Test, scope: Scope) -> Rule:
    return number_rule(
        test, lambda view: view.size, Cost.FACT, clause=lambda bound: frozenset({SizeAtom(bound)}), reads=frozenset({"body"})
    )


def moment_of(value: Text) -> float | None:
    """A date of a filter, in local time, as Unix seconds; None if it is none."""
    for layout in _DATES:
        try:
            return time.mktime(time.strptime(value.value, layout))
        except (ValueError, OverflowError):
            continue
    return None


def _date(test: Test, scope: Scope) -> Rule:
    value = test.value
    assert isinstance(value, Text)
    moment = moment_of(value)
    if moment is None:
        raise Unusable(
            Severity.ERROR, value.at, f"{value.value!r} is no date", "write month, day and year as 12/31/2026 23:59:59, in local time"
        )
    return number_rule(Test(test.word, (), test.operator, Number(repr(moment))), lambda view: view.now, Cost.FACT)


def _random(test: Test, scope: Scope) -> Rule:
    many = int(number_of(test.arguments[0]))
    if many < 1:
        raise Unusable(
            Severity.ERROR, test.arguments[0].at, f"there is no number below {many}", "write how many numbers there are to draw from"
        )
    salt = f"{test.at.line}:{test.at.column}"

    def draw(view: View) -> int:
        """0 to many - 1, always the same for one message."""
        digest = hashlib.blake2b(f"{salt}:{view.identifier}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") % many

    return number_rule(test, draw, Cost.ENVELOPE)


def _queue(test: Test, scope: Scope) -> Rule:
    scope.facts.add(Fact.QUEUE)
    return number_rule(test, lambda view: view.queue_length, Cost.FACT)


_NUMBER = Signature(operators=COMPARES, value=Kind.NUMBER)

conditions = (
    Condition("true", _BARE, "Every message.", _true, is_early=True),
    Condition("valid", _BARE, "The message's MIME structure and header have no fault.", _valid),
    Condition("malformed-header", _BARE, "The header has lines that are no fields, or does not end.", _has(MALFORMED_HEADER)),
    Condition("duplicate_boundaries", _BARE, "A multipart names several boundaries.", _has(DUPLICATE_BOUNDARIES)),
    Condition(
        "body-size",
        Signature(operators=COMPARES, value=Kind.SIZE),
        "Octets of the whole message, header and attachments included.",
        _body_size,
    ),
    Condition("date", Signature(operators=COMPARES, value=Kind.DATE), "When the message came, compared, in local time.", _date),
    Condition(
        "random",
        Signature((Kind.NUMBER,), 1, COMPARES, Kind.NUMBER),
        "A number from 0 to one less than given, the same for one message.",
        _random,
    ),
    Condition("workqueue-count", _NUMBER, "Messages in work now, this one too, compared.", _queue),
)
