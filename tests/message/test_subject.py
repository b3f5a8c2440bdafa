"""The Subject as one line: decoded, bounded, harmless, and the same as the core reads where nothing is odd."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.message.subject import SUBJECT_LENGTH, subject_of
from esa_core import parse


def subject(content: bytes) -> str:
    return subject_of(content, content.lower())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Subject: minutes of the meeting\r\n", "minutes of the meeting"),
        (b"From: a\nSUBJECT \t:\tx\n", "x"),
        (b"From: a\r\nSubject:\r\n folded  in\r\n\tthree\r\nTo: b\r\n", "folded in three"),
        (b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n aus Bonn\r\n", "Grüße aus Bonn"),
        (b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n", "Grüße"),
        (b"Subject: =?no-such-charset?q?x?=\r\n", "x"),
        (b"Subject: first\r\nSubject: second\r\n", "first"),
        (b"X-Subject: no\r\nSubjects: no\r\n Subject: no\r\nSubject: yes", "yes"),
        (b"Subject: \x00\x1b[31mred\x7f\r\n", "\ufffd\ufffd[31mred\ufffd"),
        (b"Subject: =?utf-8?b?G1szMW0=?=\r\n", "\ufffd[31m"),
        (b"Subject:", ""),
        (b"From: a\r\n", ""),
        (b"", ""),
    ],
)
def test_the_subject_is_decoded_and_on_one_line(header: bytes, expected: str) -> None:
    assert subject(header) == expected


def test_a_subject_behind_the_end_is_none() -> None:
    content = b"From: a\r\n\r\nSubject: in the body\r\n"
    assert subject_of(content, content[: content.index(b"\r\nSubject")].lower()) == ""


def test_a_long_subject_is_cut() -> None:
    assert subject(b"Subject: " + b"x" * 100_000) == "x" * SUBJECT_LENGTH
    assert len(subject(b"Subject: " + b"=?utf-8?q?=C3=BC?= " * 10_000)) <= SUBJECT_LENGTH


def test_a_mapped_file_is_read_as_bytes_are(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"From: a\r\nSubject: mapped\r\n\r\n" + b"x" * 9000)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        assert subject_of(content, content[:28].lower()) == "mapped"


@given(st.binary(max_size=200))
def test_whatever_the_octets_are_the_line_is_printable(value: bytes) -> None:
    found = subject(b"Subject:" + value)
    assert found.isprintable()
    assert len(found) <= SUBJECT_LENGTH


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=SUBJECT_LENGTH))
def test_a_plain_subject_is_as_the_core_reads_it(value: str) -> None:
    content = b"Subject: " + value.encode() + b"\r\n\r\n"
    assert subject(content) == " ".join(parse(content).subject.split())
