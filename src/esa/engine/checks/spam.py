"""The statistical judgement: the model's cards, and the local token model beside them if there is one.

The native engine computed the logit with everything else; this check only names it and explains it when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

from esa.engine.check import Check, Evidence, Finding, Materials, Term
from esa.engine.verdict import Reason, Reasons, Summary

if TYPE_CHECKING:
    from esa.engine.model import Model
    from esa_core import Batch


class ModelReasons(Reasons):
    """The additive contributions of one message, by falling size; they sum to its logit.

    Ranked on first use and each made when it is asked for: most reports are not asked, and a gateway reads five of a hundred. With the first of them
    the sums by family and the facts are taken too, while what they are made of is at hand.
    """

    __slots__ = ("_batch", "_check", "_facts", "_order", "_row", "_sums", "_values")

    def __init__(self, check: Spam, batch: Batch, row: int) -> None:
        self._check = check
        self._batch: Batch | None = batch
        self._row = row
        self._order: Sequence[int] = ()
        self._values: Sequence[float] = ()
        self._sums: Sequence[float] | None = None
        self._facts = b""

    def _first(self, batch: Batch, most: int) -> tuple[list[int], list[float]]:
        """The places and values of the first, and what is taken with them."""
        check = self._check
        order, values, self._sums, self._facts = batch.told(self._row, most, check.places, len(check.families))
        return order, values

    def _ranked(self) -> Sequence[int]:
        if self._batch is not None:
            self._order, self._values = self._first(self._batch, -1)
            self._batch = None
        return self._order

    def families(self) -> dict[str, float]:
        if self._sums is None and self._batch is not None:
            self._first(self._batch, 0)
        return {name: total for name, total in zip(self._check.families, self._sums or ()) if total}  # noqa: B905  # as long as each other

    def fact_row(self) -> bytes:
        if self._sums is None and self._batch is not None:
            self._first(self._batch, 0)
        return self._facts

    def summary(self) -> Summary:
        if self._sums is None and self._batch is not None:
            self._first(self._batch, 0)
        return self._check.families, self._sums or (), self._facts

    def _at(self, place: int) -> Reason:
        index = self._ranked()[place]
        return Reason(self._check.model.names[index], self._check.model.families[index], self._values[place])

    @overload
    def __getitem__(self, index: int) -> Reason: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Reason]: ...
    def __getitem__(self, index: int | slice) -> Reason | Sequence[Reason]:
        if isinstance(index, int):
            return self._at(index)
        if self._batch is not None and index.start is None and index.step is None and index.stop is not None and index.stop >= 0:
            order, values = self._first(self._batch, index.stop)  # a few of many: those alone are put in order
            names, families = self._check.model.names, self._check.model.families
            return tuple([Reason(names[place], families[place], value) for place, value in zip(order, values, strict=True)])
        return tuple(map(self._at, range(len(self))[index]))

    def __len__(self) -> int:
        return len(self._ranked())

    def __iter__(self) -> Iterator[Reason]:
        return map(self._at, range(len(self)))


class Spam:
    """Adds the model's logit to every message."""

    name = "spam"
    terms: Sequence[Term] = ()

    def __init__(self, model: Model) -> None:
        self.model = model
        self.families = tuple(dict.fromkeys(model.families))  # each once
        self.places = bytes([self.families.index(family) for family in model.families])  # of each feature's family there

    def examine(self, evidence: Evidence) -> Finding:
        facts = {"logit": evidence.logit, "model": self.model.name}
        return Finding(facts, ModelReasons(self, evidence.batch, evidence.row), evidence.logit)


def check(materials: Materials) -> Check:
    return Spam(materials.model)
