"""A listener that is nearly full loses patience, and its slowest session gives way to a new client."""

from __future__ import annotations

import asyncio
import time

import pytest

from esa.gateway import events as gateway_events
from esa.gateway.events import Event as Log
from esa.gateway.limits import Limits
from esa.gateway.pressure import Pressure
from tests.gateway.sessions import Client, Recorder, listening

MAIL = b"EHLO client.example\r\nMAIL FROM:<a@partner.example>\r\nRCPT TO:<user@example.com>\r\nDATA\r\n"


class Session:
    """Stalled for as long as it is told."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.gone = False

    def stalled(self, now: float) -> float:
        return self.seconds

    def give_way(self) -> None:
        self.gone = True


def test_the_slowest_gives_way_and_whoever_moves_again_does_not() -> None:
    pressure = Pressure(Limits(connections=5), "mail")
    sessions = [Session(seconds) for seconds in (3.0, 60.0, 0.5, 9.0)]
    pressure.look(sessions, 0, 1.0)
    assert pressure.is_high
    assert pressure.make_room(1.0)
    assert [session.gone for session in sessions] == [False, True, False, False]
    sessions[3].seconds = 0.0
    assert pressure.make_room(1.0)
    assert [session.gone for session in sessions] == [True, True, False, False]
    assert not pressure.make_room(1.0)


def test_patience_is_short_from_four_fifths_to_three_fifths(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Log] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(gateway_events, level, lambda event, **fields: told.append(event))
    limits = Limits(connections=10, memory=1000)
    pressure = Pressure(limits, "mail")
    high = []
    for sessions, held in ((7, 0), (8, 0), (7, 0), (6, 0), (5, 0), (0, 800), (0, 700), (0, 500)):
        pressure.look([Session(0.0)] * sessions, held, 1.0)
        high.append(pressure.is_high)
    assert high == [False, True, True, True, False, True, True, False]
    assert told == [Log.LISTENER_STRESSED, Log.LISTENER_RELIEVED] * 2
    assert pressure.patience is limits


async def deliver(client: Client) -> str:
    for command in MAIL.split(b"\r\n")[:-1]:
        reply = await client.ask(command + b"\r\n")
    assert reply.startswith("354")
    return await client.ask(b"Subject: hello\r\n\r\nhello\r\n.\r\n")


async def test_slow_clients_that_fill_a_listener_keep_nobody_out() -> None:
    async with listening(Recorder(), limits=Limits(connections=20, data_rate=500)) as running:
        slow = []
        for number in range(20):
            client = await running.connect()
            if number % 2:  # half of them trickle mail data, half a command
                await client.send(MAIL)
            slow.append(client)
        dripping = True

        async def drip() -> None:
            while dripping:
                for client in slow:
                    try:
                        await client.send(b"x")
                    except ConnectionError:
                        continue
                await asyncio.sleep(0.1)

        task = asyncio.create_task(drip())
        await asyncio.sleep(3.5)
        began = time.monotonic()
        for _ in range(10):
            client = await running.connect()
            assert (await deliver(client)).startswith("250")
            client.close()
        assert time.monotonic() - began < 10
        dripping = False
        await task
        ended = [client for client in slow if client.reader.at_eof() or b"421 4.3.2" in getattr(client.reader, "_buffer", b"")]
        assert ended


async def test_a_session_that_moves_never_gives_way() -> None:
    async with listening(Recorder(), limits=Limits(connections=5)) as running:
        clients = [await running.connect() for _ in range(5)]
        for _ in range(30):
            for client in clients:
                assert (await deliver(client)).startswith("250")
            await asyncio.sleep(0.1)
        refused = await running.connect(greeting=False)
        assert (await refused.line()).startswith("421 4.3.2")
