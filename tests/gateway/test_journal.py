"""What is told of the steps of sessions over real sockets: connections without mail, refused ones, each recipient's fate, abandoned mail."""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esa.gateway import events
from esa.gateway.journal import GATHER_KINDS, fates
from esa.gateway.metrics import Counter
from esa.gateway.receive import ABORTS_A_SECOND
from esa.policy.disposition import Action, Answer, Disposition, Plan
from esa.policy.mail_flow import SHIPPED, MailFlowPolicy
from esa.store.numbers import Numbers
from esa.store.record import EventName
from tests.gateway.test_events import restored_logging  # noqa: F401
from tests.gateway.test_receive import POSITIVE
from tests.gateway.test_reception import group, open_house, send


@pytest.fixture
def log(restored_logging: None) -> Iterator[io.StringIO]:  # noqa: F811
    stream = io.StringIO()
    events.configure("receive-0", stream=stream)
    yield stream


def lines(log: io.StringIO, event: str) -> list[str]:
    return [line for line in log.getvalue().splitlines() if f"event={event} " in line]


async def test_a_connection_without_mail_leaves_one_line_with_its_group_and_why(tmp_path: Path, log: io.StringIO) -> None:
    async with open_house(tmp_path, group("KNOWN", SHIPPED["ACCEPTED"], "127.0.0.5")) as (_, running):
        client = await running.connect(address="127.0.0.5")
        await client.ask("QUIT")
        assert await client.is_closed()
    (line,) = lines(log, "connection.closed")
    assert "client=127.0.0.5" in line
    assert "messages=0" in line
    assert "group=KNOWN because=127.0.0.5 policy=ACCEPTED" in line
    assert not lines(log, "connection.opened")  # steps are not asked for


async def test_a_session_that_is_sent_away_or_lost_says_so_though_it_had_mail(tmp_path: Path, log: io.StringIO) -> None:
    async with open_house(tmp_path, group("FEW", MailFlowPolicy(max_msgs_per_session=1, max_rcpts_per_msg=1), "127.0.0.5")) as (_, running):
        client = await running.connect(address="127.0.0.5")
        assert (await send(client, b"\r\n", "b@example.org")).startswith("250")
        assert (await client.ask("MAIL FROM:<a@example.net>")).startswith("421")
        assert await client.is_closed()
        lost = await running.connect()
        await lost.ask("EHLO client.example")
        lost.writer.close()
        while len(lines(log, "connection.closed")) < 2:
            await asyncio.sleep(0.01)
    sent_away, gone = lines(log, "connection.closed")
    assert 'messages=1 sent_away="421 4.7.0 Too many messages in one session, connect again"' in sent_away
    assert "lost=yes" in gone
    assert "lost=yes" not in sent_away


