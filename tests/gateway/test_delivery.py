"""The deliver process: from the spool to a Maildir or a next hop, with retries, results per recipient, and nothing lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.gateway.delivery.deliver import DeliverSettings, run_deliver
from esa.gateway.delivery.open_queue import OpenQueue, obey, socket_path
from esa.gateway.keep import KeepSettings, OpenKeep
from esa.policy.destination_controls import DestinationControl
from esa.policy.smtp_routes import THROWN_AWAY, TO_MAILDIR, parse_route
from esa.store.control import ask
from esa.store.entry import Entry
from esa.store.queue_view import QueueView
from esa.store.record import Event, EventName, Splinter
from esa.store.spool import Spool
from esa.store.waiting import Capacity
from tests.gateway.deliverer import running_deliverer
from tests.gateway.scripted import DROP, ScriptedServer
from tests.gateway.test_client import sink
from tests.store.messages import CONTENT, PREFIX, fill, make_record, segments_of

PATIENCE = 20.0


@asynccontextmanager
async def delivering(state: Path, server: ScriptedServer | int | None = None, **given: float) -> AsyncIterator[None]:
    """The deliver process, in this one."""
    port = server.port if isinstance(server, ScriptedServer) else server
    route = parse_route([f"127.0.0.1:{port}"]) if port is not None else TO_MAILDIR
    times = {"retry_initial": 0.2, "retry_maximum": 0.4} | {name: value for name, value in given.items() if name != "concurrency"}
    control = DestinationControl(int(given.get("concurrency", 20)))
    settings = DeliverSettings(state, "mx.example.net", route, control=control, **times)  # type: ignore[arg-type]
    async with running_deliverer(settings):
        yield


def entries(state: Path) -> list[Entry]:
    view = QueueView.open(state)
    if view is None:
        return []
    found = view.entries()
    view.close()
    return found


def events(state: Path) -> list[Event]:
    view = QueueView.open(state)
    assert view is not None
    found = [event for _, _, _, event in view.outbox(0)]
    view.close()
    return found


def names(state: Path) -> list[EventName]:
    return [event.name for event in events(state)]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.01)


def arrived(state: Path) -> list[bytes]:
    folder = state / "Maildir/new"
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


async def test_mail_arrives_in_the_maildir_byte_for_byte_below_its_trace_fields(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(recipients=("a@x.example", "b@x.example"))])
    async with delivering(tmp_path):
        await until(lambda: len(arrived(tmp_path)) == 1)
    trace = b"Return-Path: <author@example.net>\r\nDelivered-To: a@x.example\r\nDelivered-To: b@x.example\r\n"
    assert arrived(tmp_path) == [trace + PREFIX + CONTENT]
    assert entries(tmp_path) == []
    assert names(tmp_path) == [EventName.DELIVERED]


async def test_mail_that_comes_while_it_runs_is_delivered_from_all_writers(tmp_path: Path) -> None:
    async with delivering(tmp_path):
        with Spool(tmp_path / "spool", "receive-0") as first, Spool(tmp_path / "spool", "receive-1") as second:
            for number in range(10):
                await asyncio.to_thread((first, second)[number % 2].append, [make_record() for _ in range(7)])
            await until(lambda: len(arrived(tmp_path)) == 70)


async def test_mail_of_a_quarantine_or_drop_splinter_is_not_delivered(tmp_path: Path) -> None:
    splinters = (Splinter(("a@x.example",), "quarantine"), Splinter(("b@x.example",), "deliver"), Splinter(("c@x.example",), "drop"))
    fill(tmp_path, [make_record(splinters=splinters)])
    async with delivering(tmp_path):
        await until(lambda: len(arrived(tmp_path)) == 1)
    assert b"Delivered-To: b@x.example\r\n" in arrived(tmp_path)[0]
    assert b"Delivered-To: a@x.example\r\n" not in arrived(tmp_path)[0]


async def test_a_thousand_messages_go_to_the_next_hop_over_few_kept_connections(tmp_path: Path) -> None:
    for _ in range(5):
        fill(tmp_path, [make_record(recipients=(f"{number}@x.example",)) for number in range(200)])
    async with ScriptedServer() as server, delivering(tmp_path, server, concurrency=8):
        await until(lambda: len(server.taken) == 1000)
        await until(lambda: entries(tmp_path) == [])
        assert server.most_open <= 8
        assert server.connections <= 1000 / 50 + 8  # 50 messages each
        assert server.taken[0].content == PREFIX + CONTENT.replace(b"\r\n.", b"\r\n..")


async def test_each_recipient_gets_its_own_result_and_only_the_deferred_one_a_second_attempt(tmp_path: Path) -> None:
    to = ("good@x.example", "later@x.example", "never@x.example")
    replies: dict[str, bytes | list[bytes]] = {
        "RCPT later@x.example": [b"451 4.2.1 later\r\n", b"250 ok\r\n"],
        "RCPT never@x.example": b"550 5.1.1 no\r\n",
    }
    fill(tmp_path, [make_record(recipients=to)])
    async with ScriptedServer(replies=replies) as server, delivering(tmp_path, server):
        await until(lambda: len(server.taken) == 2)
        await until(lambda: [entry.state for entry in entries(tmp_path)] == ["failed"])
        assert [taken.recipients for taken in server.taken] == [["good@x.example"], ["later@x.example"]]
        assert server.commands.count("RCPT TO:<never@x.example>") == 1
    [failed] = entries(tmp_path)
    assert [(recipient.status, recipient.reply) for recipient in failed.recipients] == [
        ("delivered", "250 2.0.0 taken"),
        ("delivered", "250 2.0.0 taken"),
        ("failed", "550 5.1.1 no"),
    ]
    assert names(tmp_path) == [EventName.DELIVERED, EventName.FAILED, EventName.DEFERRED, EventName.DELIVERED]


async def test_a_reply_lost_after_the_dot_is_retried_and_told_as_possible_duplicate(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    async with ScriptedServer(replies={".": [DROP, b"250 2.0.0 taken\r\n"]}) as server, delivering(tmp_path, server):
        await until(lambda: len(server.taken) == 2)
        await until(lambda: entries(tmp_path) == [])
    deferred, delivered = events(tmp_path)
    assert deferred.fields["may_have_arrived"] is True
    assert delivered.name is EventName.DELIVERED


async def test_mail_waits_untouched_while_the_next_hop_is_down_and_goes_when_it_is_back(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    fill(tmp_path, [make_record() for _ in range(100)])
    async with delivering(tmp_path, port, retry_initial=2.0, retry_maximum=2.0, concurrency=5):
        await until(lambda: EventName.DEFERRED in names(tmp_path))
        await asyncio.sleep(0.5)
        attempted = [entry for entry in entries(tmp_path) if entry.attempts]
        assert 1 <= len(attempted) <= 12  # those in flight when it was found down, and a few that tried whether it is back
        async with ScriptedServer(port=port) as server:
            await until(lambda: len(server.taken) == 100)
            await until(lambda: entries(tmp_path) == [])


async def test_a_kept_connection_closed_by_the_other_side_costs_no_attempt(tmp_path: Path) -> None:
    async with ScriptedServer(replies={"MAIL": [b"250 ok\r\n", DROP, b"250 ok\r\n"]}) as server, delivering(tmp_path, server):
        fill(tmp_path, [make_record()])
        await until(lambda: len(server.taken) == 1)
        fill(tmp_path, [make_record()])
        await until(lambda: len(server.taken) == 2)
        await until(lambda: entries(tmp_path) == [])
    assert names(tmp_path) == [EventName.DELIVERED, EventName.DELIVERED]


async def test_a_message_that_stays_deferred_expires_and_is_kept_as_failed(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    async with ScriptedServer(replies={"RCPT": b"451 4.2.1 later\r\n"}) as server, delivering(tmp_path, server, expire=0.5):
        await until(lambda: [entry.state for entry in entries(tmp_path)] == ["failed"])
    [failed] = entries(tmp_path)
    assert failed.reason == "expired; the last reply was: 451 4.2.1 later"


async def test_a_message_damaged_on_our_disk_fails_with_its_reason_and_does_not_block_the_rest(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(bytes(2 << 20)), make_record()])
    [content] = (tmp_path / "spool/receive-0/content").iterdir()
    content.write_bytes(b"something else")
    async with delivering(tmp_path):
        await until(lambda: len(arrived(tmp_path)) == 1)
        await until(lambda: [entry.state for entry in entries(tmp_path)] == ["failed"])
    assert "cannot be read" in entries(tmp_path)[0].reason


async def test_what_was_in_flight_at_a_crash_is_delivered_once_to_the_maildir(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(3)])
    with OpenQueue(tmp_path) as queue:  # a process that claims, delivers one, and dies
        from esa.gateway.delivery.next_hop import MaildirHop
        from esa.store.segments import SpoolReader

        claimed = queue.step(SpoolReader(tmp_path / "spool").read(), [], rooms=Capacity(3), now=time.time())
        hop = MaildirHop(tmp_path / "spool", tmp_path / "Maildir")
        await hop.send(claimed[:1])
        await hop.close()
    async with delivering(tmp_path):
        await until(lambda: entries(tmp_path) == [])
    assert len(arrived(tmp_path)) == 3
    assert names(tmp_path).count(EventName.POSSIBLE_DUPLICATE) == 3


async def test_stopping_finishes_what_is_in_flight(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    async with ScriptedServer(delay=0.5) as server:
        async with delivering(tmp_path, server):
            await until(lambda: "DATA" in server.commands)
        assert len(server.taken) == 1
    assert entries(tmp_path) == []


async def test_a_full_disk_delays_deliveries_and_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from esa.gateway.delivery import deliver as delivery
    from esa.store.queue import Queue

    fill(tmp_path, [make_record() for _ in range(5)])
    step = Queue.step
    faults: list[int] = []

    def failing(queue: Queue, *given: object, **named: object) -> list[Entry]:
        if len(faults) < 3:
            faults.append(1)
            raise StoreError("the disk is full", is_full=True)
        return step(queue, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Queue, "step", failing)
    monkeypatch.setattr(delivery, "_FAULT_PAUSE", 0.02)
    async with delivering(tmp_path):
        await until(lambda: len(arrived(tmp_path)) == 5)
    assert len(faults) == 3


async def test_a_second_deliverer_is_refused(tmp_path: Path) -> None:
    async with delivering(tmp_path):
        with pytest.raises(StoreError) as fault:
            await run_deliver(DeliverSettings(tmp_path, "mx.example.net"), asyncio.Event())
        assert fault.value.is_in_use


async def test_retry_over_the_socket_tries_a_failed_message_again(tmp_path: Path) -> None:
    fill(tmp_path, [make_record()])
    async with ScriptedServer(replies={"RCPT": [b"550 5.1.1 no\r\n", b"250 ok\r\n"]}) as server, delivering(tmp_path, server):
        await until(lambda: [entry.state for entry in entries(tmp_path)] == ["failed"])
        [entry] = entries(tmp_path)
        assert await asyncio.to_thread(ask, socket_path(tmp_path), {"verb": "retry", "keys": [entry.key]}) == {"count": 1}
        await until(lambda: len([taken for taken in server.taken if taken.content]) == 1)


@pytest.mark.parametrize("request_", [{"verb": "burn"}, {"verb": "delete", "keys": None}, {"verb": "retry", "keys": "x"}])
def test_an_unknown_request_is_refused_in_words(tmp_path: Path, request_: dict[str, object]) -> None:
    with OpenQueue(tmp_path) as queue, pytest.raises(StoreError):
        obey(queue, request_, time.time())


async def test_segments_go_once_all_is_delivered_and_tracked(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(20)])
    async with delivering(tmp_path):
        await until(lambda: len(arrived(tmp_path)) == 20)
        await until(lambda: entries(tmp_path) == [])
        await until(lambda: len(names(tmp_path)) == 20)
    with contextlib.closing(OpenKeep(KeepSettings(tmp_path))) as keep:
        keep.start()
        assert len(keep.remove_segments()) == 1
    assert segments_of(tmp_path) == []


@pytest.mark.servers
@pytest.mark.parametrize("options", [(), ("-p",), ("-e",)], ids=["pipelining", "lockstep", "HELO only"])
async def test_smtp_sink_takes_everything(
    tmp_path: Path, server_program: Callable[[str], str], free_port: Callable[[], int], options: tuple[str, ...]
) -> None:
    port = free_port()
    fill(tmp_path, [make_record() for _ in range(100)] + [make_record(bytes(3 << 20))])
    with sink(server_program("smtp-sink"), port, *options):
        async with delivering(tmp_path, port):
            await until(lambda: entries(tmp_path) == [] and len(names(tmp_path)) == 101)
    assert set(names(tmp_path)) == {EventName.DELIVERED}


async def test_a_maildir_that_vanished_defers_and_fails_nothing(tmp_path: Path) -> None:
    async with delivering(tmp_path):
        (tmp_path / "Maildir/tmp").rmdir()
        (tmp_path / "Maildir/tmp").write_text("no folder")
        fill(tmp_path, [make_record()])
        await until(lambda: EventName.DEFERRED in names(tmp_path))
        assert [entry.state for entry in entries(tmp_path)] != ["failed"]
        (tmp_path / "Maildir/tmp").unlink()
        await until(lambda: len(arrived(tmp_path)) == 1)


async def test_a_fault_of_our_own_defers_instead_of_leaving_mail_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("never foreseen")

    monkeypatch.setattr("esa.gateway.delivery.next_hop.MaildirHop.send", fail)
    fill(tmp_path, [make_record()])
    async with delivering(tmp_path, retry_initial=60, retry_maximum=60):
        await until(lambda: EventName.DEFERRED in names(tmp_path))
    [entry] = entries(tmp_path)
    assert entry.state == "waiting"
    assert "RuntimeError" in entry.reason


async def test_the_route_dev_null_throws_mail_away_and_tells_tracking(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(3)])
    stop = asyncio.Event()
    running = asyncio.create_task(run_deliver(DeliverSettings(tmp_path, "mx.example.net", THROWN_AWAY), stop))
    await until(lambda: QueueView.open(tmp_path) is not None and names(tmp_path).count(EventName.DELIVERED) == 3)
    stop.set()
    await running
    assert entries(tmp_path) == []
    assert {event.fields["next_hop"] for event in events(tmp_path) if event.name is EventName.DELIVERED} == {"/dev/null"}


async def test_a_splinter_goes_to_the_next_hop_that_its_policy_names(tmp_path: Path) -> None:
    async with ScriptedServer() as named, ScriptedServer() as usual:
        mailhost = f"127.0.0.1:{named.port}"
        splinters = (Splinter(("a@example.org",), "deliver"), Splinter(("b@example.org",), "deliver", "why", mailhost))
        fill(tmp_path, [make_record(splinters=splinters)])
        async with delivering(tmp_path, usual):
            await until(lambda: bool(named.taken and usual.taken))
        assert [one.recipients for one in named.taken] == [["b@example.org"]]
        assert [one.recipients for one in usual.taken] == [["a@example.org"]]
    hops = {event.fields["next_hop"] for event in events(tmp_path) if event.name is EventName.DELIVERED}
    assert hops == {mailhost, f"127.0.0.1:{usual.port}"}


async def test_a_named_next_hop_that_is_down_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    splinters = (Splinter(("a@example.org",), "deliver", "", "127.0.0.1:1"), Splinter(("b@example.org",), "deliver"))
    fill(tmp_path, [make_record(splinters=splinters) for _ in range(3)])
    async with delivering(tmp_path):
        await until(lambda: len(arrived(tmp_path)) == 3)
        await until(lambda: names(tmp_path).count(EventName.DEFERRED) >= 3)
    assert all(b"Delivered-To: b@example.org" in content for content in arrived(tmp_path))
    assert {entry.mailhost for entry in entries(tmp_path)} == {"127.0.0.1:1"}
