"""Mail for several destinations: each by itself, none waits for another, and what one next hop says moves only what it is given."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from esa.gateway.delivery.back_off import BackOff
from esa.gateway.delivery.deliver import DeliverSettings
from esa.gateway.delivery.transaction import Attempt
from esa.policy.bounce_profile import RetrySchedule
from esa.policy.destination_controls import DestinationControl
from esa.policy.smtp_routes import BY_DNS, TO_MAILDIR, SmtpRoute, parse_route
from esa.store.entry import Result
from esa.store.queue import Queue
from esa.store.record import EventName
from esa.store.selection import Selection
from tests.gateway.deliverer import running_deliverer
from tests.gateway.name_server import name_server
from tests.gateway.scripted import ScriptedServer
from tests.gateway.test_client import sink
from tests.gateway.test_delivery import arrived, entries, events, until
from tests.store.messages import fill, make_record


@asynccontextmanager
async def delivering(state: Path, routes: dict[str, SmtpRoute] | None = None, **given: object) -> AsyncIterator[None]:
    more = {"retry_initial": 0.2, "retry_maximum": 0.4} | given
    settings = DeliverSettings(state, "mx.example.net", routes=tuple((routes or {}).items()), **more)  # type: ignore[arg-type]
    async with running_deliverer(settings):
        yield


def to(server: ScriptedServer) -> SmtpRoute:
    return parse_route([f"127.0.0.1:{server.port}"])


async def test_each_destination_has_its_part_of_a_message_and_its_own_retry(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(recipients=("a@one.example", "b@two.example", "c@one.example", "d@here.example"))])
    async with ScriptedServer() as one, ScriptedServer(replies={"RCPT": [b"451 4.2.1 later\r\n", b"250 ok\r\n"]}) as two:
        async with delivering(tmp_path, {"one.example": to(one), "two.example": to(two)}):
            await until(lambda: bool(one.taken and arrived(tmp_path) and [t for t in two.taken if t.recipients]))
            await until(lambda: entries(tmp_path) == [])
        assert [taken.recipients for taken in one.taken] == [["a@one.example", "c@one.example"]]
        assert two.commands.count("RCPT TO:<b@two.example>") == 2
    assert b"Delivered-To: d@here.example\r\n" in arrived(tmp_path)[0]


async def test_two_hundred_that_wait_for_a_dead_destination_keep_no_other_waiting(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(recipients=("a@dead.example",)) for _ in range(200)])
    async with ScriptedServer() as live:
        routes = {"dead.example": parse_route(["127.0.0.1:1"]), "live.example": to(live)}
        async with delivering(tmp_path, routes, retry_initial=3600, retry_maximum=3600):
            await until(lambda: any(entry.reason for entry in entries(tmp_path)))
            fill(tmp_path, [make_record(recipients=("b@live.example",))])
            await until(lambda: len(live.taken) == 1)
    assert sum(entry.attempts > 0 for entry in entries(tmp_path)) <= 12


async def test_mail_goes_to_the_next_mail_exchanger_where_the_first_is_down(tmp_path: Path) -> None:
    zone = {
        ("x.example", "MX"): ("10 down.example", "20 up.example"),
        ("down.example", "A"): ("127.0.0.9",),
        ("up.example", "A"): ("127.0.0.1",),
    }
    fill(tmp_path, [make_record(recipients=("a@x.example",))])
    async with name_server(zone) as names, ScriptedServer() as server:
        given = {"route": BY_DNS, "name_servers": (names.address,), "dns_port": server.port, "dns_unreachable": ()}
        async with delivering(tmp_path, None, **given):
            await until(lambda: len(server.taken) == 1)
            await until(lambda: entries(tmp_path) == [])


async def test_changed_routes_hold_for_mail_that_waits(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(recipients=("a@one.example", "b@two.example"))])
    dead = {"retry_initial": 3600.0, "retry_maximum": 3600.0}
    async with delivering(tmp_path, None, route=parse_route(["127.0.0.1:1"]), **dead):
        await until(lambda: [entry.attempts for entry in entries(tmp_path)] == [1])
    with_state = Queue(tmp_path)
    with_state.retry(Selection(), time.time())
    with_state.close()
    async with ScriptedServer() as one, ScriptedServer() as two:
        async with delivering(tmp_path, {"one.example": to(one), "two.example": to(two)}, route=TO_MAILDIR):
            await until(lambda: bool(one.taken and two.taken))
        assert (one.taken[0].recipients, two.taken[0].recipients) == (["a@one.example"], ["b@two.example"])


async def test_no_more_connections_than_the_control_allows(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(recipients=("a@x.example",)) for _ in range(30)])
    async with ScriptedServer(delay=0.01) as server:
        control = (("x.example", DestinationControl(concurrency=2, messages_per_connection=5)),)
        async with delivering(tmp_path, route=to(server), controls=control):
            await until(lambda: len(server.taken) == 30)
        assert server.most_open <= 2
        assert server.connections >= 6


def answered(reply: str, status: str = "deferred") -> Attempt:
    return Attempt((Result("a@x.example", status, reply),), is_connection_usable=True)  # type: ignore[arg-type]


def test_throttling_replies_halve_what_a_destination_is_given_and_then_hold_it() -> None:
    back_off = BackOff(20, RetrySchedule(60, 3600))
    for _ in range(15):
        back_off.note(answered("250 ok", "delivered"), time.monotonic())
    assert back_off.connections == 20
    held = [back_off.note(answered("450 4.7.1 slower"), time.monotonic()) for _ in range(6)]
    assert back_off.connections == 1
    assert [seconds is not None for seconds in held] == [False] * 4 + [True] * 2
    assert held[5] > held[4]  # type: ignore[operator]
    assert back_off.state(time.monotonic()) == "throttled"
    back_off.forgive()
    assert (back_off.connections, back_off.held_until) == (5, 0.0)


def test_an_ordinary_deferral_is_no_reason_to_slow_down() -> None:
    back_off = BackOff(20, RetrySchedule(60, 3600))
    assert back_off.note(answered("451 4.2.1 later"), time.monotonic()) is None
    assert back_off.connections == 5


@pytest.mark.servers
async def test_lmtp_delivers_to_each_recipient_with_its_own_reply(
    tmp_path: Path, server_program: Callable[[str], str], free_port: Callable[[], int]
) -> None:
    port = free_port()
    fill(tmp_path, [make_record(recipients=("a@x.example", "b@x.example")) for _ in range(5)])
    with sink(server_program("smtp-sink"), port, "-L"):
        async with delivering(tmp_path, route=parse_route([f"lmtp:127.0.0.1:{port}"])):
            await until(lambda: len(events(tmp_path)) == 5)
    assert [event.name for event in events(tmp_path)] == [EventName.DELIVERED] * 5
