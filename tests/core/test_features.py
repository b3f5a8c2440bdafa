"""Hashed features: right ranges, header words apart from body words, windows, masks, and equal results for every batch."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from esa_core import N_FEATURES, extract_features

HEADER_TOKENS, BODY_WORDS, HEADER_GRAMS, BODY_GRAMS, MASKED_GRAMS, TEXT_WORDS = (1 << bit for bit in range(6))
ALL = 63


def features(message: str | bytes, families: int) -> set[int]:
    raw = message if isinstance(message, bytes) else message.encode()
    return set(extract_features([raw], families=families)[1].tolist())


def message(body: str, subject: str = "lunch") -> str:
    return f"From: a@example.org\nSubject: {subject}\n\n{body}\n"


@pytest.mark.corpus
@pytest.mark.parametrize("families", [1, 2, 4, 8, 16, 32, 15, ALL])
def test_real_mail_gives_a_sound_matrix_whatever_the_batch(corpus: Callable[[str], Path], families: int) -> None:
    paths = sorted(corpus("spamassassin").glob("*/*"))
    raws = [path.read_bytes() for path in random.Random(families).sample(paths, 200)]
    indptr, indices, values = extract_features(raws, families=families)
    assert [array.dtype.name for array in (indptr, indices, values)] == ["int64", "int32", "float32"]
    assert indptr[0] == 0
    assert indptr[-1] == len(indices) == len(values)
    assert (np.diff(indptr) >= 0).all()
    assert indices.min() >= 0
    assert indices.max() < N_FEATURES
    assert (values == 1.0).all()
    singly = [extract_features([raw], families=families)[1] for raw in raws]
    assert np.array_equal(np.concatenate(singly), indices)


@pytest.mark.corpus
def test_repeats_within_a_message_are_rare(corpus: Callable[[str], Path]) -> None:
    paths = sorted(corpus("spamassassin").glob("*/*"))
    raws = [path.read_bytes() for path in random.Random(9).sample(paths, 300)]
    indptr, indices, _ = extract_features(raws, families=15)
    distinct = sum(len(np.unique(indices[a:b])) for a, b in pairwise(indptr.tolist()))
    assert distinct > 0.9 * len(indices)


def test_families_are_the_union_of_their_bits() -> None:
    raw = message("Call 555 or see http://example.com/x, dear friend")
    assert features(raw, ALL) == set().union(*(features(raw, 1 << bit) for bit in range(6)))


def test_a_word_of_the_subject_is_not_the_word_of_another_field() -> None:
    subject = features("Subject: viagra\n\n", HEADER_TOKENS)
    comment = features("Comments: viagra\n\n", HEADER_TOKENS)
    assert not subject & comment
    assert features("SUBJECT: viagra\n\n", HEADER_TOKENS) == subject


def test_body_words_are_the_same_wherever_they_stand() -> None:
    one = features(message("alpha beta gamma"), BODY_WORDS)
    assert features(message("gamma, alpha; beta alpha"), BODY_WORDS) == one
    assert len(one) == 3


def test_body_grams_end_with_their_window() -> None:
    start = "".join(random.Random(1).choices("abcdefghij", k=1024))
    assert features(message(start + "one end"), BODY_GRAMS) == features(message(start + "another"), BODY_GRAMS)
    assert features(message("x" + start), BODY_GRAMS) != features(message(start), BODY_GRAMS)


def test_long_received_chains_do_not_hide_the_body() -> None:
    chain = "Received: from a.example by b.example; Mon, 1 Jan 2024 00:00:00 +0000\n" * 200
    assert features(chain + message("buy"), BODY_GRAMS) == features(message("buy"), BODY_GRAMS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("see http://a.example/1?x=2 now", "see https://other.example/very/long now"),
        ("see www.a.example now", "see www.other.example/x now"),
        ("ask joe@example.com today", "ask ann.b@other.example today"),
        ("you won 1,000,000 dollars", "you won 9,5,77 dollars"),
    ],
)
def test_urls_addresses_and_digits_are_masked(one: str, other: str) -> None:
    assert features(message(one), MASKED_GRAMS) == features(message(other), MASKED_GRAMS)
    assert features(message(one), BODY_WORDS) != features(message(other), BODY_WORDS)


def test_masked_grams_read_the_text_that_people_see() -> None:
    plain = features(message("free money for you"), MASKED_GRAMS)
    html = "From: a@example.org\nSubject: lunch\nContent-Type: text/html\n\n<p>Free <b>mo</b>ney for<br>YOU</p><script>x()</script>\n"
    assert features(html, MASKED_GRAMS) == plain


def test_odd_messages_give_few_features_and_no_error() -> None:
    for raw in (b"", b"x", b"\0" * 1000, b"\n", b"a" * 100_000, b":" * 5000, b"From: \xff\xfe\n\n\xff" * 50):
        assert len(features(raw, ALL)) <= 10_000


def test_many_messages_do_not_mix() -> None:
    """The table against repeats is marked anew for each message, also when its marks run out (after 4,095)."""
    raw = message("alpha beta gamma").encode()
    indptr, indices, _ = extract_features([raw] * 5000, families=ALL)
    assert len(set(np.diff(indptr).tolist())) == 1
    assert np.array_equal(indices[: indptr[1]], indices[indptr[4999] :])
