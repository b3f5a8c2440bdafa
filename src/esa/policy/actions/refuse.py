"""The final action `refuse`: the client is answered 5xx, with words of one's own if they serve everyone. It is no word of AsyncOS's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esa.policy.filters.acting import writer_at
from esa.policy.filters.words import Action, Kind, Signature, Step
from esa.policy.outcome import Final

if TYPE_CHECKING:
    from esa.policy.filters.run import Run
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Call


def _refuse(call: Call, scope: Scope) -> Step:
    write = writer_at(call, 0)

    def run(run: Run) -> None:
        run.outcome.refusal = write(run)
        run.end(Final.REFUSE)

    return Step(run, is_final=True)


actions = (
    Action(
        "refuse",
        Signature((Kind.TEXT,), 0),
        "The client is answered 5xx with this text, if all recipients refuse; it may begin with an enhanced code, as 5.1.6.",
        _refuse,
        is_final=True,
    ),
)
