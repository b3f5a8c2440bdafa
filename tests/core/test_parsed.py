"""Parsed: the lazy view that people and tests read."""

from __future__ import annotations

import base64
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

    for _ in range(20_000):  # what a sanitizer keeps of freed memory is full then
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


HTML = b"""From: Ann <ann@example.org>
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
Content-Type: multipart/mixed; boundary=b

--b

plain
--b
Content-Type: text/html; charset=iso-8859-1; name=page.html
Content-Transfer-Encoding: quoted-printable

<p>seen =FC<p hidden>unseen<a href=3Dhttp://example.org/>there</a><script>x</script>
--b
Content-Type: text/plain; name*=utf-8''b%%C3%%A4r.txt; name=bear.txt
Content-Transfer-Encoding: base64

%s
--b--
"""


def everything(parsed: esa_core.Parsed) -> object:
    parts = [(part.media_type, part.file_name, part.file_names, part.text, part.flags, part.content()) for part in parsed.parts]
    return parts, parsed.subject, parsed.from_address, parsed.flags, parsed.html, parsed.links, parsed.regions, parsed.written


@pytest.mark.parametrize("last", [b"second", b"begin 644 a.txt\n#86)C\n`\nend\n", b"the begin of it", b"joined"])
def test_what_is_read_first_does_not_change_what_is_read_then(last: bytes) -> None:
    encoded = base64.b64encode(last) if last != b"joined" else b"YQ==YmM="
    at_once = parse(HTML % encoded)
    at_once.flags  # noqa: B018  (reads everything)
    by_and_by = parse(HTML % encoded)
    assert by_and_by.subject == "Grüße"
    assert [part.text for part in by_and_by.parts if part.media_type == "text/plain"] == ["plain", at_once.parts[3].text]
    assert [part.file_name for part in by_and_by.parts][:4] == ["", "", "page.html", "bär.txt"]
    assert everything(by_and_by) == everything(at_once)
    assert "html_script" in at_once.flags


def test_a_part_is_read_as_it_is_written_too() -> None:
    parts = parse(HTML.replace(b"\n", b"\r\n") % base64.b64encode(b"one\r\ntwo")).parts
    assert parts[2].decoded == "<p>seen ü<p hidden>unseen<a href=http://example.org/>there</a><script>x</script>"
    assert (parts[2].text, parts[3].decoded, parts[0].decoded) == ("seen ü", "one\ntwo", "")
    assert parse(b"Content-Type: text/html\n\n<meta charset=koi8-r>\xf1").parts[0].decoded == "<meta charset=koi8-r>Я"
    assert parse(RAW).parts[2].decoded == ""


@pytest.mark.parametrize(
    "raw", [b"", b"From: a\r\n", b"X-A: 1\nx-a : 2\n\tand\nY: 3\r\n\r\nbody", b"no header\r\n\r\nX-A: 1", b"X-A: \xff\rX-A: z\n\n"]
)
def test_fields_that_are_called_for_are_those_of_all_headers(raw: bytes) -> None:
    parsed = parse(raw)
    named = [(name.lower().encode("latin-1"), value) for name, value in parsed.headers]
    for names in (set(), {b"x-a"}, {b"x-a", b"from", b"absent"}, {name for name, _ in named}):
        assert parsed.fields(names) == [(name, value) for name, value in named if name in names]


def test_a_message_reads_alike_whatever_was_read_before_it() -> None:
    """The memory of a message that is gone serves the next one."""
    messages = [
        RAW,
        HTML % b"YQ==",
        b"",
        b"Subject: x\n\n" + b"long " * 400_000,
        b"Content-Type: text/html\n\n<p hidden>a<a href=b>c</a>",
        b"x",
    ]
    alone = [everything(parse(raw)) for raw in messages]
    assert [everything(parse(raw)) for raw in reversed(messages)] == alone[::-1]
    together = [parse(raw) for raw in messages]
    assert [everything(parsed) for parsed in together] == alone
