"""What recorded messages tell of rules: which of them acted, how often, and in what time. Told with every finding that rests on it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from esa.policy.audit.finding import Finding, Kind
from esa.policy.filters.tree import NOWHERE, At

DAY = 86_400.0
_NOT_JUDGED = frozenset({"deferred", "greylisted"})  # fates of messages that no filter may have seen


class Scored(Protocol):
    """What of a dictionary stood in a message."""

    @property
    def terms(self) -> Mapping[str, int]: ...


class Decided(Protocol):
    """What a mail policy decided."""

    @property
    def policy(self) -> str: ...


class Observation(Protocol):
    """A message as it was recorded; `esa.store.recorder.Recorded` is one."""

    @property
    def received_at(self) -> float: ...
    @property
    def fate(self) -> str: ...
    @property
    def hits(self) -> Sequence[str]: ...
    @property
    def sender_group(self) -> str: ...
    @property
    def because(self) -> str: ...
    @property
    def entries(self) -> Sequence[str]: ...
    @property
    def policies(self) -> Sequence[Decided]: ...
    @property
    def dictionaries(self) -> Mapping[str, Scored]: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that recordings tell of: `key` is its name there. `changed`: when its file was last written, Unix seconds; 0: not known."""

    table: str
    name: str
    key: tuple[str, str]
    at: At = NOWHERE
    changed: float = 0.0
    mend: str = ""


@dataclass(slots=True)
class Evidence:
    """Counts of what acted, by (kind of rule, name)."""

    times: list[float] = field(default_factory=list)  # when messages came that filters have judged
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    are_entries_whole: bool = True  # False: of some message not all dictionary entries were recorded
    lost: int = 0  # messages that the recorder says it could not keep, or that cannot be read any more

    @property
    def messages(self) -> int:
        return len(self.times)

    @property
    def days(self) -> float:
        return (self.times[-1] - self.times[0]) / DAY if self.times else 0.0

    def is_enough(self, *, days: float, messages: int) -> bool:
        return self.messages >= messages and self.days >= days

    def __str__(self) -> str:
        if not self.times:
            return "no recorded messages"
        lost = f" ({self.lost:,} more were lost)" if self.lost else ""
        return f"{self.messages:,} recorded message{'s' if self.messages != 1 else ''} from {_day(self.times[0])} to {_day(self.times[-1])}{lost}"

    def after(self, moment: float) -> int:
        """Messages that came later."""
        return self.messages - bisect_left(self.times, moment)


def gather(observations: Iterable[Observation], *, most_entries: int) -> Evidence:
    """`most_entries`: so many dictionary entries are recorded of one message at the most."""
    evidence = Evidence()
    counts = evidence.counts
    for one in observations:
        counts.update(("recipient access", entry) for entry in one.entries)
        counts["sender group", one.sender_group] += 1
        counts[f"sender group {one.sender_group}", one.because] += 1
        if one.fate in _NOT_JUDGED:
            continue
        evidence.times.append(one.received_at)
        for hit in one.hits:
            kind, _, name = hit.partition("/")
            counts[kind, name] += 1
        counts.update(("mail policy", held.policy) for held in one.policies)
        told = 0
        for name, found in one.dictionaries.items():
            told += len(found.terms)
            counts.update((f"dictionary {name}", term) for term in found.terms)
        evidence.are_entries_whole &= told < most_entries
    evidence.times.sort()
    return evidence


def unused(rules: Iterable[Rule], evidence: Evidence) -> Iterator[Finding]:
    """Rules that acted for no message. There is enough evidence, or the caller does not ask."""
    for rule in rules:
        if evidence.counts[rule.key]:
            continue
        proof = f"none of {evidence}"
        if rule.changed > evidence.times[0]:
            after = evidence.after(rule.changed)
            proof += f" (its file was written last on {_day(rule.changed)}: {after:,} of these messages came after)"
        what = "it acted for no message" if "filter" in rule.table else "no message came by it"
        yield Finding(Kind.UNUSED, rule.table, rule.name, what, proof, rule.mend, rule.at)


def unused_entries(dictionary: str, entries: Sequence[str], evidence: Evidence, file: str) -> Finding | None:
    """One finding for all entries of a dictionary that never stood in a message."""
    key = f"dictionary {dictionary}"
    never = [entry for entry in entries if not evidence.counts[key, entry]]
    if not never or not evidence.are_entries_whole:
        return None
    first = ", ".join(map(repr, never[:3])) + (", …" if len(never) > 3 else "")
    what = f"{len(never):,} of {len(entries):,} entries never stood in a message: {first}"
    mend = f"see them with: esa dictionary show {dictionary} --unused, and remove what is no longer asked for"
    return Finding(Kind.UNUSED, "dictionary", dictionary, what, f"none of {evidence}", mend, At(file, 1, 1))


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
