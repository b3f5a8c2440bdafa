"""What the disk may do to a spool, to a message on its way back, and to a Maildir."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.maildir import Maildir, Parcel
from esa.store.record import INLINE_LIMIT
from esa.store.segments import Location, SpoolReader, read_message
from esa.store.spool import Spool
from tests.store.conftest import fill, make_read_only
from tests.store.messages import CONTENT, PREFIX, commit, make_record, read_all, segments_of


def test_order_of_system_calls_is_content_then_directory_then_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)

        def note(descriptor: int, *, name: str = name, real: object = real) -> None:
            place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            calls.append(f"{name} {place.name if place.is_dir() else place.parent.name + '/*'}")
            assert callable(real)
            real(descriptor)

        monkeypatch.setattr(os, name, note)
    with Spool(tmp_path, "receive-0") as spool:
        calls.clear()
        arriving = spool.incoming / "body"
        arriving.write_bytes(b"x" * (INLINE_LIMIT + 1))
        spool.append([make_record(arriving)])
    assert calls == ["fsync segments", "fsync incoming/*", "fsync content", "fdatasync segments/*"]


def failing(code: int, times: int = 1) -> object:
    left = [times]

    def fail(*_: object) -> int:
        if left[0] <= 0:
            raise AssertionError("called again")
        left[0] -= 1
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("call", ["pwritev", "fdatasync", "fsync"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_no_group_that_was_refused_is_ever_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    with Spool(tmp_path, "receive-0") as spool:
        spool.append([make_record()])
        arriving = spool.incoming / "body"
        arriving.write_bytes(b"x" * (INLINE_LIMIT + 1))
        monkeypatch.setattr(os, call, failing(code))
        with pytest.raises(StoreError) as caught:
            spool.append([make_record(), make_record(arriving)])
        monkeypatch.undo()
        assert caught.value.is_full == (code != errno.EIO)
        assert list(spool.incoming.iterdir()) == []
        assert list((tmp_path / "receive-0" / "content").iterdir()) == []
        spool.append([make_record()])
    batch = read_all(SpoolReader(tmp_path))
    assert len(batch.stored) == 2
    assert not batch.damages


def test_an_error_at_closing_a_full_segment_does_not_undo_what_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = os.close

    def complain(descriptor: int) -> None:
        is_segment = os.readlink(f"/proc/self/fd/{descriptor}").endswith(".seg")
        close(descriptor)
        if is_segment:
            raise OSError(errno.EIO, "Input/output error")

    with Spool(tmp_path, "receive-0", segment_limit=1) as spool:
        monkeypatch.setattr(os, "close", complain)
        spool.append([make_record(b"y" * (INLINE_LIMIT + 1))])
        monkeypatch.undo()
    [stored] = read_all(SpoolReader(tmp_path)).stored
    assert read_message(tmp_path, stored.location).to_bytes() == PREFIX + b"y" * (INLINE_LIMIT + 1)


def test_a_record_that_no_reader_would_take_is_refused(tmp_path: Path) -> None:
    with Spool(tmp_path, "receive-0") as spool:
        with pytest.raises(StoreError, match="too long"):
            spool.append([make_record(recipients=["b" * 200 + "@example.org"] * 10_000)])
        spool.append([make_record()])
    assert len(read_all(SpoolReader(tmp_path)).stored) == 1


def test_a_content_file_that_is_not_there_refuses_the_group(tmp_path: Path) -> None:
    with Spool(tmp_path, "receive-0") as spool:
        gone = spool.incoming / "gone"
        gone.write_bytes(b"x")
        record = make_record(gone)
        gone.unlink()
        with pytest.raises(StoreError, match="not there"):
            spool.append([record])
        spool.append([make_record()])
    assert len(read_all(SpoolReader(tmp_path)).stored) == 1


def test_a_full_disk_is_told_as_full_loses_nothing_and_heals(small_disk: Path) -> None:
    with Spool(small_disk, "receive-0") as spool:
        spool.append([make_record()])
        ballast = fill(small_disk, leave=64 << 10)
        taken = 1
        with pytest.raises(StoreError, match="full") as caught:
            while True:
                spool.append([make_record(b"x" * 5000)] * 4)
                taken += 4
        assert caught.value.is_full
        assert "free some space" in str(caught.value)
        with pytest.raises(StoreError) as again:
            spool.append([make_record(b"x" * (INLINE_LIMIT + 1))])
        assert again.value.is_full
        assert len(read_all(SpoolReader(small_disk)).stored) == taken
        ballast.unlink()
        spool.append([make_record()])
    batch = read_all(SpoolReader(small_disk))
    assert len(batch.stored) == taken + 1
    assert not batch.damages


def test_a_read_only_folder_is_a_clear_message(small_disk: Path) -> None:
    Spool(small_disk / "spool", "receive-0").close()
    make_read_only(small_disk)
    with pytest.raises(StoreError, match="read-only") as caught:
        Spool(small_disk / "spool", "receive-0")
    assert "--state" in str(caught.value)
    with pytest.raises(StoreError, match="read-only"):
        Spool(small_disk / "other", "receive-0")


# --- reading back


def test_a_message_that_is_gone_or_damaged_is_told_as_damaged(tmp_path: Path) -> None:
    commit(tmp_path, make_record(), make_record(b"y" * (INLINE_LIMIT + 1)))
    directory = tmp_path / "spool"
    short, long = (stored.location for stored in read_all(SpoolReader(directory)).stored)
    [content] = (directory / "receive-0" / "content").iterdir()
    data = content.read_bytes()
    for change in (data[:-1], data[:-1] + b"z", None):
        if change is None:
            content.unlink()
        else:
            content.write_bytes(change)
        with pytest.raises(StoreError) as caught:
            read_message(directory, long)
        assert caught.value.is_damaged
        assert str(content) in str(caught.value)
    assert read_message(directory, short).to_bytes() == PREFIX + CONTENT
    [segment] = segments_of(tmp_path)
    os.truncate(segment, short.length - 1)
    for location in (short, long, Location("receive-0", "0-0.seg", 0, 10), Location("receive-0", segment.name.replace("0", "1"), 0, 10)):
        with pytest.raises(StoreError) as caught:
            read_message(directory, location)
        assert caught.value.is_damaged


# --- Maildir


@dataclass
class Message:
    pieces: tuple[bytes, ...]
    fault: StoreError | None = None

    def chunks(self) -> Iterator[bytes]:
        yield from self.pieces
        if self.fault is not None:
            raise self.fault


def parcel(key: str, *pieces: bytes, is_repeated: bool = False) -> Parcel:
    return Parcel(key, 1_700_000_000.5, b"Return-Path: <a@example.net>\r\n", Message(pieces or (b"body\r\n",)), is_repeated)


@pytest.fixture
def maildir(tmp_path: Path) -> Iterator[Maildir]:
    opened = Maildir(tmp_path / "Maildir")
    yield opened
    opened.close()


def new(maildir: Maildir) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (maildir.path / "new").iterdir()}


def test_file_is_synced_before_it_is_renamed_and_the_folder_after(maildir: Maildir, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, rename = os.fsync, os.rename

    def note_sync(descriptor: int) -> None:
        steps.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    def note_rename(source: str, target: str) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    maildir.deliver([parcel("A")])
    maildir.deliver([parcel("A", is_repeated=True)])  # there already, but perhaps not on disk: only the folder is synced
    assert steps == ["sync 1700000000.A.esa", "rename", "sync new", "sync new"]


def test_a_failed_sync_is_told_and_its_file_not_trusted(maildir: Maildir, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    [fault] = maildir.deliver([parcel("A")])
    monkeypatch.undo()
    assert fault is not None
    assert not fault.is_damaged  # the message is still good; try again
    assert list(maildir.path.rglob("*.esa")) == []
    assert maildir.deliver([parcel("A", is_repeated=True)]) == [None]


def test_a_maildir_that_vanished_is_no_damage_of_the_message(maildir: Maildir) -> None:
    (maildir.path / "tmp").rmdir()
    [fault] = maildir.deliver([parcel("A")])
    assert fault is not None
    assert not fault.is_damaged
