"""A witness of what filters do: which conditions were asked and what they answered, which actions ran.

Whoever wants to know puts one into the `Scope` that filters are compiled in; each test, statement and action then tells it. Filters that are compiled
without one pay nothing. With one no gate is shut, so that every filter is asked until a final action. Of one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from esa.policy.filters.tree import Call, If, Test

if TYPE_CHECKING:
    from esa.policy.filters.run import Run
    from esa.policy.filters.words import Rule
    from esa.policy.view import View


@dataclass(slots=True)
class Told:
    """One thing that happened. `node` is the test, statement or action; `answer` of a test or statement: None is unscanned.

    `matched` is the text that a true test found. `mail_policy` is empty for message filters. `nanoseconds` of a statement are those of its condition.
    """

    filter: str
    node: Test | If | Call
    mail_policy: str
    recipients: tuple[str, ...]
    answer: bool | None = None
    matched: str = ""
    nanoseconds: int = 0


class Witness:
    """Takes down what is told, in order, until somebody takes it away."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self._told: list[Told] = []

    def take(self) -> list[Told]:
        """All that was told since the last time."""
        told, self._told = self._told, []
        return told

    def test(self, name: str, test: Test, rule: Rule) -> Rule:
        """The rule of a test, which tells."""
        evaluate, clock = rule.evaluate, self._clock

        def watched(view: View) -> bool | None:
            told = self._begin(name, test, view)
            known = len(view.matched)
            began = clock()
            told.answer = evaluate(view)
            told.nanoseconds = clock() - began
            if told.answer:
                told.matched = ", ".join(text for find in view.matched[known:] if (text := find()))
            return told.answer

        return replace(rule, evaluate=watched)

    def statement(self, name: str, statement: If, evaluate: Callable[[View], bool | None]) -> Callable[[View], bool | None]:
        """The condition of a statement, which tells before those of its tests."""
        clock = self._clock

        def watched(view: View) -> bool | None:
            told = self._begin(name, statement, view)
            began = clock()
            told.answer = evaluate(view)
            told.nanoseconds = clock() - began
            return told.answer

        return watched

    def action(self, name: str, call: Call, run: Callable[[Run], None]) -> Callable[[Run], None]:
        """An action, which tells."""
        clock = self._clock

        def watched(given: Run) -> None:
            told = self._begin(name, call, given.view)
            began = clock()
            run(given)
            told.nanoseconds = clock() - began

        return watched

    def _begin(self, name: str, node: Test | If | Call, view: View) -> Told:
        told = Told(name, node, view.mail_policy, tuple(view.envelope.recipients))
        self._told.append(told)
        return told
