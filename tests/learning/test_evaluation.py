"""The figures of an evaluation: what each means, what is null, and what never enters the macro average."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from esa.errors import CorpusError
from esa.learning.corpora import Item
from esa.learning.evaluation import FIGURES, calibration_error, evaluate, fn_at_fp, message_digest, roca_percent


def scored(label: str | None, score: float, corpus: str = "c") -> Item:
    """A message whose content is its score."""
    return Item(f"{corpus}/{label}", corpus, label, b"%.6f" % score)  # type: ignore[arg-type]


def by_content(messages: Sequence[bytes]) -> list[float]:
    return [float(message) for message in messages]


def test_the_area_is_that_of_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = rng.integers(0, 30, 400).astype(np.float64)
        spam = rng.random(400) < 0.3
        assert roca_percent(scores, spam) == pytest.approx(100 * (1 - roc_auc_score(spam, scores)))


def test_spam_missed_counts_ties_as_flagged_and_allows_no_ham_too_many() -> None:
    ham, spam = np.arange(1000.0), np.array([998.0, 998.5, 999.0, 1000.0])
    scores, labels = np.concatenate((ham, spam)), np.array([False] * 1000 + [True] * 4)
    assert fn_at_fp(scores, labels, 0.001) == 25.0  # one ham may be lost: the limit is 998
    assert fn_at_fp(scores, labels, 0.0) == 75.0


def test_calibration_error_is_zero_for_true_probabilities_and_large_for_boasts() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.random(100_000)
    spam = rng.random(100_000) < probabilities
    assert calibration_error(probabilities, spam) < 0.01
    assert calibration_error(np.ones(100), np.zeros(100, np.bool_)) == 1.0


def test_recall_and_ham_lost_are_at_the_thresholds() -> None:
    items = [scored("spam", score) for score in (36, 37, 74, 75)] + [scored("ham", score) for score in (10, 36, 50, 80)]
    row = evaluate(items, by_content).corpora["c"]
    assert (row["positive_recall"], row["suspect_or_positive_recall"]) == (25.0, 75.0)
    assert (row["ham_positive"], row["ham_suspect"]) == (25.0, 25.0)
    row = evaluate(items, by_content, positive_above=90, suspect_above=79).corpora["c"]
    assert (row["positive_recall"], row["ham_suspect"]) == (0.0, 25.0)


def test_what_a_corpus_cannot_give_is_null() -> None:
    row = evaluate([scored("ham", 1.0)] * 5, by_content).corpora["c"]
    assert {name for name in FIGURES if row[name] is None} == {
        "roca_percent",
        "fn_at_fp_0_1",
        "positive_recall",
        "suspect_or_positive_recall",
        "calibration_error",
    }
    small = [scored("ham", 1.0)] * 2999 + [scored("spam", 2.0)]
    assert evaluate(small, by_content).corpora["c"]["fn_at_fp_0_1"] is None
    assert evaluate([*small, scored("ham", 1.0)], by_content).corpora["c"]["fn_at_fp_0_1"] == 0.0


def test_the_macro_average_leaves_out_what_the_model_was_trained_on() -> None:
    items = [scored(label, score, corpus) for corpus in "ab" for label, score in (("ham", 1.0), ("spam", 99.0), ("spam", 0.0))]
    items += [scored("ham", 99.5, "seen"), scored("spam", 1.5, "seen")]
    lineage = {message_digest(b"1.500000")}
    result = evaluate(items, by_content, lineage=lineage)
    assert result.corpora["seen"]["in_training"] == 0.5
    assert result.corpora["seen"]["roca_percent"] == 100.0
    assert result.macro["roca_percent"] == 50.0
    assert evaluate([scored("ham", 1.5)], by_content, lineage=lineage).macro["ham_positive"] is None


def test_leaks_are_removed_before_the_scorer_looks_but_lineage_knows_the_message_as_it_lies() -> None:
    items = [Item("x", "c", "spam", b"leak 80"), Item("y", "c", "ham", b"leak 5")]
    result = evaluate(items, by_content, clean=lambda raw: raw.removeprefix(b"leak "), lineage={message_digest(b"leak 80")})
    assert result.corpora["c"]["positive_recall"] == 100.0
    assert result.corpora["c"]["in_training"] == 0.5


def test_unlabelled_and_unreadable_items_are_counted_and_do_not_stop_the_rest() -> None:
    seen: list[int] = []
    items = [scored(None, 1.0), Item("gone", "c", error=CorpusError("gone")), scored("ham", 1.0), scored("spam", 90.0)]
    result = evaluate(items, by_content, on_progress=seen.append)
    assert (result.corpora["c"]["unlabelled"], result.corpora["c"]["ham"], result.corpora["c"]["spam"]) == (1, 1, 1)
    assert [str(error) for error in result.errors] == ["gone"]
    assert sum(seen) == 4


def test_many_messages_are_scored_in_order_over_batches() -> None:
    items = [scored("spam" if n % 3 else "ham", 50.0 + n % 7, "ab"[n % 2]) for n in range(3000)]
    result = evaluate(items, by_content)
    assert {name: row["spam"] for name, row in result.corpora.items()} == {"a": 1000, "b": 1000}


def test_json_has_the_documented_shape() -> None:
    shape = evaluate([scored("ham", 1.0)], by_content).to_json({"name": "m"})
    assert list(shape) == ["corpora", "macro", "model"]
    assert set(shape["macro"]) == set(FIGURES)  # type: ignore[call-overload]
