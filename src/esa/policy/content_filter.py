"""Content filters: filters of a mail policy, which run for each splinter by itself, in the language of message filters.

`config.filters` makes their trees from esa.toml, `splinters` runs them. A condition about recipients is asked for each recipient alone, so that
one of many can be treated by itself; recipients for whom the same came out stay together. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from esa.message.edits import Edit
from esa.message.envelope import Envelope
from esa.policy.early import early_plan, may_come_first
from esa.policy.filters.compile import Compiled
from esa.policy.filters.costs import CONTENT, MESSAGES, Key
from esa.policy.filters.ledger import Ledger
from esa.policy.filters.note import Note, Notes
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.scope import Fact, Listener, Problem, Scope
from esa.policy.filters.tree import And, Block, Call, Condition, Filter, If, Or, Test, statements_of, tests_of
from esa.policy.host_access import Needs
from esa.policy.outcome import Outcome
from esa.policy.view import View

OF_RECIPIENTS = frozenset({"rcpt-to", "rcpt-to-group", "rcpt-to-dictionary-match"})  # conditions that tell recipients apart
MakeView = Callable[[Envelope], View]
NO_NOTES: Mapping[str, Note] = MappingProxyType({})


def content_filter(name: str, conditions: Sequence[Condition], actions: Sequence[Call], *, needs_all: bool) -> Filter:
    """One filter. Without conditions it is for every message."""
    condition: Condition = conditions[0] if conditions else Test("true")
    for one in conditions[1:]:
        condition = And(condition, one) if needs_all else Or(condition, one)
    return Filter(name, If(condition, Block(tuple(actions))))


class ContentPlan:
    """The content filters of a mail policy, in order."""

    def __init__(self, filters: Iterable[Filter], scope: Scope) -> None:
        filters = tuple(filters)
        notes = Notes()
        self._plan = FilterPlan(notes.passing(filters), scope)
        self.notes = notes.of(self._plan)
        self.early = early_plan(filters, replace(scope, witness=None))  # what of them can be run at RCPT
        words = {test.word for one in filters for inner in statements_of(one.statement) for test in tests_of(inner.condition)}
        self._tells_recipients_apart = not words.isdisjoint(OF_RECIPIENTS)

    @property
    def problems(self) -> list[Problem]:
        return self._plan.problems

    @property
    def filters(self) -> tuple[Compiled, ...]:
        return self._plan.filters

    @property
    def is_empty(self) -> bool:
        return self._plan.is_empty

    def run(
        self, envelope: Envelope, recipients: Sequence[str], view_of: MakeView, before: Sequence[Edit] = (), *, ledger: Ledger | None = None
    ) -> list[tuple[tuple[str, ...], Outcome]]:
        """What comes out for these recipients: each stands in one group. `before` are the edits of earlier stages."""
        tally = None if ledger is None else ledger.tally(CONTENT, self._plan.filters)
        if not self._tells_recipients_apart or len(recipients) == 1:
            whole = replace(envelope, recipients=tuple(recipients))
            return [(tuple(recipients), self._plan.run(view_of(whole), before, tally=tally))]
        groups: list[tuple[list[str], Outcome]] = []
        for recipient in recipients:
            view = view_of(replace(envelope, recipients=(recipient,)))
            view.recipient_count = len(recipients)
            outcome = self._plan.run(view, before, tally=tally)
            for who, other in groups:
                if other == outcome:
                    who.append(recipient)
                    break
            else:
                groups.append(([recipient], outcome))
        return [(tuple(who), outcome) for who, outcome in groups]


class Rules:
    """All filters of a configuration: message filters, and for each chain of content filters that a mail policy names its plan.

    `groups`: of directories that filters ask about. `listener` is the check through which they hear of terms; None: they listen for nothing.
    """

    def __init__(
        self,
        messages: FilterPlan,
        content: Mapping[tuple[str, ...], ContentPlan],
        scope: Scope,
        notes: Mapping[str, Note] = NO_NOTES,
    ) -> None:
        """`notes` are those of the message filters, by name and in the order that they run in."""
        self.messages, self._content, self._scope, self.notes = messages, content, scope, notes
        self._may_come_first = may_come_first(messages.filters)

    @classmethod
    def none(cls) -> Rules:
        scope = Scope()
        return cls(FilterPlan((), scope), {}, scope)

    def content(self, names: tuple[str, ...]) -> ContentPlan | None:
        """The plan of a chain; None where nothing runs."""
        plan = self._content.get(names)
        return None if plan is None or plan.is_empty else plan

    def early(self, names: tuple[str, ...]) -> FilterPlan | None:
        """What of a chain can be run at RCPT; None where nothing can."""
        plan = self._content.get(names) if self._may_come_first else None
        return None if plan is None else plan.early

    @property
    def has_early(self) -> bool:
        return self._may_come_first and any(plan.early is not None for plan in self._content.values())

    @property
    def keys(self) -> frozenset[Key]:
        """What the ledger knows the filters by."""
        content = (one for plan in self._content.values() for one in plan.filters)
        return frozenset(
            [*((MESSAGES, one.name, one.digest) for one in self.messages.filters), *((CONTENT, one.name, one.digest) for one in content)]
        )

    @property
    def is_empty(self) -> bool:
        return self.messages.is_empty and all(plan.is_empty for plan in self._content.values())

    @property
    def groups(self) -> frozenset[str]:
        return frozenset(self._scope.groups)

    @property
    def redirections(self) -> frozenset[str]:
        """Addresses that messages may be redirected to before mail policies are asked about them."""
        return frozenset(self._scope.redirections)

    @property
    def needs(self) -> Needs:
        """What has to be found out of a client."""
        facts = self._scope.facts
        return Needs(Fact.NAMES in facts, Fact.REPUTATION in facts, tuple(sorted(self._scope.dns_lists)))

    @property
    def needs_queue(self) -> bool:
        """Whether filters ask how many messages are in work."""
        return Fact.QUEUE in self._scope.facts

    @property
    def listener(self) -> Listener | None:
        terms = self._scope.terms.listed
        return Listener(terms) if terms else None
