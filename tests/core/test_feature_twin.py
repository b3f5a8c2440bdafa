"""The features of real mail equal those of a plain Python twin, which is their specification: hashes, windows, order, and the removal of repeats."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esa_core import extract_features, parse

HEADER_TOKENS, BODY_WORDS, HEADER_GRAMS, BODY_GRAMS = 1, 2, 4, 8
MASK = (1 << 64) - 1
MULTIPLIER, FINISHER = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
FIELD_SEED, BODY_SEED, HEADER_GRAM_SEED, BODY_GRAM_SEED = 0xA0761D6478BD642F, 0x8EBC6AF09C88C6E3, 0x589965CC, 0x1D8E4E27
WORD_WINDOW, HEADER_GRAM_WINDOW, BODY_GRAM_WINDOW, LONGEST_WORD = 65_536, 3_584, 1_024, 40
WORD = re.compile(rb"[0-9A-Za-z\x80-\xff$'_-]+")


def word_hash(word: bytes, seed: int) -> int:
    h, rest = seed ^ len(word), word
    while len(rest) > 8:
        h = (h ^ int.from_bytes(rest[:8], "little")) * MULTIPLIER & MASK
        h ^= h >> 31
        rest = rest[8:]
    h = (h ^ int.from_bytes(rest, "little")) * MULTIPLIER & MASK
    return (h ^ h >> 31) * FINISHER & MASK


def words(text: bytes, seed: int) -> Iterator[int]:
    for word in WORD.findall(text):
        if 2 <= len(word) <= LONGEST_WORD:
            yield word_hash(word, seed)


def grams(text: bytes, seed: int) -> Iterator[int]:
    for i in range(len(text) - 3):
        h = (int.from_bytes(text[i : i + 4], "little") + seed) * MULTIPLIER & MASK
        yield (h ^ h << 29) & MASK


def field_seed(name: str, of_a_part: bool) -> int:
    seed = FIELD_SEED + of_a_part
    for octet in name.lower().encode("latin-1"):
        seed = (seed ^ octet) * MULTIPLIER & MASK
        seed ^= seed >> 32
    return seed


def header_tokens(raw: bytes) -> Iterator[int]:
    budget = WORD_WINDOW
    for part in parse(raw).parts:
        for name, value in part.headers:
            seed = field_seed(name, part.index != 0)
            yield seed * MULTIPLIER & MASK
            yield from words(value[:budget], seed)
            budget -= min(budget, len(value))
            if not budget:
                return


def hashes(raw: bytes, families: int) -> Iterator[int]:
    body = parse(raw).parts[0].body_start
    if families & HEADER_TOKENS:
        yield from header_tokens(raw)
    if families & BODY_WORDS:
        yield from words(raw[body : body + WORD_WINDOW], BODY_SEED)
    if families & HEADER_GRAMS:
        yield from grams(raw[: min(body, HEADER_GRAM_WINDOW)], HEADER_GRAM_SEED)
    if families & BODY_GRAMS:
        yield from grams(raw[body : body + BODY_GRAM_WINDOW], BODY_GRAM_SEED)


def twin(raw: bytes, families: int) -> list[int]:
    """Each feature is kept unless the one seen last in its slot, of 2^14, is the same."""
    kept: list[int] = []
    slots: dict[int, int] = {}
    for h in hashes(raw, families):
        feature = h >> 44
        if slots.get(feature & 0x3FFF) != feature:
            slots[feature & 0x3FFF] = feature
            kept.append(feature)
    return kept


@pytest.fixture(scope="module")
def mail(corpus: Callable[[str], Path]) -> list[bytes]:
    paths = [path for name in ("spamassassin", "foff-2025") for path in sorted(corpus(name).glob("*/*"))]
    return [path.read_bytes() for path in random.Random(6).sample(paths, 300)]


@pytest.mark.corpus
@pytest.mark.parametrize("families", [HEADER_TOKENS, BODY_WORDS, HEADER_GRAMS, BODY_GRAMS, 15])
def test_real_mail_has_the_features_of_the_twin_in_its_order(mail: list[bytes], families: int) -> None:
    indptr, indices, _ = extract_features(mail, families=families)
    for row, raw in enumerate(mail):
        assert indices[indptr[row] : indptr[row + 1]].tolist() == twin(raw, families), f"message {row}"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"Subject: a\n\nabc",
        b"Subject: " + b"word " * 20_000 + b"\nTo: nobody\n\nbody",  # the fields are longer than their window
        b"Subject: a\n\n" + b" ".join(b"w%d" % i for i in range(20_000)),  # and the body
        b"Subject: " + b"x" * 41 + b" " + b"y" * 40 + b" z zz\n\n" + b"$$$ it's under_score a-b \xe9\xe9",
    ],
    ids=["empty", "one octet", "short", "long fields", "long body", "odd words"],
)
def test_windows_and_word_lengths_are_those_of_the_twin(raw: bytes) -> None:
    assert extract_features([raw], families=15)[1].tolist() == twin(raw, 15)
