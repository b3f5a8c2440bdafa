"""Cards: additive, exact, clipped, and gated by the mail type."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from esa_core import Cards

Array = npt.NDArray[np.generic]

N = 4  # facts; the last is the mail type


def arrays(**changes: object) -> dict[str, object]:
    return {
        "card": [0, 0, 1, -1],
        "sign": [1, -1, 1, 0],
        "mean": [0.5, 0.0, 1.0, 0.0],
        "scale": [0.5, 1.0, 2.0, 1.0],
        "weights": [[1.0, 0.5, 0.25], [0.5, 1.0, 2.0]],
        "prior": [-1.0, 0.0, 1.0],
        "mail_type": 3,
    } | changes


def cards(**changes: object) -> Cards:
    return Cards(**arrays(**changes))  # type: ignore[arg-type]


def test_the_logit_is_the_sum_of_the_contributions_and_the_prior_is_the_last() -> None:
    facts = np.array([[1.0, 0.5, 3.0, 1.0]], dtype=np.float32)
    parts = cards().contributions(facts)
    assert parts.shape == (1, N + 1)
    assert parts[0].tolist() == [0.5, -0.25, 1.0, 0.0, 0.0]
    assert cards().logits(facts).tolist() == [1.25]


def test_weights_and_prior_go_by_the_mail_type() -> None:
    facts = np.array([[1.0, 0.0, 1.0, kind] for kind in (0, 1, 2)], dtype=np.float32)
    assert cards().logits(facts).tolist() == [0.0, 0.5, 1.25]


def test_no_fact_counts_past_two_units_of_its_spread() -> None:
    facts = np.array([[1e30, 0.0, 1.0, 0.0], [-np.inf, 0.0, 1.0, 0.0]], dtype=np.float32)
    assert cards().contributions(facts)[:, 0].tolist() == [2.0, -2.0]


def test_what_is_not_a_number_says_nothing() -> None:
    facts = np.array([[np.nan, 0.0, 1.0, np.nan]], dtype=np.float32)
    assert cards().logits(facts).tolist() == [-1.0]


def test_contributions_sum_to_the_logit_to_the_last_bit_of_addition() -> None:
    random = np.random.default_rng(5)
    facts = random.normal(size=(500, N)).astype(np.float32)
    facts[:, 3] = random.integers(0, 3, 500)
    assert np.allclose(cards().contributions(facts).sum(axis=1), cards().logits(facts), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": [0.5, 1.0, 0.0, 1.0]},
        {"scale": [0.5, 1.0, 1.0]},
        {"mean": [np.nan, 0.0, 1.0, 0.0]},
        {"sign": [2, -1, 1, 0]},
        {"card": [0, 0, 2, -1]},
        {"weights": [[1.0, 0.5], [0.5, 1.0]]},
        {"prior": [0.0, np.inf, 0.0]},
        {"mail_type": 4},
        {"card": [], "sign": [], "mean": [], "scale": []},
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|is not|is -1"):
        cards(**changes)


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"facts must be \[n, 4\]"):
        cards().logits(np.zeros((1, 5), dtype=np.float32))


def test_no_rows_make_no_logits() -> None:
    assert cards().logits(np.zeros((0, N), dtype=np.float32)).shape == (0,)
