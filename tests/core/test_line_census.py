"""Line ends and dots of mail data counted natively, as Python counts them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core._line_census import line_census

PIECES = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"\n.", b"x", b"\0", b"\x8d\x8a", b"y" * 239, b"z" * 240]), max_size=40)


def twin(data: bytes) -> tuple[int, int, int, int]:
    return data.count(b"\r"), data.count(b"\n"), data.count(b"\r\n"), data.count(b"\n.")


@given(PIECES)
def test_it_counts_as_python_does(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert line_census(data) == twin(data)
    assert line_census(memoryview(data)) == twin(data)


@pytest.mark.parametrize("length", [0, 1, 2, 239, 240, 241, 242, 480, 481, 482, 100_000])
def test_blocks_end_anywhere(length: int) -> None:
    chance = random.Random(length)
    for fill in (b"\r\n", b"\n.", b"\r", b"\n", b".\n"):
        data = (fill * length)[:length]
        assert line_census(data) == twin(data)
    data = bytes(chance.choices(b"\r\n.x", k=length))
    assert line_census(data) == twin(data)


def test_only_octets_are_counted() -> None:
    with pytest.raises(TypeError):
        line_census("text")  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError)):
        line_census(None)  # type: ignore[arg-type]
