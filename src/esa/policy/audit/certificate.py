"""Whether filters before and after a merge treat mail alike, and what each side costs: both run over the same messages, one after the other.

Called by `esa filters merge`. All of an outcome has to be equal, but for the names of the filters that brought it about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from esa.engine.dictionary import Dictionary
from esa.engine.scanner import Scanner
from esa.policy.audit.edges import Edge, edges
from esa.policy.audit.merging import Merge
from esa.policy.filters.costs import MESSAGES
from esa.policy.filters.ledger import Ledger
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.scope import Listener, Scope
from esa.policy.filters.tree import Filter
from esa.policy.outcome import Outcome, Step
from esa.policy.view import View

MakeView = Callable[["Side"], View]
_DIFFERENCES_KEPT = 5


class Side:
    """Filters with a scanner that listens for them, and a ledger that measures every message."""

    def __init__(self, filters: Iterable[Filter], dictionaries: Sequence[Dictionary], scope: Scope) -> None:
        self._scope = replace(
            scope, terms=type(scope.terms)(), groups=set(), dns_lists=set(), dictionaries=frozenset(one.name for one in dictionaries)
        )
        self.plan = FilterPlan(filters, self._scope)
        checks = ["dictionaries"] if dictionaries else []
        self.scanner = Scanner(checks=[*checks, Listener(self._scope.terms.listed)], dictionaries=dictionaries)
        self.ledger = Ledger(every=1)

    def run(self, view: View) -> Outcome:
        """What the filters bring about, taken down."""
        self.ledger.begin()
        outcome = self.plan.run(view, tally=self.ledger.tally(MESSAGES, self.plan.filters))
        self.ledger.lap(MESSAGES)
        self.ledger.finish()
        return outcome

    def microseconds(self) -> float:
        """Of one message: choosing filters and running them."""
        costs = self.ledger.costs()
        return costs.stages.get(MESSAGES, 0.0) / 1000 / costs.timed if costs.timed else 0.0


@dataclass(slots=True)
class Comparison:
    """`differences`: identifiers of the first messages that were treated otherwise."""

    names: Mapping[str, str]  # of filters that were merged → of the new one
    messages: int = 0
    acted: int = 0  # messages for which a merged filter acted
    different: int = 0
    differences: list[str] = field(default_factory=list)

    def compare(self, before: Side, after: Side, view_of: MakeView, identifier: str) -> None:
        """Run both sides over one message, by turns who is first: what is asked twice is known the second time."""
        pair = (before, after) if self.messages % 2 == 0 else (after, before)
        outcomes = {id(side): side.run(view_of(side)) for side in pair}
        old, new = outcomes[id(before)], outcomes[id(after)]
        self.messages += 1
        self.acted += any(step.filter in self.names for step in old.trail)
        if self._told(old) != self._told(new):
            self.different += 1
            if len(self.differences) < _DIFFERENCES_KEPT:
                self.differences.append(identifier)

    def _told(self, outcome: Outcome) -> Outcome:
        """Without names: what ended by one filter may end by another that does the same, and what several merged ones did is done once."""
        steps = [Step(self.names.get(step.filter, step.filter), step.action) for step in outcome.trail]
        merged = set(self.names.values())
        once = [step for place, step in enumerate(steps) if step.filter not in merged or step not in steps[:place]]
        return replace(outcome, trail=[Step("", step.action) for step in once], final_filter="")


def comparison_of(merges: Iterable[Merge]) -> Comparison:
    return Comparison({name: one.filter.name for one in merges for name in one.names})


def try_edges(merges: Sequence[Merge], before: Side, after: Side) -> Comparison:
    """Both sides over addresses, clients and hosts at the edges of what the merged filters take."""
    compared = comparison_of(merges)
    raw = b"Subject: x\r\n\r\nx\r\n"
    reports = {id(side): side.scanner.scan(raw) for side in (before, after)}
    for edge in edges(merges):

        def view_of(side: Side, edge: Edge = edge) -> View:
            facts = raw, edge.session, edge.envelope, reports[id(side)]
            return View(*facts, lookup=side.scanner.lookup, identifier="x", remote_host=edge.remote_host)

        compared.compare(before, after, view_of, edge.name)
    return compared
