"""The plan: filters compiled once, run over one message after another.

Called by the receive route for message filters, and for content filters of a mail policy. Pure: the same filters and the same view give the same
outcome. Filters whose gates are closed are not looked at; those that are run in their order. A filter that an earlier one's edit could open is asked
again, on the edited message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from esa.engine.listening import Listening
from esa.message import edits as editing
from esa.message.content import Message
from esa.policy.filters.compile import Compiled, Deed, Item, compile_filter
from esa.policy.filters.gates import Gates
from esa.policy.filters.ledger import CONDITIONS, FILTERS, UNTIMED, Tally
from esa.policy.filters.run import Run
from esa.policy.filters.scope import Listener, Problem, Scope, Severity, Terms
from esa.policy.outcome import NOTHING_DONE, Outcome
from esa_core import Engine, flag_names

if TYPE_CHECKING:
    from esa.message.edits import Edit
    from esa.policy.filters.tree import Filter
    from esa.policy.view import Content, View

BODY, SUBJECT = "body", "header:subject"
COUNTED = frozenset({BODY, SUBJECT})  # what the terms of the one program are looked for in


def change_of(edit: Edit) -> str:
    """What an edit changes, in the words of `Step.changes`."""
    match edit:
        case editing.InsertHeader(name) | editing.StripHeader(name) | editing.EditHeader(name):
            return f"header:{name.lower()}"
        case editing.TagSubject():
            return "header:subject"
        case _:
            return BODY


class FilterPlan:
    """Compiled filters; immutable, shared by threads.

    `problems` is all there is to tell of the filters, inactive ones left out. Filters that have an error or are invalid do not run: whether that is
    allowed is for the caller to say. `scope` collects the terms of all plans of a configuration; make its `Listener` when all are compiled.
    """

    def __init__(self, filters: Iterable[Filter], scope: Scope) -> None:
        self.problems: list[Problem] = []
        compiled: list[Compiled] = []
        names: dict[str, Filter] = {}
        for one in filters:
            if one.name in names:
                what, mend = f"two filters are called {one.name!r}", f"the other stands at {names[one.name].at}; give one another name"
                self.problems.append(Problem(Severity.ERROR, one.name, one.at, what, mend))
                continue
            names[one.name] = one
            if one.is_active:
                ready, problems = compile_filter(one, scope)
                self.problems += problems
                if ready is not None:
                    compiled.append(ready)
        self.filters = tuple(compiled)
        self._gates = Gates([made.clause for made in compiled])
        self._last_reader = {part: number for number, made in enumerate(compiled) for part in made.reads}
        self._again = _Again(self.filters, scope.terms)
        firsts: dict[str, int] = {}
        for number, made in enumerate(compiled):
            for part in made.changes & COUNTED:
                firsts.setdefault(part, number)
        if any(self._last_reader.get(part, -1) >= number for part, number in firsts.items()):
            self._again.prepare()

    @property
    def is_empty(self) -> bool:
        return not self.filters

    def candidates(self, view: View) -> list[str]:
        """Names of the filters whose conditions are evaluated for a message as it came: for trace."""
        return [self.filters[number].name for number in self._gates.candidates(view)]

    def run(self, view: View, before: Sequence[Edit] = (), *, tally: Tally | None = None) -> Outcome:
        """What the filters bring about for a message. The view goes on with the message as edited, as far as conditions or actions looked at it.

        `before` are edits of an earlier stage that the view does not show yet; they are not in the outcome again. `tally` takes down what it costs.
        """
        run: Run | None = None
        if before:
            run = Run(view, Outcome(), self._show)
            run.pending += before
            run.changed = frozenset(map(change_of, before))
            if not run.changed.isdisjoint(self._last_reader):
                self._show(run)
        timing = UNTIMED if tally is None else tally.ledger.timing
        timed = tally if timing == FILTERS else None  # whose filters are timed
        asked = tally if timing == CONDITIONS else None  # whose conditions are
        last = timed.ledger.read() if timed is not None else 0
        waiting = self._gates.candidates(view)
        if timed is not None:
            last = _chosen(timed, last)
        if not waiting:
            return NOTHING_DONE
        if run is None:
            run = Run(view, Outcome(), self._show)
        outcome = run.outcome
        at = 0
        filters, matched, trail = self.filters, view.matched, outcome.trail
        while at < len(waiting):
            number = waiting[at]
            at += 1
            one = filters[number]
            run.filter = one.name
            if matched:
                matched.clear()
            branch = one.branch
            found = branch.evaluate(view) if asked is None else asked.evaluate(number, branch.rule, view)
            if found and branch.plain is not None:  # most filters
                for act in branch.plain:
                    act(run)
                trail += branch.traces
                is_over = False
            else:
                is_over = found is not None and self._act(branch.then if found else branch.otherwise, run)
            if timed is not None:
                began, last = last, timed.ledger.read()
                timed.spend(number, last - began)
            if is_over:
                break
            if run.changed and any(self._last_reader.get(part, -1) > number for part in run.changed):
                self._show(run)
                waiting, at = [later for later in self._gates.candidates(view) if later > number], 0
                if timed is not None:
                    last = _chosen(timed, last)
        if tally is not None and outcome.trail:
            tally.note(outcome.trail, view.now)
        return outcome

    def _act(self, items: Sequence[Item], run: Run) -> bool:
        """Do what a branch says; whether an action was final."""
        for item in items:
            if isinstance(item, Deed):
                item.run(run)
                if item.changes and run.pending:
                    run.changed |= item.changes
                run.outcome.trail.append(item.trace)
                if item.is_final:
                    return True
                continue
            if run.changed and not run.changed.isdisjoint(item.reads):
                self._show(run)
            found = item.evaluate(run.view)
            if found is not None and self._act(item.then if found else item.otherwise, run):
                return True
        return False

    def _show(self, run: Run) -> None:
        """Let the view show what was edited since it last did."""
        if run.pending:
            content = editing.apply(run.view.content, run.pending)
            run.view.replace(content, run.view.counts if COUNTED.isdisjoint(run.changed) else self._again.counts(content))
            run.pending.clear()
        run.changed = frozenset()


def _chosen(tally: Tally, began: int) -> int:
    """Filters have been chosen since `began`."""
    now = tally.ledger.read()
    tally.ledger.chose(now - began)
    return now


class _Again:
    """Counts the terms of filters that read subject or body in messages that were edited. Compiled when it is first needed."""

    def __init__(self, filters: Sequence[Compiled], terms: Terms) -> None:
        self._numbers = tuple(sorted(frozenset[int]().union(*(one.terms for one in filters if not COUNTED.isdisjoint(one.reads)))))
        self._all = terms
        self._ready: tuple[Listening, Engine] | None = None

    def prepare(self) -> tuple[Listening, Engine]:
        if self._ready is None:
            listed = self._all.listed
            listening = Listening.to([Listener([listed[number] for number in self._numbers])])
            self._ready = listening, Engine(program=None if listening.program is None else listening.program.native)
        return self._ready

    def counts(self, content: Content) -> Mapping[int, int]:
        if not self._numbers:
            return {}
        listening, engine = self.prepare()
        batch = engine.scan([content])
        assert listening.program is not None
        is_capped = "too_many_matches" in flag_names(int(batch.flags[0]))
        counts, _ = listening.program.counts(batch, 0, Message(content), is_capped=is_capped)
        heard = next(iter(listening.heard(counts).values()), {})
        return {self._numbers[place]: times for place, times in heard.items()}