async def test_recipients_past_the_limit_of_a_message_are_told(tmp_path: Path, log: io.StringIO) -> None:
    async with open_house(tmp_path, group("FEW", MailFlowPolicy(max_rcpts_per_msg=1), "127.0.0.5")) as (_, running):
        client = await running.connect(address="127.0.0.5")
        for command in ("EHLO client.example", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>", "RCPT TO:<c@example.org>"):
            reply = await client.ask(command)
        assert reply.startswith("452 4.5.3")
    (line,) = lines(log, "recipient.refused")
    assert 'recipient=<c@example.org> reply=452/4.5.3 by="Receiving Control"' in line


async def test_steps_are_told_where_they_are_asked_for_under_the_same_numbers(tmp_path: Path, restored_logging: None) -> None:  # noqa: F811
    stream = io.StringIO()
    events.configure("receive-0", steps=True, stream=stream)
    async with open_house(tmp_path) as (house, running):
        house.route.journal._numbers = Numbers(tmp_path)
        client = await running.connect()
        assert (await send(client, b"Message-ID: <1@x>\r\n\r\n", "b@example.org", "c@example.org")).startswith("250")
        await client.ask("QUIT")
        assert await client.is_closed()
    told = [line.split("event=")[1].split()[0] for line in stream.getvalue().splitlines()]
    assert told == [
        "connection.opened",
        "message.started",
        "recipient.accepted",
        "recipient.accepted",
        "message.read",
        "message.kept",
        "connection.closed",
    ]
    assert all(" icid=1" in line for line in stream.getvalue().splitlines())
    assert all(" mid=1" in line for line in stream.getvalue().splitlines()[1:-1])


async def test_each_recipients_fate_stands_in_the_messages_line(tmp_path: Path, log: io.StringIO) -> None:
    async with open_house(tmp_path) as (_, running):
        client = await running.connect()
        assert (await send(client, b"\r\n", *(f"{number}@example.org" for number in range(45)))).startswith("250")
        assert (await send(client, POSITIVE, "b@example.org")).startswith("550")
    (kept,) = lines(log, "message.kept")
    more = lines(log, "message.recipients")
    named = [re.findall(r"<(\d+)@example.org>", line) for line in (kept, *more)]
    assert [len(numbers) for numbers in named] == [20, 20, 5]
    assert [int(number) for numbers in named for number in numbers] == list(range(45))
    assert 'deliver="<0@example.org> ' in kept
    assert "refuse=<b@example.org>" in lines(log, "message.refused")[0]


def test_fates_of_splinters_are_told_apart() -> None:
    plan = Plan(Answer.ACCEPT, (Disposition(Action.DELIVER, ("a@x", "b@x"), ""), Disposition(Action.QUARANTINE, ("c@x",), "")))
    assert fates(plan, (), otherwise="refuse") == [{"deliver": "<a@x> <b@x>", "quarantine": "<c@x>"}]
    assert fates(Plan(Answer.ACCEPT, ()), (), otherwise="defer") == [{}]


async def test_mail_that_is_abandoned_is_tracked_with_accepted_and_refused_recipients(tmp_path: Path) -> None:
    async with open_house(tmp_path) as (house, running):
        client = await running.connect()
        for command in ("EHLO client.example", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>", "RCPT TO:<c@example.com>", "RSET"):
            await client.ask(command)
        for command in ("MAIL FROM:<a@example.net>", "RSET"):  # of nobody: nothing to tell
            await client.ask(command)
        for command in ("MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>", "DATA"):
            await client.ask(command)
        client.writer.transport.abort()
        async with asyncio.timeout(10):
            while house.counted(Counter.CONNECTIONS_OPEN):
                await asyncio.sleep(0.01)
        await house.route.drain()
        records = [one.record for one in house.stored()]
    assert [[event.name for event in record.events] for record in records] == [
        [EventName.CONNECTED, EventName.RECIPIENT_REFUSED, EventName.ABORTED],
        [EventName.CONNECTED, EventName.ABORTED],
    ]
    assert records[0].events[-1].fields["recipients"] == ["b@example.org"]
    assert records[0].envelope.recipients == ("b@example.org",)


async def test_a_flood_of_abandoned_mail_does_not_flood_tracking(tmp_path: Path) -> None:
    async with open_house(tmp_path) as (house, running):
        began = time.monotonic()
        for _ in range(8 * ABORTS_A_SECOND // 20):
            client = await running.connect()
            await client.ask("EHLO client.example")
            for _ in range(20):  # more resets in one connection are taken for junk
                await client.send(b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nRSET\r\n")
                assert [(await client.reply())[:3] for _ in range(3)] == ["250"] * 3
        seconds = int(time.monotonic() - began) + 2  # windows of a second that it can have touched
        await house.route.drain()
        assert ABORTS_A_SECOND <= len(house.stored()) <= min(seconds, 8) * ABORTS_A_SECOND


async def test_refused_connections_are_counted_together_for_tracking(tmp_path: Path, log: io.StringIO) -> None:
    narrow = MailFlowPolicy("NARROW", greeting_delay=0.3)
    async with open_house(tmp_path, group("BLACKLIST", SHIPPED["BLOCKED"], "127.0.0.5"), group("N", narrow, "127.0.0.6")) as (
        house,
        running,
    ):
        for _ in range(3):
            assert (await (await running.connect(address="127.0.0.5", greeting=False)).line()).startswith("554")
        early = await running.connect(address="127.0.0.6", greeting=False)
        await early.send(b"EHLO x\r\n")
        assert (await early.line()).startswith("554")
        await house.route.drain()
        events_told = [event for one in house.stored() for event in one.record.events]
    told = {(event.fields["group"], event.fields.get("reason")): event.fields["count"] for event in events_told}
    assert told == {("BLACKLIST", None): 3, ("N", "early_talker"): 1}
    assert {event.name for event in events_told} == {EventName.CONNECTION_REFUSED}
    assert len(lines(log, "connection.refused")) == 4
    assert GATHER_KINDS >= 100
