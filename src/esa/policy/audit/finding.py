"""What an audit tells: one thing about one rule, with its proof and a mend."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from esa.policy.filters.tree import NOWHERE, At


class Kind(StrEnum):
    SHADOWED = "shadowed"  # it never acts: rules before it take all that it is for
    CONTRADICTION = "contradiction"  # it never acts: no message can fulfil it; or it is undone by one with the same condition
    DUPLICATE = "duplicate"  # another one says the same
    DEAD = "dead"  # it names something that is not there
    EXPIRED = "expired"  # its time is over
    UNUSED = "unused"  # it never acted in what was recorded
    ADVICE = "advice"  # it works, and probably not as it was meant


@dataclass(frozen=True, slots=True)
class Finding:
    """`table` and `rule`: what it is about, as ("message filter", "spoof"). `proof`: why it is certain. `mend`: what an administrator would do."""

    kind: Kind
    table: str
    rule: str
    what: str
    proof: str
    mend: str
    at: At = NOWHERE

    def __str__(self) -> str:
        place = f"{self.at.file}:{self.at.line}: " if self.at.file else ""
        mend = f"{self.mend[:1].upper()}{self.mend[1:]}."
        return f"{place}{self.table} {self.rule}: {self.kind}: {self.what}\n  Proof: {self.proof}.\n  {mend}"
