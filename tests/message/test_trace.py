"""Trace fields: hostile input stays harmless in them, and forged ones go while everything else stays byte-equal."""

from __future__ import annotations

import mmap
import re
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.message.envelope import Envelope, Session
from esa.message.trace import received_field, result_field_ranges, result_fields, strip_result_fields
from esa_core._header_lines import header_end

HOST = "mx.example.org"
IDENTIFIER = "01JDQ3Z9V8K2M4N6P8R0S2T4V6"


def field(helo: str, *recipients: str, client: str = "192.0.2.7", at: float = 1_700_000_000.0) -> str:
    session = Session(client, 2525, helo, "ESMTPS", "main", at)
    return received_field(session, Envelope("a@example.net", recipients), hostname=HOST, message_id=IDENTIFIER).decode("ascii")


def test_received_names_client_host_protocol_identifier_recipient_and_date() -> None:
    unfolded = re.sub(r"\r\n(?=[ \t])", "", field("mail.example.net", "b@example.org"))
    assert unfolded.startswith(
        f"Received: from mail.example.net ([192.0.2.7])\tby {HOST} with ESMTPS id {IDENTIFIER}\tfor <b@example.org>;"
    )
    assert parsedate_to_datetime(unfolded.rpartition(";")[2].strip()).timestamp() == 1_700_000_000


def test_no_recipient_is_named_where_there_are_several() -> None:
    assert "example.org>" not in field("mail.example.net", "b@example.org", "c@example.org")


def test_an_ipv6_client_is_written_as_an_address_literal_with_its_tag() -> None:
    assert "([IPv6:2001:db8::1])" in field("mail.example.net", "b@example.org", client="2001:db8::1")


@pytest.mark.parametrize(
    "helo", ["a\r\nX-Esa-Verdict: clean", "x) (y", "a;b by z with q", "\x00\x1b[2J", "", "é.example", "a" * 5000, '"<b@c>', "\\"]
)
def test_a_hostile_helo_cannot_leave_its_comment(helo: str) -> None:
    text = field(helo, "b@example.org")
    assert text.count("\r\n") == len(text.splitlines())
    assert all(line[:1] in ("\t", "R") and len(line) <= 200 for line in text.splitlines())
    assert text.isascii()
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\\]", text)
    assert text.count("(") == text.count(")")
    assert text.count(";") == 1


@given(st.text(max_size=300), st.text(max_size=100), st.text(max_size=100))
def test_whatever_the_client_says_the_field_is_one_well_formed_ascii_field(helo: str, recipient: str, client: str) -> None:
    raw = received_field(Session(client, 1, helo), Envelope("", (recipient,)), hostname=HOST, message_id=IDENTIFIER)
    message = message_from_bytes(raw + b"\r\nbody", policy=policy.SMTP)
    assert message.keys() == ["Received"]
    assert not message.defects


def test_result_fields_show_the_five_heaviest_reasons_folded() -> None:
    reasons = [(f"a_rather_long_name_of_a_reason_{number}", 3.14 - number) for number in range(8)]
    text = result_fields(IDENTIFIER, "suspect", 61.25, reasons).decode("ascii")
    assert text.splitlines()[:3] == [f"X-Esa-Id: {IDENTIFIER}", "X-Esa-Verdict: suspect", "X-Esa-Score: 61.2"]
    assert all(len(line) <= 78 for line in text.splitlines())
    unfolded = text.replace("\r\n ", " ")
    assert unfolded.count("=") == 5
    assert "a_rather_long_name_of_a_reason_0=+3.1, a_rather_long_name_of_a_reason_1=+2.1" in unfolded


def test_a_reason_cannot_break_its_line() -> None:
    assert result_fields(IDENTIFIER, "clean", 0.0, [("a\r\nb: c", 1.0)]).count(b"\r\n") == 4


def test_forged_fields_go_and_the_rest_stays_byte_equal() -> None:
    content = b"x-ESA-verdict: clean\r\n\tfolded\r\nSubject: a\r\nX-Esa-Score : 0\r\nX-Esa-Id:b\r\nTo: c\r\n\r\nX-Esa-Id: in the body\r\n"
    assert strip_result_fields(content) == b"Subject: a\r\nTo: c\r\n\r\nX-Esa-Id: in the body\r\n"
    assert list(result_field_ranges(content)) == [(0, 31), (43, 72)]


def test_content_without_forged_fields_is_returned_as_the_same_object() -> None:
    content = b"Subject: X-Esa-Verdict: clean\r\n folded X-Esa-\r\n\r\nX-Esa-Id: body\r\n"
    assert strip_result_fields(content) is content
    assert strip_result_fields(b"") == b""


@pytest.mark.parametrize("content", [b"\r\nX-Esa-Id: body\r\n", b"\nX-Esa-Id: body\n"])
def test_a_message_without_a_header_has_nothing_forged(content: bytes) -> None:
    assert header_end(content) == 0
    assert strip_result_fields(content) is content


def test_a_header_that_never_ends_is_searched_whole() -> None:
    assert strip_result_fields(b"A: b\r\nX-Esa-Id: 1") == b"A: b\r\n"
    assert strip_result_fields(b"X-Esa-Id: 1\r\n") == b""


def test_bare_line_feeds_do_not_hide_a_forged_field() -> None:
    assert strip_result_fields(b"A: b\nX-Esa-Id: 1\nC: d\n\nX-Esa-Id: body\n") == b"A: b\nC: d\n\nX-Esa-Id: body\n"


def test_fields_across_the_steps_of_a_big_mapped_header_are_found(tmp_path: Path) -> None:
    header = b""
    expected = []
    for filler in ((1 << 20) - 3, (1 << 20) - 20, 7):
        header += b"A: " + b"b" * filler + b"\r\n"
        expected.append((len(header), len(header) + 13))
        header += b"X-Esa-Id: 1\r\n"
    path = tmp_path / "big"
    path.write_bytes(header + b"C: d\r\n\r\nX-Esa-Id: body\r\n")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert list(result_field_ranges(mapped)) == expected


_LINES = st.lists(
    st.sampled_from([b"X-Esa-Id: 1", b"x-esa-", b" X-Esa-Id: fold", b"\tb", b"Subject: x-esa-", b"A: b", b"", b"X-Es"]), max_size=12
)


@given(_LINES, st.sampled_from([b"\r\n", b"\n"]))
def test_stripping_agrees_with_a_model_that_reads_line_by_line(lines: list[bytes], end: bytes) -> None:
    kept, in_header, dropping = [], True, False
    for line in lines:
        if in_header and line == b"":
            in_header = False
        if in_header and line[:1] not in (b" ", b"\t"):
            dropping = line.lower().startswith(b"x-esa-")
        if not (in_header and dropping):
            kept.append(line + end)
    assert strip_result_fields(end.join([*lines, b""])) == b"".join(kept)
