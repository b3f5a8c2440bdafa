"""Where the messages of an mbox begin and end, whatever wrote it and whatever was lost from it."""

from __future__ import annotations

import mailbox
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from esa.learning.mbox import looks_like_mbox, split_mbox

DATED = b"From ann@example.org Mon Jan  1 00:00:00 2024\n"
ONE = b"From: ann@example.org\nSubject: one\n\nfirst\n"
TWO = b"Subject: two\nTo: bob@example.net\n\nsecond\n"


def split(content: bytes) -> list[bytes]:
    return [content[start:end] for start, end in split_mbox(content)]


@pytest.mark.parametrize(
    "content",
    [
        DATED + ONE + b"\n" + DATED + TWO + b"\n",
        DATED + ONE + b"\n" + DATED + TWO,  # no empty line at the end
        DATED + ONE + DATED + TWO + b"\n",  # the empty line between them is lost
        DATED + ONE + b"\nFrom bob\n" + TWO + b"\n",  # the date is lost
        DATED + ONE + b"\nFrom \n" + TWO + b"\n",  # all of the line but its first word is lost
        b"From - Mon, 1 Jan 2024 00:00:00\n" + ONE + b"\nFrom - Mon, 1 Jan 2024 00:00:00\n" + TWO + b"\n",  # as Thunderbird writes it
    ],
    ids=["as it should be", "no last empty line", "no empty line", "no date", "only From", "comma"],
)
def test_no_two_messages_are_joined(content: bytes) -> None:
    assert looks_like_mbox(content)
    assert split(content) == [ONE, TWO]


def test_line_ends_of_the_network_are_split_alike() -> None:
    content = (DATED + ONE + b"\n" + DATED + TWO + b"\n").replace(b"\n", b"\r\n")
    assert split(content) == [ONE.replace(b"\n", b"\r\n"), TWO.replace(b"\n", b"\r\n")]


@pytest.mark.parametrize(
    "line",
    [
        b"From here we go on.",
        b">From ann@example.org Mon Jan  1 00:00:00 2024",
        b" From ann@example.org Mon Jan  1 00:00:00 2024",
        b"from ann@example.org Mon Jan  1 00:00:00 2024",
        b"From Monday on we meet at ten",
    ],
)
@pytest.mark.parametrize("before", [b"", b"\n"], ids=["behind text", "behind an empty line"])
def test_a_line_of_text_does_not_split_a_message(line: bytes, before: bytes) -> None:
    body = b"Subject: x\n\ntext\n" + before + line + b"\nmore text\n"
    assert split(DATED + body) == [body]


def test_an_attached_message_in_quoted_form_stays_with_its_message() -> None:
    body = b"Subject: x\n\n>From bob Mon Jan  1 00:00:00 2024\n>Subject: y\n\nz\n"
    assert split(DATED + body + b"\n" + DATED + ONE) == [body, ONE]


@pytest.mark.parametrize("content", [b"", b"From", b"From ", b"From me\n", b"From: ann@example.org\n\nx", b"Subject: x\n\n" + DATED + ONE])
def test_what_does_not_begin_with_a_from_line_is_no_mbox(content: bytes) -> None:
    assert not looks_like_mbox(content)


def test_a_from_line_with_nothing_behind_it_is_an_empty_message() -> None:
    assert split(DATED) == [b""]
    assert split(DATED + DATED + ONE) in ([b"", ONE], [DATED + ONE])


@pytest.mark.corpus
def test_real_mail_that_python_packs_is_split_as_python_splits_it(corpus: Callable[[str], Path], tmp_path: Path) -> None:
    """`mailbox.mbox` splits at every From_ line and quotes those of the text when it writes."""
    box = mailbox.mbox(tmp_path / "box")
    paths = random.Random(10).sample(sorted(corpus("spamassassin").glob("*/*")), 300)
    for path in paths:
        raw = path.read_bytes()
        box.add(raw.partition(b"\n")[2] if raw.startswith(b"From ") else raw)
    box.flush()
    content = (tmp_path / "box").read_bytes()
    expected = [box.get_bytes(key) for key in box.iterkeys()]
    box.close()
    assert len(expected) == len(paths)
    found = split(content)
    assert len(found) == len(paths)
    assert [message.rstrip(b"\n") for message in found] == [message.rstrip(b"\n") for message in expected]
