"""Mail data as it leaves: clean line ends and stuffed dots, however long it is and however it is cut; equal to a plain twin."""

from __future__ import annotations

import itertools
import random
import re

from hypothesis import given
from hypothesis import strategies as st

from esa_core._mail_data import DataEncoder

LINE = b"a line as long as the lines of mail are, so that blocks of sixty-four octets are full\r\n"
PIECES = [b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"\n.", b"\r.", b"..", b"a", b"\0", b"x" * 61, b"x" * 64, LINE, LINE * 3]


def twin(content: bytes) -> bytes:
    """The same by replacements in the whole."""
    data = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    data = re.sub(rb"(?m)^\.", b"..", data)
    return data + (b".\r\n" if data.endswith(b"\r\n") or not data else b"\r\n.\r\n")


def encoded(content: bytes, cuts: list[int]) -> bytes:
    encoder = DataEncoder()
    places = sorted({min(cut, len(content)) for cut in cuts} | {0, len(content)})
    return b"".join(encoder.encode(content[start:end]) for start, end in itertools.pairwise(places)) + encoder.finish()


def decoded(data: bytes) -> bytes:
    """What a receiver makes of it by RFC 5321 section 4.5.2."""
    assert data.endswith(b".\r\n")
    lines = data[:-3].split(b"\r\n")
    assert lines.pop() == b""
    assert b"." not in lines
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)


@given(st.binary(max_size=60) | st.text("a.\r\n", max_size=40).map(str.encode), st.lists(st.integers(0, 60), max_size=6))
def test_any_content_cut_anywhere_leaves_clean_and_comes_back_as_lines(content: bytes, cuts: list[int]) -> None:
    data = encoded(content, cuts)
    assert data.count(b"\n") == data.count(b"\r") == data.count(b"\r\n")
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    assert decoded(data) == (lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n")
    assert data == encoded(content, [])


def test_smuggled_ends_of_data_do_not_survive() -> None:
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r\n"):
        data = encoded(b"a" + end + b"MAIL FROM:<x@y>\r\n", [])
        assert data.count(b"\r\n.\r\n") == 1
        assert data.endswith(b"\r\n.\r\n")


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.lists(st.integers(0, 600), max_size=6))
def test_long_and_short_pieces_are_encoded_as_the_twin_does(content: bytes, cuts: list[int]) -> None:
    assert encoded(content, cuts) == twin(content)


def test_a_hundred_thousand_streams_are_encoded_as_the_twin_does() -> None:
    chance = random.Random(4)
    for _ in range(100_000):
        content = b"".join(chance.choices(PIECES, k=chance.randint(0, 12)))
        assert encoded(content, chance.choices(range(300), k=chance.randint(0, 3))) == twin(content)


def test_what_needs_no_change_is_not_copied() -> None:
    chunk = LINE * 1000
    encoder = DataEncoder()
    assert encoder.encode(chunk) is chunk
    assert encoder.encode(b"and no line end") == b"and no line end"
    assert encoder.finish() == b"\r\n.\r\n"


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.lists(st.integers(0, 600), max_size=6))
def test_chunks_have_clean_line_ends_and_their_dots_as_they_are(content: bytes, cuts: list[int]) -> None:
    encoder = DataEncoder(stuffs=False)
    places = sorted({min(cut, len(content)) for cut in cuts} | {0, len(content)})
    data = b"".join(encoder.encode(content[start:end]) for start, end in itertools.pairwise(places)) + encoder.finish()
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    assert data == (lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n")
