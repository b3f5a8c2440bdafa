"""The spool: what append promises, what readers see, what is left after faults of the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store import spool as spool_module
from esa.store.record import INLINE_LIMIT, Record
from esa.store.segments import SpoolReader, read_message
from esa.store.spool import Committed, Spool, parse_segment_name
from esa_core._group_writer import FLUSHED, GroupWriter
from tests.store.messages import CONTENT, PREFIX, fill, identifiers, make_record, read_all, segments_of


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    record = make_record(recipients=("a@example.org", "ü@example.org"), smtputf8=True)
    fill(tmp_path, [record])
    [stored] = read_all(SpoolReader(tmp_path / "spool")).stored
    assert (stored.record.id, stored.record.envelope, stored.record.session) == (record.id, record.envelope, record.session)
    assert (stored.record.splinters, stored.record.events) == (record.splinters, record.events)
    message = read_message(tmp_path / "spool", stored.location)
    assert message.to_bytes() == PREFIX + CONTENT
    assert message.size == len(PREFIX + CONTENT)


def test_an_address_that_is_no_utf8_survives(tmp_path: Path) -> None:
    path = b"\xff\xfe@example.org".decode("utf-8", "surrogateescape")
    fill(tmp_path, [make_record(recipients=(path,))])
    [stored] = read_all(SpoolReader(tmp_path / "spool")).stored
    assert stored.record.envelope.recipients == (path,)


def test_omitted_ranges_are_left_out_on_delivery_and_kept_on_disk(tmp_path: Path) -> None:
    content = b"X-Esa-Verdict: clean\r\nSubject: s\r\nX-Esa-Id: 1\r\n\r\nbody\r\n"
    second = content.index(b"X-Esa-Id")
    fill(tmp_path, [make_record(content, omitted=((0, 22), (second, second + 13)))])
    [stored] = read_all(SpoolReader(tmp_path / "spool")).stored
    message = read_message(tmp_path / "spool", stored.location)
    assert message.to_bytes() == PREFIX + b"Subject: s\r\n\r\nbody\r\n"
    assert message.size == len(message.to_bytes())
    assert message.content == content


def test_omitted_ranges_may_span_chunks_of_a_large_body(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    ranges = ((0, 5), ((256 << 10) - 3, (256 << 10) + 4), (600_000, 1_600_000), ((3 << 20) - 1, 3 << 20))
    fill(tmp_path, [make_record(content, omitted=ranges)])
    [stored] = read_all(SpoolReader(tmp_path / "spool")).stored
    edges = [0, *(edge for pair in ranges for edge in pair), len(content)]
    expected = b"".join(content[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    message = read_message(tmp_path / "spool", stored.location)
    assert message.to_bytes() == PREFIX + expected
    assert message.size == len(PREFIX) + len(expected)


def test_long_content_has_a_file_of_its_own_and_a_spilled_body_is_taken_over(tmp_path: Path) -> None:
    content = os.urandom(INLINE_LIMIT + 1)
    with Spool(tmp_path / "spool", "receive-0") as spool:
        body = spool.incoming / "body"
        body.write_bytes(content)
        spool.append([make_record(body), make_record(content)])
        assert not body.exists()
    stored = read_all(SpoolReader(tmp_path / "spool")).stored
    assert [read_message(tmp_path / "spool", one.location).to_bytes() for one in stored] == [PREFIX + content] * 2
    assert segments_of(tmp_path)[0].stat().st_size < 4096


def test_altered_content_of_its_own_file_is_never_handed_on(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(os.urandom(INLINE_LIMIT + 1))])
    [stored] = read_all(SpoolReader(tmp_path / "spool")).stored
    [file] = (tmp_path / "spool/receive-0/content").iterdir()
    with file.open("r+b") as content:
        content.seek(1000)
        content.write(b"\0\0\0\0\0")
    with pytest.raises(StoreError, match="damaged") as fault:
        read_message(tmp_path / "spool", stored.location)
    assert fault.value.is_damaged
    file.unlink()
    with pytest.raises(StoreError) as fault:
        read_message(tmp_path / "spool", stored.location)
    assert fault.value.is_damaged


def test_a_second_writer_is_refused_and_told_why(tmp_path: Path) -> None:
    with Spool(tmp_path, "receive-0"), pytest.raises(StoreError, match="in use") as fault:
        Spool(tmp_path, "receive-0")
    assert fault.value.is_in_use
    Spool(tmp_path, "receive-0").close()


def test_a_new_writer_begins_a_new_generation_even_after_all_segments_went(tmp_path: Path) -> None:
    seen = []
    for _ in range(3):
        fill(tmp_path, [make_record()])
        [segment] = segments_of(tmp_path)
        parsed = parse_segment_name(segment.name)
        assert parsed is not None
        seen.append(parsed[0])
        segment.unlink()
    assert seen == sorted(set(seen))


def test_a_writer_without_mail_leaves_no_segment(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", "receive-0") as spool:
        spool.append([])
    assert segments_of(tmp_path) == []


def test_readers_see_of_a_living_writer_what_is_committed_and_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SpoolReader(tmp_path / "spool")
    first, second = make_record(), make_record()
    seen_while_syncing: list[int] = []
    sync = os.fdatasync

    def watched(descriptor: int) -> None:
        seen_while_syncing.append(len(reader.read().stored))
        sync(descriptor)

    with Spool(tmp_path / "spool", "receive-0") as spool:
        spool.append([first])
        assert identifiers(read_all(reader).stored) == [first.id]
        monkeypatch.setattr(os, "fdatasync", watched)
        spool.append([second])
        assert seen_while_syncing == [0]
        assert identifiers(read_all(reader).stored) == [second.id]
    read_all(reader)
    assert [cursor.finished for cursor in reader.cursors.values()] == [True]


def test_a_batch_that_was_not_stored_is_read_again(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(10)])
    reader = SpoolReader(tmp_path / "spool")
    first = reader.read(records=4)
    assert not first.is_complete
    assert identifiers(reader.read(records=4).stored) == identifiers(first.stored)
    reader.advance(first)
    rest = read_all(reader)
    assert len(first.stored) + len(rest.stored) == 10
    assert not reader.read()


def test_cursors_kept_elsewhere_go_on_where_they_stood(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(5)])
    reader = SpoolReader(tmp_path / "spool")
    reader.advance(reader.read(records=3))
    assert len(read_all(SpoolReader(tmp_path / "spool", reader.cursors)).stored) == 2


def test_a_full_segment_is_closed_and_the_next_one_begun(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", "receive-0", segment_limit=1000) as spool:
        for _ in range(10):
            spool.append([make_record()])
    assert len(segments_of(tmp_path)) > 2
    assert len(read_all(SpoolReader(tmp_path / "spool")).stored) == 10


def test_rotate_closes_a_segment_so_that_it_can_go(tmp_path: Path) -> None:
    reader = SpoolReader(tmp_path / "spool")
    with Spool(tmp_path / "spool", "receive-0") as spool:
        spool.append([make_record()])
        spool.rotate(older_than=3600)
        read_all(reader)
        assert not any(cursor.finished for cursor in reader.cursors.values())
        spool.rotate()
        read_all(reader)
        assert all(cursor.finished for cursor in reader.cursors.values())


class FailingCall:
    """Stands in for a system call: does part of its work, then fails."""

    def __init__(self, code: int, part: int = 0) -> None:
        self.code, self.part = code, part

    def __call__(self, descriptor: int, buffers: Sequence[bytes] = (), offset: int = 0) -> int:
        if self.part:
            os.pwrite(descriptor, b"".join(buffers)[: self.part], offset)
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("call", ["pwritev", "fdatasync", "ftruncate after fdatasync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_group_that_failed_does_not_count_and_the_next_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    before, failed, after = make_record(), make_record(), make_record()
    reader = SpoolReader(tmp_path / "spool")
    with Spool(tmp_path / "spool", "receive-0") as spool:
        spool.append([before])
        with monkeypatch.context() as patch:
            if call == "pwritev":
                patch.setattr(os, "pwritev", FailingCall(code, part=100))
            else:
                patch.setattr(os, "fdatasync", FailingCall(code))
            if call.startswith("ftruncate"):
                patch.setattr(os, "ftruncate", FailingCall(errno.EIO))
            with pytest.raises(StoreError) as fault:
                spool.append([failed])
        assert fault.value.is_full == (code == errno.ENOSPC)
        spool.append([after])
        assert identifiers(read_all(reader).stored) == [before.id, after.id]
    found = read_all(reader)
    assert found.stored == []
    assert [damage for damage in found.damages if damage.kind == "damaged"] == []
    assert len(segments_of(tmp_path)) == (1 if call == "pwritev" else 2)  # what failed to sync is not trusted again


def test_what_was_refused_stays_unread_after_a_restart_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, failed, later = make_record(), make_record(), make_record()
    with Spool(tmp_path / "spool", "receive-0") as spool:
        spool.append([kept])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", FailingCall(errno.EIO))
            patch.setattr(os, "ftruncate", FailingCall(errno.EIO))
            with pytest.raises(StoreError):
                spool.append([failed])
    fill(tmp_path, [later])
    assert identifiers(read_all(SpoolReader(tmp_path / "spool")).stored) == [kept.id, later.id]


def test_content_files_of_a_failed_group_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Spool(tmp_path / "spool", "receive-0") as spool:
        body = spool.incoming / "body"
        body.write_bytes(b"x" * 100)
        monkeypatch.setattr(os, "fdatasync", FailingCall(errno.ENOSPC))
        with pytest.raises(StoreError):
            spool.append([make_record(body), make_record(bytes(INLINE_LIMIT + 1))])
    assert list((tmp_path / "spool/receive-0/content").iterdir()) == []
    assert list((tmp_path / "spool/receive-0/incoming").iterdir()) == []


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda descriptor, buffers, offset: write(descriptor, [b"".join(buffers)[:37]], offset))
    fill(tmp_path, [make_record() for _ in range(3)])
    assert len(read_all(SpoolReader(tmp_path / "spool")).stored) == 3


def test_bodies_left_behind_by_a_crash_are_removed_at_start(tmp_path: Path) -> None:
    with Spool(tmp_path, "receive-0") as spool:
        (spool.incoming / "half").write_bytes(b"half")
    with Spool(tmp_path, "receive-0") as spool:
        assert list(spool.incoming.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match="may not write here") as fault:
        Spool(tmp_path / "spool", "receive-0")
    assert fault.value.mend


def test_the_state_is_private(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(), make_record(bytes(INLINE_LIMIT + 1))])
    for path in [tmp_path / "spool", *(tmp_path / "spool").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_closed_spool_takes_nothing_and_may_be_closed_twice(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "receive-0")
    spool.close()
    spool.close()
    with pytest.raises(StoreError, match="closed"):
        spool.append([make_record()])


def test_the_committed_page_tells_when_it_is_half_written(tmp_path: Path) -> None:
    page = tmp_path / "committed"
    assert Committed.read(page) == []
    committed = Committed(page)
    committed.publish([(7, 100), (5, 30)])
    assert Committed.read(page) == [(7, 100), (5, 30)]
    data = bytearray(page.read_bytes())
    data[12] ^= 1
    page.write_bytes(data)
    assert Committed.read(page) is None
    committed.close()


def test_a_group_is_one_write_and_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    write, sync = os.pwritev, os.fdatasync

    def written(descriptor: int, buffers: Sequence[bytes], offset: int) -> int:
        calls.append("write")
        return write(descriptor, buffers, offset)

    def synced(descriptor: int) -> None:
        calls.append("sync")
        sync(descriptor)

    monkeypatch.setattr(os, "pwritev", written)
    monkeypatch.setattr(os, "fdatasync", synced)
    with Spool(tmp_path, "receive-0") as spool:
        spool.append([make_record() for _ in range(100)])
    assert calls == ["write", "sync"]
    assert spool_module.SEGMENT_LIMIT == 64 << 20


class OnOtherThread:
    """Writes groups as a receive worker does: `Spool.begin`, the native writer, `Spool.end`."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool

    def append(self, records: Sequence[Record], *, descriptor: int = -1) -> bool:
        """False: it is a case for `Spool.append`. `descriptor`: where the octets go instead of into the segment."""
        group = self.spool.begin(records)
        if group is None:
            return False
        writer = GroupWriter()
        writer.begin(group.descriptor if descriptor < 0 else descriptor, group.buffers, group.offset)
        writer.stop()
        writer.run()
        outcome = writer.finish()
        assert outcome is not None
        failed, number, _ = outcome
        self.spool.end(group, OSError(number, os.strerror(number)) if failed else None, is_flush=failed == FLUSHED)
        return True


