"""Ambiguous mail: every reading is scanned, and the flags tell why there is more than one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

import esa
from esa.engine.dictionary import Dictionary
from esa_core import Parsed, parse

HEAD = b"From: ann@example.org\n"
MIXED = HEAD + b"Content-Type: multipart/mixed; boundary=b\n"


def others(parsed: Parsed) -> list[str]:
    """Texts that only another reading shows."""
    return [part.text for part in parsed.parts if part.another and part.text]


def reasons(raw: bytes) -> set[str]:
    return set(parse(raw).flags)


READINGS = {
    "the second boundary": (
        b"Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n%s--b--\n",
        "several_boundaries",
    ),
    "the second content type": (
        b"Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n%s--b--\n",
        "several_content_types",
    ),
    "the second transfer encoding": (b"Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\n%s", "several_encodings"),
    "the first of three transfer encodings": (
        b"Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: x-odd\nContent-Transfer-Encoding: 8bit\n\n%s",
        "several_encodings",
    ),
    "a transfer encoding that nobody knows": (b"Content-Transfer-Encoding: odd\n\n%s", "several_encodings"),
    "base64 behind padding": (b"Content-Transfer-Encoding: base64\n\neA==\n%s", "joined_base64"),
    "a message in base64": (b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n%s", "encoded_container"),
    "a part behind the close delimiter": (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--b\nContent-Transfer-Encoding: base64\n\n%s--b--\n",
        "parts_after_close",
    ),
    "a header behind a line that is no field": (b"no field\nContent-Transfer-Encoding: base64\n\n%s", "header_goes_on"),
}


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("name", READINGS)
def test_what_only_one_reading_shows_is_scanned_and_the_reason_is_told(name: str, line_end: bytes) -> None:
    body, reason = READINGS[name]
    raw = HEAD + body % base64.encodebytes(b"\nhidden marker here\n")
    parsed = parse(raw.replace(b"\n", line_end))
    assert b"hidden marker here" in parsed.folded
    assert {"ambiguous", reason} <= set(parsed.flags)


def test_the_report_and_its_dictionaries_see_every_reading() -> None:
    raw = HEAD + READINGS["the second boundary"][0] % base64.encodebytes(b"hidden marker here\n")
    scanner = esa.Scanner(dictionaries=[Dictionary.of("markers", {"hidden marker": 1})])
    report = scanner.scan(raw)
    assert {"ambiguous", "several_boundaries"} <= set(report.flags)
    assert "markers" in report.checks["dictionaries"]


def test_usual_mail_has_one_reading() -> None:
    parsed = parse(MIXED + b"\nThis is a message in MIME format.\n--b\n\none\n--b\nContent-Type: text/html\n\n<p>two\n--b--\n")
    assert parsed.flags == ()
    assert [part.another for part in parsed.parts] == [False] * 3
    assert [part.origin for part in parsed.parts] == [-1] * 3
    assert [part.contents() for part in parsed.parts[1:]] == [[b"one"], [b"<p>two"]]


def test_another_reading_does_not_change_the_usual_one() -> None:
    usual = parse(HEAD + b"Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--b\n\ntwo\n--b--\n--a--\n")
    parsed = parse(HEAD + b"Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\none\n--b\n\ntwo\n--b--\n--a--\n")
    assert [part.text for part in parsed.parts if not part.another] == [part.text for part in usual.parts]
    assert others(parsed) == ["two"]


def test_text_around_the_parts_is_matched_and_not_shown() -> None:
    parsed = parse(MIXED + b"\nread me first\n--b\n\ninside\n--b--\nread me last\n")
    assert b"read me first" in parsed.folded
    assert b"read me last" in parsed.folded
    assert parsed.text == "inside"
    assert "text_outside_parts" in parsed.flags


def test_a_usual_preamble_is_no_second_reading_and_a_long_one_is() -> None:
    assert reasons(MIXED + b"\nThis is a multi-part message in MIME format.\n--b\n\nx\n--b--\n") == set()
    assert "text_outside_parts" in reasons(MIXED + b"\n" + b"Read this letter at once. " * 20 + b"\n--b\n\nx\n--b--\n")


def test_a_second_charset_is_read_too() -> None:
    parsed = parse(HEAD + b"Content-Type: text/plain; charset=us-ascii; charset=utf-7\n\n+AGMAYQBzAGk-no\n")
    assert b"casino" in parsed.folded
    assert {"ambiguous", "several_charsets"} <= set(parsed.flags)


def test_text_around_base64_is_matched() -> None:
    parsed = parse(HEAD + b"Content-Transfer-Encoding: base64\n\nread this first!\neA==\n")
    assert b"read this first!" in parsed.folded


def test_joined_base64_is_given_as_every_reader_decodes_it() -> None:
    part = parse(HEAD + b"Content-Type: application/zip\nContent-Transfer-Encoding: base64\n\nUEs=UEs=\n").parts[0]
    assert part.contents() == [b"PK", b"PKPK", b"PK\x14\x12"]
    assert part.content() == b"PK"


def test_every_file_name_is_told_and_the_usual_one_first() -> None:
    parsed = parse(
        HEAD + b"Content-Type: application/octet-stream; name=a.txt\n"
        b"Content-Disposition: attachment; filename=b.pdf; filename*=utf-8''c%2Eexe; filename=a.txt\n\nMZ\n"
    )
    part = parsed.parts[0]
    assert (part.file_name, part.file_names) == ("c.exe", ["c.exe", "b.pdf", "a.txt", "a.txt"])
    assert "several_file_names" in parsed.flags
    assert "several_file_names" not in reasons(
        HEAD + b"Content-Type: application/octet-stream; name=a.txt\nContent-Disposition: attachment; filename=a.txt\n\nMZ\n"
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"bank.example: mallory@evil.example;", "odd_from"),
        (b"<ceo@bank.example> <mallory@evil.example>", "odd_from"),
        (b"<ceo@bank.example<mallory@evil.example>>", "odd_from"),
        (b"ceo@bank.example(@evil.example)", "odd_from"),
        (b"=?utf-8?Q?ceo=40bank.example=00?=@evil.example", "odd_from"),
        (b"x <=?utf-8?Q?ceo=40bank.example?=>", "odd_from"),
        (b'"ceo@bank.example,"@evil.example', "odd_from"),
        (b"ceo", "odd_from"),
        (b"", "odd_from"),
        (b"ceo@bank.example, mallory@evil.example", "several_from"),
    ],
)
def test_an_author_that_readers_see_differently_is_flagged(value: bytes, reason: str) -> None:
    assert reason in reasons(b"From: " + value + b"\n\nx\n")


@pytest.mark.parametrize(
    "value",
    [
        b"ann@example.org",
        b"Ann <ann@example.org>",
        b'"Ann, of Example" <ann@example.org>',
        b"ann@example.org (Ann)",
        b"=?utf-8?q?J=C3=BCrgen?= <j@example.org>",
        b"<ann+what?@example.org>",
    ],
)
def test_usual_authors_are_not_flagged(value: bytes) -> None:
    assert reasons(b"From: " + value + b"\n\nx\n") == set()


def test_the_addresses_of_an_odd_author_are_all_matched() -> None:
    folded = parse(b"From: <ceo@bank.example> <mallory@evil.example>\nFrom: third@example.org\n\nx\n").folded
    assert all(address in folded for address in (b"ceo@bank.example", b"mallory@evil.example", b"third@example.org"))


def test_every_subject_is_matched() -> None:
    assert b"second one" in parse(HEAD + b"Subject: first\nSubject: second =?utf-8?q?one?=\n\nx\n").folded


def test_no_author_and_a_sender_elsewhere_are_told() -> None:
    assert "no_from" in reasons(b"Subject: x\n\nx\n")
    assert "other_sender" in reasons(HEAD + b"Sender: bob@example.net\n\nx\n")
    assert "other_sender" not in reasons(HEAD + b"Sender: bob@lists.example.org\n\nx\n")
    assert "other_sender" in reasons(HEAD + b"Sender: bob@badexample.org\n\nx\n")


@pytest.mark.parametrize("media_type", [b"message/rfc822", b"message/global", b"Message/News"])
def test_a_message_in_a_message_is_read_under_each_of_its_types(media_type: bytes) -> None:
    for encoding in (b"", b"Content-Transfer-Encoding:\n"):
        parsed = parse(HEAD + b"Content-Type: " + media_type + b"\n" + encoding + b"\nSubject: inner\n\ninner text\n")
        assert [part.text for part in parsed.parts] == ["", "inner text\n"]


def test_what_is_not_here_is_told() -> None:
    assert "partial_message" in reasons(HEAD + b"Content-Type: message/partial; number=2; total=2; id=x\n\nrest of it\n")
    assert "external_body" in reasons(HEAD + b"Content-Type: message/external-body; access-type=URL; URL=x\n\nContent-Type: a/b\n\n")
    assert "encrypted" in reasons(HEAD + b"Content-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--\n")


def test_a_script_in_html_is_told() -> None:
    assert "html_script" in reasons(HEAD + b"Content-Type: text/html\n\n<script>x = atob('TVo=')</script>\n")


def test_a_lone_carriage_return_that_hides_a_field_or_a_part_is_read_both_ways() -> None:
    hidden = parse(HEAD + b"X-A: b\rContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(b"hidden marker"))
    assert b"hidden marker" in hidden.folded
    assert {"bare_cr", "ambiguous"} <= set(hidden.flags)
    parts = parse(MIXED + b"\n--b\n\nx\r--b\rContent-Transfer-Encoding: base64\r\r" + base64.encodebytes(b"hidden marker") + b"--b--\n")
    assert b"hidden marker" in parts.folded
    assert parse(HEAD + b"\nold\rlines\rof text\n").flags == ("bare_cr",)


# ---- bounds ----


def test_readings_within_readings_are_bounded_and_said_to_be() -> None:
    raw = b"x\n"
    for level in range(60):
        raw = b"Content-Type: multipart/mixed; boundary=a%d; boundary=b%d\n\n--a%d\n%s--b%d\n\ny\n" % (level, level, level, raw, level)
    parsed = parse(raw)
    assert "not_all_read" in parsed.flags
    assert len(parsed.parts) <= 4096
    assert all(part.depth <= 64 for part in parsed.parts)


def test_thousands_of_content_types_are_bounded() -> None:
    raw = HEAD + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n" % number for number in range(3000)) + b"\n" + b"--b7\n" * 5000
    parsed = parse(raw)
    assert "not_all_read" in parsed.flags
    assert b"" in parsed.folded


def test_messages_in_base64_in_each_other_are_opened_to_their_end() -> None:
    raw = b"Subject: x\n\ninnermost text\n"
    for _ in range(12):
        raw = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(raw)
    parsed = parse(raw)
    assert "innermost text" in parsed.text
    assert "not_all_read" not in parsed.flags


PIECES = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=b\n", b"Content-Type: text/plain; charset=utf-7; charset=x\n", b"boundary=c", b"\n",
        b"Content-Type: multipart/mixed; boundary=b; boundary=c\n", b"Content-Type: message/rfc822\n", b"--b\n", b"--c\n", b"--b--\n",
        b"Content-Transfer-Encoding: base64\n", b"Content-Transfer-Encoding: quoted-printable\n", b"Content-Transfer-Encoding: x\n",
        b"eA==\n", b"LS1iCgp4", b"no field\n", b"From: a@b.example\n", b"=2D-b\n", b"text\n", b"\r\n", b"\x00", b"\xff",
        b"begin 644 a\n#0V%T\n`\nend\n", b"Content-Disposition: attachment; filename=a; filename*=utf-8''b\n",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_any_mixture_is_read_with_offsets_inside_and_the_same_each_time(raw: bytes) -> None:
    parsed, again = parse(raw), parse(raw)
    assert (parsed.folded, parsed.flags) == (again.folded, again.flags)
    parts = parsed.parts
    for part in parts:
        assert 0 <= part.start <= part.body_start <= part.end
        assert part.parent < part.index
        assert part.origin < part.index
        if part.origin < 0:
            assert part.end <= len(raw)
            if part.encoding in ("identity", "unknown") or part.media_type.startswith(("multipart/", "message/")):
                assert part.content() == raw[part.body_start : part.end]
            for name, value in part.headers:
                assert name.encode("latin-1") in raw
                assert value.replace(b"\r", b"") in raw.replace(b"\r", b"").replace(b"\n", b"")
        if part.another:
            assert "ambiguous" in parsed.flags
        assert part.contents()[0] == part.content()


@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_line_ends_do_not_change_the_readings(raw: bytes) -> None:
    raw = raw.replace(b"\r", b"")
    one, other = parse(raw), parse(raw.replace(b"\n", b"\r\n"))
    assert one.folded == other.folded
    assert one.flags == other.flags
    assert [(part.parent, part.media_type, part.another) for part in one.parts] == [
        (part.parent, part.media_type, part.another) for part in other.parts
    ]
