"""What a rehearsal finds: what becomes of a message for each recipient, which reply it gets, and stage by stage what decided that.

`rehearsal` makes judgements, `explaining` their stages; `esa trace` prints them, `flips` compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from esa.engine.verdict import Report
from esa.message.envelope import Envelope, Session
from esa.policy.disposition import Plan
from esa.store.record import Event


class Mail(NamedTuple):
    """A message to judge. `identifier` is the seed of what is random. `envelope.recipients` are those that the client names."""

    identifier: str
    content: bytes
    session: Session
    envelope: Envelope
    name: str = ""  # where it stands, for people


class Step(StrEnum):
    """Where in the dialogue the last word was said."""

    CONNECTION = "connection"
    HELLO = "hello"
    MAIL = "mail"
    RECIPIENTS = "recipients"  # none was accepted
    MAIL_DATA = "mail data"


class Outcome(StrEnum):
    """What becomes of a message for a recipient, in one word."""

    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    DROPPED = "dropped"
    REFUSED = "refused"  # 5xx, or no word at all
    DEFERRED = "deferred"  # 4xx


class Fate(NamedTuple):
    """What becomes of a message for one recipient. `where`: the step whose reply decided, or MAIL_DATA. `reason` is that of tracking."""

    recipient: str
    outcome: Outcome
    where: Step
    reason: str
    reply: str  # that this recipient, or the message, was answered with
    policy: str = ""  # the mail policy; empty if it did not come to one
    quarantines: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()  # who gets it
    mailhost: str = ""
    edits: tuple[str, ...] = ()  # changes of the message, as they are written in code


class Kept(NamedTuple):
    """The octets that would be kept, as they would be handed on, and for whom."""

    recipients: tuple[str, ...]
    content: bytes


class Part(NamedTuple):
    """One thing that a stage looked at or did: a fact, a condition, an action, a contribution to the score."""

    kind: str  # "fact", "condition", "action", "reason", "note" …
    text: str
    answer: str = ""
    detail: str = ""
    place: str = ""
    microseconds: float | None = None


class Stage(NamedTuple):
    """One stage: what it was asked about, what came out, the rule that decided (file:line where there is one), and the reason in words."""

    name: str
    subject: str
    answer: str
    rule: str = ""
    place: str = ""
    reason: str = ""
    parts: tuple[Part, ...] = ()
    microseconds: float | None = None
    acts: bool = True  # whether it did something, or at least decided; False: shown where all is asked for


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a message comes to. `reply` is the last word to the client, empty if the connection was reset.

    `stages` is empty if nobody asked for them. `events` are what tracking would be told.
    """

    mail: Mail
    step: Step
    reply: str
    fates: tuple[Fate, ...]
    plan: Plan | None = None  # None: it did not come to a decision
    report: Report | None = None
    verdict: str = ""
    stages: tuple[Stage, ...] = ()
    events: tuple[Event, ...] = ()
    kept: tuple[Kept, ...] = ()
    missing: tuple[str, ...] = ()  # what was asked for and could not be answered without the network

    @property
    def answers(self) -> dict[str, Fate]:
        """The fates by recipient."""
        return {fate.recipient: fate for fate in self.fates}


def place_of(judgement: Judgement, fate: Fate) -> str:
    """Where the rule stands that brought a fate about, as file:line; empty where it is not known, or nobody asked for stages."""
    name, subject = {
        Step.CONNECTION: ("connection", ""),
        Step.RECIPIENTS: ("recipient", f"<{fate.recipient}>"),
    }.get(fate.where, ("", ""))
    for kind in ("message filter", "content filter"):
        if fate.reason.startswith(f"{kind} "):
            name, subject = kind, fate.reason.removeprefix(f"{kind} ").partition(" (")[0]
    if fate.reason.startswith("spam:"):
        name, subject = "anti-spam", fate.policy
    found = (
        stage.place
        for stage in judgement.stages
        if stage.name == name and (subject in ("", stage.subject) or stage.subject.startswith(f"{subject} for "))
    )
    return next(found, "")


class Difference(NamedTuple):
    """A stage that came out differently; None where one side has no such stage."""

    name: str
    subject: str
    before: Stage | None
    after: Stage | None


def differences(before: Judgement, after: Judgement) -> list[Difference]:
    """Stages that differ in what came out, why, or what was looked at; where a rule stands and how long it took do not count."""
    old, new = _by_key(before.stages), _by_key(after.stages)
    found = [Difference(*key[:2], stage, new.get(key)) for key, stage in old.items() if key not in new or _bare(stage) != _bare(new[key])]
    return found + [Difference(*key[:2], None, stage) for key, stage in new.items() if key not in old]


def _by_key(stages: Sequence[Stage]) -> dict[tuple[str, str, int], Stage]:
    counts: dict[tuple[str, str], int] = {}
    found: dict[tuple[str, str, int], Stage] = {}
    for stage in stages:
        key = stage.name, stage.subject
        counts[key] = counts.get(key, 0) + 1
        found[*key, counts[key]] = stage
    return found


def _bare(stage: Stage) -> Stage:
    parts = tuple(part._replace(place="", microseconds=None) for part in stage.parts)
    return stage._replace(place="", microseconds=None, parts=parts)
