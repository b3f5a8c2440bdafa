"""Invariant: whatever octets a message consists of, reading, decoding and folding it ends, raises nothing, and gives offsets inside the
message, parts inside their parents and valid UTF-8.

Messages are our golden mail, mutated and spliced with what means something to a parser. ESA_FUZZ_SECONDS (default 2) bounds the time; under
`make core-debug` the core runs with sanitizers. Found inputs are kept in tests/fuzz/found/message and replayed first.
"""

from __future__ import annotations

import ctypes
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core import fold, parse

MAIL = Path(__file__).resolve().parent.parent / "mail"
FOUND = Path(__file__).resolve().parent / "found" / "message"
SECONDS = float(os.environ.get("ESA_FUZZ_SECONDS", "2"))
WORDS = [
    b"\n", b"\r\n", b"\r", b"\n\n", b"\x00", b"\xff", b"\xe2\x82", b" ", b"\t", b"--", b"--b\n", b"--b--\n", b"=", b"=\n", b"=41",
    b"=?", b"=?utf-8?q?=C3?=", b"=?utf-8?b?w6Q=?=", b"=?gb2312?b?xOO6?=", b"=?x?q?", b"?=", b"(", b")", b'"', b"\\", b"<", b">",
    b",", b";", b":", b"Content-Type: multipart/mixed; boundary=b\n\n--b\n", b"Content-Type: message/rfc822\n\n",
    b"Content-Type: text/html\n\n", b"Content-Transfer-Encoding: base64\n", b"Content-Transfer-Encoding: quoted-printable\n",
    b"Content-Transfer-Encoding: x-uuencode\n", b"Content-Disposition: attachment; filename*0*=utf-8''%e2; filename*1=b\n",
    b"filename*5=", b"charset=", b"boundary*0=", b"boundary*1=", b"charset=utf-7\n", b"charset=utf-16\n", b"charset=utf-32\n",
    b"charset=gb18030\n", b"charset=big5\n", b"charset=euc-jp\n", b"charset=shift_jis\n", b"charset=euc-kr\n",
    b"charset=iso-2022-jp\n", b"charset=iso-2022-kr\n", b"charset=hz-gb-2312\n", b"charset=koi8-r\n", b"charset=cp037\n",
    b"charset=us-ascii\n", b"charset=nonsense\n", b"\x1b$B", b"\x1b(B", b"\x1b(I", b"\x1b$(D", b"\x0e", b"\x0f", b"~{", b"~}",
    b"+2AA-", b"\x810\x810", b"\x8f\xa2\xaf", b"\x8e\xb1", b"<a href=http://x>", b"</a>", b"<p>", b"<div hidden>", b"</div>",
    b'<span style="display:none">', b"<td>", b"<table>", b"<pre>", b"<li>", b"<!--", b"-->", b"<script>", b"</script>", b"<title>",
    b"<textarea>", b"<img src=x alt='", b"<input type=submit value=", b"<plaintext>", b"&amp", b"&#65;", b"&#x1F600;", b"&nGt;",
    b"&#", b"&", b'<meta http-equiv=refresh content="0;url=x">', b"http://", b"www.", b"://", b"\xef\xb7\xba", b"\xc4\xb0",
    b"\xe2\x80\x8b", b"\xf0\x9f\x98\x80", b"\xc3\x9f", b"\nbegin 644 a.exe\n#0V%T\n`\nend\n", b"boundary=b; boundary=c\n",
    b"Content-Type: application/ms-tnef\n", b"Content-Type: application/pkcs7-mime\n", b"--b--\n--b\n", b"====AAAA",
    b"Content-Type: message/partial\n\n", b"Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 8bit\n",
]  # fmt: skip


def check(raw: bytes) -> None:
    # a bytes object has a NUL behind it: only in memory of the exact size does a sanitizer see one octet too many
    parsed = parse(ctypes.create_string_buffer(raw, len(raw))) if raw else parse(raw)
    assert parsed.folded.decode("utf-8", "strict") is not None
    assert len(parsed.subject) + len(parsed.text) + len(parsed.written) + len(repr(parsed.links)) >= 0
    parts = parsed.parts
    for part in parts:
        assert 0 <= part.start <= part.body_start <= part.end
        assert part.origin < part.index
        if part.origin < 0:
            assert part.end <= len(raw)
        assert part.depth <= 64
        if part.parent >= 0:
            above = parts[part.parent]
            assert part.parent < part.index
            if above.origin == part.origin:
                assert above.body_start <= part.start
                assert part.end <= above.end
        assert part.content() == part.contents()[0]
        assert "\n" not in "".join(part.file_names)
        part.text.encode("utf-8", "strict")
    assert "\n" not in parsed.subject + parsed.from_name + parsed.from_address
    for name, value in parsed.headers:
        parsed.header(name)
        assert b"\n" not in value


def mutated(dice: random.Random, messages: list[bytes]) -> bytes:
    raw = bytearray(dice.choice(messages))
    for _ in range(dice.randint(1, 12)):
        at = dice.randint(0, len(raw))
        action = dice.randrange(5)
        if action == 0:
            raw[at:at] = dice.choice(WORDS) * dice.choice((1, 1, 1, 70, 600))
        elif action == 1:
            del raw[at : at + dice.choice((1, 3, 40))]
        elif action == 2 and raw:
            raw[at % len(raw)] = dice.randrange(256)
        elif action == 3:
            other = dice.choice(messages)
            start = dice.randint(0, len(other))
            raw[at:at] = other[start : start + dice.randint(0, 200)]
        else:
            del raw[at:]
    return bytes(raw)


def test_found_inputs_stay_mended() -> None:
    for path in sorted(FOUND.glob("*")):
        check(path.read_bytes())


def test_mutated_mail_keeps_the_invariant() -> None:
    messages = [path.read_bytes() for path in sorted(MAIL.glob("*/*.eml"))]
    seed = random.SystemRandom().randrange(2**32)
    dice = random.Random(seed)
    end = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < end:
        raw = mutated(dice, messages)
        try:
            check(raw)
        except Exception:
            pytest.fail(f"seed {seed}, message {number}: {raw!r}")
        number += 1
    assert number > 10


@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=40).map(b"".join))
def test_any_mixture_of_meaningful_octets_keeps_the_invariant(raw: bytes) -> None:
    check(raw)


@given(st.binary(max_size=200))
def test_folding_any_octets_ends(octets: bytes) -> None:
    assert fold(fold(octets)) == fold(octets) or not octets.isascii()
