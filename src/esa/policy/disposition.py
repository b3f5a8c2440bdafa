"""What shall be done about a message: one Disposition per group of recipients, and the splinters and the reply that follow from them.

`mail_policy.decide` makes dispositions; the receive route asks `plan` what to write and what to answer. No I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What happens to a message for a group of recipients."""

    DELIVER = "deliver"
    QUARANTINE = "quarantine"
    DROP = "drop"  # answered as accepted, kept nowhere
    REFUSE = "refuse"  # answered 550 5.7.1: the sender keeps it


@dataclass(frozen=True, slots=True)
class Disposition:
    """One action for some recipients of a message, and why: `reason` goes to tracking, never into a reply."""

    action: Action
    recipients: tuple[str, ...]
    reason: str
    policy: str = "default"  # name of the mail policy that decided


@dataclass(frozen=True, slots=True)
class Plan:
    """What the dispositions of one message come to: `refused` (the whole transaction gets a 5xx), else what to keep for whom.

    Each splinter is a group of recipients that one kept copy serves; no splinter refuses.
    """

    refused: bool
    splinters: tuple[Disposition, ...]

    @property
    def keeps_content(self) -> bool:
        return any(splinter.action is not Action.DROP for splinter in self.splinters)


def plan(dispositions: Sequence[Disposition]) -> Plan:
    """Join recipients of equal action, reason and policy into splinters.

    Mail data has one reply for all recipients (RFC 5321 section 4.2.5), so a message is refused only if every disposition refuses. If some
    do not, the refusing ones quarantine instead: the sender has been told that we have it, so it must not vanish.
    """
    if dispositions and all(disposition.action is Action.REFUSE for disposition in dispositions):
        return Plan(True, ())
    groups: dict[tuple[Action, str, str], tuple[str, ...]] = {}
    for disposition in dispositions:
        action = Action.QUARANTINE if disposition.action is Action.REFUSE else disposition.action
        key = (action, disposition.reason, disposition.policy)
        groups[key] = groups.get(key, ()) + disposition.recipients
    return Plan(False, tuple(Disposition(action, who, reason, policy) for (action, reason, policy), who in groups.items()))
