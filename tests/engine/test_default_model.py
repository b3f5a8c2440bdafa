"""The default model against the corpora: its card's figures, its agreement with scikit-learn, and the bars it has to clear."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from esa.engine.judge import native_engine
from esa.engine.lexicons import feature_space
from esa.engine.model import Model
from esa.learning.leaks import LeakList

MODELS = Path(__file__).resolve().parents[2] / "models"
FIGURES = json.loads((MODELS / "default.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def recipe(shared: Path) -> Iterator[ModuleType]:
    """`models/train_default.py` as a module."""
    assert shared
    sys.path.insert(0, str(MODELS))
    try:
        import train_default  # type: ignore[import-not-found]

        yield train_default
    finally:
        sys.path.remove(str(MODELS))


@pytest.fixture(scope="module")
def mails(recipe: ModuleType) -> Any:
    """Facts of every message that training may see, by group."""
    return recipe.read(recipe.TRAINING)


def test_the_shipped_model_is_of_this_programs_feature_space() -> None:
    assert Model.load(feature_space=feature_space()).feature_space == FIGURES["feature_space"]


def test_training_again_gives_the_same_bytes(recipe: ModuleType, mails: Any) -> None:
    again = recipe.build(mails, recipe.fit(mails), recipe.calibrate(mails, recipe.PRIOR))
    assert again.to_bytes() == (MODELS / "default.esamodel").read_bytes()
    assert recipe.used(mails) == (MODELS / "default.lineage").read_bytes()


def test_three_figures_of_the_card_come_out_again(recipe: ModuleType, mails: Any) -> None:
    rows = recipe.leave_one_out(mails, {})
    assert recipe.macro(rows) == FIGURES["macro_roca_percent"]
    assert rows["foff-2025"] == FIGURES["leave_one_corpus_out"]["foff-2025"]
    assert rows["spamassassin"] == FIGURES["leave_one_corpus_out"]["spamassassin"]


def test_native_scores_are_scikit_learns_on_a_thousand_real_messages(recipe: ModuleType, mails: Any, corpus: Callable[[str], Path]) -> None:
    """The model trained in scikit-learn, as a pipeline of its parts on the extractor's output, against one native call on the raw messages."""
    fitted, curve = recipe.fit(mails), recipe.calibrate(mails, recipe.PRIOR)
    assert isinstance(curve, LogisticRegression)
    steps = FunctionTransformer(lambda facts: fitted.scores(facts)[:, np.newaxis])
    oracle = Pipeline([("cards", steps), ("curve", curve)])
    paths = random.Random(2).sample(sorted(corpus("spamassassin").glob("*/*")), 800)
    paths += random.Random(3).sample(sorted(corpus("foff-2025").glob("*/*")), 200)
    clean = LeakList.load().strip
    batch = native_engine(Model.load()).scan([clean(path.read_bytes()) for path in paths])
    assert len(batch) == 1000
    assert np.abs(batch.logits - oracle.decision_function(batch.facts)).max() < 1e-4
    assert np.abs(1 / (1 + np.exp(-batch.logits)) - oracle.predict_proba(batch.facts)[:, 1]).max() < 1e-4


def test_the_bars_are_cleared() -> None:
    assert FIGURES["macro_roca_percent"] <= 6.5
    assert FIGURES["leave_one_corpus_out"]["foff-2025"]["ham"]["positive"] <= 3.0


def test_phishing_pot_is_not_in_the_lineage(corpus: Callable[[str], Path]) -> None:
    from esa.learning.evaluation import message_digest

    content = (MODELS / "default.lineage").read_bytes()
    seen = {content[start : start + 8] for start in range(0, len(content), 8)}
    paths = sorted(corpus("phishing_pot").glob("*/*"))[::20]
    assert not seen & {message_digest(path.read_bytes()) for path in paths}
    assert "phishing_pot" not in str(Model.load().facts)


def test_first_messages_of_a_newcomer_are_judged_as_a_person_would() -> None:
    head = "From: {author}\r\nTo: bob@example.net\r\nSubject: {subject}\r\n\r\n{text}\r\n"
    clean = [
        ("me@host.example", "test Tue, 24 Nov 2026 06:00:00 +0000", "This is a test mailing"),
        ("Anna Berg <anna.berg@example.org>", "Lunch on Friday?", "Hi Bob,\r\n\r\nare you free on Friday?\r\n\r\nCheers,\r\nAnna"),
        ("alice@example.org", "Hello", "Hello Bob,\r\n\r\nsee you tomorrow.\r\n\r\nAlice"),
    ]
    spam = [
        (
            "Mr John <j.d8837@gmail.com>",
            "URGENT BUSINESS PROPOSAL!!!",
            "Dear Friend, the sum of $12,500,000 was left unclaimed. Contact me.",
        ),
        ("Shop <x9k2j4@meds.top>", "BUY VIAGRA NOW - 80% OFF!!!", "Cheap viagra, no prescription! http://meds.top/buy"),
    ]
    raws = [head.format(author=author, subject=subject, text=text).encode() for author, subject, text in clean + spam]
    scores = 100 / (1 + np.exp(-native_engine(Model.load()).scan(raws).logits))
    assert (scores[: len(clean)] <= 36).all()
    assert (scores[len(clean) :] > 74).all()
