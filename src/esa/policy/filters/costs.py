"""What filters and mail policies cost on the mail that came, as values that are added up, kept and shown: the pages of the ledger.

Made by `ledger`, kept by `esa.store.costs`, shown by the command line and the metrics. Times are of a processor, in nanoseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MESSAGES, CONTENT = "message filters", "content filters"  # stages that filters run in
POLICIES, REST = "mail policies", "rest"  # whom which policy holds for; scores, dispositions, and what holds these together
Key = tuple[str, str, str]  # stage, name and digest of a filter
CHOOSING = "choosing"  # of the time of filters: to find out which of them can fire


class ConditionCost(NamedTuple):
    """One test of a filter, as it is written. `asked` and `nanoseconds` are of the messages in which conditions were timed."""

    condition: str
    asked: int
    nanoseconds: float


class FilterCost(NamedTuple):
    """One filter. `run` and `nanoseconds` are of the messages in which filters were timed; hits are of all."""

    stage: str  # MESSAGES or CONTENT
    name: str
    digest: str  # of its text: another text is another filter
    hits: int
    last_hit: float  # when the last message came that it acted for, Unix seconds; 0: never
    run: int
    nanoseconds: float
    conditions: tuple[ConditionCost, ...] = ()

    @property
    def key(self) -> Key:
        return self.stage, self.name, self.digest

    def plus(self, other: FilterCost) -> FilterCost:
        conditions = {one.condition: one for one in self.conditions}
        for one in other.conditions:
            before = conditions.get(one.condition, ConditionCost(one.condition, 0, 0.0))
            conditions[one.condition] = ConditionCost(one.condition, before.asked + one.asked, before.nanoseconds + one.nanoseconds)
        return self._replace(
            hits=self.hits + other.hits,
            last_hit=max(self.last_hit, other.last_hit),
            run=self.run + other.run,
            nanoseconds=self.nanoseconds + other.nanoseconds,
            conditions=tuple(conditions.values()),
        )


def digest_of(keys: Iterable[Key]) -> str:
    """Of all filters of a configuration together."""
    return hashlib.blake2b(repr(sorted(keys)).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Costs:
    """All of a ledger. `timed` of the messages had their filters and stages timed, as many others their conditions. `stages`: nanoseconds by name, of
    the timed ones; CHOOSING is part of the stages of filters."""

    messages: int = 0
    timed: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    filters: tuple[FilterCost, ...] = ()

    def plus(self, other: Costs) -> Costs:
        filters = {one.key: one for one in self.filters}
        for one in other.filters:
            filters[one.key] = filters[one.key].plus(one) if one.key in filters else one
        stages = {name: self.stages.get(name, 0.0) + other.stages.get(name, 0.0) for name in (*self.stages, *other.stages)}
        return Costs(self.messages + other.messages, self.timed + other.timed, stages, tuple(filters.values()))

    @classmethod
    def sum(cls, several: Iterable[Costs]) -> Costs:
        total = cls()
        for one in several:
            total = total.plus(one)
        return total

    def of(self, keys: Collection[Key]) -> Costs:
        """Without filters that are no more, or have another text now."""
        return Costs(self.messages, self.timed, self.stages, tuple(one for one in self.filters if one.key in keys))

    @property
    def hits(self) -> Costs:
        """Without times, for they are of other filters than there are now."""
        return Costs(filters=tuple(one._replace(run=0, nanoseconds=0.0, conditions=()) for one in self.filters))

    def microseconds(self, nanoseconds: float) -> float:
        """A sum over the timed messages as the share of one message, in µs."""
        return nanoseconds / 1000 / self.timed if self.timed else 0.0

    @property
    def total(self) -> float:
        """Nanoseconds that deciding took, over the timed messages."""
        return sum(spent for name, spent in self.stages.items() if name != CHOOSING)

    def dearest(self, most: int) -> list[FilterCost]:
        """The filters that took most of the time."""
        return sorted(self.filters, key=lambda one: (-one.nanoseconds, -one.hits, one.name))[:most]
