"""What would be otherwise: judgements of two configurations about the same mail, compared recipient by recipient, counted, and held against gates.

`esa replay` calls `replay`; where the mail comes from does not matter here. A flip is a recipient for whom the message comes to another outcome, as
`delivered -> dropped`. A message that flips for several recipients in one way is one message of that class.
"""

from __future__ import annotations

import difflib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from esa.errors import SyntaxFault
from esa.gateway.rehearsal.judgement import Fate, Judgement, Mail, Outcome, Step
from esa.gateway.rehearsal.recalled import NotKnown
from esa.gateway.rehearsal.recalling import Recalling, as_decided
from esa.gateway.rehearsal.rehearsal import Rehearsal, batches
from esa.store.recorded import Recorded

ANY = "any"
EXAMPLES = 5  # kept of each class
BATCH_MESSAGES, BATCH_OCTETS = 512, 16 << 20  # judged by one configuration, then by the other: reports of so many are known
_GRAVITY = {Outcome.DELIVERED: 0, Outcome.DEFERRED: 1, Outcome.QUARANTINED: 2, Outcome.REFUSED: 3, Outcome.DROPPED: 4}


class Class(NamedTuple):
    """A class of flips. What is graver comes first: mail that is lost, then what is let through."""

    before: Outcome
    after: Outcome

    def __str__(self) -> str:
        return f"{self.before} -> {self.after}"

    @property
    def rank(self) -> tuple[bool, int]:
        change = _GRAVITY[self.after] - _GRAVITY[self.before]
        return change < 0, -abs(change)


class Example(NamedTuple):
    """A message of a class, with what decided before and after. `score` None: it did not come to a scan."""

    mail: Mail
    score: float | None
    before: Fate
    after: Fate


