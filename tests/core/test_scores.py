"""From mail to score: the engine scores as scikit-learn does, what it shows adds up, and a fold teaches what its rows alone would."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.svm import LinearSVC

from esa.learning.leaks import LeakList
from esa_core import FAMILY_NAMES, N_FEATURES, Engine, LinearModel, extract_features, fit_platt, fit_svm, learn_on_error, normalise

FAMILIES = 0b1111

pytestmark = pytest.mark.corpus


@dataclass(frozen=True)
class Mail:
    """1,000 real messages as rows of length 1; `unit` is the same for scikit-learn, repeats within a row added up."""

    raws: list[bytes]
    spam: npt.NDArray[np.bool_]
    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    unit: csr_matrix


@pytest.fixture(scope="module")
def mail(corpus: Callable[[str], Path]) -> Mail:
    paths = random.Random(3).sample(sorted(corpus("spamassassin").glob("*/*")), 1_000)
    clean = LeakList.load().strip
    raws = [clean(path.read_bytes()) for path in paths]
    indptr, indices, ones = extract_features(raws, families=FAMILIES)
    values = normalise(indptr, indices, ones)
    unit = csr_matrix((values.astype(np.float64), indices.copy(), indptr.copy()), shape=(len(raws), N_FEATURES))
    return Mail(raws, np.array([path.parent.name == "spam" for path in paths]), indptr, indices, values, unit)


@pytest.mark.parametrize(
    "learner",
    [LinearSVC(C=10.0, random_state=0), LogisticRegression(C=100.0, solver="liblinear"), SGDClassifier(random_state=0)],
    ids=lambda learner: type(learner).__name__,
)
def test_scores_equal_those_of_scikit_learn_on_a_thousand_messages(
    mail: Mail, learner: LinearSVC | LogisticRegression | SGDClassifier
) -> None:
    learner.fit(mail.unit, mail.spam)
    expected = learner.decision_function(mail.unit)
    model = LinearModel(learner.coef_[0], float(learner.intercept_[0]))
    assert np.abs(model.logits(mail.indptr, mail.indices, mail.values) - expected).max() < 1e-4
    # rows of ones, scaled by the model itself, and messages scored by the engine without any matrix
    scaling = LinearModel(learner.coef_[0], float(learner.intercept_[0]), normalised=True)
    ones = np.ones(len(mail.indices), np.float32)
    assert np.abs(scaling.logits(mail.indptr, mail.indices, ones) - expected).max() < 1e-4
    batch = Engine(linear=scaling, families=FAMILIES).scan(mail.raws)
    assert np.abs(batch.logits - expected).max() < 1e-4


def test_contributions_of_entries_and_of_families_sum_to_the_logit(mail: Mail) -> None:
    weights = np.random.default_rng(0).normal(size=N_FEATURES).astype(np.float32)
    model = LinearModel(weights, -0.25, normalised=True)
    ones = np.ones(len(mail.indices), np.float32)
    logits = model.logits(mail.indptr, mail.indices, ones)
    added = model.contributions(mail.indptr, mail.indices, ones)
    sums = np.add.reduceat(added, mail.indptr[:-1]) - 0.25
    assert np.abs(sums - logits).max() < 1e-6
    batch = Engine(linear=model, families=FAMILIES).scan(mail.raws)
    for row, logit in enumerate(batch.logits):
        parts = batch.contributions(row)
        assert parts.shape == (len(FAMILY_NAMES) + 1,)
        assert parts.sum() == pytest.approx(logit, abs=1e-6)
        assert parts[4:].tolist() == [0.0, 0.0, -0.25]  # families that were not asked for, and the bias


def test_rows_that_are_left_out_teach_nothing_and_rows_of_ones_need_no_values(mail: Mail) -> None:
    """The same weights as from a matrix of the chosen rows alone, which is what a fold of a cross-validation is."""
    chosen = np.flatnonzero(np.arange(1_000) % 5)
    lengths = np.diff(mail.indptr)[chosen]
    indptr = np.r_[0, np.cumsum(lengths)]
    entries = np.concatenate([np.arange(mail.indptr[row], mail.indptr[row + 1]) for row in chosen])
    alone, bias_alone = fit_svm(
        indptr, mail.indices[entries], mail.values[entries], mail.spam[chosen], n_weights=N_FEATURES, epochs=20, tolerance=0.0, seed=3
    )
    for values in (mail.values, None):
        weights, bias = fit_svm(
            mail.indptr, mail.indices, values, mail.spam, n_weights=N_FEATURES, rows=chosen, epochs=20, tolerance=0.0, seed=3
        )
        assert np.abs(weights - alone).max() < 1e-9
        assert bias == pytest.approx(bias_alone, abs=1e-9)
    with pytest.raises(ValueError, match=r"outside 0 \.\.\. 999"):
        fit_svm(mail.indptr, mail.indices, None, mail.spam, n_weights=N_FEATURES, rows=np.array([1_000]))


def test_platt_scaling_is_logistic_regression_on_softened_labels() -> None:
    """scikit-learn fits the same curve if each message is given twice, weighed by the target and by what is left of 1."""
    random_numbers = np.random.default_rng(7)
    spam = random_numbers.random(2_000) < 0.3
    scores = random_numbers.normal(size=2_000) + 1.5 * spam
    slope, intercept = fit_platt(scores, spam)
    n_spam, n_ham = spam.sum(), (~spam).sum()
    target = np.where(spam, (n_spam + 1) / (n_spam + 2), 1 / (n_ham + 2))
    twice = LogisticRegression(C=1e12, tol=1e-10, max_iter=1_000).fit(
        np.r_[scores, scores][:, None], np.r_[np.ones(2_000), np.zeros(2_000)], np.r_[target, 1 - target]
    )
    assert slope == pytest.approx(twice.coef_[0, 0], abs=1e-4)
    assert intercept == pytest.approx(twice.intercept_[0], abs=1e-4)
    assert expit(slope * scores + intercept).mean() == pytest.approx(target.mean(), abs=1e-6)


def test_learning_on_error_is_what_it_says_step_by_step(mail: Mail) -> None:
    rows = slice(0, 60)
    indptr = mail.indptr[: rows.stop + 1]
    indices, values = mail.indices[: indptr[-1]], mail.values[: indptr[-1]]
    weights = np.zeros(N_FEATURES)
    predicted, bias = learn_on_error(weights, 0.0, indptr, indices, values, mail.spam[rows], rate=4.0, margin=0.3)
    twin, constant, trained = np.zeros(N_FEATURES), 0.0, 0
    for row in range(rows.stop):
        entries = slice(indptr[row], indptr[row + 1])
        p = expit(constant + twin[indices[entries]] @ values[entries].astype(np.float64))
        assert predicted[row] == pytest.approx(p, abs=1e-9)
        if abs(p - 0.5) < 0.3 or (p > 0.5) != mail.spam[row]:
            step = 4.0 * (mail.spam[row] - p)
            np.add.at(twin, indices[entries], step * values[entries].astype(np.float64))
            constant += 0.01 * step
            trained += 1
    assert 0 < trained < rows.stop
    assert np.abs(weights - twin).max() < 1e-9
    assert bias == pytest.approx(constant, abs=1e-12)
