"""Two stages of linear models: the second is asked where the first is not sure, sees what one model of all families sees, and adds up."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa_core import FAMILY_NAMES, N_FEATURES, Batch, Engine, LinearModel

WHDR, RAW4_WHDR, ALL = 0b11, 0b1111, 0b111111


def weights(seed: int, scale: float = 1.0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(scale=scale, size=N_FEATURES).astype(np.float32)


FIRST = LinearModel(weights(1, 2.0), 0.5, normalised=True)
SECOND = LinearModel(weights(2, 2.0), -0.25, normalised=True)


def engine(margin: float, families: int = WHDR, second_families: int = RAW4_WHDR) -> Engine:
    return Engine(linear=FIRST, families=families, second=SECOND, second_families=second_families, margin=margin)


def assert_adds_up(batch: Batch) -> None:
    for row, logit in enumerate(batch.logits.tolist()):
        assert batch.contributions(row).sum() == pytest.approx(logit, abs=1e-6)
        assert sum(batch.ranked(row)[1]) == pytest.approx(logit, abs=1e-6)


@pytest.fixture(scope="module")
def mail(corpus: Callable[[str], Path]) -> list[bytes]:
    paths = random.Random(8).sample(sorted(corpus("spamassassin").glob("*/*")), 400)
    return [path.read_bytes() for path in paths]


@pytest.mark.corpus
@pytest.mark.parametrize(("families", "second_families"), [(WHDR, RAW4_WHDR), (1, ALL), (WHDR, ALL), (WHDR, WHDR)])
def test_each_message_is_judged_as_by_the_model_of_its_stage_alone(mail: list[bytes], families: int, second_families: int) -> None:
    one = Engine(linear=FIRST, families=families).scan(mail)
    other = Engine(linear=SECOND, families=second_families).scan(mail)
    both = engine(2.0, families, second_families).scan(mail)
    unsure = np.abs(one.logits) < 2.0
    assert 0 < unsure.sum() < len(mail)
    assert np.array_equal(both.stages, np.where(unsure, 2, 1))
    assert np.array_equal(both.logits, np.where(unsure, other.logits, one.logits))
    for row in range(len(mail)):
        assert np.array_equal(both.contributions(row), (other if unsure[row] else one).contributions(row))
    assert_adds_up(both)


@pytest.mark.corpus
def test_stages_do_not_depend_on_the_batch(mail: list[bytes]) -> None:
    scanner = engine(2.0)
    whole = scanner.scan(mail)
    for start, end in pairwise(range(0, len(mail) + 1, 50)):
        part = scanner.scan(mail[start:end])
        assert np.array_equal(part.logits, whole.logits[start:end])
        assert np.array_equal(part.stages, whole.stages[start:end])


WORDS = st.lists(
    st.sampled_from(["free", "lunch", "Viagra", "a", "http://x.example/?q", "it's", "\xe9t\xe9", "=20", "0123"]), max_size=30
).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(subject=WORDS, body=st.one_of(WORDS.map(str.encode), st.binary(max_size=200)), margin=st.floats(0.0, 4.0), more=st.integers(0, 15))
def test_contributions_sum_to_the_logit_in_either_stage(subject: str, body: bytes, margin: float, more: int) -> None:
    raw = b"Subject: " + subject.encode() + b"\n\n" + body
    batch = engine(margin, WHDR, WHDR | more << 2).scan([raw])
    assert_adds_up(batch)
    first = Engine(linear=FIRST, families=WHDR).scan([raw])
    assert batch.stages.tolist() == [2 if abs(first.logits[0]) < margin else 1]
    if batch.stages[0] == 1:
        assert batch.logits.tolist() == first.logits.tolist()
        assert batch.contributions(0)[2:-1].tolist() == [0.0] * (len(FAMILY_NAMES) - 2)


def test_a_margin_of_nothing_asks_the_second_stage_nothing_and_an_endless_one_always() -> None:
    raws = [b"Subject: lunch\n\nfree", b""]
    assert engine(0.0).scan(raws).stages.tolist() == [1, 1]
    assert engine(float("inf")).scan(raws).stages.tolist() == [2, 2]
    assert Engine(linear=FIRST, families=WHDR).scan(raws).stages.tolist() == [1, 1]
    assert Engine().scan(raws).stages.tolist() == [0, 0]
    assert Engine().scan([]).stages.tolist() == []


def test_a_batch_of_one_writes_into_memory_of_its_own() -> None:
    """CPython keeps one object for each string of a single octet."""
    assert engine(0.0).scan([b""]).stages.tolist() == [1]
    assert bytes([0]) == b"\x00"
    assert Engine().scan([b""]).stages.tolist() == [0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"linear": FIRST, "families": 0b11, "second": SECOND, "second_families": 0b1101}, "families of the first"),
        ({"linear": FIRST, "families": 0b1010, "second": SECOND, "second_families": 0b1110}, "of higher bits"),
        ({"second": SECOND, "second_families": 0b11}, "needs a first one"),
        ({"linear": FIRST, "families": 1, "second": LinearModel(np.ones(8)), "second_families": 3}, "8 weights"),
        ({"linear": FIRST, "families": 1, "second": SECOND, "second_families": 3, "margin": -1.0}, "distance in log-odds"),
        ({"linear": FIRST, "families": 1, "second": SECOND, "second_families": 3, "margin": float("nan")}, "distance in log-odds"),
    ],
)
def test_stages_that_do_not_fit_together_are_refused(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Engine(**arguments)  # type: ignore[arg-type]
