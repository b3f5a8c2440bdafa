"""Conditions on the header, as earlier actions left it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from esa.engine.check import Term
from esa.policy.filters.comparing import by_operator, number_rule, text_of, text_rule
from esa.policy.filters.expression import found_in, matches_empty, split_case
from esa.policy.filters.gates import HeaderAtom, TermAtom
from esa.policy.filters.words import COMPARES, MATCHES, Condition, Cost, Kind, Rule, Signature

if TYPE_CHECKING:
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Test
    from esa.policy.view import View


SUBJECT = frozenset({"header:subject"})
_NO_ADDRESS = re.compile(r'(?s)"(?:[^"\\]|\\.)*(?:"|\Z)|\([^()]*\)')  # quoted strings and comments, in which anything may stand
_BETWEEN = re.compile(r"[,;:]")


def count_addresses(value: str) -> int:
    """Mailboxes in the value of an address field (RFC 5322 section 3.4), however odd; in linear time, as anybody may write a long one."""
    return sum(1 for piece in _BETWEEN.split(_NO_ADDRESS.sub("x", value)) if "@" in piece)


def _subject(test: Test, scope: Scope) -> Rule:
    """By the one pass over the message, which reads the subject as it reads text; an expression that may match nothing is tried here."""
    expression = text_of(test.value)
    if matches_empty(expression):
        return text_rule(test, "header:subject", lambda view: (view.parsed.subject,), Cost.HEADER, reads=SUBJECT)
    text, is_cased = split_case(expression)
    term = scope.terms.number(Term(text, kind="expression", case=is_cased, regions=frozenset({"subject"})))

    def evaluate(view: View) -> bool:
        if term not in view.counts:
            return False
        view.matched.append(lambda: found_in(expression, view.parsed.subject))
        return True

    return by_operator(test, Rule(evaluate, Cost.COUNTED, frozenset({TermAtom(term)}), SUBJECT))


def _header(test: Test, scope: Scope) -> Rule:
    name = text_of(test.arguments[0]).lower().rstrip(":")
    if name == "subject" and test.operator:
        return _subject(test, scope)
    reads = frozenset({f"header:{name}"})
    if not test.operator:
        octets = name.encode()
        return Rule(lambda view: view.has_field(octets), Cost.HEADER, frozenset({HeaderAtom(name)}), reads)
    return text_rule(test, f"header:{name}", lambda view: view.header(name), Cost.HEADER, reads=reads)


def _addr_count(test: Test, scope: Scope) -> Rule:
    names = [text_of(argument).lower().rstrip(":") for argument in test.arguments] or ["to", "cc"]

    def count(view: View) -> int:
        values = [value for name in names for value in view.header(name)]
        return sum(count_addresses(value) for value in values)

    return number_rule(test, count, Cost.HEADER, reads=frozenset(f"header:{name}" for name in names))


conditions = (
    Condition("subject", Signature(operators=MATCHES, value=Kind.EXPRESSION), "The decoded Subject matches.", _subject),
    Condition(
        "header",
        Signature((Kind.HEADER,), 1, MATCHES, Kind.EXPRESSION, is_bare=True),
        "There is a field of this name, or the decoded value of one matches.",
        _header,
    ),
    Condition(
        "addr-count",
        Signature((Kind.HEADER,), 0, COMPARES, Kind.NUMBER, repeats=True),
        "Addresses in these fields, To and Cc if none is named, compared.",
        _addr_count,
    ),
)
