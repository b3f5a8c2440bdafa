"""The statistical judgement: the model's cards, and the local token model beside them if there is one.

The native engine computed the logit with everything else; this check only names it and explains it when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

from esa.engine.check import Check, Evidence, Finding, Materials, Term
from esa.engine.judge import explain
from esa.engine.verdict import Reason

if TYPE_CHECKING:
    from esa.engine.model import Model
    from esa_core import Batch


class ModelReasons(Sequence[Reason]):
    """The additive contributions of one message, by falling size; computed on first use and kept."""

    __slots__ = ("_batch", "_model", "_reasons", "_row")

    def __init__(self, model: Model, batch: Batch, row: int) -> None:
        self._model: Model | None = model
        self._batch: Batch | None = batch
        self._row = row
        self._reasons: Sequence[Reason] = ()

    def _explained(self) -> Sequence[Reason]:
        model, batch = self._model, self._batch
        if model is not None and batch is not None:
            self._reasons = explain(model, batch, self._row)
            self._model = self._batch = None
        return self._reasons

    @overload
    def __getitem__(self, index: int) -> Reason: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Reason]: ...
    def __getitem__(self, index: int | slice) -> Reason | Sequence[Reason]:
        return self._explained()[index]

    def __len__(self) -> int:
        return len(self._explained())

    def __iter__(self) -> Iterator[Reason]:
        return iter(self._explained())


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
