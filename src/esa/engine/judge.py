"""From a verified model to something that judges: the native engine it scores with, and its contributions in words.

Called by the scanner, and by what measures the core alone. A model of the kind "cards" weighs the facts; one of the kind "tokens" (a local
model out of `esa train`) weighs hashed features.
"""

from __future__ import annotations

from collections.abc import Sequence

from esa.engine.lexicons import feature_space, shipped
from esa.engine.model import Model
from esa.engine.verdict import Reason
from esa.errors import ModelError
from esa_core import FACT_NAMES, Automaton, Batch, Cards, Engine

_CARD_ARRAYS = ("card", "sign", "mean", "scale", "weights", "prior")


def native_engine(model: Model, automaton: Automaton | None = None) -> Engine:
    """The engine that scores with `model` and listens for the terms of `automaton`. Raises ModelError if it is not for this program."""
    if model.feature_space != feature_space():
        raise ModelError(
            f"the model was made for the feature space {model.feature_space!r}, this program extracts {feature_space()!r}",
            where=model.name,
            mend="Use the model that came with this version, or train it again with this version.",
        )
    try:
        arrays = {name: model.arrays[name] for name in _CARD_ARRAYS}
        cards = Cards(**arrays, mail_type=FACT_NAMES.index("mail_type"))
        return Engine(lexicon=shipped(), cards=cards, automaton=automaton)
    except (KeyError, ValueError) as error:
        raise ModelError(f"the numbers of the model do not fit together: {error}", where=model.name, mend="Take the file again.") from error


def explain(model: Model, batch: Batch, row: int) -> Sequence[Reason]:
    """The additive contributions of one message, by falling size; they sum to its logit."""
    return model.explain(batch.contributions(row))
