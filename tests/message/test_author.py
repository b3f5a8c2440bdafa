"""The mailbox of a From or Reply-To field, as the core reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.message.author import mailbox_of
from esa_core import parse

FIELDS = [
    b"From: Ann <ann@example.org>",
    b"from : <Ann.B+c@Mail.Example.ORG> ",
    b"From: ann@example.org",
    b'From: "Ann, B" <ann@example.org>',
    b"From: =?utf-8?q?=C3=84nne?= <aenne@example.org>",
    b"From: ann@example.org, bob@example.net",
    b"From: (a comment) ann@example.org",
    b"From: Ann\r\n <ann@example.org>",
    b"From: Ann <ann@example.org>\r\nFrom: Bob <bob@example.net>",
    b"From: group: a@example.org;",
    b"From:",
    b"X: y",
    b"Reply-To: Help <help@example.org>\r\nFrom: Ann <ann@example.org>",
    b"From: Ann <ann@example.org",
    b"From: <ann@localhost>",
    b"From: " + b"x" * 500 + b" <ann@example.org>",
]


@pytest.mark.parametrize("field", FIELDS)
def test_the_plain_form_and_all_others_are_read_as_the_core_reads_them(field: bytes) -> None:
    mail = field + b"\r\nSubject: x\r\n\r\n"
    head = mail.lower()
    assert mailbox_of(mail, head, "from") == parse(mail).from_address
    assert mailbox_of(mail, head, "reply-to") == parse(mail).reply_to_address


@given(st.text('ab .<>@,;:"()-_\\=?', max_size=24))
def test_whatever_a_field_holds_the_answer_is_the_cores(value: str) -> None:
    mail = b"From: " + value.encode() + b"\r\n\r\n"
    assert mailbox_of(mail, mail.lower(), "from") == parse(mail).from_address
