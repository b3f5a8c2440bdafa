"""Header values of real mail against Python's `email.header`: all differences are of a named class, in which a mail client shows ours."""

from __future__ import annotations

import email.header
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esa_core import parse

UNDECODED = "raw octets that are not UTF-8, which Python does not decode at all"


def python(value: str) -> str | None:
    """As `email.header` shows it, None where it cannot."""
    try:
        return str(email.header.make_header(email.header.decode_header(value)))
    except (UnicodeError, LookupError, email.errors.HeaderParseError):
        return None


def compact(text: str) -> str:
    """Without white space: Python puts a space between an encoded word and what touches it; clients do not."""
    return "".join(text.split())


def difference(raw: bytes, ours: str) -> str:
    """The class of a difference, "" for none."""
    if not raw.isascii() and b"=?" in raw:
        return "raw octets beside encoded words, which Python escapes"
    try:
        value = raw.decode("utf-8")
    except UnicodeDecodeError:
        return UNDECODED
    theirs = python(value)
    if theirs is not None and compact(theirs) == compact(ours):
        return ""
    if theirs is None:
        return "a label or octets that Python does not know (language tags, GBK as gb2312)"
    if b"?unknown" in raw.lower() or b"?x-unknown" in raw.lower():
        return "a label that says nothing, guessed at as without one"
    if compact(theirs.translate({octet: bytes([octet]).decode("cp1252", "replace") for octet in range(0x80, 0xA0)})) == compact(ours):
        return "iso-8859-1, which is windows-1252 (WHATWG 4.2)"
    return "other"


def unfolded(head: bytes) -> Iterator[tuple[str, bytes]]:
    for line in head.replace(b"\r\n", b"\n").replace(b"\n ", b"\0 ").replace(b"\n\t", b"\0\t").split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon and name.isascii() and not name.strip(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"):
            yield name.decode(), value.replace(b"\0", b"")


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["phishing_pot", "list-nvdimm", "spamassassin", "foff-2025"])
def test_header_values_of_real_mail_are_shown_as_python_shows_them(corpus: Callable[[str], Path], name: str) -> None:
    found: Counter[str] = Counter()
    paths = sorted(path for path in corpus(name).rglob("*") if path.is_file())
    for path in random.Random(1).sample(paths, min(1200, len(paths))):
        raw = path.read_bytes()
        head = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
        if b"=?" not in head and head.isascii():
            continue
        parsed = parse(raw)
        for field, value in unfolded(head):
            if b"=?" in value or not value.isascii():
                shown = [ours for ours in parsed.header(field) if difference(value, ours) == ""]
                found["" if shown else difference(value, (parsed.header(field) or [""])[0])] += 1
    found.pop(UNDECODED, None)
    total = sum(found.values())
    assert found["other"] == 0, found
    assert total - found[""] <= max(0.03 * total, 3), found
