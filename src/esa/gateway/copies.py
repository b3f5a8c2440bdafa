"""What filters want beside the delivery: blind copies, notices, copies for quarantines and archives. As splinters and records of the spool.

`records` calls it. None of them is for a recipient of the message, and none changes what tracking says of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from esa.gateway.notices import notice
from esa.message.edits import Edit, InsertHeader, StripHeader
from esa.message.envelope import Envelope
from esa.policy.outcome import BlindCopy, Outcome
from esa.policy.splinters import route_of
from esa.store.record import Splinter


@dataclass(frozen=True, slots=True)
class Copy:
    """One further message: its envelope, its splinter, and its edits; or, of a notice, its whole content."""

    envelope: Envelope
    splinter: Splinter
    edits: tuple[Edit, ...] = ()
    content: bytes | None = None


def kept_beside(outcome: Outcome | None, recipients: Sequence[str]) -> list[Splinter]:
    """Copies of the octets as the recipients get them: in quarantines, in archives."""
    if outcome is None:
        return []
    copies = [Splinter((), "archive", name) for name in outcome.archives]
    if outcome.duplicate_quarantines:
        reason = f"copy ({_filter_of(outcome, 'duplicate-quarantine')})"
        copies.append(Splinter(tuple(recipients), "quarantine", reason, "", tuple(outcome.duplicate_quarantines), is_copy=True))
    return copies


def sent_beside(
    outcome: Outcome | None,
    envelope: Envelope,
    edits: tuple[Edit, ...],
    *,
    hostname: str,
    identifier: Callable[[], str],
    raw: Callable[[], bytes],
) -> Iterator[Copy]:
    """Messages of their own: notices, and blind copies but for those that are scanned again. `identifier` makes one for each; `raw` gives the
    message as it came."""
    if outcome is None:
        return
    for copy in outcome.blind_copies:
        if copy.is_scanned:  # a message of its own
            continue
        splinter = Splinter(
            copy.addresses,
            "deliver",
            f"copy ({_filter_of(outcome, 'bcc')})",
            route_of(copy.mailhost),
            is_copy=True,
            is_silent=not copy.return_path,  # the sender does not know of it
        )
        yield Copy(envelope_of(copy, envelope, envelope.size), splinter, edits_of(copy, edits))
    for one in outcome.notices:
        path = one.return_path
        content = notice(
            one.addresses,
            one.subject,
            one.template or "A message was matched by a filter.",
            hostname=hostname,
            identifier=identifier(),
            original=raw() if one.with_copy else None,
        )
        splinter = Splinter(one.addresses, "deliver", f"notice ({_filter_of(outcome, 'notify')})", is_copy=True)
        yield Copy(_envelope(path, one.addresses, envelope), splinter, content=content)


def envelope_of(copy: BlindCopy, envelope: Envelope, size: int) -> Envelope:
    """The envelope of a blind copy."""
    path = copy.return_path or envelope.reverse_path
    return Envelope(path, copy.addresses, size, "8BITMIME", envelope.smtputf8, envelope.inherited)


def _envelope(reverse_path: str, recipients: tuple[str, ...], original: Envelope) -> Envelope:
    return Envelope(reverse_path, recipients, original.size, "8BITMIME", original.smtputf8, original.inherited)


def edits_of(copy: BlindCopy, edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """Those of a blind copy: what the message has by then, and a subject of its own."""
    return (*edits, StripHeader("Subject"), InsertHeader("Subject", copy.subject)) if copy.subject else edits


def _filter_of(outcome: Outcome, word: str) -> str:
    """The last filter that asked for it."""
    return next((step.filter for step in reversed(outcome.trail) if step.action.startswith(word)), "filter")
