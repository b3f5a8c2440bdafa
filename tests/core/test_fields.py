"""Header fields and literals that many rules ask for, and attachments, found in one look: against a look at each field and part in turn."""

from __future__ import annotations

import random

import pytest

from esa_core import Parsed, fold, parse
from esa_core._fields import FieldGate, has_field

BODY = b"\r\nSubject: no field\r\n"
FIELDS = [
    b"From: Ann <ann@example.org>\r\n",
    b"X-Mailer: Outlook Express\r\n",
    b"x-mailer: second of the name\r\n",
    b"Received: from a by b\r\n\twith SMTP;\r\n Mon\r\n",
    b"Subject: =?utf-8?q?caf=C3=A9_au?= =?utf-8?q?_lait?=\r\n",
    b"X-Eight: caf\xc3\xa9\r\n",
    b"X-Empty:\r\n",
    b"X-Odd: out\rlook \r\r\n express\n\twith\r SMTP; Mon=\r\n",
    b"X-" + b"L" * 70 + b": long\r\n",
]
NAMES = [
    b"from",
    b"x-mailer",
    b"received",
    b"subject",
    b"x-eight",
    b"x-empty",
    b"x-odd",
    b"x-absent",
    b"x-" + b"l" * 70,
    b"x-" + b"m" * 70,
    b"x",
]
LITERALS = [
    b"outlook",
    b"express",
    b"with smtp; mon",
    b"with smtp;mon",
    b"caf\xc3\xa9",
    b"cafe",
    b"example.org",
    b"second",
    b"au lait",
    b"no field",
    b"long",
]


def _expected(parsed: Parsed, names: list[bytes], searched: list[bool], more: bytes) -> set[int]:
    present = {name for name, _ in ((written.lower().encode(), value) for written, value in parsed.headers)}
    values = [value for name, is_searched in zip(names, searched, strict=True) if is_searched for value in parsed.header(name.decode())]
    text = b"\n".join([fold(value.encode()) for value in values] + [fold(more)])
    told = {number for number, name in enumerate(names) if name in present}
    return told | {len(names) + number for number, literal in enumerate(LITERALS) if fold(literal) in text}


def test_fields_and_literals_are_those_that_a_look_at_each_finds() -> None:
    chance = random.Random(4)
    for _ in range(500):
        mail = b"".join(chance.sample(FIELDS, chance.randint(0, len(FIELDS)))) + BODY
        names = chance.sample(NAMES, chance.randint(0, len(NAMES)))
        searched = [chance.random() < 0.7 for _ in names]
        more = chance.choice([b"", b"a second line", b"CAF\xc3\x89"])
        gate = FieldGate(list(zip(names, searched, strict=True)), [fold(literal) for literal in LITERALS])
        told = gate.find(parse(mail), more)
        assert told is not None
        assert len(told) == len(set(told))
        assert set(told) == _expected(parse(mail), names, searched, more)


def test_a_literal_that_wraps_over_two_lines_of_a_field_is_found() -> None:
    gate = FieldGate([(b"received", True)], [b"with smtp"])
    assert gate.find(parse(b"Received: from a with\r\n smtp\r\n\r\n")) == [0, 1]


def test_without_fields_and_literals_nothing_is_told() -> None:
    gate = FieldGate([], [])
    assert gate.find(parse(FIELDS[0] + BODY), b"text") == []


def test_more_matches_than_are_looked_at_are_told_as_unknown() -> None:
    literals = [b"a" * length for length in range(1, 9)]
    gate = FieldGate([(b"x", True)], literals)
    assert gate.find(parse(b"X: " + b"a" * 400_000 + b"\r\n\r\n")) is None


@pytest.mark.parametrize("name", NAMES)
def test_whether_there_is_a_field_of_a_name(name: bytes) -> None:
    parsed = parse(b"".join(FIELDS) + BODY)
    assert has_field(parsed, name) is any(written.lower().encode() == name for written, _ in parsed.headers)


def _is_attachment(parsed: Parsed, number: int) -> bool:
    part = parsed.parts[number]
    if part.media_type.startswith("multipart/") or part.another:
        return False
    return part.attachment or bool(part.file_name) or not part.media_type.startswith(("text/", "message/"))


PARTS = [
    b"Content-Type: text/plain\r\n\r\ntext",
    b"Content-Type: text/plain; name=a.txt\r\n\r\ntext",
    b"Content-Disposition: attachment\r\n\r\ntext",
    b"Content-Disposition: inline; filename=b.txt\r\n\r\ntext",
    b"Content-Disposition: inline\r\nContent-Type: text/html; name=b.html\r\n\r\n<p>text",
    b"Content-Type: text/plain\r\nContent-Type: text/plain; name=c.txt\r\n\r\ntext",
    b"Content-Type: text/calendar\r\n\r\ntext",
    b"Content-Type: image/png\r\n\r\npicture",
    b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nbegin 644 d.txt\r\n#86)C\r\n`\r\nend\r\n",
    b"Content-Type: nonsense\r\n\r\ntext",
    b"Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\none\r\n--c\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--c--\r\n",
    b"Content-Transfer-Encoding: base64\r\n\r\nYmVnaW4gNjQ0IGUudHh0CiM4NilDCmAKZW5kCg==\r\n",
]


def test_attachments_are_the_parts_that_are_said_to_be_so_or_named_or_of_another_type() -> None:
    chance = random.Random(6)
    seen = 0
    for _ in range(300):
        chosen = chance.sample(PARTS, chance.randint(1, 5))
        mail = (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(b"--b\r\n" + part + b"\r\n" for part in chosen) + b"--b--\r\n"
        )
        parsed = parse(mail if chance.random() < 0.8 else b"From: a@b.example\r\n" + chosen[0])
        told = [part.index for part in parsed.attachments]
        assert told == [part.index for part in parsed.parts if _is_attachment(parsed, part.index)]
        seen += len(told)
    assert seen
