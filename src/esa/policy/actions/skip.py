"""Actions that let a message pass by a stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from esa.policy.filters.words import Action, Signature, Step
from esa.policy.outcome import Skip

if TYPE_CHECKING:
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Call

_WHAT = {
    Skip.SPAM: "scanning for spam",
    Skip.VIRUS: "scanning for viruses",
    Skip.REPUTATION_OF_FILES: "looking up the reputation of files",
    Skip.OUTBREAK: "outbreak filters",
    Skip.MARKETING: "looking for marketing mail",
    Skip.SOCIAL: "looking for mail of social networks",
    Skip.BULK: "looking for bulk mail",
}


def _skips(stage: Skip) -> Callable[[Call, Scope], Step]:
    return lambda call, scope: Step(lambda run: run.outcome.skips.add(stage))


actions = tuple(Action(f"skip-{stage}", Signature(), f"The message passes by {what}.", _skips(stage)) for stage, what in _WHAT.items())
