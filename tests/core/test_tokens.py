"""Blocks of folded text: the kernel of this machine says of every octet what its plain specification says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esa.engine.lexicons import shipped
from esa_core import extract_facts
from esa_core._tokens import block_masks, count_case, words_of_text

HEADER = b"From: Anna Berg <anna@shop.example>\nTo: Karl Holm <karl@example.net>\nContent-Type: text/plain; charset=utf-8\n\n"
PIECES = (
    "$", "£", "€ ", "© ", "anna ", "Berg", "shop", "dear karl, ", "click here ", "100,000", "5", ",000", " million dollars", "!", "!! ", "? ", ". ",
    "50% ", "http://a.example/x.y?z! ", "://", ":", "https://b.example/" + "c" * 70, "unsubscribe ", "bank of america ", "wordafterword" * 6, "раураl",
    "über", "日本語", "\N{GRINNING FACE}", "★", " ", "\n", "\u200b",
)  # fmt: skip


@given(st.binary(min_size=64, max_size=64))
@example(bytes(range(64)))
@example(bytes(range(64, 128)))
@example(bytes(range(128, 192)))
@example(bytes(range(192, 256)))
def test_a_block_is_read_as_octet_by_octet(octets: bytes) -> None:
    assert block_masks(octets, kernel="narrow") == block_masks(octets, kernel="wide") == block_masks(octets, kernel="plain")


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=3)), max_size=150), st.integers(0, 2**64 - 1))
def test_words_are_read_alike_by_every_kernel(pieces: list[str | bytes], names: int) -> None:
    text = b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)
    plain = words_of_text(text, names, b"an", kernel="plain")
    assert words_of_text(text, names, b"an", kernel="wide") == words_of_text(text, names, b"an", kernel="widest") == plain


@given(st.lists(st.sampled_from(("a", "an", "anna", "sixteenoctetsxxx", "y" * 17, "z" * 63, "w" * 64, "v" * 65, "u" * 200)), max_size=60))
def test_every_word_is_read_whole_and_once(words: list[str]) -> None:
    text = " ".join(words).encode()
    found, signs, counts = words_of_text(text, 0, b"an", kernel="widest")
    assert [text[at : at + length].decode() for _, _, at, length, _ in found] == words
    assert [chosen for _, _, _, length, chosen in found if length < 60] == [word[:1] == "a" for word in words if len(word) < 60]
    assert not signs
    assert not any(counts.values())


def test_a_hash_is_of_the_word_alone_and_a_pair_of_the_word_before_it_too() -> None:
    words = ["anna", "y" * 17, "b" * 16, "anna", "y" * 17, "b" * 16]
    found, _, _ = words_of_text(" ".join(words).encode(), 0, b"\0\0", kernel="widest")
    assert [token[0] for token in found[:3]] == [token[0] for token in found[3:]]
    assert found[1][1] == found[4][1]
    assert found[0][1] != found[3][1]
    assert len({token[0] for token in found}) == 3


def test_signs_stand_between_the_words_and_choose_the_amount_behind_them() -> None:
    found, signs, counts = words_of_text("pay $5 or € nine © now".encode(), 0, b"\0\0", kernel="widest")
    assert [(kind, before) for kind, _, before in signs] == [(1, 1), (1, 3), (2, 4)]
    assert [chosen for *_, chosen in found] == [False, True, False, True, False]
    assert counts["currency"] == 2


def test_more_signs_than_a_batch_holds_are_all_read() -> None:
    _, signs, counts = words_of_text(b"$" * 1000, 0, b"\0\0", kernel="widest")
    assert len(signs) == counts["currency"] == 1000


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.integers(1, 64))
def test_where_a_block_begins_changes_no_fact(pieces: list[str], shift: int) -> None:
    text = "".join(pieces).encode()
    here, there = extract_facts([HEADER + b"a " + text, HEADER + b" " * shift + b"a " + text], shipped())
    assert np.array_equal(here, there)


@given(st.binary(max_size=100), st.integers(0, 400))
def test_letters_are_counted_as_octet_by_octet(octets: bytes, times: int) -> None:
    octets *= times
    assert count_case(octets, plain=False) == count_case(octets, plain=True)


def test_a_block_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="64 octets"):
        block_masks(bytes(63), kernel="plain")
