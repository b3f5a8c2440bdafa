"""The answer of a scan: verdict, score, and the additive reasons that sum to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

POSITIVE_ABOVE = 74.0  # the seed's thresholds; a mail policy may set its own
SUSPECT_ABOVE = 36.0


class Verdict(StrEnum):
    CLEAN = "clean"
    SUSPECT = "suspect"
    POSITIVE = "positive"

    @classmethod
    def at(cls, score: float, *, positive_above: float = POSITIVE_ABOVE, suspect_above: float = SUSPECT_ABOVE) -> Verdict:
        """The verdict of a score 0–100; a score equal to a threshold stays below it."""
        if score > positive_above:
            return cls.POSITIVE
        return cls.SUSPECT if score > suspect_above else cls.CLEAN


Summary: TypeAlias = tuple[Sequence[str], Sequence[float], bytes]
"""Names of families of evidence, log-odds of each, and the row of facts; what a recorder keeps of a judgement."""


class Reason(NamedTuple):  # and no dataclass: a report has a hundred of them, and a tuple is made in a third of the time
    """One additive contribution to the logit of the score, in log-odds; positive speaks for spam."""

    name: str
    family: str
    contribution: float


class Reasons(Sequence[Reason]):
    """Reasons that need not be made one by one to be summed."""

    def families(self) -> dict[str, float]:
        """Log-odds per family of evidence."""
        return families_of(self)

    def fact_row(self) -> bytes:
        """The facts that the model judged by and that are not zero, each as its number in `esa_core.FACT_NAMES` (one octet) and its float32; empty
        where they are not at hand."""
        return b""

    def summary(self) -> Summary:
        """`families` and `fact_row` in one look; a family may be there with nothing."""
        totals = self.families()
        return tuple(totals), tuple(totals.values()), self.fact_row()


def families_of(reasons: Sequence[Reason]) -> dict[str, float]:
    """Log-odds per family."""
    totals: dict[str, float] = {}
    for reason in reasons:
        totals[reason.family] = totals.get(reason.family, 0.0) + reason.contribution
    return totals


@dataclass(frozen=True, slots=True)
class Report:
    """What is true of one message. `reasons` sum to `logit` (within 1e-6); `score` is 100 · sigmoid(logit)."""

    verdict: Verdict  # at the shipped thresholds; policy derives its own from score and families
    score: float  # 0–100: calibrated probability × 100
    logit: float
    reasons: Sequence[Reason] = ()  # by falling absolute contribution
    flags: tuple[str, ...] = ()  # what was odd about the message, as "ambiguous", "too_deep"
    checks: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: MappingProxyType({}))  # check name → its facts
    micros: float = 0.0  # thread CPU share of the scan, microseconds

    @property
    def families(self) -> dict[str, float]:
        """Log-odds per family of evidence; they sum to the logit."""
        return self.reasons.families() if isinstance(self.reasons, Reasons) else families_of(self.reasons)

    @property
    def fact_row(self) -> bytes:
        """As `Reasons.fact_row`."""
        return self.reasons.fact_row() if isinstance(self.reasons, Reasons) else b""

    @property
    def summary(self) -> Summary:
        """As `Reasons.summary`."""
        if type(self.reasons) is not tuple and isinstance(self.reasons, Reasons):
            return self.reasons.summary()
        totals = families_of(self.reasons)
        return tuple(totals), tuple(totals.values()), b""


def score_of(logit: float) -> float:
    """100 · sigmoid(logit), without overflow."""
    if logit >= 0:
        return 100.0 / (1.0 + math.exp(-logit))
    e = math.exp(logit)
    return 100.0 * e / (1.0 + e)
