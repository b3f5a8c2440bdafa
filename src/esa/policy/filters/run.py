"""One run of filters over one message: what actions are given to act on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from esa.message.edits import Edit
from esa.policy.outcome import Final, Outcome
from esa.policy.view import View


@dataclass(slots=True)
class Run:
    """`filter` is the name of the one that runs. `pending` are edits that the view does not show yet, `changed` what they change, in the words of
    `Step.changes`; `show` lets the view show them."""

    view: View
    outcome: Outcome
    show: Callable[[Run], None]
    filter: str = ""
    pending: list[Edit] = field(default_factory=list)
    changed: frozenset[str] = frozenset()

    def edit(self, edit: Edit) -> None:
        """Change the message: in the end, and before it for conditions that look."""
        self.outcome.edits.append(edit)
        self.pending.append(edit)

    def current(self) -> View:
        """The view with all edits shown; their order counts, so that parts of the message have the numbers that edits will find."""
        if self.pending:
            self.show(self)
        return self.view

    def end(self, final: Final) -> None:
        """No filter after this one."""
        self.outcome.final = final
        self.outcome.final_filter = self.filter
