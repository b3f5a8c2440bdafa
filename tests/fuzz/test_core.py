"""Invariant: no matter what octets come in, parsing, everything that can be asked of the parsed message, and scanning return.

They never crash, never read or write outside their buffers, never raise for content, and what they return is consistent: parts lie within
the message, a parent comes before its children, text is UTF-8, reasons sum to the logit.

What was found before and a fixed set of mutations, through the public interface; with ESA_FUZZ_SECONDS new ones for so long. The input
that broke it is then left in build/fuzz/last-input; once mended, that file goes to tests/fuzz/found/message. `make fuzz` drives the
parsers themselves (test_targets).
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import esa
from tests.conftest import ROOT, SHARED
from tests.fuzz import interfaces

FOUND = sorted((Path(__file__).parent / "found" / "message").glob("*"))
SECONDS = float(os.environ.get("ESA_FUZZ_SECONDS", "0"))
ORDINARY_ROUNDS = 300
LARGEST = 64 * 1024
ALPHABET = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b"--",
        b"=",
        b"=\r\n",
        b'"',
        b";",
        b":",
        b"<",
        b">",
        b"@",
        b"%",
        b"\r\n\r\n",
        b"\r\n.\r\n",
    ),
    *(b"=?utf-8?B?", b"=?iso-2022-jp?Q?", b"?=", b"From: ", b"Subject: ", b"Content-Type: ", b"multipart/mixed; boundary="),
    *(b"message/rfc822\r\n\r\n", b"text/html; charset=", b"utf-7", b"utf-16", b"gb2312", b"hz", b"Content-Transfer-Encoding: "),
    *(b"base64", b"quoted-printable", b"uuencode", b"begin 644 a\r\n", b"filename*0*=", b"name*=utf-8''", b"<a href=", b"http://"),
    *(
        b"javascript:",
        b"<style>",
        b"<!--",
        b"-->",
        b"<div hidden>",
        b"&#x",
        b"&amp;",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xe2\x80\x8b",
    ),
    *(b"\xf0\x9f", b"\x1b$B", b"\x80"),
)


def seeds() -> list[bytes]:
    """Our own mail, and the messages of the packs if they are there."""
    paths = sorted((ROOT / "tests" / "mail").rglob("*.eml"))
    for pack in ("mime-ambiguity", "mime-mime4j", "markers"):
        paths += sorted(path for path in (SHARED / "conformance" / pack).rglob("*") if path.suffix in {".eml", ".msg"})
    messages = [path.read_bytes()[:LARGEST] for path in paths]
    return messages or [b"From: ann@example.org\r\nContent-Type: multipart/mixed; boundary=cut\r\n\r\n--cut\r\n\r\nx\r\n--cut--\r\n"]


def mutated(chance: random.Random, pool: list[bytes]) -> bytes:
    """One message with some octets changed, pieces removed, doubled, moved in from another, or words of mail put in."""
    message = bytearray(chance.choice(pool))
    for _ in range(chance.randint(1, 12)):
        at = chance.randint(0, len(message))
        span = chance.randint(1, 1 + chance.choice((4, 40, 400)))
        match chance.randrange(6):
            case 0:
                message[at : at + 1] = bytes((chance.randrange(256),))
            case 1:
                del message[at : at + span]
            case 2:
                message[at:at] = message[at : at + span] * chance.choice((1, 2, 30))
            case 3:
                message[at:at] = b"".join(chance.choices(ALPHABET, k=chance.randint(1, 8)))
            case 4:
                other = chance.choice(pool)
                begin = chance.randint(0, len(other))
                message[at:at] = other[begin : begin + span]
            case _:
                del message[at:]
    return bytes(message[:LARGEST])


def rounds() -> Iterator[bytes]:
    """The messages of this run: a fixed set, or new ones until the time is over."""
    pool = seeds()
    if not SECONDS:
        chance = random.Random(1)
        yield from (mutated(chance, pool) for _ in range(ORDINARY_ROUNDS))
        return
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    last = ROOT / "build" / "fuzz" / "last-input"
    last.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + SECONDS
    count = 0
    while time.monotonic() < until:
        message = mutated(chance, pool)
        last.write_bytes(message)  # a crash leaves it there
        yield message
        count += 1
    last.unlink()
    print(f"\n{count} messages, seed {seed}")


def hold(raw: bytes) -> None:
    """Ask everything of one message and check that the answers fit together."""
    interfaces.parsed(raw)
    report = esa.scan(raw)
    assert math.isfinite(report.logit)
    assert math.isclose(sum(reason.contribution for reason in report.reasons), report.logit, abs_tol=1e-6)


def test_mutated_mail_holds_the_invariant() -> None:
    for raw in rounds():
        hold(raw)


def test_what_was_found_before_stays_mended() -> None:
    for path in FOUND:
        hold(path.read_bytes())


@pytest.mark.parametrize("raw", [b"", b"\0", b"\n", b"\r", b":", b"\r\n" * 1000, b"\xff" * 1000, b"a" * 100_000, bytes(range(256)) * 16])
def test_tiny_and_empty_mail_holds_the_invariant(raw: bytes) -> None:
    hold(raw)
