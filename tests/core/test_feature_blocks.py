"""Blocks of 64 octets: what the vector kernels of the features find is what their plain twins find, and words over the edges of blocks are whole."""

from __future__ import annotations

import random

import pytest

from esa_core import extract_features
from esa_core._features import word_mask
from esa_core._masked import chunk_masks

BODY_WORDS, MASKED_GRAMS, TEXT_WORDS = 2, 16, 32


def blocks() -> list[bytes]:
    rng = random.Random(11)
    every = bytes(range(256))
    mixed = [bytes(rng.choices(b"ab Z09:@$'_-.\t\n\x7f\x80\xff", k=64)) for _ in range(500)]
    return (
        [every[start : start + 64] for start in range(193)] + [rng.randbytes(64) for _ in range(500)] + mixed + [b"\0" * 64, b"\xff" * 64]
    )


def test_kernels_equal_their_plain_twins() -> None:
    for block in blocks():
        assert word_mask(block, plain=False) == word_mask(block, plain=True), block
        assert chunk_masks(block, plain=False) == chunk_masks(block, plain=True), block


def test_masks_have_a_bit_for_each_octet() -> None:
    block = b"a-b c" + b" " * 58 + b"\xe9"
    assert word_mask(block, plain=True) == 0b10111 | 1 << 63
    assert chunk_masks(b"1@:x " + block[5:], plain=True) == (0b1111 | 1 << 63, 0b111, 1 << 63)


@pytest.mark.parametrize("kernel", [word_mask, chunk_masks])
def test_a_block_of_another_length_is_refused(kernel: object) -> None:
    for length in (0, 63, 65):
        with pytest.raises(ValueError, match=f"not {length}"):
            kernel(bytes(length), plain=False)  # type: ignore[operator]


@pytest.mark.parametrize("family", [BODY_WORDS, TEXT_WORDS])
def test_a_word_is_the_same_wherever_it_lies_in_a_block(family: int) -> None:
    for word in ("ab", "word", "twelveletter", "x" * 40):
        alone = extract_features([f"\n\n{word}\n".encode()], families=family)[1].tolist()
        assert len(alone) == 1
        for before in range(1, 140):
            found = extract_features(
                [("\n\n" + " " * before + word).encode(), ("\n\n." + " " * before + word + " ").encode()], families=family
            )
            assert found[1].tolist() == alone * 2, (word, before)


def test_words_too_long_are_left_out_wherever_they_end() -> None:
    for length in (41, 64, 65, 128, 129, 300):
        for before in (0, 1, 23, 24, 63, 64):
            body = " " * before + "x" * length + " ab"
            assert len(extract_features([b"\n\n" + body.encode()], families=BODY_WORDS)[1]) == 1


def test_a_chunk_is_masked_alike_wherever_it_lies_in_a_block() -> None:
    for chunk in ("http://x.example/y", "www.x.example", "joe@x.example", "a1234b", "plain", "\xe9t\xe9"):
        alone = extract_features([f"Content-Type: text/plain; charset=utf-8\n\nsome {chunk} text\n".encode()], families=MASKED_GRAMS)[1]
        for before in range(70):
            padded = f"Content-Type: text/plain; charset=utf-8\n\nsome {' ' * before}{chunk} text\n".encode()
            assert extract_features([padded], families=MASKED_GRAMS)[1].tolist() == alone.tolist(), (chunk, before)
