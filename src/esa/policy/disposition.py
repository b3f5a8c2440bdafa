"""What shall be done about a message: one Disposition per group of recipients, and the one reply and the splinters that follow from them.

`splinters.decide` makes dispositions; the receive route asks `plan` what to write and what to answer. No I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, StrEnum
from typing import NamedTuple

from esa.engine.verdict import Verdict
from esa.message.edits import Edit
from esa.policy.outcome import Outcome

POLICY_QUARANTINE = "Policy"  # where rules hold what no other quarantine is named for
ENCRYPTION_QUARANTINE = "Encryption"  # what must not leave unencrypted, and cannot be encrypted yet


class Action(StrEnum):
    """What happens to a message for a group of recipients."""

    DELIVER = "deliver"
    QUARANTINE = "quarantine"
    DROP = "drop"  # answered as accepted, kept nowhere
    REFUSE = "refuse"  # answered 5xx: the sender keeps it
    DEFER = "defer"  # answered 4xx: the sender tries again


class Answer(Enum):
    """The kind of the one reply to mail data (RFC 5321 section 4.2.5)."""

    ACCEPT = 2
    DEFER = 4
    REFUSE = 5


class Disposition(
    NamedTuple
):  # and no dataclass, as Plan: one of each is made a message, and a frozen dataclass of so many fields costs three microseconds
    """One action for some recipients of a message, and why: `reason` goes to tracking, never into a reply.

    `recipients` are forward-paths of the envelope, or those that message filters have redirected the message to; each stands in exactly one
    disposition of a message.
    """

    action: Action
    recipients: tuple[str, ...]
    reason: str
    policy: str = "DEFAULT"  # name of the mail policy that decided
    verdict: Verdict | None = None  # at the thresholds of that policy
    edits: tuple[Edit, ...] = ()
    redirected_to: tuple[str, ...] = ()  # who gets it in their place; empty: they themselves
    mailhost: str = ""  # next hop host:port; empty: as routed
    quarantines: tuple[str, ...] = ()  # where it is held
    archives: tuple[str, ...] = ()  # mboxes that a copy is appended to
    text: str = ""  # of the refusal; empty: the usual words
    drops_refused: bool = False  # a refusal that others do not share is dropped, not held
    encrypts: bool = False  # must not leave unencrypted
    outcome: Outcome | None = None  # of the content filters, for copies, notices and tracking
    returns: bool = False  # a filter wants the sender told that these do not get it
    notifies: bool = False  # the sender is told so by a delivery status notification
    held: str = ""  # of a splinter that is not done to as it was decided: what was, in words for tracking

    @property
    def keeps_content(self) -> bool:
        """Whether somebody or something gets the octets."""
        outcome = self.outcome
        copies = outcome is not None and (outcome.archives or outcome.duplicate_quarantines)
        return self.action in (Action.DELIVER, Action.QUARANTINE) or bool(self.archives or copies)

    @property
    def destinations(self) -> tuple[str, ...]:
        """Forward-paths that the message goes on to."""
        return self.redirected_to or self.recipients


class Plan(NamedTuple):
    """What the dispositions of one message come to: the kind of its reply and, if it is accepted, what is kept for whom.

    No splinter refuses or defers. `text`: words for a refusal in place of the usual ones; empty where there are none or they differ.
    """

    answer: Answer
    splinters: tuple[Disposition, ...] = ()
    text: str = ""
    reason: str = ""  # of a refusal or deferral
    refusals: tuple[Disposition, ...] = ()  # that it is made of
    messages: Outcome | None = None  # of the message filters, for copies, notices and tracking

    @property
    def has_no_outcome(self) -> bool:
        """Whether no filter did anything: so it is with most mail."""
        return self.messages is None and len(self.splinters) == 1 and self.splinters[0].outcome is None

    @property
    def outcomes(self) -> list[tuple[Outcome, tuple[Edit, ...]]]:
        """What filters brought about, stage by stage, with the edits that hold by then."""
        found = [] if self.messages is None else [(self.messages, tuple(self.messages.edits))]
        return found + [(one.outcome, one.edits) for one in (*self.splinters, *self.refusals) if one.outcome is not None]

    @property
    def log_entries(self) -> list[str]:
        """What filters want in the log."""
        return [] if self.has_no_outcome else [entry for outcome, _ in self.outcomes for entry in outcome.log_entries]


NOTHING = Plan(Answer.ACCEPT)


def plan(dispositions: Sequence[Disposition], messages: Outcome | None = None) -> Plan:
    """Turn dispositions into one reply and splinters; recipients of equal disposition are joined.

    Mail data has one reply for all recipients (RFC 5321 section 4.2.5). It is refused only if every disposition refuses, and deferred only if
    none accepts and one at least defers. Else it is accepted, and what would have been refused or deferred for some is held in quarantine
    (or dropped, as their policy says), for the sender has been told that we have it; it is never bounced.
    """
    if len(dispositions) == 1 and dispositions[0].action in _KEPT:  # most mail
        return Plan(Answer.ACCEPT, tuple(dispositions), messages=messages)
    if dispositions and all(disposition.action not in _KEPT for disposition in dispositions):
        defers = any(disposition.action is Action.DEFER for disposition in dispositions)
        reasons = "+".join(dict.fromkeys(disposition.reason for disposition in dispositions))
        if defers:
            return Plan(Answer.DEFER, reason=reasons, refusals=tuple(dispositions), messages=messages)
        texts = {disposition.text for disposition in dispositions}
        return Plan(Answer.REFUSE, (), texts.pop() if len(texts) == 1 else "", reasons, tuple(dispositions), messages)
    joined: list[Disposition] = []
    for disposition in dispositions:
        one = disposition if disposition.action in _KEPT else _hold(disposition)
        for place, other in enumerate(joined):
            if other._replace(recipients=one.recipients) == one:
                joined[place] = other._replace(recipients=other.recipients + one.recipients)
                break
        else:
            joined.append(one)
    return Plan(Answer.ACCEPT, tuple(joined), messages=messages)


_KEPT = (Action.DELIVER, Action.QUARANTINE, Action.DROP)  # no set: the hash of an enum's member is slow


def _hold(disposition: Disposition) -> Disposition:
    """What becomes of a splinter that refuses or defers where others accept."""
    word = "refused" if disposition.action is Action.REFUSE else "deferred"
    return disposition._replace(
        action=Action.DROP if disposition.drops_refused else Action.QUARANTINE,
        quarantines=() if disposition.drops_refused else (POLICY_QUARANTINE,),
        redirected_to=(),
        mailhost="",
        held=f"{word} for policy {disposition.policy}, answered 250 for the others",
    )
