"""Actions on where a message goes, to whom and from where. Of each kind the last holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esa.policy.filters.acting import addresses_at, text_at, writer_at
from esa.policy.filters.words import Action, Kind, Signature, Step

if TYPE_CHECKING:
    from esa.policy.filters.run import Run
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Call

_TEXT = Signature((Kind.TEXT,), 1)


def _recipient(call: Call, scope: Scope) -> Step:
    addresses = addresses_at(call, 0)
    scope.note_redirection(text_at(call, 0))

    def run(run: Run) -> None:
        run.outcome.recipients = addresses(run)

    return Step(run)


def _mailhost(call: Call, scope: Scope) -> Step:
    write = writer_at(call, 0)

    def run(run: Run) -> None:
        run.outcome.mailhost = write(run)

    return Step(run)


def _source_host(call: Call, scope: Scope) -> Step:
    write = writer_at(call, 0)

    def run(run: Run) -> None:
        run.outcome.source_host = write(run)

    return Step(run)


def _bounce_profile(call: Call, scope: Scope) -> Step:
    name = text_at(call, 0)

    def run(run: Run) -> None:
        run.outcome.bounce_profile = name

    return Step(run)


actions = (
    Action(
        "alt-rcpt-to",
        Signature((Kind.ADDRESS,), 1),
        "The message goes to this address in the place of all its recipients.",
        _recipient,
        outlives=True,
    ),
    Action("alt-mailhost", _TEXT, "The message goes to this host.", _mailhost),
    Action(
        "alt-src-host",
        Signature((Kind.DELIVERY_INTERFACE,), 1),
        "The message is sent from this interface, of a table [[delivery_interface]].",
        _source_host,
    ),
    Action(
        "bounce-profile",
        Signature((Kind.BOUNCE_PROFILE,), 1),
        "This profile says when the message is tried again and given up, and who is told.",
        _bounce_profile,
    ),
)
