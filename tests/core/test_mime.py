"""Structure of a message: our golden mail read with LF and with CRLF, and shapes that attack a parser.

Agreement with Python's `email` is tests/conformance/differential.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from esa_core import Parsed, Part, parse
from tests.core.hostile import GREAT, HOSTILE, nested

MAIL = Path(__file__).resolve().parent.parent / "mail"
GOLDEN = sorted(MAIL.glob("*/*.eml"))


def described(parsed: Parsed) -> dict[str, Any]:
    """What a golden file's JSON may state of a message."""
    return {
        "flags": list(parsed.flags),
        "subject": parsed.subject,
        "from_name": parsed.from_name,
        "from_address": parsed.from_address,
        "to_address": parsed.to_address,
        "reply_to_address": parsed.reply_to_address,
        "recipients": parsed.recipients,
        "headers": [name for name, _ in parsed.headers],
        "parts": [
            {name: getattr(part, name) for name in ("depth", "media_type", "charset", "encoding", "file_name", "text")}
            for part in parsed.parts
        ],
        "links": [[link.url, link.shown, link.kind, link.hidden] for link in parsed.links],
        "written": parsed.written,
    }


def leaves(parsed: Parsed) -> list[Part]:
    parents = {part.parent for part in parsed.parts}
    return [part for part in parsed.parts if part.index not in parents]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden_mail_is_read_as_its_json_says(path: Path, line_end: bytes) -> None:
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    found = described(parse(path.read_bytes().replace(b"\n", line_end)))
    assert {name: found[name] for name in expected if name != "why"} == {name: expected[name] for name in expected if name != "why"}


def test_every_golden_message_has_its_json() -> None:
    assert len(GOLDEN) >= 80
    assert [path for path in GOLDEN if not path.with_suffix(".json").is_file()] == []


def test_offsets_point_into_the_raw_message() -> None:
    raw = (MAIL / "rfc" / "002.eml").read_bytes()
    parts = parse(raw).parts
    assert raw[parts[2].body_start : parts[2].end] == b"Gr=C3=BC=C3=9Fe, a long line that is =\njoined."
    assert raw[parts[4].start :].startswith(b"Content-Type: application/pdf")
    assert parts[4].content() == b"%PDF-1.4\n"
    assert [part.parent for part in parts] == [-1, 0, 1, 1, 0]


# ---- lines, headers, bodies ----


def test_nothing_is_an_empty_message() -> None:
    parsed = parse(b"")
    assert parsed.flags == ("no_header_end", "empty", "no_from")
    assert (parsed.headers, parsed.text, len(parsed.parts)) == ([], "", 1)


@pytest.mark.parametrize("octet", [b"\0", b"\n", b"\r", b"-", b":", b" ", b"\xff", b"a"])
def test_one_octet_is_read_without_complaint_but_flags(octet: bytes) -> None:
    assert len(parse(octet).parts) == 1


def test_a_boundary_line_ends_a_header_that_has_no_empty_line() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n--b\n\ntwo\n--b--\n"
    parsed = parse(raw)
    assert [(part.media_type, part.text) for part in leaves(parsed)] == [("text/html", ""), ("text/plain", "two")]
    assert "no_header_end" in parsed.parts[1].flags


def test_a_delimiter_must_be_the_whole_line() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bb\n--b x\n --b\n--b \t\n\ntwo\n--b--"
    assert [part.text for part in leaves(parse(raw))] == ["--bb\n--b x\n --b", "two"]


def test_the_line_break_before_a_delimiter_belongs_to_it() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n\r\n--b--\r\n"
    assert leaves(parse(raw))[0].content() == b"text\r\n"


def test_a_boundary_may_be_quoted_with_escapes_and_folds() -> None:
    raw = b'Content-Type: multipart/mixed;\n (comment; boundary=no) boundary="a\\"b\n c" ; x=y\n\n--a"b c\n\nin\n--a"b c--\n'
    assert [part.text for part in leaves(parse(raw))] == ["in"]


def test_text_before_the_first_header_field_is_flagged_and_skipped() -> None:
    parsed = parse(b" folded onto nothing\nSubject: x\n\n")
    assert parsed.subject == "x"
    assert "bad_header_line" in parsed.flags


def test_a_multipart_that_is_base64_is_ambiguous() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\nin\n--b--\n"
    assert "ambiguous" in parse(raw).flags


def test_the_raw_message_may_be_any_buffer() -> None:
    raw = b"Subject: x\n\nbody"
    assert parse(bytearray(raw)).text == parse(memoryview(raw)).text == "body"
    with pytest.raises(TypeError):
        parse("not octets")  # type: ignore[arg-type]


# ---- limits ----


def test_a_thousand_nested_multiparts_are_cut_at_the_depth_limit_and_still_read() -> None:
    parsed = parse(nested(1000))
    assert "too_deep" in parsed.flags
    assert len(parsed.parts) == 65
    assert "innermost" in parsed.text


def test_a_thousand_nested_messages_are_cut_at_the_depth_limit() -> None:
    parsed = parse(b"Content-Type: message/rfc822\n\n" * 1000 + b"Subject: innermost\n\ntext")
    assert "too_deep" in parsed.flags
    assert "innermost" in parsed.text


def test_ten_thousand_header_fields_are_kept_and_more_are_counted_as_too_many() -> None:
    assert len(parse(b"X-A: b\n" * 10_000 + b"\n").headers) == 10_000
    parsed = parse(b"X-A: b\n" * 20_000 + b"Subject: behind the limit\n\nbody")
    assert len(parsed.headers) == 16_384
    assert "too_many_fields" in parsed.flags
    assert parsed.text == "body"


def test_parts_past_the_limit_are_left_in_their_parent() -> None:
    parsed = parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\na\n" * 5000 + b"--b--\n")
    assert len(parsed.parts) == 4096
    assert "too_many_parts" in parsed.flags


def test_an_overlong_boundary_is_cut_and_still_found() -> None:
    boundary = b"x" * 3000
    parsed = parse(b"Content-Type: multipart/mixed; boundary=" + boundary + b"\n\n--" + boundary + b"\n\nin\n--" + boundary + b"--\n")
    assert [part.text for part in leaves(parsed)] == ["in"]
    assert "odd_boundary" in parsed.flags


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_read_to_its_end(name: str) -> None:
    """Some megabytes each, a blink if the cost is linear; quadratic cost would not end within the hour."""
    raw = HOSTILE[name](GREAT)
    parsed = parse(raw)
    assert parsed.parts[0].end == len(raw)
    assert parsed.folded is not None


def test_odd_octets_are_found_wherever_they_stand() -> None:
    """At every place of a vector, at its edge and in the rest behind the last one."""
    head = b"Subject: x\n\n"
    for before in range(140):
        for odd, flag in ((b"\0", "nul_bytes"), (b"\r", "bare_cr")):
            for behind in (0, 1, 70):
                assert flag in parse(head + b"a" * before + odd + b"a" * behind).flags
        assert "bare_cr" not in parse(head + b"a" * before + b"\r\n" + b"a" * 70).flags
        assert parse(head + b"a" * before + "\u00e4".encode() + b"a" * 70).text == "a" * before + "\u00e4" + "a" * 70
