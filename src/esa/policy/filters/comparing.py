"""What conditions are made of: texts matched by an expression, numbers compared, facts that equal a text. Called by `esa.policy.conditions`.

Negation is in the operator: `!=` is true exactly where `==` is false.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from esa.policy.filters.expression import found_in, matcher
from esa.policy.filters.gates import Clause, EqualAtom, TextAtom
from esa.policy.filters.tree import Number, Test, Text
from esa.policy.filters.words import Rule

if TYPE_CHECKING:
    from esa.policy.view import View

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def text_of(value: object) -> str:
    """The text of a value that the compiler has seen to be one."""
    assert isinstance(value, Text)
    return value.value


def number_of(value: object) -> float:
    assert isinstance(value, Number)
    return value.value


def inverted(rule: Rule) -> Rule:
    """The opposite of a rule; unscanned where it is."""
    inner = rule.evaluate

    def evaluate(view: View) -> bool | None:
        found = inner(view)
        return None if found is None else not found

    return Rule(evaluate, rule.cost, None, rule.reads, (rule,), "not")


def by_operator(test: Test, rule: Rule) -> Rule:
    """The rule as it is for ==, its opposite for !=."""
    return inverted(rule) if test.operator == "!=" else rule


def text_rule(test: Test, field: str, texts: Callable[[View], Iterable[str]], cost: int, *, reads: frozenset[str] = frozenset()) -> Rule:
    """Whether the expression that is the test's value matches one of some short texts; `field` as in TextAtom."""
    expression = text_of(test.value)
    matches = matcher(expression)

    def evaluate(view: View) -> bool:
        for text in texts(view):
            if matches(text):
                view.matched.append(partial(found_in, expression, text))
                return True
        return False

    return by_operator(test, Rule(evaluate, cost, frozenset({TextAtom(field, expression)}), reads))


def number_rule(
    test: Test,
    number: Callable[[View], float | None],
    cost: int,
    *,
    clause: Callable[[float], Clause] | None = None,
    reads: frozenset[str] = frozenset(),
) -> Rule:
    """A number compared with the test's value; `clause(bound)` is fulfilled where the number is over the bound. None: unscanned."""
    wanted = number_of(test.value)
    compares = COMPARISONS[test.operator]

    def evaluate(view: View) -> bool | None:
        found = number(view)
        return None if found is None else compares(found, wanted)

    gate = None
    if clause is not None and test.operator in (">", ">=", "=="):
        gate = clause(wanted if test.operator == ">" else wanted - 1)
    return Rule(evaluate, cost, gate, reads)


def equal_rule(test: Test, field: str, cost: int) -> Rule:
    """Whether an attribute of the view is the test's value."""
    wanted = text_of(test.value)
    return by_operator(test, Rule(lambda view: getattr(view, field) == wanted, cost, frozenset({EqualAtom(field, wanted)})))