def test_a_group_that_somebody_else_writes_is_read_like_any(tmp_path: Path) -> None:
    records = [make_record(b"x" * size) for size in (0, 1, 5_000, INLINE_LIMIT)]
    with Spool(tmp_path / "spool", "receive-0") as spool:
        spool.append(records[:1])
        assert OnOtherThread(spool).append(records[1:])
        assert identifiers(read_all(SpoolReader(tmp_path / "spool")).stored) == [record.id for record in records]


def test_only_append_begins_segments_and_takes_files(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", "receive-0") as spool:
        other = OnOtherThread(spool)
        assert not other.append([make_record()])  # there is no segment yet
        spool.append([make_record()])
        body = spool.incoming / "body"
        body.write_bytes(b"x")
        assert not other.append([make_record(), make_record(body)])
        assert not other.append([make_record(bytes(INLINE_LIMIT + 1))])
        assert other.append([make_record()])
        spool.rotate()
        assert not other.append([make_record()])


def test_a_spool_takes_no_other_group_until_the_one_begun_is_ended(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", "receive-0") as spool:
        spool.append([make_record()])
        group = spool.begin([make_record()])
        assert group is not None
        assert spool.begin([make_record()]) is None
        with pytest.raises(StoreError):
            spool.end(group, OSError(errno.EIO, "broken"))
        assert OnOtherThread(spool).append([make_record()])


@pytest.mark.parametrize(("device", "segments"), [("/dev/full", 1), ("/dev/null", 2)])
def test_a_group_that_somebody_else_could_not_write_or_flush_does_not_count(tmp_path: Path, device: str, segments: int) -> None:
    before, failed, after = make_record(), make_record(), make_record()
    with Spool(tmp_path / "spool", "receive-0") as spool:
        spool.append([before])
        descriptor = os.open(device, os.O_WRONLY)
        with pytest.raises(StoreError) as fault:
            OnOtherThread(spool).append([failed], descriptor=descriptor)
        os.close(descriptor)
        assert fault.value.is_full == (device == "/dev/full")
        if not OnOtherThread(spool).append([after]):
            spool.append([after])
    found = read_all(SpoolReader(tmp_path / "spool"))
    assert identifiers(found.stored) == [before.id, after.id]
    assert not found.damages
    assert len(segments_of(tmp_path)) == segments  # what failed to sync is not trusted again


def test_a_record_that_is_too_long_costs_only_its_group(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", "receive-0") as spool:
        spool.append([make_record()])
        with pytest.raises(StoreError, match="too long"):
            spool.begin([make_record(recipients=["b" * 200 + "@example.org"] * 25_000)])
        assert OnOtherThread(spool).append([make_record()])