@dataclass(slots=True)
class Flips:
    """All flips of one class. Examples are the worst: of mail that would be lost the cleanest, of mail that would come through the most spam-like."""

    messages: int = 0
    recipients: int = 0
    senders: Counter[str] = field(default_factory=Counter)
    addresses: Counter[str] = field(default_factory=Counter)
    _heap: list[tuple[float, int, Example]] = field(default_factory=list)

    def add(self, example: Example, *, is_loss: bool) -> None:
        """Count a recipient."""
        self.recipients += 1
        self.addresses[example.after.recipient.lower()] += 1
        score = example.score if example.score is not None else (100.0 if is_loss else 0.0)
        item = (-score if is_loss else score, -self.recipients, example)
        if len(self._heap) < EXAMPLES:
            heapq.heappush(self._heap, item)
        elif item[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, item)

    @property
    def examples(self) -> list[Example]:
        """The worst first."""
        return [example for _, _, example in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


@dataclass(slots=True)
class Comparison:
    """What two configurations do with the same mail. `treated_otherwise`: messages of equal outcome that are edited, held or sent elsewhere otherwise.

    `refused_early` are messages that both refuse before their mail data, by the reply, so that nothing behind was compared. `not_known` are recorded messages of
    which one of both cannot be known, by what is missing; they are in no other figure.
    """

    messages: int = 0
    recipients: int = 0
    flipped: int = 0  # messages
    refused_early: Counter[str] = field(default_factory=Counter)
    flips: dict[Class, Flips] = field(default_factory=dict)
    treated_otherwise: Flips = field(default_factory=Flips)
    not_known: Counter[str] = field(default_factory=Counter)

    def add(self, before: Judgement, after: Judgement, *, outcomes_only: bool = False) -> None:
        """Compare what becomes of one message. `outcomes_only`: how it is treated beside that is not known of one side."""
        self.messages += 1
        classes: set[Class] = set()
        is_treated_otherwise = False
        known = after.answers
        report = after.report or before.report
        score = None if report is None else report.score
        sender = before.mail.envelope.reverse_path.lower()
        for old in before.fates:
            new = known[old.recipient]
            self.recipients += 1
            example = Example(before.mail, score, old, new)
            if old.outcome is not new.outcome:
                kind = Class(old.outcome, new.outcome)
                flips = self.flips.setdefault(kind, Flips())
                flips.add(example, is_loss=_GRAVITY[kind.after] > _GRAVITY[kind.before])
                if kind not in classes:
                    flips.messages += 1
                    flips.senders[sender] += 1
                classes.add(kind)
            elif not outcomes_only and _treatment(old) != _treatment(new):
                self.treated_otherwise.add(example, is_loss=False)
                if not is_treated_otherwise:
                    self.treated_otherwise.messages += 1
                    self.treated_otherwise.senders[sender] += 1
                is_treated_otherwise = True
        self.flipped += bool(classes)
        if Step.MAIL_DATA not in (before.step, after.step):
            self.refused_early[after.reply or "reset"] += 1

    @property
    def classes(self) -> list[tuple[Class, Flips]]:
        """The gravest first."""
        return sorted(self.flips.items(), key=lambda item: (*item[0].rank, -item[1].messages))


def _treatment(fate: Fate) -> tuple[object, ...]:
    return fate.quarantines, fate.destinations, fate.mailhost, fate.edits, fate.reply[:3]


def replay(
    current: Rehearsal, candidate: Rehearsal, mails: Iterable[Mail], *, done: Callable[[int], None] = lambda count: None
) -> Comparison:
    """Judge all mail by both. `done` is told of each batch how many messages it had. Raises ConfigurationError for a listener that is not in both."""
    comparison = Comparison()
    for batch in batches(mails, BATCH_MESSAGES, BATCH_OCTETS):
        for before, after in zip(current.judge_all(batch), candidate.judge_all(batch), strict=True):
            comparison.add(before, after)
        current.scans.forget()
        candidate.scans.forget()
        done(len(batch))
    return comparison


def replay_recorded(
    current: Recalling | None, candidate: Recalling, records: Iterable[Recorded], *, done: Callable[[int], None] = lambda count: None
) -> Comparison:
    """Judge recorded mail by both; `current` None: what was decided then is compared with. Raises ConfigurationError as `Recalling.judge`."""
    comparison = Comparison()
    for recorded in records:
        try:
            before = as_decided(recorded) if current is None else current.judge(recorded)
            comparison.add(before, candidate.judge(recorded), outcomes_only=current is None)
        except NotKnown as missing:
            comparison.not_known[str(missing)] += 1
        done(1)
    return comparison


# --- gates ------------------------------------------------------------------------------------------------------------------------------


class Gate(NamedTuple):
    """What a comparison must not exceed. `before` and `after` None: any outcome; both None: the messages that flip at all."""

    text: str
    limit: int
    before: Outcome | None = None
    after: Outcome | None = None

    def found(self, comparison: Comparison) -> int:
        """Messages that fall under it."""
        if self.before is None and self.after is None:
            return comparison.flipped
        return sum(
            flips.messages
            for kind, flips in comparison.flips.items()
            if self.before in (None, kind.before) and self.after in (None, kind.after)
        )


def at_most(limit: int) -> Gate:
    """So many messages may flip."""
    return Gate(f"at most {limit} flips", limit)


def never(text: str) -> Gate:
    """No message may flip so: `delivered -> dropped`, `any -> refused`. Raises SyntaxFault."""
    sides = text.replace("→", "->").split("->")
    if len(sides) != 2:
        raise SyntaxFault(f"{text!r} is no class of flips", mend='write two outcomes with an arrow between, as "delivered -> dropped"')
    before, after = (_outcome(side.strip().lower(), text) for side in sides)
    return Gate(f"never {before or ANY} -> {after or ANY}", 0, before, after)


def _outcome(word: str, text: str) -> Outcome | None:
    if word == ANY:
        return None
    known = [ANY, *(one.value for one in Outcome)]
    if word not in known:
        close = difflib.get_close_matches(word, known, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise SyntaxFault(f"{word!r} in {text!r} is no outcome", mend=f"{meant}outcomes are {', '.join(known)}")
    return Outcome(word)
