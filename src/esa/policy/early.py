"""Refusing a recipient at RCPT: where the content filters of its mail policy refuse it whatever the message will be.

`content_filter` makes the plan, the gateway asks it for each recipient. Whoever is refused there is told so by name, the other recipients get their mail,
and no mail data is sent in vain. It is done only where it comes to the same as waiting for the message would: the filter asks nothing but the
session and the envelope, its words need nothing else, and no filter before it could have done something that stays (a copy, a notice, another recipient)
or have ended the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from esa.policy.filters.compile import Branch, Compiled, Deed
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.scope import Scope
from esa.policy.filters.tree import Filter, Text, calls_of, statements_of, tests_of
from esa.policy.filters.variables import reads_content
from esa.policy.filters.words import actions, conditions
from esa.policy.outcome import Final, Outcome

REFUSALS = (Final.BOUNCE, Final.REFUSE)
_ENDS = frozenset({"drop", "bounce", "refuse"})  # actions of message filters behind which no content filter runs


class EarlyRefusal(NamedTuple):
    """Why a recipient is refused at RCPT. `text`: words of the reply, perhaps with an enhanced code before them; empty: the usual ones."""

    text: str
    filter: str


def early_plan(filters: Iterable[Filter], scope: Scope) -> FilterPlan | None:
    """What of a chain of content filters can be run at RCPT; None where nothing there refuses."""
    found: list[Filter] = []
    for one in filters:
        if not one.is_active:
            continue
        if _is_early(one):
            found.append(one)
        elif any(
            action.is_final or action.outlives for call in calls_of(one.statement) if (action := actions().get(call.word)) is not None
        ):
            break
    if not any(call.word in ("bounce", "refuse") for one in found for call in calls_of(one.statement)):
        return None
    plan = FilterPlan(found, scope)
    return None if plan.is_empty else plan


def refusal_in(outcome: Outcome) -> EarlyRefusal | None:
    """The refusal that filters have come to, unless the message is needed for something else too."""
    stays = outcome.blind_copies or outcome.notices or outcome.archives or outcome.duplicate_quarantines
    if outcome.final not in REFUSALS or stays or outcome.recipients:
        return None
    return EarlyRefusal(outcome.refusal, outcome.final_filter)


def may_come_first(messages: Sequence[Compiled]) -> bool:
    """Whether no message filter could keep a message from content filters, or do something that stays though its recipients are refused."""
    words = {item.trace.action for one in messages for item in _deeds(one.branch)}
    return words.isdisjoint(_ENDS) and not any(actions()[word].outlives for word in words)


def _is_early(one: Filter) -> bool:
    """Whether a filter asks nothing that is not known at RCPT, in conditions and in the words of its refusals."""
    for statement in statements_of(one.statement):
        for test in tests_of(statement.condition):
            condition = conditions().get(test.word)
            if condition is None or not condition.is_early:
                return False
    for call in calls_of(one.statement):
        if call.word == "refuse" and any(isinstance(value, Text) and reads_content(value.value) for value in call.arguments):
            return False
    return True


def _deeds(branch: Branch) -> Iterable[Deed]:
    waiting = [branch]
    while waiting:
        one = waiting.pop()
        for item in (*one.then, *one.otherwise):
            if isinstance(item, Deed):
                yield item
            else:
                waiting.append(item)
