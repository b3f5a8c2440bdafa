"""Asking the next hop: a scripted server on a real socket, and Postfix's own."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Mapping

import pytest

from esa.gateway import events
from esa.gateway.directory.call_ahead import CallAhead, NextHop
from esa.gateway.directory.kept import Keeping, KeptSource, Outage
from esa.gateway.directory.sources import Scope, Standing
from esa.gateway.events import Event as Log
from esa.policy.recipient_access import recipient_of
from tests.gateway.directory.waiting import until
from tests.gateway.scripted import DROP, SILENCE, ScriptedServer

NO_SUCH_USER = b"550 5.1.1 no such user\r\n"
KNOWS: Mapping[str, bytes | list[bytes]] = {"RCPT": NO_SUCH_USER, "RCPT anna@example.org": b"250 2.1.5 ok\r\n"}


def asking(
    server: ScriptedServer, *, timeout: float = 2.0, outage: Outage = "defer", connections: int = 5, unknown: float = 60
) -> KeptSource:
    hop = NextHop("127.0.0.1", server.port, "mx.example.org", connections, timeout)
    return KeptSource(Scope("ahead"), CallAhead("ahead", hop), Keeping(timeout=timeout, outage=outage, unknown=unknown))


async def standing(source: KeptSource, forward_path: str = "anna@example.org") -> Standing:
    answer = source.look_up(recipient_of(forward_path))
    return await answer if isinstance(answer, asyncio.Future) else answer


@pytest.mark.parametrize("extensions", [("PIPELINING",), ("8BITMIME",)])
async def test_the_next_hop_says_who_there_is_and_is_asked_with_a_null_reverse_path(extensions: tuple[str, ...]) -> None:
    async with ScriptedServer(KNOWS, extensions=extensions) as server:
        source = asking(server)
        assert await standing(source) is Standing.KNOWN
        assert await standing(source, "bert@example.org") is Standing.UNKNOWN
        assert [await standing(source) for _ in range(3)] == [Standing.KNOWN] * 3
        assert server.connections == 1
        assert server.taken == []
        assert {command for command in server.commands if command.startswith("MAIL")} == {"MAIL FROM:<>"}
        assert [command for command in server.commands if "anna" in command] == ["RCPT TO:<anna@example.org>"]
        assert not any(command.startswith("DATA") for command in server.commands)
        await source.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"451 4.7.1 greylisted\r\n",
        b"550 5.7.1 you are on a list\r\n",
        b"530 5.7.0 authenticate first\r\n",
        b"421 4.3.2 too busy\r\n",
        b"nonsense\r\n",
        DROP,
        SILENCE,
    ],
)
async def test_what_is_about_us_or_about_now_says_nothing_of_the_recipient(reply: bytes) -> None:
    async with ScriptedServer({"RCPT": reply}) as server:
        source = asking(server, timeout=0.5)
        assert await standing(source) is Standing.UNSURE
        await source.close()


async def test_a_refused_null_reverse_path_says_nothing_of_the_recipient() -> None:
    async with ScriptedServer({"MAIL": b"550 5.1.7 no null senders here\r\n", "RCPT": NO_SUCH_USER}) as server:
        source = asking(server)
        assert await standing(source) is Standing.UNSURE
        await source.close()


async def test_a_next_hop_that_takes_everything_is_found_out_told_once_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(events, "warning", lambda event, **fields: told.append((event, fields["domain"])))
    async with ScriptedServer() as server:
        source = asking(server)
        assert [await standing(source, f"x{number}@example.org") for number in range(10)] == [Standing.ASSUMED] * 10
        asked = [command for command in server.commands if command.startswith("RCPT")]
        assert len(asked) == 2
        assert asked[1].startswith("RCPT TO:<esa-")
        assert told == [(Log.SOURCE_CATCHES_ALL, "example.org")]
        await source.close()


async def test_nobody_is_asked_about_twice_at_one_time_and_connections_are_bounded() -> None:
    async with ScriptedServer(KNOWS) as server:
        source = asking(server, connections=3)
        names = [f"x{number % 40}@example.org" for number in range(400)]
        assert set(await asyncio.gather(*(standing(source, name) for name in names))) == {Standing.UNKNOWN}
        assert sum(command.startswith("RCPT") for command in server.commands) == 40
        assert server.most_open <= 3
        await source.close()


async def test_a_kept_connection_that_was_closed_is_replaced_and_idle_ones_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esa.gateway.directory.call_ahead.IDLE_LIMIT", 0.1)
    async with ScriptedServer({**KNOWS, "RSET": [b"250 ok\r\n", DROP, b"250 ok\r\n"]}) as server:
        source = asking(server)
        assert await standing(source, "bert@example.org") is Standing.UNKNOWN
        await until(lambda: server.open_now == 0)
        assert await standing(source, "carla@example.org") in (Standing.UNSURE, Standing.UNKNOWN)
        assert await standing(source, "dora@example.org") is Standing.UNKNOWN
        await source.close()


async def test_a_next_hop_that_hangs_costs_those_who_ask_their_time_and_nobody_else() -> None:
    async with ScriptedServer({"greeting": SILENCE}) as server:
        source = asking(server, timeout=0.3, connections=2, outage="accept")
        answers = await asyncio.gather(*(standing(source, f"x{number}@example.org") for number in range(50)))
        assert set(answers) == {Standing.ASSUMED}
        assert server.connections <= 4
        assert source.look_up(recipient_of("y@example.org")) is Standing.ASSUMED  # at once: it is left alone
        await source.close()


async def test_a_next_hop_that_is_not_there_is_an_outage(free_port: Callable[[], int]) -> None:
    hop = NextHop("127.0.0.1", free_port(), "mx.example.org", timeout=1.0)
    source = KeptSource(Scope("ahead"), CallAhead("ahead", hop), Keeping())
    assert await standing(source) is Standing.UNSURE
    await source.close()


async def test_a_new_recipient_is_found_once_the_old_answer_is_forgotten() -> None:
    replies: dict[str, bytes | list[bytes]] = dict(KNOWS)
    async with ScriptedServer(replies) as server:
        source = asking(server, unknown=0.1)
        assert await standing(source, "bert@example.org") is Standing.UNKNOWN
        replies["RCPT bert@example.org"] = b"250 welcome\r\n"
        await asyncio.sleep(0.15)
        assert await standing(source, "bert@example.org") is Standing.KNOWN
        await source.close()


@pytest.mark.servers
async def test_postfix_s_sink_that_takes_everything_is_found_out(
    server_program: Callable[[str], str], free_port: Callable[[], int]
) -> None:
    port = free_port()
    sink = subprocess.Popen([server_program("smtp-sink"), "-u", "nobody", f"127.0.0.1:{port}", "10"], stderr=subprocess.DEVNULL)
    try:
        hop = NextHop("127.0.0.1", port, "mx.example.org", timeout=5.0)
        for _ in range(100):
            source = KeptSource(Scope("ahead"), CallAhead("ahead", hop), Keeping())
            found = await standing(source)
            await source.close()
            if found is Standing.ASSUMED:
                break
            await asyncio.sleep(0.05)
        assert found is Standing.ASSUMED
    finally:
        sink.terminate()
        sink.wait()
