"""The queue of the deliver process."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.policy.bounce_profile import RetrySchedule
from esa.store.database import open_database
from esa.store.entry import FILE_NAME, Entry, Outcome, Result, splinter_key
from esa.store.queue import Queue
from esa.store.queue_table import CHANGES, SCHEMA
from esa.store.queue_view import QueueView
from esa.store.record import EventName, Splinter
from esa.store.segments import Batch, SpoolReader, read_message
from esa.store.selection import Selection
from esa.store.waiting import Capacity
from tests.store.messages import fill, make_record, segments_of

NOW = 1_800_000_000.0


def opened(state: Path, **schedule: float) -> Queue:
    return Queue(state, RetrySchedule(schedule["initial"], schedule["maximum"], schedule["expire"]) if schedule else None)


def imported(queue: Queue, state: Path, *, capacity: int = 100, now: float = NOW) -> list[Entry]:
    reader = SpoolReader(state / "spool", queue.cursors())
    return queue.step(reader.read(), [], rooms=Capacity(capacity), now=now)


def outcome(entry: Entry, *statuses: str, at: float = NOW) -> Outcome:
    replies = {"delivered": "250 2.0.0 ok", "deferred": "451 4.3.0 later", "failed": "550 5.1.1 no such user"}
    results = tuple(
        Result(address, status, replies[status])  # type: ignore[arg-type]
        for address, status in zip(entry.pending, statuses, strict=True)
    )
    return Outcome(entry, results, "mx.example.org:25", at)


def view(state: Path) -> QueueView:
    found = QueueView.open(state)
    assert found is not None
    return found


def events(state: Path) -> list[tuple[str, EventName]]:
    return [(message, event.name) for _, _, message, event in view(state).outbox(0)]


def test_a_record_is_imported_exactly_once(tmp_path: Path) -> None:
    record = make_record(received_at=NOW)
    fill(tmp_path, [record])
    queue = opened(tmp_path)
    [entry] = imported(queue, tmp_path)
    assert (entry.key, entry.state, entry.attempts, entry.pending) == (record.id, "in_flight", 1, ("user@example.org",))
    assert imported(queue, tmp_path) == []
    queue.step(SpoolReader(tmp_path / "spool").read(), [], rooms=Capacity(10), now=NOW)  # cursors lost, entry still there
    assert [one.key for one in view(tmp_path).entries()] == [record.id]


def test_only_splinters_to_deliver_become_entries_and_each_has_a_name(tmp_path: Path) -> None:
    splinters = (Splinter(("a@x.example",), "quarantine"), Splinter(("b@x.example",), "deliver"), Splinter(("c@x.example",), "drop"))
    record = make_record(splinters=splinters)
    fill(tmp_path, [record])
    [entry] = imported(opened(tmp_path), tmp_path)
    assert entry.key == splinter_key(record.id, 1) == f"{record.id}.1"
    assert entry.pending == ("b@x.example",)
    assert [one.key for one in view(tmp_path).entries([record.id])] == [entry.key]


def test_a_delivered_entry_goes_and_its_event_is_in_the_outbox(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    queue = opened(tmp_path)
    [entry] = imported(queue, tmp_path)
    queue.step(Batch(), [outcome(entry, "delivered")], rooms=Capacity(0), now=NOW)
    assert view(tmp_path).entries() == []
    assert events(tmp_path) == [(entry.message, EventName.DELIVERED)]


def test_recipients_of_one_message_have_results_of_their_own(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(recipients=("a@x.example", "b@x.example", "c@x.example"), received_at=NOW)])
    queue = opened(tmp_path, initial=60, maximum=3600, expire=1000)
    [entry] = imported(queue, tmp_path)
    queue.step(Batch(), [outcome(entry, "delivered", "deferred", "failed")], rooms=Capacity(0), now=NOW)
    [waiting] = view(tmp_path).entries()
    assert (waiting.state, waiting.pending) == ("waiting", ("b@x.example",))
    assert NOW + 48 <= waiting.next_attempt <= NOW + 72
    assert [name for _, name in events(tmp_path)] == [EventName.DELIVERED, EventName.FAILED, EventName.DEFERRED]
    assert queue.step(Batch(), [], rooms=Capacity(10), now=NOW + 10) == []
    [again] = queue.step(Batch(), [], rooms=Capacity(10), now=NOW + 100)
    assert again.attempts == 2
    queue.step(Batch(), [outcome(again, "delivered")], rooms=Capacity(0), now=NOW + 100)
    [failed] = view(tmp_path).entries()
    assert (failed.state, failed.reason) == ("failed", "550 5.1.1 no such user")


def test_a_deferred_entry_expires_and_stays_as_failed_with_its_reason(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(received_at=NOW)])
    queue = opened(tmp_path, initial=60, maximum=3600, expire=1000)
    [entry] = imported(queue, tmp_path)
    queue.step(Batch(), [outcome(entry, "deferred", at=NOW + 1001)], rooms=Capacity(0), now=NOW + 1001)
    [failed] = view(tmp_path).entries()
    assert failed.state == "failed"
    assert failed.reason == "expired; the last reply was: 451 4.3.0 later"


def test_what_waits_for_a_dead_route_expires_too(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(received_at=NOW), make_record(received_at=NOW + 900)])
    queue = opened(tmp_path, initial=60, maximum=3600, expire=1000)
    imported(queue, tmp_path, capacity=0)
    assert len(queue.expire(NOW + 1001, {"": "mx.example.org: refused"})) == 1
    assert view(tmp_path).counts() == {"failed": 1, "waiting": 1}


def test_what_was_in_flight_at_a_crash_is_tried_again_and_told_as_possible_duplicate(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(), make_record()])
    queue = opened(tmp_path)
    [entry] = imported(queue, tmp_path, capacity=1)
    queue.close()
    queue = opened(tmp_path)
    assert [one.key for one in queue.recover(NOW)] == [entry.key]
    assert events(tmp_path) == [(entry.message, EventName.POSSIBLE_DUPLICATE)]
    again = queue.step(Batch(), [], rooms=Capacity(10), now=NOW)
    assert {one.key: one.attempts for one in again}[entry.key] == 2


def test_the_oldest_due_entry_is_claimed_before_new_mail(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    queue = opened(tmp_path)
    imported(queue, tmp_path, capacity=0)
    fill(tmp_path, [make_record()])
    old = view(tmp_path).entries()[0]
    claimed = imported(queue, tmp_path, capacity=1, now=NOW + 1)
    assert [entry.key for entry in claimed] == [old.key]
    assert view(tmp_path).counts() == {"in_flight": 1, "waiting": 1}


def test_back_off_doubles_to_its_maximum_and_is_spread() -> None:
    schedule = RetrySchedule(60, 3600, 1)
    assert [schedule.delay(attempts, 0.5) for attempts in (1, 2, 3, 7, 1000)] == [60, 120, 240, 3600, 3600]
    assert (schedule.delay(1, 0.0), schedule.delay(1, 1.0)) == pytest.approx((48, 72))


def test_retry_makes_failed_recipients_pending_again(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(recipients=("a@x.example", "b@x.example"))])
    queue = opened(tmp_path)
    [entry] = imported(queue, tmp_path)
    queue.step(Batch(), [outcome(entry, "delivered", "failed")], rooms=Capacity(0), now=NOW)
    assert queue.retry(Selection((entry.message,)), NOW) == 1
    [again] = queue.step(Batch(), [], rooms=Capacity(10), now=NOW)
    assert (again.pending, again.attempts) == (("b@x.example",), 1)
    assert queue.retry(Selection(), NOW) == 0  # it is in flight


def test_delete_takes_no_entry_that_is_in_flight(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    queue = opened(tmp_path)
    [entry] = imported(queue, tmp_path)
    assert queue.delete(Selection((entry.key,)), NOW) == 0
    queue.step(Batch(), [outcome(entry, "deferred")], rooms=Capacity(0), now=NOW)
    assert queue.delete(Selection((entry.key,)), NOW) == 1
    assert events(tmp_path)[-1] == (entry.message, EventName.DELETED)


def test_a_segment_is_finished_when_read_and_no_entry_needs_it(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    queue = opened(tmp_path)
    [entry] = imported(queue, tmp_path)
    assert view(tmp_path).finished_segments() == set()
    queue.step(Batch(), [outcome(entry, "delivered")], rooms=Capacity(0), now=NOW)
    assert view(tmp_path).finished_segments() == {("receive-0", segments_of(tmp_path)[0].name)}


def test_nothing_of_a_step_happens_if_it_fails(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    queue = opened(tmp_path)
    [entry] = imported(queue, tmp_path)
    impossible = Outcome(entry, outcome(entry, "delivered").results, "mx", "no time")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        queue.step(Batch(), [impossible], rooms=Capacity(0), now=NOW)
    assert view(tmp_path).counts() == {"in_flight": 1}
    queue.step(Batch(), [outcome(entry, "delivered")], rooms=Capacity(0), now=NOW)


def test_outbox_rows_that_are_stored_elsewhere_are_dropped(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(), make_record()])
    queue = opened(tmp_path)
    entries = imported(queue, tmp_path)
    queue.settle([outcome(entry, "delivered") for entry in entries])
    [first, second] = view(tmp_path).outbox(0)
    queue.forget_outbox(first[0])
    assert [row[0] for row in view(tmp_path).outbox(0)] == [second[0]]
    assert view(tmp_path).instance() == queue.instance() != ""


def test_a_damaged_database_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreError, match="damaged") as fault:
        Queue(tmp_path)
    assert fault.value.mend


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "queue.db")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="schema 99"):
        Queue(tmp_path)
    with pytest.raises(StoreError, match="schema 99"):
        QueueView.open(tmp_path)


def test_a_full_disk_is_told_as_such_and_work_goes_on_afterwards(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(300)])
    queue = opened(tmp_path)
    queue._connection.execute("PRAGMA max_page_count=20")
    with pytest.raises(StoreError) as fault:
        imported(queue, tmp_path)
    assert fault.value.is_full
    queue._connection.execute("PRAGMA max_page_count=100000")
    assert len(imported(queue, tmp_path)) == 100
    assert len(view(tmp_path).entries()) == 300


def test_there_is_no_view_before_there_is_a_queue(tmp_path: Path) -> None:
    assert QueueView.open(tmp_path) is None


def message_of(state: Path, entry: Entry) -> bytes:
    return read_message(state / "spool", entry.location).to_bytes()


def test_what_outlives_a_sparse_segment_is_kept_apart_and_the_segment_can_go(tmp_path: Path) -> None:
    content = [os.urandom(3000) for _ in range(20)]
    records = [make_record(one, received_at=NOW) for one in content]
    fill(tmp_path, [*records, make_record(os.urandom(2 << 20), omitted=((0, 1000),), received_at=NOW)])
    queue = opened(tmp_path)
    entries = imported(queue, tmp_path)
    assert queue.sparse_segments(0.25) == []  # everything in it is still needed
    last = [entries[3], entries[20]]
    before = [message_of(tmp_path, entry) for entry in last]
    queue.settle([outcome(entry, "deferred" if entry in last else "delivered") for entry in entries])
    [segment] = queue.sparse_segments(0.25)
    assert queue.keep_apart(segment) == 2
    assert view(tmp_path).finished_segments() == {segment}
    segments_of(tmp_path)[0].unlink()
    kept = view(tmp_path).entries()
    assert [message_of(tmp_path, entry) for entry in kept] == before
    assert queue.sparse_segments(0.25) == []
    folder = tmp_path / "spool/survivors/content"
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    first, second = queue.step(Batch(), [], rooms=Capacity(9), now=NOW + 100)
    queue.settle([outcome(first, "delivered")])
    assert [path.name for path in folder.iterdir()] == [second.location.segment]
    queue.settle([outcome(second, "failed")])
    assert queue.delete(Selection((second.key,)), NOW) == 1
    assert list(folder.iterdir()) == []


def test_what_is_in_flight_is_not_moved(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(9)])
    queue = opened(tmp_path)
    entries = imported(queue, tmp_path)
    queue.settle([outcome(entry, "delivered") for entry in entries[1:]])
    [segment] = queue.sparse_segments(0.25)
    assert queue.keep_apart(segment) == 0


def test_a_message_kept_apart_that_was_altered_is_never_sent(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(9)])
    queue = opened(tmp_path)
    entries = imported(queue, tmp_path)
    queue.settle([outcome(entries[0], "deferred"), *(outcome(entry, "delivered") for entry in entries[1:])])
    queue.keep_apart(queue.sparse_segments(0.25)[0])
    [entry] = view(tmp_path).entries()
    path = tmp_path / "spool/survivors/content" / entry.location.segment
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(StoreError) as fault:
        message_of(tmp_path, entry)
    assert fault.value.is_damaged


def test_files_kept_apart_that_a_crash_left_without_an_entry_are_swept_up_at_start(tmp_path: Path) -> None:
    folder = tmp_path / "spool/survivors/content"
    folder.mkdir(parents=True)
    (folder / "X.00000000").write_bytes(b"x")
    (folder / "Y.new").write_bytes(b"half")
    opened(tmp_path)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_queue_of_each_version_before_keeps_its_entries(tmp_path: Path, version: int) -> None:
    path = tmp_path / FILE_NAME
    first = (
        "CREATE TABLE entry (key TEXT PRIMARY KEY, message TEXT NOT NULL, splinter INTEGER NOT NULL, state TEXT NOT NULL, "
        "attempts INTEGER NOT NULL, next_attempt REAL NOT NULL, accepted_at REAL NOT NULL, reverse_path TEXT NOT NULL, size INTEGER NOT NULL, "
        "reason TEXT NOT NULL, envelope TEXT NOT NULL, recipients TEXT NOT NULL, writer TEXT NOT NULL, segment TEXT NOT NULL, "
        "offset INTEGER NOT NULL, length INTEGER NOT NULL) WITHOUT ROWID"
    )
    tables = [first, "CREATE INDEX entry_due ON entry (state, next_attempt)", *SCHEMA[3:]]
    older = [*tables, *(statement for number in range(1, version) for statement in CHANGES[number])]
    values = ("m", 0, "waiting", 1, 0.0, 0.0, "a@example.net", 1, "", '["a@example.net",["b@x"],1,"7BIT",false]', '[["b@x","pending",""]]')
    with contextlib.closing(open_database(path, older, version=version)) as connection:
        names = "key, message, splinter, state, attempts, next_attempt, accepted_at, reverse_path, size, reason, envelope, recipients"
        question = f"INSERT INTO entry ({names}, writer, segment, offset, length) VALUES ({','.join('?' * 16)})"
        connection.execute("BEGIN")
        connection.executemany(question, [(f"k{number:04d}", *values, "w", "s", 0, 1) for number in range(500)])
        connection.execute("COMMIT")
    assert QueueView.open(tmp_path) is None
    Queue(tmp_path).close()
    found = view(tmp_path).entries()
    assert len(found) == 500
    assert (found[0].key, found[0].pending, found[0].mailhost, found[0].signs) == ("k0000", ("b@x",), "", False)
