"""What people who know aiosmtpd's server may rely on, as short sessions: each command with the code that it gets.

Differences on purpose: paths need their angle brackets, parameters need EHLO, a second MAIL and wrong order are 503, lines of mail data may be
of any length, and a fault of ours is 451 and never the text of an exception.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest

from esa.gateway.limits import Limits
from esa.gateway.protocol import Connection
from esa.gateway.receiver import Answer
from tests.gateway.sessions import Recorder, listening

MAIL, RCPT = "MAIL FROM:<a@partner.example>", "RCPT TO:<user@example.com>"
SESSIONS = {
    "hello in all its orders": "HELO c 250, HELO c 250, EHLO c 250, EHLO c 250, HELO c 250, NOOP 250",
    "hello without a name": "HELO 501, EHLO 501, helo c 250",
    "nothing before hello": f"{MAIL} 503, {RCPT} 503, DATA 503, BDAT 0 LAST 503, STARTTLS 502, HELP 214, NOOP 250, VRFY a 252, RSET 250",
    "hello ends a transaction": f"EHLO c 250, {MAIL} 250, {RCPT} 250, EHLO c 250, DATA 503, {MAIL} 250",
    "reset ends a transaction": f"EHLO c 250, {MAIL} 250, {RCPT} 250, RSET 250, DATA 503, {RCPT} 503, {MAIL} 250",
    "a reset takes no argument": "RSET FOO 501, RSET 250",
    "noop takes anything": "NOOP 250, NOOP ok 250, noop 250",
    "quit takes nothing": "QUIT oops 501, QUIT 221",
    "help is always there": "HELP 214, HELP HELO 214, HELP nonsense 214, EHLO c 250, HELP DATA 214",
    "lists are not expanded": "EXPN 501, EXPN anne@example.com 502",
    "addresses are not verified": "VRFY 501, VRFY <anne@example.com> 252, VRFY @@ 252",
    "a path needs its brackets": "EHLO c 250, MAIL FROM: a@b 501, MAIL FROM:a@b 501, MAIL FROM <a@b> 501, MAIL a@b 501, MAIL 501, MAIL FROM: 501",
    "a path must be one": 'EHLO c 250, MAIL FROM:<a@b@c> 501, MAIL FROM:<a@> 501, MAIL FROM:<@b> 501, MAIL FROM:<a b@c> 501, MAIL FROM:<"a b"@c> 250',
    "white space before a path is forgiven": "EHLO c 250, mail from:  <a@b> 250, rcpt to:  <user@example.com> 250",
    "an address literal is an address": "EHLO c 250, MAIL FROM:<a@[192.0.2.1]> 250, RCPT TO:<user@[IPv6:2001:db8::1]> 550",
    "parameters need EHLO": "HELO c 250, MAIL FROM:<a@b> SIZE=10 555, MAIL FROM:<a@b> 250",
    "size and body": "EHLO c 250, MAIL FROM:<a@b> SIZE=a 501, MAIL FROM:<a@b> SIZE 501, MAIL FROM:<a@b> BODY 501, MAIL FROM:<a@b> BODY=9BIT 501, "
    "MAIL FROM:<a@b> FOO=BAR 555, MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME SMTPUTF8 250",
    "more than the limit": "EHLO c 250, MAIL FROM:<a@b> SIZE=5000000 552, MAIL FROM:<a@b> SIZE=1000000 250",
    "SMTPUTF8 has no value": "EHLO c 250, MAIL FROM:<a@b> SMTPUTF8=yes 501",
    "two transactions at once": f"EHLO c 250, {MAIL} 250, {MAIL} 503, {RCPT} 250, {MAIL} 503",
    "recipients": f"EHLO c 250, {RCPT} 503, {MAIL} 250, RCPT 501, RCPT TO: 501, RCPT TO:user 501, RCPT TO:<> 501, RCPT TO:<user@example.com> FOO 555, {RCPT} 250",
    "data in order": f"EHLO c 250, DATA 503, {MAIL} 250, DATA 503, {RCPT} 250, DATA now 501, DATA 354, . 250",
    "mail after mail": f"EHLO c 250, {MAIL} 250, {RCPT} 250, DATA 354, . 250, DATA 503, {MAIL} 250, {RCPT} 250, DATA 354, . 250",
    "an unknown command": "FOOBAR 500, FOO BAR 500, MAILX FROM:<a@b> 500",
    "AUTH where there is none": "EHLO c 250, AUTH 502, AUTH PLAIN AGEAYg== 502",
    "STARTTLS where there is none": "EHLO c 250, STARTTLS 502",
}


@pytest.mark.parametrize("session", SESSIONS)
async def test_a_session_goes_as_known(session: str) -> None:
    async with listening(Recorder(), limits=Limits(message_size=1_000_000)) as running:
        client = await running.connect()
        for step in SESSIONS[session].split(", "):
            command, _, code = step.rpartition(" ")
            reply = await client.ask(command)
            assert reply.startswith(code), f"{command}: {reply}"


@pytest.mark.parametrize("length", [511, 513, 1025, 5000, 200_000])
async def test_a_command_too_long_is_refused_once_and_the_next_is_read(length: int) -> None:
    async with listening(Recorder()) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        assert (await client.ask("a" * length)).startswith("500")
        assert (await client.ask("NOOP")).startswith("250")


async def test_an_empty_command_is_unknown_and_the_session_goes_on() -> None:
    async with listening(Recorder()) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        assert (await client.ask("")).startswith("500")
        assert (await client.ask("NOOP")).startswith("250")


async def test_lines_of_mail_data_may_be_of_any_length_and_hold_any_octet() -> None:
    recorder = Recorder()
    body = b"x" * 100_000 + b"\r\n" + bytes(octet for octet in range(256) if octet not in (0, 10, 13)) + b"\r\n"
    async with listening(recorder) as running:
        client = await running.connect()
        await client.begin()
        assert (await client.ask(body + b".\r\n")).startswith("250")
    assert recorder.contents == [body]


def reset(client_socket: socket.socket) -> None:
    client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client_socket.close()


@pytest.mark.parametrize(
    "last", [b"", b"MAI", b"EHLO " + b"x" * 5000, b"MAIL FROM:<a@b>\r\nRCPT TO:<user@example.com>\r\nDATA\r\nhalf a mess"]
)
@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["closed", "reset"])
async def test_a_client_that_goes_away_at_any_place_leaves_nothing_behind(last: bytes, leave: Callable[[socket.socket], None]) -> None:
    recorder = Recorder()
    async with listening(recorder) as running:

        def visit() -> None:
            client = socket.create_connection(("127.0.0.1", running.port))
            client.recv(100)
            client.sendall(b"EHLO c\r\n" + last)
            leave(client)

        await asyncio.to_thread(visit)
        while not recorder.gone:
            await asyncio.sleep(0.01)
        assert running.server.held == 0
        assert not running.server.connections
        client = await running.connect()
        assert (await client.ask("NOOP")).startswith("250")
    assert recorder.messages == []


async def test_a_client_that_goes_away_while_the_receiver_thinks_breaks_nothing() -> None:
    class Slow(Recorder):
        def hello(self, connection: Connection, name: str, capabilities: object) -> Answer:
            return asyncio.get_running_loop().create_task(self.think())

        async def think(self) -> None:
            await asyncio.sleep(0.1)

    recorder = Slow()
    async with listening(recorder) as running:
        client = await running.connect()
        await client.send(b"EHLO c\r\nNOOP\r\n")
        await asyncio.sleep(0.02)
        client.close()
        async with asyncio.timeout(10):
            while not recorder.gone:
                await asyncio.sleep(0.01)
        assert len(recorder.gone) == 1
        assert (await (await running.connect()).ask("NOOP")).startswith("250")
