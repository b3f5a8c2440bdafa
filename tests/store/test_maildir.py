"""Delivery to a Maildir."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.maildir import Maildir, Parcel


class Message:
    def __init__(self, *chunks: bytes, fault: StoreError | None = None) -> None:
        self._chunks, self._fault = chunks, fault

    def chunks(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._fault is not None:
            raise self._fault


@pytest.fixture
def maildir(tmp_path: Path) -> Iterator[Maildir]:
    made = Maildir(tmp_path / "Maildir")
    yield made
    made.close()


def parcel(key: str, *chunks: bytes, is_repeated: bool = False) -> Parcel:
    return Parcel(key, 1_800_000_000.5, b"Return-Path: <>\r\n", Message(*chunks), is_repeated)


def names(maildir: Maildir, folder: str = "new") -> list[str]:
    return sorted(path.name for path in (maildir.path / folder).iterdir())


def test_messages_arrive_whole_in_new(maildir: Maildir) -> None:
    large = os.urandom(700_000)
    assert maildir.deliver([parcel("A", b"one\r\n", b"two\r\n"), parcel("B", large[:300_000], large[300_000:])]) == [None, None]
    assert (maildir.path / "new/1800000000.A.esa").read_bytes() == b"Return-Path: <>\r\none\r\ntwo\r\n"
    assert (maildir.path / "new/1800000000.B.esa").read_bytes() == b"Return-Path: <>\r\n" + large
    assert names(maildir, "tmp") == []


def test_a_repeated_delivery_makes_no_second_copy(maildir: Maildir) -> None:
    maildir.deliver([parcel("A", b"x")])
    assert maildir.deliver([parcel("A", b"x", is_repeated=True), parcel("B", b"y")]) == [None, None]
    assert names(maildir) == ["1800000000.A.esa", "1800000000.B.esa"]


def test_nor_does_it_after_a_mail_program_has_taken_the_first_one(maildir: Maildir) -> None:
    maildir.deliver([parcel("A", b"x")])
    (maildir.path / "new/1800000000.A.esa").rename(maildir.path / "cur/1800000000.A.esa:2,S")
    assert maildir.deliver([parcel("A", b"x", is_repeated=True)]) == [None]
    assert names(maildir) == []


def test_what_a_crash_left_in_tmp_is_written_anew(maildir: Maildir) -> None:
    (maildir.path / "tmp/1800000000.A.esa").write_bytes(b"half of a long mes")
    assert maildir.deliver([parcel("A", b"x", is_repeated=True)]) == [None]
    assert (maildir.path / "new/1800000000.A.esa").read_bytes() == b"Return-Path: <>\r\nx"


def test_one_message_that_cannot_be_read_does_not_stop_the_others(maildir: Maildir) -> None:
    fault = StoreError("gone", is_damaged=True)
    bad = Parcel("A", 1_800_000_000.0, b"", Message(b"x", fault=fault))
    assert maildir.deliver([bad, parcel("B", b"y")]) == [fault, None]
    assert names(maildir) == ["1800000000.B.esa"]
    assert names(maildir, "tmp") == []


@pytest.mark.parametrize("call", ["fsync", "rename", "writev"])
def test_a_full_disk_leaves_nothing_in_new(maildir: Maildir, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        [fault] = maildir.deliver([parcel("A", b"x")])
    assert fault is not None
    assert fault.is_full
    assert names(maildir) == []
    assert maildir.deliver([parcel("A", b"x", is_repeated=True)]) == [None]


def test_a_file_is_synced_before_it_is_renamed_and_the_folder_afterwards(maildir: Maildir, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        calls.append("sync folder" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "sync file")
        sync(descriptor)

    def renamed(source: str, target: str) -> None:
        calls.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    assert maildir.deliver([parcel("A", b"x")]) == [None]
    assert calls == ["sync file", "rename", "sync folder"]


def test_the_maildir_is_private(maildir: Maildir) -> None:
    maildir.deliver([parcel("A", b"x")])
    for path in [maildir.path, *maildir.path.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0
