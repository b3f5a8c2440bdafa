"""The statistical judgement: the model's cards, and the local token model beside them if there is one.

The native engine computed the logit with everything else; this check only names it and explains it when somebody asks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from esa.engine.check import Check, Evidence, Finding, Materials, Term
from esa.engine.verdict import Reason, Reasons

if TYPE_CHECKING:
    import numpy.typing as npt

    from esa.engine.model import Model
    from esa_core import Batch


@functools.lru_cache(maxsize=8)
def _places(families: tuple[str, ...]) -> tuple[tuple[str, ...], npt.NDArray[np.intp]]:
    """Each family once, and for each feature the place of its family."""
    names = tuple(dict.fromkeys(families))
    return names, np.array([names.index(family) for family in families], dtype=np.intp)


class ModelReasons(Reasons):
    """The additive contributions of one message, by falling size; they sum to its logit.

    Ranked on first use and each made when it is asked for: most reports are not asked, and a gateway reads five of a hundred.
    """

    __slots__ = ("_batch", "_model", "_order", "_row", "_values")

    def __init__(self, model: Model, batch: Batch, row: int) -> None:
        self._model = model
        self._batch: Batch | None = batch
        self._row = row
        self._order: Sequence[int] = ()
        self._values: Sequence[float] = ()

    def _ranked(self) -> Sequence[int]:
        if self._batch is not None:
            self._order, self._values = self._batch.ranked(self._row)
            self._batch = None
        return self._order

    def families(self) -> dict[str, float]:
        if self._batch is None:
            return super().families()
        names, places = _places(self._model.families)
        totals = np.bincount(places, weights=self._batch.contributions(self._row), minlength=len(names)).tolist()
        return {name: total for name, total in zip(names, totals) if total}  # noqa: B905  # as long as each other; once a message

    def fact_row(self) -> bytes:
        return b"" if self._batch is None else self._batch.facts[self._row].tobytes()

    def _at(self, place: int) -> Reason:
        index = self._ranked()[place]
        return Reason(self._model.names[index], self._model.families[index], self._values[place])

    @overload
    def __getitem__(self, index: int) -> Reason: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Reason]: ...
    def __getitem__(self, index: int | slice) -> Reason | Sequence[Reason]:
        if isinstance(index, int):
            return self._at(index)
        if self._batch is not None and index.start is None and index.step is None and index.stop is not None and index.stop >= 0:
            order, values = self._batch.ranked(self._row, index.stop)  # a few of many: those alone are put in order
            names, families = self._model.names, self._model.families
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

    def examine(self, evidence: Evidence) -> Finding:
        facts = {"logit": evidence.logit, "model": self.model.name}
        return Finding(facts, ModelReasons(self.model, evidence.batch, evidence.row), evidence.logit)


def check(materials: Materials) -> Check:
    return Spam(materials.model)
