"""Linear models: scores as numpy has them, the support vector machine as scikit-learn has it, calibration, learning on line."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from esa_core import (
    N_FEATURES,
    LinearModel,
    count_presence,
    extract_features,
    fit_platt,
    fit_svm,
    learn_on_error,
    log_odds,
    normalise,
)

Matrix = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]


def sparse(rows: int, columns: int, seed: int = 0) -> Matrix:
    """A random matrix; row 0 is empty."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, rows)
    lengths[0] = 0
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return indptr, rng.integers(0, columns, indptr[-1]).astype(np.int32), rng.normal(size=indptr[-1]).astype(np.float32)


def scipy(matrix: Matrix, columns: int) -> csr_matrix:
    indptr, indices, values = matrix
    return csr_matrix((values, indices, indptr), shape=(len(indptr) - 1, columns), copy=True)


@pytest.fixture(scope="module")
def mail(corpus: Callable[[str], Path]) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """1,000 messages as rows of length 1, and which are spam."""
    paths = random.Random(5).sample(sorted(corpus("spamassassin").glob("*/*")), 1000)
    indptr, indices, ones = extract_features([path.read_bytes() for path in paths], families=15)
    return (indptr, indices, normalise(indptr, indices, ones)), np.array([path.parent.name == "spam" for path in paths])


def test_a_row_of_zeros_stays_one_when_rows_get_length_1() -> None:
    assert normalise(np.array([0, 2, 4]), np.zeros(4, np.int32), np.array([0.0, 0.0, 3.0, 4.0], np.float32)).tolist() == pytest.approx(
        [0.0, 0.0, 0.6, 0.8]
    )
    assert LinearModel([1.0], 0.5, normalised=True).contributions(
        np.array([0, 1]), np.zeros(1, np.int32), np.zeros(1, np.float32)
    ).tolist() == [0.0]


@pytest.mark.parametrize("normalised", [False, True])
def test_logits_are_the_dot_products_and_contributions_sum_to_them(normalised: bool) -> None:
    matrix = sparse(200, 50)
    weights = np.random.default_rng(1).normal(size=50).astype(np.float32)
    model = LinearModel(weights, 0.25, normalised=normalised)
    dense = np.zeros((200, 50))
    lengths = np.ones(200)
    for row in range(200):
        a, b = matrix[0][row], matrix[0][row + 1]
        np.add.at(dense[row], matrix[1][a:b], matrix[2][a:b])
        if normalised and b > a:
            lengths[row] = np.linalg.norm(matrix[2][a:b].astype(np.float64))
    expected = dense @ weights / lengths + 0.25
    assert model.logits(*matrix) == pytest.approx(expected, abs=1e-5)
    contributions = model.contributions(*matrix)
    rows = np.repeat(np.arange(200), np.diff(matrix[0]))
    assert np.bincount(rows, contributions, 200) + 0.25 == pytest.approx(expected, abs=1e-5)


def test_arrays_that_do_not_fit_are_refused() -> None:
    model = LinearModel(np.zeros(4))
    starts, columns, ones = np.array([0, 1]), np.array([4], np.int32), np.ones(1, np.float32)
    with pytest.raises(ValueError, match="outside"):
        model.logits(starts, columns, ones)
    with pytest.raises(ValueError, match="one sparse matrix"):
        model.logits(np.array([0, 2]), columns, ones)
    with pytest.raises(ValueError, match="one sparse matrix"):
        model.logits(np.array([0, 3, 1]), columns, ones)
    with pytest.raises(ValueError, match="finite"):
        LinearModel(np.array([np.nan]))


@pytest.mark.corpus
def test_the_support_vector_machine_is_that_of_scikit_learn(mail: tuple[Matrix, npt.NDArray[np.bool_]]) -> None:
    matrix, spam = mail
    weights, bias = fit_svm(*matrix, spam, n_weights=N_FEATURES, cost=100.0, epochs=3000, tolerance=1e-6)
    rows = scipy(matrix, N_FEATURES)
    rows.sum_duplicates()
    reference = LinearSVC(C=100.0, dual=True, tol=1e-7, max_iter=20_000, random_state=0).fit(rows, spam)
    assert rows @ weights + bias == pytest.approx(reference.decision_function(rows), abs=1e-3)


@pytest.mark.corpus
def test_the_native_score_is_that_of_scikit_learn(mail: tuple[Matrix, npt.NDArray[np.bool_]]) -> None:
    matrix, spam = mail
    rows = scipy(matrix, N_FEATURES)
    reference = LogisticRegression(C=10.0, solver="liblinear").fit(rows, spam)
    model = LinearModel(reference.coef_.reshape(-1), float(reference.intercept_[0]))
    assert np.abs(model.logits(*matrix) - reference.decision_function(rows)).max() < 1e-4


def test_equal_seeds_give_equal_weights() -> None:
    matrix = sparse(100, 40)
    spam = np.random.default_rng(2).random(100) < 0.5
    one, other = (fit_svm(*matrix, spam, n_weights=40, seed=7, epochs=5) for _ in range(2))
    assert np.array_equal(one[0], other[0])
    assert one[1] == other[1]


def test_platt_finds_the_curve_that_made_the_labels() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=50_000)
    spam = rng.random(50_000) < 1.0 / (1.0 + np.exp(-(2.0 * scores - 0.7)))
    slope, intercept = fit_platt(scores, spam)
    assert slope == pytest.approx(2.0, abs=0.1)
    assert intercept == pytest.approx(-0.7, abs=0.1)


def test_platt_stays_finite_where_the_classes_are_apart() -> None:
    slope, intercept = fit_platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert 0.0 < slope < 100.0
    assert abs(intercept) < 100.0
    with pytest.raises(ValueError, match="both classes"):
        fit_platt(np.array([1.0, 2.0]), np.array([True, True]))


def test_learning_on_error_learns_and_then_rests() -> None:
    """Feature 0 is ham, feature 1 is spam; once it is sure it changes nothing."""
    spam = np.arange(200) % 2 == 1
    matrix = (np.arange(201), spam.astype(np.int32), np.ones(200, np.float32))
    weights = np.zeros(2)
    predicted, bias = learn_on_error(weights, 0.0, *matrix, spam)
    assert predicted[:2] == pytest.approx([0.5, 0.5], abs=0.01)
    assert predicted[-2] < 0.02
    assert predicted[-1] > 0.98
    before = weights.copy()
    _, again = learn_on_error(weights, bias, *matrix, spam)
    assert np.array_equal(weights, before)
    assert again == bias


@pytest.mark.corpus
def test_learning_on_line_gets_real_mail_right(mail: tuple[Matrix, npt.NDArray[np.bool_]]) -> None:
    matrix, spam = mail
    predicted, _ = learn_on_error(np.zeros(N_FEATURES), 0.0, *matrix, spam)
    assert np.mean((predicted[500:] > 0.5) == spam[500:]) > 0.95


def test_presence_is_counted_once_a_row_and_unseen_features_weigh_nothing() -> None:
    matrix = (np.array([0, 3, 4, 5]), np.array([0, 0, 1, 1, 2], np.int32), np.ones(5, np.float32))
    counts = np.zeros((2, 4), np.uint32)
    count_presence(counts, matrix[0], matrix[1], np.array([True, False, True]))
    assert counts.tolist() == [[0, 1, 0, 0], [1, 1, 1, 0]]
    weights = log_odds(counts, 1, 2)
    assert weights[0] > 0.0
    assert weights[1] < 0.0
    assert weights[3] == 0.0
