"""Parsed: the lazy view that people and tests read."""

from __future__ import annotations

import threading

import pytest

import esa_core
from esa_core import parse

RAW = b"""From: Ann <ann@example.org>\r
To: bob@example.net\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r
X-Folded: one\r
\ttwo \r
X-Folded: =?utf-8?q?=C3=A4?=\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
\r
text\r
--b\r
Content-Type: application/octet-stream\r
Content-Disposition: attachment; filename=a.bin\r
Content-Transfer-Encoding: base64\r
\r
AAEC\r
--b--\r
"""


def test_headers_are_raw_and_unfolded_and_header_is_decoded() -> None:
    parsed = parse(RAW)
    assert parsed.headers[3:5] == [("X-Folded", b"one\ttwo"), ("X-Folded", b"=?utf-8?q?=C3=A4?=")]
    assert parsed.header("x-folded") == ["one\ttwo", "ä"]
    assert parsed.header("absent") == []


def test_parts_are_views_that_outlive_the_message_object() -> None:
    parts = parse(RAW).parts
    assert [(part.index, part.parent, part.depth, part.media_type) for part in parts] == [
        (0, -1, 0, "multipart/mixed"),
        (1, 0, 1, "text/plain"),
        (2, 0, 1, "application/octet-stream"),
    ]
    assert parts[2].content() == b"\0\1\2"
    assert (parts[2].file_name, parts[2].attachment, parts[2].encoding) == ("a.bin", True, "base64")
    assert parts[2].headers[0] == ("Content-Type", b"application/octet-stream")
    assert parts[1].text == "text"


def test_a_view_holds_its_buffer() -> None:
    buffer = bytearray(RAW)
    parsed = parse(buffer)
    with pytest.raises(BufferError):
        buffer.clear()
    del parsed
    buffer.clear()


def test_texts_do_not_change_on_a_second_look() -> None:
    parsed = parse(RAW)
    assert [parsed.text, parsed.folded, parsed.links, parsed.html] == [parsed.text, parsed.folded, parsed.links, parsed.html]


def test_one_message_may_be_read_by_many_threads() -> None:
    parsed = parse(RAW * 200)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(parsed.folded)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_thousands_of_views_leave_no_memory_behind() -> None:
    import resource

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for _ in range(200):
        parse(RAW).folded  # noqa: B018
    before = peak()
    for _ in range(3000):
        parse(RAW).folded  # noqa: B018
    assert peak() - before < 8192  # KiB


def test_names_are_public_only_at_the_front_door() -> None:
    assert {"Link", "Parsed", "Part", "fold", "parse"} <= set(esa_core.__all__)


def test_nothing_can_be_pickled_or_made_by_hand() -> None:
    import pickle

    with pytest.raises(TypeError):
        pickle.dumps(parse(RAW))
