"""What would give a label away is dropped, and nothing else is touched."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from esa.errors import CorpusError
from esa.learning.leaks import SHIPPED_LIST, LeakList

CLEAN = b"From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: lunch\r\nReceived: from a by b;\r\n\tMon, 1 Jan 2024\r\n\r\nX-Spam: body\r\n"


@pytest.fixture(scope="module")
def leaks() -> LeakList:
    return LeakList.load()


def listed(tmp_path: Path, text: str) -> LeakList:
    path = tmp_path / "list.txt"
    path.write_text(text)
    return LeakList.load(path)


def test_a_message_without_leaks_keeps_every_octet(leaks: LeakList) -> None:
    assert leaks.strip(CLEAN) == CLEAN


@pytest.mark.parametrize(
    "field",
    [
        b"X-Spam-Status: Yes, score=12",
        b"x-spam-flag: YES",
        b"X-Bogosity: Spam",
        b"X-MailScanner-SpamCheck: spam",
        b"Precedence: bulk",
        b"List-Id: <a.example.org>",
        b"Delivered-To: bob@example.net",
        b"References: <1@example.org>",
        b"X-Spam-Report: first\r\n\tsecond\r\n third",
        b"X-Spam-Level : *****",
    ],
)
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_verdicts_and_collection_artefacts_go_with_their_folded_lines(leaks: LeakList, field: bytes, line_end: bytes) -> None:
    clean = CLEAN.replace(b"\r\n", line_end)
    field = field.replace(b"\r\n", line_end) + line_end
    fields = clean.split(line_end)
    for before in range(4):
        head = line_end.join(fields[:before]) + (line_end if before else b"")
        assert leaks.strip(head + field + clean[len(head) :]) == clean


def test_a_name_must_match_as_a_whole(leaks: LeakList) -> None:
    raw = b"Sender-Note: kept\nMy-References: kept\nSubject: x\n\ny"
    assert leaks.strip(raw) == raw


def test_the_body_is_no_header(leaks: LeakList) -> None:
    raw = b"Subject: x\n\nX-Spam-Flag: YES\n\nPrecedence: bulk\n"
    assert leaks.strip(raw) == raw


def test_the_mbox_line_goes_only_where_it_is_first(leaks: LeakList) -> None:
    assert leaks.strip(b"From ann Mon Jan  1 00:00:00 2024\nSubject: x\n\nFrom me to you\n") == b"Subject: x\n\nFrom me to you\n"


def test_subject_tags_go_from_the_subject_and_stay_in_the_body(leaks: LeakList) -> None:
    assert leaks.strip(b"Subject: Re: [SPAM] [linux-list] hello\n\n[SPAM] [linux-list]\n") == b"Subject: Re: hello\n\n[SPAM] [linux-list]\n"


def test_addresses_of_the_collectors_are_replaced_everywhere(leaks: LeakList) -> None:
    assert leaks.strip(b"To: phishing@pot\n\nDear phishing@pot,\n") == b"To: user@example.com\n\nDear user@example.com,\n"


def test_lines_that_are_no_field_and_odd_octets_are_kept(leaks: LeakList) -> None:
    raw = b"Subject: Hi\r\n there\r\nX-Mailer:x\r\nno field at all\r\n\r\nX-Spam-Status: quoted in the body\r\n\0\xff"
    assert leaks.strip(raw) == raw


def test_a_message_without_a_body_is_stripped_too(leaks: LeakList) -> None:
    assert leaks.strip(b"X-Spam-Flag: YES\nTo: b") == b"To: b"
    assert leaks.strip(b"") == b""


@pytest.mark.parametrize("raw", [b"", b"\n", b"X-Spam: yes", b"X-Spam: yes\n", b"\x00\xff", b":\n:\n\n", b"From ", b"Subject"])
def test_odd_messages_are_stripped_without_error(leaks: LeakList, raw: bytes) -> None:
    assert b"X-Spam" not in leaks.strip(raw)


def test_a_list_is_of_names_without_regard_to_case_and_of_tokens(tmp_path: Path) -> None:
    leaks = listed(tmp_path, "# remark\n[verdicts]\nx-a|x-b\n[collection-artefacts]\nx-c.*\n[tokens]\nsecret = public\n")
    assert leaks.strip(b"X-A: 1\nx-B: 2\nX-Cat: 3\nX-AB: 4\n\na secret") == b"X-AB: 4\n\na public"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x-spam\n", "line 1: this line stands in no known section"),
        ("[other]\nx-spam\n", "line 2: this line stands in no known section"),
        ("[verdicts]\n\nx-(\n", "line 3: this is no regular expression"),
        ("[tokens]\n[a = b\n", "line 2: this is no regular expression"),
    ],
)
def test_a_wrong_line_of_a_list_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CorpusError, match=re.escape(reason)):
        listed(tmp_path, text)


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"absent\.txt: the list of leaky headers cannot be read"):
        LeakList.load(tmp_path / "absent.txt")


@pytest.mark.corpus
def test_the_shipped_list_is_that_of_the_corpora(shared: Path) -> None:
    assert SHIPPED_LIST.read_text("utf-8") == (shared / "corpora" / "leaky-headers.txt").read_text("utf-8")


@pytest.mark.corpus
def test_no_listed_field_is_left_in_real_mail_and_the_body_stays(leaks: LeakList, corpus: Callable[[str], Path]) -> None:
    for path in random.Random(8).sample(sorted(corpus("spamassassin").glob("*/*")), 500):
        raw = path.read_bytes()
        head, separator, body = raw.partition(b"\n\n")
        stripped = leaks.strip(raw)
        assert leaks.strip(stripped) == stripped
        names = re.findall(rb"^([!-9;-~]+)[ \t]*:", stripped.partition(b"\n\n")[0], re.MULTILINE)
        assert not [name for name in names if leaks.names.fullmatch(name)]
        assert len(stripped) <= len(raw)
        assert stripped.endswith(body[-200:]) if separator and head else True
