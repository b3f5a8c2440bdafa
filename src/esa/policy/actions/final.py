"""Final actions: what is decided for a message, and no filter runs after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from esa.policy.filters.words import Action, Kind, Signature, Step
from esa.policy.outcome import Final

if TYPE_CHECKING:
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Call

_NOTHING = Signature()


def _ends(final: Final) -> Callable[[Call, Scope], Step]:
    return lambda call, scope: Step(lambda run: run.end(final), is_final=True)


def _encrypt(call: Call, scope: Scope) -> Step:
    return _ends(Final.ENCRYPT)(call, scope)


def _encrypt_later(call: Call, scope: Scope) -> Step:
    return Step(lambda run: setattr(run.outcome, "encrypts", True))


_PROFILE = Signature((Kind.TEXT, Kind.TEXT, Kind.NUMBER), 0)

actions = (
    Action("drop", _NOTHING, "The message is thrown away; the client is told that it was accepted.", _ends(Final.DROP), is_final=True),
    Action(
        "bounce", _NOTHING, "The message is returned to its sender, if that does not hit a stranger.", _ends(Final.BOUNCE), is_final=True
    ),
    Action("deliver", _NOTHING, "The old name of skip-filters.", _ends(Final.DELIVER), is_final=True),
    Action("skip-filters", _NOTHING, "No filter after this one; the message goes on to the next stage.", _ends(Final.SKIP), is_final=True),
    Action("encrypt", _PROFILE, "The message is delivered encrypted, now; it is held where that cannot be done.", _encrypt, is_final=True),
    Action(
        "encrypt-deferred",
        _PROFILE,
        "The message is delivered encrypted, after all stages; it is held where that cannot be done.",
        _encrypt_later,
    ),
    Action(
        "smime-gateway",
        Signature((Kind.TEXT,), 1),
        "The message is signed or encrypted by S/MIME, now.",
        _encrypt,
        is_final=True,
    ),
    Action(
        "smime-gateway-deferred",
        Signature((Kind.TEXT,), 1),
        "The message is signed or encrypted by S/MIME, after all stages.",
        _encrypt_later,
    ),
    Action("no-op", _NOTHING, "Nothing; the filter is counted.", lambda call, scope: Step(lambda run: None)),
)
