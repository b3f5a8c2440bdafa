"""Tracking: exactly once, and found again by sender, recipient, time and identifier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.outbox import stored_outbox
from esa.store.record import Event, EventName, Splinter
from esa.store.segments import Batch, SpoolReader
from esa.store.tracking import Told, Tracked, Tracking, TrackingView
from tests.store.messages import fill, make_record, segments_of

NOW = 1_800_000_000.0


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[Tracking]:
    made = Tracking(tmp_path)
    yield made
    made.close()


def search(state: Path, **wanted: object) -> list[Tracked]:
    view = TrackingView.open(state)
    assert view is not None
    try:
        return view.search(**wanted)  # type: ignore[arg-type]
    finally:
        view.close()


def read(state: Path) -> Batch:
    return SpoolReader(state / "spool").read()


def test_a_message_is_tracked_from_its_record(tmp_path: Path, tracking: Tracking) -> None:
    record = make_record(recipients=("A@x.example", "b@x.example"), received_at=NOW, fields={"subject": "hello"})
    fill(tmp_path, [record])
    tracking.add(read(tmp_path))
    [found] = search(tmp_path, identifier=record.id)
    assert (found.id, found.outcome, found.verdict, found.score, found.subject) == (record.id, "accepted", "clean", 3.5, "hello")
    assert [(recipient.address, recipient.status) for recipient in found.recipients] == [
        ("A@x.example", "queued"),
        ("b@x.example", "queued"),
    ]
    assert [event.name for event in found.events] == [EventName.ACCEPTED]
    assert found.client == "192.0.2.7"


def test_the_same_batch_twice_counts_once(tmp_path: Path, tracking: Tracking) -> None:
    fill(tmp_path, [make_record()])
    batch = read(tmp_path)
    told = [Told("delivery-1", batch.stored[0].record.id, Event(EventName.DELIVERED, NOW, {"recipients": ["user@example.org"]}))]
    for _ in range(2):
        tracking.add(batch, told, outbox=("Q", 7))
    [found] = search(tmp_path)
    assert [event.name for event in found.events] == [EventName.ACCEPTED, EventName.DELIVERED]
    assert found.recipients[0].status == "delivered"
    assert tracking.outbox_position("Q") == 7
    assert tracking.outbox_position("another queue") == 0
    assert stored_outbox(tmp_path, "Q") == 7


def test_cursors_are_stored_with_what_they_stand_for(tmp_path: Path, tracking: Tracking) -> None:
    fill(tmp_path, [make_record()])
    batch = read(tmp_path)
    tracking.add(batch)
    assert tracking.cursors() == batch.cursors
    tracking.forget(batch.cursors)
    assert tracking.cursors() == {}


def test_dispositions_and_refusals_are_each_recipients_own(tmp_path: Path, tracking: Tracking) -> None:
    splinters = (
        Splinter(("a@x.example",), "deliver"),
        Splinter(("b@x.example",), "quarantine", "suspect"),
        Splinter(("c@x.example",), "drop"),
    )
    fill(tmp_path, [make_record(splinters=splinters, recipients=("a@x.example", "b@x.example", "c@x.example"))])
    refused = make_record(None, splinters=(), recipients=("d@x.example",))
    refused_event = (Event(EventName.REFUSED, NOW, {"reply": "550 5.7.1 refused", "verdict": "positive", "score": 99.0}),)
    from dataclasses import replace

    fill(tmp_path, [replace(refused, events=refused_event)])
    while batch := SpoolReader(tmp_path / "spool", tracking.cursors()).read():
        tracking.add(batch)
    statuses = {recipient.address: recipient.status for found in search(tmp_path) for recipient in found.recipients}
    assert statuses == {"a@x.example": "queued", "b@x.example": "quarantined", "c@x.example": "dropped", "d@x.example": "refused"}
    [found] = search(tmp_path, recipient="d@x.example")
    assert (found.outcome, found.verdict, found.score) == ("refused", "positive", 99.0)


def test_messages_are_found_by_whole_address_by_part_by_null_path_and_by_time(tmp_path: Path, tracking: Tracking) -> None:
    records = [
        make_record(reverse_path="One@Example.net", recipients=("ab@x.example",), received_at=NOW),
        make_record(reverse_path="two@example.net", recipients=("b@x.example",), received_at=NOW + 10),
        make_record(reverse_path="", recipients=("a_b@y.example",), received_at=NOW + 20),
    ]
    fill(tmp_path, records)
    tracking.add(read(tmp_path))
    one, two, null = (record.id for record in records)

    def found(**wanted: object) -> list[str]:
        return [message.id for message in search(tmp_path, **wanted)]

    assert found() == [null, two, one]
    assert found(limit=1) == [null]
    assert found(sender="one@example.NET") == found(sender="<One@example.net>") == [one]
    assert found(sender="@example.net") == [two, one]
    assert found(sender="<>") == [null]
    assert found(recipient="b@x.example") == [two]
    assert found(recipient="a_b") == [null]  # the underscore is no wild card
    assert found(recipient="%") == []
    assert found(since=NOW + 5) == [null, two]
    assert found(sender="@example.net", since=NOW + 5) == [two]
    assert found(identifier=one.lower()) == [one]


def test_what_is_past_its_time_goes_with_its_events(tmp_path: Path, tracking: Tracking) -> None:
    fill(tmp_path, [make_record(received_at=NOW), make_record(received_at=NOW + 100)])
    tracking.add(read(tmp_path))
    assert tracking.expire(NOW + 50) == 1
    [left] = search(tmp_path)
    assert left.received_at == NOW + 100
    assert tracking.expire(NOW + 50) == 0


def test_damage_is_remembered_for_its_segment(tmp_path: Path, tracking: Tracking) -> None:
    fill(tmp_path, [make_record(), make_record()])
    [segment] = segments_of(tmp_path)
    with segment.open("r+b") as file:
        file.write(b"\xff")
    tracking.add(read(tmp_path))
    assert tracking.damaged_segments() == {("receive-0", segment.name)}


def test_there_is_no_view_before_something_was_tracked(tmp_path: Path) -> None:
    assert TrackingView.open(tmp_path) is None
    assert stored_outbox(tmp_path, "Q") is None


def test_a_damaged_file_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "tracking.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="damaged"):
        Tracking(tmp_path)
