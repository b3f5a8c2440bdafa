"""queue.db made anew from segments, messages kept apart, tracking, and what can be read of the damaged file."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.gateway.delivery.open_queue import OpenQueue, is_damage
from esa.gateway.keep import KeepSettings, OpenKeep
from esa.policy.bounce_profile import BounceProfile
from esa.store.debts import Payment, told_event
from esa.store.entry import FILE_NAME, Entry, Outcome, Result
from esa.store.queue import Queue
from esa.store.queue_view import QueueView
from esa.store.rebuilding import check_queue, is_lost, rebuild
from esa.store.record import EventName, Splinter
from esa.store.segments import Batch, SpoolReader, read_message
from esa.store.selection import Selection
from esa.store.waiting import Capacity
from tests.store.messages import fill, make_record, segments_of

NOW = time.time()
REPLIES = {"delivered": "250 2.0.0 ok", "deferred": "451 4.3.0 later", "failed": "550 5.1.1 no such user"}


class Usual:
    """One profile for all."""

    shortest = BounceProfile("Default").schedule.expire

    def of(self, _: Entry) -> BounceProfile:
        return BounceProfile("Default")


def outcome(entry: Entry, *statuses: str) -> Outcome:
    results = tuple(
        Result(address, status, REPLIES[status])  # type: ignore[arg-type]
        for address, status in zip(entry.pending, statuses, strict=True)
    )
    return Outcome(entry, results, "mx.example.org:25", NOW)


def imported(queue: Queue, state: Path) -> list[Entry]:
    return queue.step(SpoolReader(state / "spool", queue.cursors()).read(), [], rooms=Capacity(100), now=time.time() + 1)


def entries(state: Path) -> list[Entry]:
    view = QueueView.open(state)
    assert view is not None
    try:
        return view.entries()
    finally:
        view.close()


def told(state: Path) -> list[tuple[str, EventName]]:
    view = QueueView.open(state)
    assert view is not None
    try:
        return [(message, event.name) for _, _, message, event in view.outbox(0)]
    finally:
        view.close()


def keep(state: Path) -> None:
    with OpenKeep(KeepSettings(state)) as kept:
        kept.drain()


def lose(state: Path) -> None:
    for path in state.glob(f"{FILE_NAME}*"):
        path.unlink()


def shape(entry: Entry) -> tuple[object, ...]:
    """All but what a crash may change."""
    state = "waiting" if entry.state == "in_flight" else entry.state
    return entry.key, state, entry.recipients, entry.envelope, entry.size, entry.mailhost, entry.signs


def test_a_queue_that_is_lost_is_made_anew_with_equal_entries(tmp_path: Path) -> None:
    several = tuple(f"{name}@example.org" for name in "abc")
    splinters = (
        Splinter(("x@example.org",), "quarantine"),
        Splinter(("y@example.org",), "deliver", mailhost="relay.example.net:25", signs=True),
    )
    fill(tmp_path, [make_record(recipients=several), *(make_record() for _ in range(5)), make_record(splinters=splinters)])
    with OpenQueue(tmp_path) as queue:
        first, second, third, fourth, *_ = imported(queue, tmp_path)
        queue.settle(
            [
                outcome(first, "delivered", "deferred", "failed"),
                outcome(second, "failed"),
                outcome(third, "delivered"),
                outcome(fourth, "deferred"),
            ]
        )
        queue.delete(Selection((second.key,)), NOW)
    keep(tmp_path)
    before = entries(tmp_path)
    lose(tmp_path)
    assert is_lost(tmp_path)
    with OpenQueue(tmp_path) as queue:
        assert imported(queue, tmp_path)  # what was in flight is claimed anew, and nothing is imported twice
    assert list(map(shape, entries(tmp_path))) == list(map(shape, before))
    assert len(before) == 5
    fourth_again = next(one for one in entries(tmp_path) if one.key == fourth.key)
    assert fourth_again.reason == REPLIES["deferred"]


def test_the_sender_of_what_had_failed_is_still_to_be_told_and_what_was_retried_waits(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(), make_record()])
    with OpenQueue(tmp_path) as queue:
        claimed = imported(queue, tmp_path)
        queue.settle([outcome(entry, "failed") for entry in claimed])
        queue.retry(Selection((claimed[1].key,)), NOW + 10)
    keep(tmp_path)
    lose(tmp_path)
    made = rebuild(tmp_path)
    assert (made.waiting, made.failed) == (1, 1)
    first, second = sorted(entries(tmp_path), key=lambda entry: entry.key)
    assert (first.state, first.reason, second.state) == ("reporting", REPLIES["failed"], "waiting")
    assert second.accepted_at == NOW + 10


def test_senders_that_were_told_are_not_told_again_and_the_others_are_when_the_queue_was_lost(tmp_path: Path) -> None:
    splinters = (Splinter(("x@example.org",), "deliver"), Splinter(("y@example.org",), "deliver", mailhost="relay.example.net:25"))
    fill(tmp_path, [make_record(), make_record(splinters=splinters)])
    with OpenQueue(tmp_path, profiles=Usual()) as queue:
        claimed = imported(queue, tmp_path)
        queue.settle([outcome(entry, "failed") for entry in claimed])
        before = {entry.key: entry for entry in queue.owing(NOW + 60, 10)}
        paid = next(entry for entry in before.values() if entry.key != entry.message)  # the second splinter of its message
        event = told_event(paid.key, "failed", ["y@example.org"], to="a@example.net", identifier="n", at=NOW + 2)
        queue.pay([Payment(paid.key, paid.debts, event)], NOW + 2)
    keep(tmp_path)
    lose(tmp_path)
    rebuild(tmp_path)
    left = entries(tmp_path)
    assert sorted(entry.key for entry in left) == sorted(before.keys() - {paid.key})
    for entry in left:
        assert (entry.state, entry.debts) == ("reporting", before[entry.key].debts)


@pytest.mark.parametrize("is_segment_gone", [True, False])
def test_messages_kept_apart_from_their_segment_survive_the_loss_of_the_queue(tmp_path: Path, is_segment_gone: bool) -> None:
    content = [os.urandom(3000) for _ in range(20)]
    fill(tmp_path, [make_record(one, recipients=("a@x.example", "b@y.example")) for one in content])
    with OpenQueue(tmp_path) as queue:
        claimed = imported(queue, tmp_path)
        queue.settle([outcome(claimed[0], "delivered", "deferred"), *(outcome(entry, "delivered", "delivered") for entry in claimed[1:])])
        [segment] = queue.sparse_segments(0.25)
        assert queue.keep_apart(segment) == 1
    keep(tmp_path)
    [before] = entries(tmp_path)
    octets = read_message(tmp_path / "spool", before.location).to_bytes()
    if is_segment_gone:
        segments_of(tmp_path)[0].unlink()
    lose(tmp_path)
    with OpenQueue(tmp_path):
        pass
    [after] = entries(tmp_path)
    assert shape(after) == shape(before)
    assert read_message(tmp_path / "spool", after.location).to_bytes() == octets


def test_a_message_kept_apart_that_does_not_say_whom_it_is_for_is_set_aside_and_not_removed(tmp_path: Path) -> None:
    folder = tmp_path / "spool/survivors/content"
    folder.mkdir(parents=True)
    (folder / "X.00000000").write_bytes(b"of an older esa")
    with OpenQueue(tmp_path):
        pass
    assert entries(tmp_path) == []
    assert [path.read_bytes() for path in (tmp_path / "spool/survivors/corrupt").iterdir()] == [b"of an older esa"]


def damaged(state: Path, chance: random.Random, *, kind: str) -> None:
    """Flip bits of pages behind the first, cut the file in half, or put zeros in the place of its header."""
    path = state / FILE_NAME
    data = bytearray(path.read_bytes())
    match kind:
        case "flipped":
            for place in range(4096, len(data), 512):
                data[place + chance.randrange(512)] ^= 1 << chance.randrange(8)
        case "cut":
            del data[len(data) // 2 :]
        case "empty":
            data.clear()
        case _:
            data[:100] = bytes(100)
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["flipped", "cut", "zeros", "empty"])
def test_a_damaged_queue_is_made_anew_at_the_start_and_the_old_file_is_kept(tmp_path: Path, kind: str) -> None:
    fill(tmp_path, [make_record() for _ in range(60)])
    with OpenQueue(tmp_path) as queue:
        claimed = imported(queue, tmp_path)
        queue.settle([outcome(entry, "delivered" if number % 2 else "deferred") for number, entry in enumerate(claimed)])
    keep(tmp_path)
    before = entries(tmp_path)
    damaged(tmp_path, random.Random(kind), kind=kind)
    with OpenQueue(tmp_path, checks=True):
        pass
    assert list(map(shape, entries(tmp_path))) == list(map(shape, before))
    assert len(before) == 30
    if kind != "empty":
        assert len(list((tmp_path / "corrupt").glob(f"{FILE_NAME}.*"))) >= 1
    assert check_queue(tmp_path) is None


def test_results_that_tracking_did_not_have_yet_are_rescued_from_a_damaged_file(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(40)])
    with OpenQueue(tmp_path) as queue:
        claimed = imported(queue, tmp_path)
        queue.settle([outcome(entry, "delivered") for entry in claimed[:10]])
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute("UPDATE entry SET recipients = 'no JSON' WHERE key = ?", (claimed[20].key,))
    database.close()
    made = rebuild(tmp_path)
    assert (made.waiting, made.done, made.rescued) == (30, 10, 10)
    assert told(tmp_path).count((claimed[0].message, EventName.DELIVERED)) == 1
    assert (claimed[20].message, EventName.POSSIBLE_DUPLICATE) in told(tmp_path)


def test_an_entry_that_cannot_be_read_is_told_as_damage_of_the_queue(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    with OpenQueue(tmp_path) as queue:
        [entry] = imported(queue, tmp_path)
        queue.settle([outcome(entry, "deferred")])
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute("UPDATE entry SET envelope = '[1, 2'")
    database.close()
    with OpenQueue(tmp_path) as queue, pytest.raises(StoreError, match="cannot be read") as fault:
        queue.step(Batch(), [], rooms=Capacity(9), now=NOW + 9999)
    assert is_damage(fault.value)


def test_a_crash_while_it_is_made_anew_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [make_record() for _ in range(5)])
    with OpenQueue(tmp_path) as queue:
        claimed = imported(queue, tmp_path)
        queue.settle([outcome(claimed[0], "delivered")])
    real = Path.replace

    def crash(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        rebuild(tmp_path)
    monkeypatch.setattr(Path, "replace", real)
    made = rebuild(tmp_path)
    assert (made.waiting, made.done) == (4, 1)
