"""Quarantined mail."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.quarantine import FILE_NAME, Item, Quarantine, QuarantineView, content_path
from esa.store.record import INLINE_LIMIT, Record, Splinter
from esa.store.segments import SpoolReader, read_message
from esa.store.spool import Spool
from tests.store.conftest import fill
from tests.store.messages import CONTENT, PREFIX, commit, make_record, mode, read_state


@pytest.fixture
def quarantine(tmp_path: Path) -> Iterator[Quarantine]:
    opened = Quarantine(tmp_path)
    yield opened
    opened.close()


def add(quarantine: Quarantine, state: Path, *records: Record) -> list[Item]:
    """Commit the records and have the quarantine take what is new."""
    if records:
        commit(state, *records)
    return quarantine.add(read_state(state), lambda location: read_message(state / "spool", location))


def held(state: Path) -> list[Item]:
    view = QuarantineView.open(state)
    assert view is not None
    try:
        return view.items()
    finally:
        view.close()


def test_quarantined_splinters_are_held_with_who_and_why(quarantine: Quarantine, tmp_path: Path) -> None:
    splinters = (Splinter(("a@example.org",), "deliver"), Splinter(("b@example.org", "c@example.org"), "quarantine", "suspect"))
    record = make_record(splinters=splinters, fields={"subject": "minutes of the meeting", "score": 41.5})
    [item] = add(quarantine, tmp_path, record)
    assert item == held(tmp_path)[0]
    assert (item.id, item.message, item.state) == (f"{record.id}.1", record.id, "held")
    assert item.recipients == ("b@example.org", "c@example.org")
    assert (item.reason, item.score, item.subject) == ("suspect", 41.5, "minutes of the meeting")
    assert (item.envelope, item.session) == (record.envelope, record.session)


def test_the_octets_are_kept_as_they_would_be_delivered_and_private(quarantine: Quarantine, tmp_path: Path) -> None:
    [item] = add(quarantine, tmp_path, make_record(action="quarantine"))
    path = content_path(tmp_path, item.id)
    assert path.read_bytes() == PREFIX + CONTENT
    assert mode(path) == 0o600
    assert {mode(folder) for folder in (path.parent, path.parent.parent)} == {0o700}
    assert item.size == len(PREFIX + CONTENT)


def test_a_batch_that_comes_again_is_added_once(quarantine: Quarantine, tmp_path: Path) -> None:
    assert len(add(quarantine, tmp_path, make_record(action="quarantine"), make_record())) == 1
    assert add(quarantine, tmp_path) == []
    assert len(held(tmp_path)) == 1


def test_a_deleted_item_does_not_come_back_with_its_batch(quarantine: Quarantine, tmp_path: Path) -> None:
    items = add(quarantine, tmp_path, make_record(action="quarantine"))
    quarantine.close_items(items, "deleted")
    assert add(quarantine, tmp_path) == []
    assert held(tmp_path) == []
    assert not content_path(tmp_path, items[0].id).exists()


def test_a_message_whose_octets_are_gone_is_listed_and_stops_nothing(quarantine: Quarantine, tmp_path: Path) -> None:
    commit(tmp_path, make_record(b"y" * (INLINE_LIMIT + 1), action="quarantine"), make_record(action="quarantine"))
    [content] = (tmp_path / "spool" / "receive-0" / "content").iterdir()
    content.unlink()
    broken, good = add(quarantine, tmp_path)
    assert (broken.size, good.size) == (0, len(PREFIX + CONTENT))
    with Spool(tmp_path / "spool", "keep") as spool, pytest.raises(StoreError, match="not there"):
        quarantine.release(broken, spool)
    assert len(held(tmp_path)) == 2


def released(state: Path) -> list[Record]:
    return [stored.record for stored in read_state(state).stored if stored.location.writer == "keep"]


@pytest.mark.parametrize("content", [CONTENT, b"y" * (2 * INLINE_LIMIT)])
def test_release_is_a_deliver_record_with_the_same_octets(quarantine: Quarantine, tmp_path: Path, content: bytes) -> None:
    record = make_record(content, action="quarantine", recipients=["b@example.org", "c@example.org"])
    [item] = add(quarantine, tmp_path, record)
    with Spool(tmp_path / "spool", "keep") as spool:
        quarantine.release(item, spool)
    [stored] = [stored for stored in read_state(tmp_path).stored if stored.location.writer == "keep"]
    assert stored.record.id == record.id + "-R"
    assert stored.record.envelope == record.envelope
    assert [(splinter.recipients, splinter.action) for splinter in stored.record.splinters] == [(item.recipients, "deliver")]
    assert [event.name for event in stored.record.events] == ["quarantine.released"]
    assert read_message(tmp_path / "spool", stored.location).to_bytes() == PREFIX + content
    assert held(tmp_path)[0].state == "releasing"
    add(quarantine, tmp_path)  # the record is read back
    assert held(tmp_path) == []
    assert not content_path(tmp_path, item.id).exists()
    assert read_message(tmp_path / "spool", stored.location).to_bytes() == PREFIX + content
    assert quarantine.unfinished() == []


def test_a_release_that_could_not_be_written_is_unfinished(quarantine: Quarantine, tmp_path: Path) -> None:
    [item] = add(quarantine, tmp_path, make_record(action="quarantine"))
    spool = Spool(tmp_path / "spool", "keep")
    spool.close()
    with pytest.raises(StoreError, match="closed"):
        quarantine.release(item, spool)
    assert [found.id for found in quarantine.unfinished()] == [item.id]
    assert released(tmp_path) == []
    with Spool(tmp_path / "spool", "keep") as spool:
        quarantine.release(quarantine.unfinished()[0], spool)
    assert len(released(tmp_path)) == 1


def test_items_are_found_by_their_own_and_their_message_identifier(quarantine: Quarantine, tmp_path: Path) -> None:
    splinters = (Splinter(("a@example.org",), "quarantine"), Splinter(("b@example.org",), "quarantine"))
    record, other = make_record(splinters=splinters), make_record(action="quarantine")
    add(quarantine, tmp_path, record, other)
    assert [item.id for item in quarantine.items([record.id])] == [record.id, f"{record.id}.1"]
    assert [item.id for item in quarantine.items([f"{record.id}.1", record.id])] == [f"{record.id}.1", record.id]
    assert quarantine.items(["unknown"]) == []


def test_overdue_items_are_found(quarantine: Quarantine, tmp_path: Path) -> None:
    now = time.time()
    old, new = make_record(action="quarantine", received_at=now - 100), make_record(action="quarantine", received_at=now)
    add(quarantine, tmp_path, old, new)
    assert [item.id for item in quarantine.overdue(now - 50)] == [old.id]


def test_sweeping_removes_files_without_an_item_and_old_rows(quarantine: Quarantine, tmp_path: Path) -> None:
    kept, gone = add(quarantine, tmp_path, make_record(action="quarantine"), make_record(action="quarantine"))
    stray = content_path(tmp_path, "stray")
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"left by a crash")
    quarantine.close_items([gone], "expired")
    assert quarantine.sweep(0.0, older_than=-5) == 1
    assert not stray.exists()
    assert content_path(tmp_path, kept.id).exists()
    quarantine.sweep(time.time() + 5, older_than=-5)
    assert quarantine.items([gone.id], states=("expired",)) == []
    assert [item.id for item in quarantine.items([kept.id])] == [kept.id]


def test_a_full_disk_is_told_and_the_same_batch_can_be_added_later(small_disk: Path, tmp_path: Path) -> None:
    quarantine = Quarantine(small_disk)
    records = [make_record(bytes(30_000), action="quarantine") for _ in range(20)]
    commit(tmp_path, *records)
    batch = SpoolReader(tmp_path / "spool").read()
    ballast = fill(small_disk, leave=200_000)
    with pytest.raises(StoreError) as caught:
        quarantine.add(batch, lambda location: read_message(tmp_path / "spool", location))
    assert caught.value.is_full
    ballast.unlink()
    assert len(quarantine.add(batch, lambda location: read_message(tmp_path / "spool", location))) == 20
    assert all(content_path(small_disk, record.id).read_bytes() == PREFIX + bytes(30_000) for record in records)
    quarantine.close()


def test_no_quarantine_yet_is_none(tmp_path: Path) -> None:
    assert QuarantineView.open(tmp_path) is None


def test_a_quarantine_of_the_version_before_keeps_its_items(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    record = make_record(action="quarantine")
    [item] = add(quarantine, tmp_path, record)
    quarantine.close()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        for column in ("quarantines", "mailhost", "encrypts", "is_copy", "signs", "bounce_profile", "is_outgoing"):
            database.execute(f"ALTER TABLE item DROP COLUMN {column}")
        database.execute("PRAGMA user_version=1")
        database.commit()
    assert QuarantineView.open(tmp_path) is None
    Quarantine(tmp_path).close()
    assert held(tmp_path) == [item]


def test_a_copy_is_named_by_its_own_key_alone(quarantine: Quarantine, tmp_path: Path) -> None:
    own = Splinter(("a@example.org",), "quarantine", "why", "", ("Policy",))
    record = make_record(splinters=(own, Splinter(("a@example.org",), "quarantine", "copy", "", ("Second",), is_copy=True)))
    add(quarantine, tmp_path, record)
    assert [item.quarantines for item in quarantine.items([record.id])] == [("Policy",)]
    assert [item.quarantines for item in quarantine.items([f"{record.id}.1"])] == [("Second",)]


def test_what_must_be_encrypted_is_not_released(quarantine: Quarantine, tmp_path: Path) -> None:
    [item] = add(quarantine, tmp_path, make_record(splinters=(Splinter(("a@example.org",), "quarantine", encrypts=True),)))
    with Spool(tmp_path / "spool", "keep") as spool, pytest.raises(StoreError, match="encrypted"):
        quarantine.release(item, spool)
    assert held(tmp_path) == [item]
