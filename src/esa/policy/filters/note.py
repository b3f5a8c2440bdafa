"""What is noted of a filter for later: enough to know whether another configuration has the same one, and what it did not do when it did not act.

Whoever records decisions keeps notes beside them; whoever recalls them compares. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.tree import Call, Filter, If, calls_of, statements_of, tests_of
from esa.policy.filters.words import actions
from esa.policy.filters.write import write_call, write_condition

_DIGITS = 16


class Note(NamedTuple):
    """`digest` is of all that the filter does, without comments and its place. `is_simple`: one condition, and actions where it is true."""

    digest: str
    is_simple: bool
    is_final: bool  # it may end the filters
    looks_up: bool  # it asks about dictionaries
    edits: bool  # it may change what later filters read


class Notes:
    """Takes notes of filters on their way to a plan."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, bool, bool, bool]] = {}

    def passing(self, filters: Iterable[Filter]) -> Iterator[Filter]:
        """The same filters."""
        for one in filters:
            if one.is_active:
                simple = one.statement.otherwise is None and all(isinstance(item, Call) for item in one.statement.then.items)
                calls = list(calls_of(one.statement))
                ends = any(call.word in actions() and actions()[call.word].is_final for call in calls)
                tests = [test.word for statement in statements_of(one.statement) for test in tests_of(statement.condition)]
                looks_up = any("dictionary" in word for word in (*tests, *[call.word for call in calls]))
                self._seen[one.name] = digest_of(one), simple, ends, looks_up
            yield one

    def of(self, plan: FilterPlan) -> dict[str, Note]:
        """By name the notes of the filters that run, in their order."""
        return {made.name: Note(*self._seen[made.name], bool(made.changes)) for made in plan.filters}


def digest_of(one: Filter) -> str:
    """The same for filters that do the same in the same words."""
    digest = hashlib.sha256()
    for statement in statements_of(one.statement):
        written = [f"if {write_condition(statement.condition)}"]
        for block in (statement.then, statement.otherwise):
            written.append("-" if block is None else "; ".join("if" if isinstance(item, If) else write_call(item) for item in block.items))
        digest.update(repr(written).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:_DIGITS]
