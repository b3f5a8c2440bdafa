"""From a verified model to something that judges: the native engine it scores with, and its contributions in words.

Called by the scanner, and by what measures the core alone. A model of the kind "cards" weighs the facts; one of the kind "tokens" (a local
model out of `esa train`) weighs hashed features.
"""

from __future__ import annotations

from esa.engine.lexicons import feature_space, shipped
from esa.engine.model import Model
from esa.errors import ModelError
from esa_core import FACT_NAMES, FAMILY_NAMES, TOKEN_SPACE, Cards, Engine, LinearModel, Program

_CARD_ARRAYS = ("card", "sign", "mean", "scale", "weights", "prior")


def native_engine(model: Model, program: Program | None = None) -> Engine:
    """The engine that scores with `model` and looks for the patterns of `program`. Raises ModelError if it is not for this program."""
    space = TOKEN_SPACE if model.kind == "tokens" else feature_space()
    if model.feature_space != space:
        raise ModelError(
            f"the model was made for the feature space {model.feature_space!r}, this program extracts {space!r}",
            where=model.name,
            mend="Use the model that came with this version, or train it again with this version.",
        )
    try:
        parts = len(FAMILY_NAMES) if model.kind == "tokens" else len(FACT_NAMES)
        if len(model.names) != parts + 1:  # the last is the bias or the prior
            raise ValueError(f"{parts + 1} contributions have {len(model.names)} names")
        if model.kind == "tokens":
            return _token_engine(model, program)
        arrays = {name: model.arrays[name] for name in _CARD_ARRAYS}
        cards = Cards(**arrays, mail_type=FACT_NAMES.index("mail_type"))
        return Engine(lexicon=shipped(), cards=cards, program=program)
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"the numbers of the model do not fit together: {error}", where=model.name, mend="Take the file again.") from error


def _token_engine(model: Model, program: Program | None) -> Engine:
    """Hashed features, weighed; no facts are found, since nobody weighs them. A model of one stage has no `second_weights`."""
    if "second_weights" not in model.arrays:
        return Engine(linear=_linear(model, ""), families=_families(model, "families"), program=program)
    margin = model.facts["margin"]
    if not isinstance(margin, (int, float)) or not margin >= 0:
        raise ValueError(f"{margin!r} is no margin of log-odds")
    return Engine(
        linear=_linear(model, ""),
        families=_families(model, "families"),
        second=_linear(model, "second_"),
        second_families=_families(model, "second_families"),
        margin=margin,
        program=program,
    )


def _linear(model: Model, stage: str) -> LinearModel:
    (bias,) = model.arrays[stage + "bias"].tolist()
    return LinearModel(model.arrays[stage + "weights"], bias, normalised=True)


def _families(model: Model, name: str) -> int:
    families = model.facts[name]
    if not isinstance(families, int) or not 0 < families < 1 << len(FAMILY_NAMES):
        raise ValueError(f"{families!r} names no families of features")
    return families
