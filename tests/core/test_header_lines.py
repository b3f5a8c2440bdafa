"""Where a header ends and what its fields are, against plain searches; what is cut, and what is no field."""

from __future__ import annotations

import mmap
import tempfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esa_core._header_lines import header_end, header_fields
from tests.fuzz.interfaces import header

LINES = st.lists(
    st.sampled_from([b"From: a", b"from :b", b" folded", b"\tmore", b"", b"\r", b"X: y\r", b"Fromage: c", b"x", b"reply-to: d"]), max_size=8
)


def plain_end(content: bytes) -> int:
    """Offset of the first empty line, by searches in the whole."""
    if content[:1] == b"\n" or content[:2] == b"\r\n":
        return 0
    found = [at for at in (content.find(b"\n\r\n"), content.find(b"\n\n")) if at >= 0]
    return min(found) + 1 if found else len(content)


@given(st.one_of(LINES.map(b"\n".join), st.binary(max_size=60)))
@example(b"a\r")
@example(b"a\n\r")
@example(b"\r")
def test_a_header_ends_where_a_plain_search_finds_it_and_has_the_fields_that_stand_there(content: bytes) -> None:
    assert header_end(content) == plain_end(content)
    header(content)


def test_fields_come_as_they_stand_with_what_is_folded_and_not_from_the_body() -> None:
    content = b"From: A <a@example.org>\r\nSubject: From: no\r\nREPLY-TO : b\r\n c\r\nFromage: x\r\n\r\nFrom: body\r\n"
    assert header_fields(content, (b"from", b"reply-to"), most=4, longest=1000) == b"From: A <a@example.org>\r\nREPLY-TO : b\r\n c\r\n"
    assert header_fields(content, (b"from",), end=10, most=4, longest=1000) == b"From: A <a"


def test_no_more_of_each_name_are_taken_than_wanted_and_long_ones_are_cut() -> None:
    content = b"From: 1\nFrom: 2\nTo: 3\nFrom: 4\n\n"
    assert header_fields(content, (b"from", b"to"), most=2, longest=100) == b"From: 1\nFrom: 2\nTo: 3\n"
    assert header_fields(content, (b"from",), most=3, longest=6) == b"From: " * 3
    with pytest.raises(ValueError, match="8 are the most"):
        header_fields(content, (b"x",) * 9, most=1, longest=1)


def test_mapped_files_are_read_where_they_are() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"From: a\r\n\r\nbody")
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert header_end(mapped) == 9
            assert header_fields(mapped, (b"from",), most=1, longest=100) == b"From: a\r\n"
