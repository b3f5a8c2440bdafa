"""The keep process: tracking and quarantine from the spools, releases, retention, and segments that may go."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.gateway.keep import KeepSettings, OpenKeep, run_keep, socket_path
from esa.store.control import ask
from esa.store.entry import Outcome, Result
from esa.store.quarantine import Item, QuarantineView, content_path
from esa.store.queue import Queue
from esa.store.record import EventName, Splinter
from esa.store.segments import Batch, SpoolReader, read_message
from esa.store.selection import Selection
from esa.store.spool import Spool
from esa.store.tracking import Tracked, TrackingView
from esa.store.waiting import Capacity
from tests.store.messages import CONTENT, PREFIX, fill, make_record, read_all, segments_of


@contextmanager
def kept(state: Path, **settings: float) -> Iterator[OpenKeep]:
    with OpenKeep(KeepSettings(state, **settings)) as keep:  # type: ignore[arg-type]
        keep.start()
        yield keep


def items(state: Path) -> list[Item]:
    view = QuarantineView.open(state)
    assert view is not None
    found = view.items()
    view.close()
    return found


def tracked(state: Path) -> list[Tracked]:
    view = TrackingView.open(state)
    assert view is not None
    found = view.search()
    view.close()
    return found


def deliver_all(state: Path, status: str = "delivered") -> list[str]:
    """Stand in for the deliver process: import everything and settle it. Returns the keys."""
    queue = Queue(state)
    reader = SpoolReader(state / "spool", queue.cursors())
    keys = []
    while batch := reader.read():
        entries = queue.step(batch, [], rooms=Capacity(1000), now=time.time())
        reader.advance(batch)
        results = [Outcome(one, tuple(Result(a, status, "250 ok") for a in one.pending), "hop", time.time()) for one in entries]  # type: ignore[arg-type]
        queue.settle(results)
        keys += [entry.key for entry in entries]
    queue.close()
    return keys


def test_a_quarantine_splinter_becomes_an_item_with_its_octets(tmp_path: Path) -> None:
    splinters = (Splinter(("a@x.example",), "deliver"), Splinter(("b@x.example",), "quarantine", "suspect"))
    record = make_record(splinters=splinters, fields={"score": 61.5, "verdict": "suspect"})
    fill(tmp_path, [record])
    with kept(tmp_path):
        [item] = items(tmp_path)
        assert (item.id, item.message, item.recipients) == (f"{record.id}.1", record.id, ("b@x.example",))
        assert (item.subject, item.verdict, item.score, item.reason) == ("hello", "suspect", 61.5, "suspect")
        path = content_path(tmp_path, item.id)
        assert path.read_bytes() == PREFIX + CONTENT
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [CONTENT, os.urandom(3 << 20)], ids=["short", "of its own file"])
def test_a_released_message_is_delivered_as_it_was_and_tracked_under_its_first_identifier(tmp_path: Path, content: bytes) -> None:
    record = make_record(content, action="quarantine")
    fill(tmp_path, [record])
    with kept(tmp_path) as keep:
        assert keep.obey({"verb": "release", "keys": [record.id]}) == {"count": 1, "items": [record.id]}
        assert items(tmp_path) == []
        assert not content_path(tmp_path, record.id).exists()
        assert keep.obey({"verb": "release", "keys": [record.id]})["count"] == 0
    stored = read_all(SpoolReader(tmp_path / "spool")).stored
    [released] = [one for one in stored if one.location.writer == "keep"]
    assert read_message(tmp_path / "spool", released.location).to_bytes() == PREFIX + content
    assert released.record.splinters[0].recipients == ("user@example.org",)
    assert len(deliver_all(tmp_path)) == 1
    with kept(tmp_path):
        [message] = tracked(tmp_path)
    assert message.id == record.id
    assert [recipient.status for recipient in message.recipients] == ["delivered"]
    assert [event.name for event in message.events] == [EventName.ACCEPTED, EventName.RELEASED, EventName.DELIVERED]


@pytest.mark.parametrize("crash", ["before the record", "after the record"])
def test_a_release_that_a_crash_interrupted_happens_exactly_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: str) -> None:
    fill(tmp_path, [make_record(action="quarantine")])
    append = Spool.append

    def dying(spool: Spool, records: object) -> None:
        if crash == "after the record":
            append(spool, records)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with kept(tmp_path) as keep, monkeypatch.context() as patch:
        patch.setattr(Spool, "append", dying)
        with pytest.raises(KeyboardInterrupt):
            keep.release(keep.quarantine.items([items(tmp_path)[0].id]))
    with kept(tmp_path):
        assert items(tmp_path) == []
    with kept(tmp_path):
        pass
    assert len(deliver_all(tmp_path)) == 1


def test_a_crash_between_quarantine_and_tracking_repeats_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [make_record(action="quarantine"), make_record()])
    with OpenKeep(KeepSettings(tmp_path)) as keep, monkeypatch.context() as patch:

        def dying(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(keep.tracking, "add", dying)
        with pytest.raises(KeyboardInterrupt):
            keep.drain()
    with kept(tmp_path):
        assert len(items(tmp_path)) == 1
        assert len(tracked(tmp_path)) == 2


def test_deleting_removes_the_octets_and_says_so_in_tracking(tmp_path: Path) -> None:
    record = make_record(action="quarantine")
    fill(tmp_path, [record])
    with kept(tmp_path) as keep:
        assert keep.obey({"verb": "delete", "keys": [record.id]})["count"] == 1
        assert items(tmp_path) == []
        assert not content_path(tmp_path, record.id).exists()
        [message] = tracked(tmp_path)
    assert [recipient.status for recipient in message.recipients] == ["deleted"]


def test_held_mail_past_its_time_is_deleted_and_tracked_as_expired(tmp_path: Path) -> None:
    old = make_record(action="quarantine", received_at=time.time() - 100)
    fill(tmp_path, [old, make_record(action="quarantine")])
    with kept(tmp_path, quarantine_retention=50.0) as keep:
        keep.keep_house()
        assert len(items(tmp_path)) == 1
        assert {message.id: message.recipients[0].status for message in tracked(tmp_path)}[old.id] == "expired"


def test_files_without_an_item_are_swept_up(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(action="quarantine")])
    with kept(tmp_path) as keep:
        orphan = content_path(tmp_path, "ORPHAN")
        orphan.parent.mkdir(exist_ok=True)
        orphan.write_bytes(b"x")
        os.utime(orphan, (1, 1))
        held = content_path(tmp_path, items(tmp_path)[0].id)
        os.utime(held, (1, 1))
        assert keep.quarantine.sweep(0.0) == 1
        assert held.exists()


def test_a_full_disk_stops_the_round_and_the_next_one_does_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [make_record(action="quarantine")])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with OpenKeep(KeepSettings(tmp_path)) as keep:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StoreError) as fault:
                keep.drain()
            assert fault.value.is_full
        assert keep.drain()
        assert len(items(tmp_path)) == len(tracked(tmp_path)) == 1


def test_a_segment_goes_when_both_have_read_it_and_nothing_in_it_waits(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(os.urandom(2 << 20)), make_record(action="quarantine")])
    [segment] = segments_of(tmp_path)
    with kept(tmp_path) as keep:
        assert keep.remove_segments() == []  # deliver has not read it
        deliver_all(tmp_path, "deferred")
        assert keep.remove_segments() == []  # an entry refers to it
        queue = Queue(tmp_path)
        queue.retry(Selection(), time.time())
        [entry] = queue.step(Batch(), [], rooms=Capacity(1), now=time.time())
        queue.settle([Outcome(entry, (Result(entry.pending[0], "delivered", "250"),), "hop", time.time())])
        queue.close()
        assert keep.remove_segments() == [("receive-0", segment.name)]
        assert segments_of(tmp_path) == []
        assert list((tmp_path / "spool/receive-0/content").iterdir()) == []
        assert keep.tracking.cursors() == {}
        assert len(items(tmp_path)) == 1


def test_a_damaged_segment_is_put_aside_instead(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(), make_record()])
    [segment] = segments_of(tmp_path)
    with segment.open("r+b") as file:
        file.write(b"\xff")
    deliver_all(tmp_path)
    with kept(tmp_path) as keep:
        assert keep.remove_segments() == [("receive-0", segment.name)]
    assert [path.name for path in (tmp_path / "spool/receive-0/corrupt").iterdir()] == [segment.name]


def test_a_queue_begun_anew_is_drained_from_its_beginning(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    deliver_all(tmp_path)
    with kept(tmp_path) as keep:
        for path in tmp_path.glob("queue.db*"):
            path.unlink()
        keep._close_queue()
        fill(tmp_path, [make_record()])
        deliver_all(tmp_path)
        keep.drain()
        assert [message.recipients[0].status for message in tracked(tmp_path)] == ["delivered", "delivered"]


def test_a_second_keeper_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(tmp_path), pytest.raises(StoreError) as fault:
        OpenKeep(KeepSettings(tmp_path))
    assert fault.value.is_in_use


@pytest.mark.parametrize("request_", [{"verb": "burn", "keys": []}, {"verb": "release"}, {"verb": "release", "keys": [1]}])
def test_an_unknown_request_is_refused_in_words(tmp_path: Path, request_: dict[str, object]) -> None:
    with kept(tmp_path) as keep, pytest.raises(StoreError):
        keep.obey(request_)


async def test_the_process_drains_answers_and_ends(tmp_path: Path) -> None:
    record = make_record(action="quarantine")
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(run_keep(KeepSettings(tmp_path), stop, ready=ready.set))
    await asyncio.wait_for(ready.wait(), 10)
    await asyncio.to_thread(fill, tmp_path, [record])
    answer = await asyncio.to_thread(ask, socket_path(tmp_path), {"verb": "release", "keys": [record.id]})
    assert answer == {"count": 1, "items": [record.id]}
    stop.set()
    await asyncio.wait_for(running, 10)
    assert ask(socket_path(tmp_path), {}) is None


def test_a_round_can_be_bounded_and_goes_on_later(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(b"x", prefix=b"") for _ in range(1300)])
    with OpenKeep(KeepSettings(tmp_path)) as keep:
        assert [keep.drain(batches=1), keep.drain(batches=1), keep.drain(batches=2)] == [False, False, True]


def test_an_unfinished_release_whose_octets_are_gone_does_not_stop_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [make_record(action="quarantine") for _ in range(2)]
    fill(tmp_path, records)

    def die(*_: object) -> None:
        raise StoreError("killed")

    with kept(tmp_path) as keep:
        monkeypatch.setattr(Spool, "append", die)
        for record in records:
            with pytest.raises(StoreError, match="killed"):
                keep.obey({"verb": "release", "keys": [record.id]})
        monkeypatch.undo()
    content_path(tmp_path, records[0].id).unlink()
    with kept(tmp_path):
        assert [item.id for item in items(tmp_path)] == [records[0].id]


def test_of_several_releases_those_before_a_fault_are_done(tmp_path: Path) -> None:
    records = [make_record(action="quarantine") for _ in range(3)]
    fill(tmp_path, records)
    with kept(tmp_path) as keep:
        content_path(tmp_path, records[1].id).unlink()
        with pytest.raises(StoreError, match="not there"):
            keep.obey({"verb": "release", "keys": [record.id for record in records]})
        keep.drain()
        assert [item.id for item in items(tmp_path)] == [records[1].id, records[2].id]
    assert len(deliver_all(tmp_path)) == 1


def test_a_quarantined_message_whose_octets_are_gone_is_listed_and_stops_nothing(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(b"y" * (2 << 20), action="quarantine"), make_record(action="quarantine")])
    [content] = (tmp_path / "spool/receive-0/content").iterdir()
    content.unlink()
    with kept(tmp_path):
        assert [item.size for item in items(tmp_path)] == [0, len(PREFIX + CONTENT)]


def test_a_damaged_segment_is_put_aside_with_its_content_files(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(b"y" * (2 << 20)), make_record()])
    [segment] = segments_of(tmp_path)
    data = bytearray(segment.read_bytes())
    data[60] ^= 1
    segment.write_bytes(data)
    with kept(tmp_path) as keep:
        assert len(deliver_all(tmp_path)) == 1
        assert len(keep.remove_segments()) == 1
    assert len(list((tmp_path / "spool/receive-0/corrupt").iterdir())) == 2
    assert list((tmp_path / "spool/receive-0/content").iterdir()) == []
