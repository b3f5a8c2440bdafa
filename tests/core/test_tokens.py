"""Blocks of folded text: the kernel of this machine says of every octet what its plain specification says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esa.engine.lexicons import shipped
from esa_core import extract_facts
from esa_core._tokens import block_masks, count_case

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
    assert block_masks(octets, plain=False) == block_masks(octets, plain=True)


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
        block_masks(bytes(63), plain=True)
