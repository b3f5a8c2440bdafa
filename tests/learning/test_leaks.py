"""What would give a label away is gone before a scanner sees a message, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.errors import CorpusError
from esa.learning.leaks import SHIPPED_LIST, LeakList

LEAKS = LeakList.load()


def test_verdicts_and_artefacts_are_dropped_with_their_folded_lines() -> None:
    raw = b"From: a@example.org\nX-Spam-Status: Yes,\n\tscore=9\nSubject: Hi\nList-Id: <x>\nx-ms-exchange-organization-scl: 9\n\nbody\n"
    assert LEAKS.strip(raw) == b"From: a@example.org\nSubject: Hi\n\nbody\n"


def test_other_bytes_are_kept_as_they_are() -> None:
    raw = (
        b"From: a@example.org\r\nSubject: Hi\r\n there\r\nX-Mailer:x\r\nno field at all\r\n\r\nX-Spam-Status: quoted in the body\r\n\0\xff"
    )
    assert LEAKS.strip(raw) == raw


def test_the_mbox_line_is_dropped_only_at_the_start() -> None:
    assert LEAKS.strip(b"From a@example.org Mon Jan 1\nTo: b\n\nFrom here on\n") == b"To: b\n\nFrom here on\n"


def test_tags_of_mailing_lists_are_taken_out_of_the_subject_only() -> None:
    assert LEAKS.strip(b"Subject: Re: [linux-nvdimm] [SPAM] hello\n\n[image] text") == b"Subject: Re: hello\n\n[image] text"


def test_a_message_without_a_body_and_an_empty_one() -> None:
    assert LEAKS.strip(b"X-Spam-Flag: YES\nTo: b") == b"To: b"
    assert LEAKS.strip(b"") == b""


def test_a_wrong_list_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("[verdicts]\nx-(spam\n")
    with pytest.raises(CorpusError, match=r"list\.txt, line 2: this is no regular expression"):
        LeakList.load(path)
    path.write_text("x-spam\n")
    with pytest.raises(CorpusError, match="stands in no known section"):
        LeakList.load(path)
    with pytest.raises(CorpusError, match="cannot be read"):
        LeakList.load(tmp_path / "absent")


def test_the_shared_list_is_the_shipped_one(shared: Path) -> None:
    assert (shared / "corpora" / "leaky-headers.txt").read_text("utf-8") == SHIPPED_LIST.read_text("utf-8")
