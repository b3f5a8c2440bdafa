"""The SMTP client for delivery, against scripted next hops and Postfix's smtp-sink."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.errors import StoreError
from esa.gateway.delivery.client import Connection, Timeouts, connect
from esa.gateway.delivery.mail_data import needs_no_tls
from esa.gateway.delivery.replies import RemoteError, ReplyReader
from esa.gateway.delivery.transaction import Attempt
from esa.message.envelope import Envelope
from tests.gateway.scripted import DROP, EXTENSIONS, SILENCE, ScriptedServer

CONTENT = b"Subject: s\r\n\r\n.one\r\n..\r\nend\r\n"
TO = ("a@x.example", "b@x.example", "c@x.example")
QUICK = Timeouts(connect=2, greeting=0.3, command=0.3, data=0.3, block=0.3, end_of_data=0.3)


@dataclass
class Message:
    content: bytes = CONTENT
    chunk: int = 1 << 16
    fails_after: int = -1

    @property
    def size(self) -> int:
        return len(self.content)

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.content), self.chunk):
            if 0 <= self.fails_after <= start:
                raise StoreError("gone", is_damaged=True)
            yield self.content[start : start + self.chunk]


async def opened(server: ScriptedServer, timeouts: Timeouts = QUICK) -> Connection:
    return await connect("127.0.0.1", server.port, hostname="mx.example.net", timeouts=timeouts)


def envelope(to: tuple[str, ...] = TO, *, reverse_path: str = "me@example.net", body: str = "7BIT", smtputf8: bool = False) -> Envelope:
    return Envelope(reverse_path, to, len(CONTENT), body, smtputf8)


async def sent(server: ScriptedServer, message: Message | None = None, **given: object) -> Attempt:
    connection = await opened(server)
    whole = envelope(**given)  # type: ignore[arg-type]
    attempt = await connection.send(whole, whole.recipients, message or Message())
    connection.close()
    return attempt


def statuses(attempt: Attempt) -> list[str]:
    return [result.status for result in attempt.results]


@pytest.mark.parametrize("extensions", [EXTENSIONS, EXTENSIONS[1:], (), None], ids=["pipelining", "lockstep", "bare EHLO", "HELO only"])
async def test_a_message_arrives_dot_stuffed_whatever_the_next_hop_offers(extensions: tuple[str, ...] | None) -> None:
    async with ScriptedServer(extensions=extensions) as server:
        attempt = await sent(server)
        assert statuses(attempt) == ["delivered"] * 3
        assert attempt.results[0].reply == "250 2.0.0 taken"
        [taken] = server.taken
        assert taken.content == b"Subject: s\r\n\r\n..one\r\n...\r\nend\r\n"
        assert taken.recipients == list(TO)


async def test_the_envelope_leaves_in_one_write_where_pipelining_is_offered() -> None:
    async with ScriptedServer(replies={"MAIL": SILENCE, "RCPT": SILENCE, "DATA": b"250 1\r\n" * 4 + b"354 go\r\n"}) as server:
        assert statuses(await sent(server)) == ["delivered"] * 3


async def test_parameters_are_given_only_where_they_are_offered() -> None:
    async with ScriptedServer() as server:
        await sent(server, body="8BITMIME", smtputf8=True, to=("ü@x.example",))
        assert server.taken[0].mail == f"MAIL FROM:<me@example.net> SIZE={len(CONTENT)} BODY=8BITMIME SMTPUTF8"
        assert server.taken[0].recipients == ["ü@x.example"]
    async with ScriptedServer(extensions=()) as server:
        await sent(server, body="8BITMIME")
        assert server.taken[0].mail == "MAIL FROM:<me@example.net>"


async def test_the_null_reverse_path_is_sent_as_such() -> None:
    async with ScriptedServer(extensions=()) as server:
        await sent(server, reverse_path="")
        assert server.taken[0].mail == "MAIL FROM:<>"


@pytest.mark.parametrize("extensions", [EXTENSIONS, EXTENSIONS[1:]], ids=["pipelining", "lockstep"])
async def test_each_recipient_has_a_result_of_its_own(extensions: tuple[str, ...]) -> None:
    replies = {"RCPT b@x.example": b"451 4.2.1 later\r\n", "RCPT c@x.example": b"550-5.1.1 no such\r\n550 5.1.1 user\r\n"}
    async with ScriptedServer(replies=replies, extensions=extensions) as server:
        attempt = await sent(server)
        assert [(result.status, result.reply) for result in attempt.results] == [
            ("delivered", "250 2.0.0 taken"),
            ("deferred", "451 4.2.1 later"),
            ("failed", "550 5.1.1 no such user"),
        ]
        assert server.taken[0].recipients == ["a@x.example"]
        assert attempt.is_connection_usable


@pytest.mark.parametrize("extensions", [EXTENSIONS, EXTENSIONS[1:]], ids=["pipelining", "lockstep"])
@pytest.mark.parametrize(
    ("command", "reply", "expected"),
    [
        ("MAIL", b"550 5.7.1 not you\r\n", "failed"),
        ("MAIL", b"421 4.3.2 closing\r\n", "deferred"),
        ("RCPT", b"452 4.2.2 full\r\n", "deferred"),
        ("DATA", b"554 5.5.1 no\r\n", "failed"),
        ("DATA", b"451 4.3.0 no\r\n", "deferred"),
        (".", b"552 5.2.3 too much\r\n", "failed"),
        (".", b"452 4.3.1 full\r\n", "deferred"),
    ],
)
async def test_a_refusal_at_any_step_goes_for_all_and_the_session_goes_on(
    extensions: tuple[str, ...], command: str, reply: bytes, expected: str
) -> None:
    async with ScriptedServer(replies={command: [reply, reply, reply, b"250 2.0.0 ok\r\n"]}, extensions=extensions) as server:
        connection = await opened(server)
        attempt = await connection.send(envelope(), TO, Message())
        assert statuses(attempt) == [expected] * 3
        assert {result.reply for result in attempt.results} == {reply.decode().strip()}
        assert attempt.is_connection_usable == (not reply.startswith(b"421"))
        if attempt.is_connection_usable:
            server.replies = {}
            assert statuses(await connection.send(envelope(), TO, Message())) == ["delivered"] * 3
            assert len([taken for taken in server.taken if taken.content]) == 1
        connection.close()


async def test_mail_data_taken_for_nobody_is_ended_empty() -> None:
    async with ScriptedServer(replies={"RCPT": b"550 5.1.1 no\r\n"}) as server:
        connection = await opened(server)
        assert statuses(await connection.send(envelope(), TO, Message())) == ["failed"] * 3
        assert server.taken[0].content == b""
        server.replies = {}
        assert statuses(await connection.send(envelope(), TO, Message())) == ["delivered"] * 3
        connection.close()


@pytest.mark.parametrize("extensions", [EXTENSIONS, EXTENSIONS[1:]], ids=["pipelining", "lockstep"])
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("way", [DROP, SILENCE], ids=["drops", "hangs"])
async def test_a_connection_lost_at_any_step_defers_and_only_after_the_dot_may_have_arrived(
    extensions: tuple[str, ...], step: str, way: bytes
) -> None:
    async with ScriptedServer(replies={step: way}, extensions=extensions) as server:
        attempt = await sent(server)
        assert statuses(attempt) == ["deferred"] * 3
        assert not attempt.is_connection_usable
        assert attempt.may_have_arrived == (step == ".")
        assert not attempt.is_stale


async def test_what_was_refused_before_the_connection_was_lost_stays_refused() -> None:
    async with ScriptedServer(replies={"RCPT a@x.example": b"550 5.1.1 no\r\n", "DATA": DROP}) as server:
        assert statuses(await sent(server)) == ["failed", "deferred", "deferred"]


async def test_a_kept_connection_that_was_closed_meanwhile_is_stale_and_no_attempt() -> None:
    async with ScriptedServer(replies={"MAIL": [b"250 ok\r\n", DROP]}) as server:
        connection = await opened(server)
        await connection.send(envelope(), TO, Message())
        assert (await connection.send(envelope(), TO, Message())).is_stale


async def test_a_goodbye_that_came_while_idle_makes_a_connection_unusable() -> None:
    async with ScriptedServer(replies={".": b"250 2.0.0 taken\r\n421 4.4.2 idle\r\n"}) as server:
        connection = await opened(server)
        attempt = await connection.send(envelope(), TO, Message())
        assert statuses(attempt) == ["delivered"] * 3
        await asyncio.sleep(0.05)
        assert not connection.is_usable
        assert (await connection.send(envelope(), TO, Message())).is_stale
        connection.close()


@pytest.mark.parametrize(
    "replies",
    [
        {"greeting": b"554 5.7.1 go away\r\n"},
        {"greeting": b"421 4.3.2 busy\r\n"},
        {"greeting": DROP},
        {"greeting": SILENCE},
        {"greeting": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
        {"greeting": b"220 " + b"x" * 10_000},
        {"greeting": b"220-more\r\n" * 1000},
        {"EHLO": b"421 4.3.2 busy\r\n"},
        {"EHLO": b"502 5.5.1 no\r\n", "HELO": b"502 5.5.1 no\r\n"},
        {"EHLO": DROP},
    ],
)
async def test_a_next_hop_that_cannot_be_used_says_why(replies: dict[str, bytes]) -> None:
    async with ScriptedServer(replies=replies) as server:
        with pytest.raises(RemoteError) as fault:
            await opened(server)
        assert str(fault.value)


async def test_a_port_where_nobody_listens_is_a_remote_error(free_port: Callable[[], int]) -> None:
    with pytest.raises(RemoteError, match="no connection to"):
        await connect("127.0.0.1", free_port(), hostname="mx.example.net")
    with pytest.raises(RemoteError, match="no connection to"):
        await connect("no-such-host.invalid", 25, hostname="mx.example.net")


async def test_a_message_larger_than_the_next_hop_takes_is_not_sent() -> None:
    async with ScriptedServer(extensions=("PIPELINING", "SIZE 10")) as server:
        attempt = await sent(server)
        assert statuses(attempt) == ["failed"] * 3
        assert attempt.results[0].reply.startswith("552 5.3.4")
        assert attempt.is_connection_usable
        assert not any(command.startswith("MAIL") for command in server.commands)


@pytest.mark.parametrize(
    ("content", "to", "expected"),
    [
        (b"Subject: s\r\n\r\nbody \xc3\xbc\r\n", "a@x.example", "delivered"),
        ("Subject: ü\r\n\r\nbody\r\n".encode(), "a@x.example", "failed"),
        (CONTENT, "ü@x.example", "failed"),
    ],
    ids=["only the body", "the header", "an address"],
)
async def test_a_message_that_needs_smtputf8_fails_where_it_is_not_offered(content: bytes, to: str, expected: str) -> None:
    async with ScriptedServer(extensions=("PIPELINING", "8BITMIME")) as server:
        attempt = await sent(server, Message(content), to=(to,), smtputf8=True)
        assert statuses(attempt) == [expected]
        assert attempt.is_connection_usable


@pytest.mark.parametrize("path", ["a@x.example>\r\nRSET", "a\n@x.example", "a\x00@x.example"])
async def test_no_command_can_be_put_into_an_address(path: str) -> None:
    async with ScriptedServer() as server:
        assert statuses(await sent(server, to=(path,))) == ["failed"]
        assert not any(command.startswith(("MAIL", "RSET")) for command in server.commands)


async def test_a_large_message_arrives_whole_and_slow_readers_are_waited_for() -> None:
    content = b"Subject: s\r\n\r\n" + b"".join(b".%06d\r\n" % number for number in range(700_000))
    async with ScriptedServer() as server:
        connection = await opened(server, Timeouts())
        assert statuses(await connection.send(envelope(), TO, Message(content, chunk=100_001))) == ["delivered"] * 3
        assert server.taken[0].content == re.sub(rb"(?m)^\.", b"..", content)
        connection.close()


BIG = b"Subject: big\r\n\r\n" + b".dots\r\nand\nbare\r\r\n" * 70_000  # several chunks
CLEAN = b"Subject: big\r\n\r\n" + b".dots\r\nand\r\nbare\r\n\r\n" * 70_000
CHUNKING = (*EXTENSIONS, "CHUNKING")


@pytest.mark.parametrize("extensions", [CHUNKING, CHUNKING[1:]], ids=["pipelining", "lockstep"])
@pytest.mark.parametrize("cut", [1 << 16, 65_537, 1 << 20])
async def test_a_long_message_goes_in_chunks_with_clean_lines_and_no_dots_stuffed(extensions: tuple[str, ...], cut: int) -> None:
    """RFC 3030."""
    async with ScriptedServer(extensions=extensions) as server:
        attempt = await sent(server, Message(BIG, cut))
        assert statuses(attempt) == ["delivered"] * 3
        assert server.taken[0].content == CLEAN
        chunks = [command for command in server.commands if command.startswith("BDAT")]
        assert len(chunks) > 1
        assert [command.endswith(" LAST") for command in chunks] == [False] * (len(chunks) - 1) + [True]
        assert not any(command == "DATA" for command in server.commands)


async def test_short_messages_and_lines_without_an_end_go_as_they_did_and_get_one() -> None:
    async with ScriptedServer(extensions=CHUNKING) as server:
        await sent(server)
        assert "DATA" in server.commands
        await sent(server, Message(BIG + b"no end\r"))
        assert server.taken[1].content == CLEAN + b"no end\r\n"


async def test_no_chunk_is_sent_where_nobody_is_accepted() -> None:
    """Or its octets might be taken for commands."""
    async with ScriptedServer(replies={"RCPT": b"550 5.1.1 no\r\n"}, extensions=CHUNKING) as server:
        connection = await opened(server)
        for _ in range(2):
            attempt = await connection.send(envelope(), TO, Message(BIG))
            assert (statuses(attempt), attempt.is_connection_usable) == (["failed"] * 3, True)
        connection.close()
        assert not any(command.startswith("BDAT") for command in server.commands)


@pytest.mark.parametrize(
    ("replies", "status"),
    [
        ([b"552 5.3.4 too much\r\n", b"503 5.5.1 no\r\n"], "failed"),
        ([b"250 ok\r\n", b"452 4.3.1 full\r\n", b"503 5.5.1 no\r\n"], "deferred"),
    ],
)
async def test_a_chunk_that_is_refused_ends_the_message_and_the_session_goes_on(replies: list[bytes], status: str) -> None:
    async with ScriptedServer(replies={"BDAT": replies}, extensions=CHUNKING) as server:
        connection = await opened(server)
        attempt = await connection.send(envelope(), TO, Message(BIG))
        assert (statuses(attempt), attempt.may_have_arrived) == ([status] * 3, False)
        assert attempt.results[0].reply == next(reply for reply in replies if not reply.startswith(b"250")).decode().strip()
        assert attempt.is_connection_usable
        assert statuses(await connection.send(envelope(), TO, Message())) == ["delivered"] * 3
        assert "RSET" in server.commands
        connection.close()


async def test_a_connection_lost_behind_the_last_chunk_may_have_delivered() -> None:
    async with ScriptedServer(extensions=CHUNKING) as server:
        await sent(server, Message(BIG))
        chunks = sum(command.startswith("BDAT") for command in server.commands)
    async with ScriptedServer(replies={"BDAT": [*[b"250 ok\r\n"] * (chunks - 1), DROP]}, extensions=CHUNKING) as server:
        attempt = await sent(server, Message(BIG))
        assert (statuses(attempt), attempt.may_have_arrived) == (["deferred"] * 3, True)


@pytest.mark.parametrize(
    ("header", "says_so"),
    [
        (b"TLS-Required: No", True),
        (b"tls-required :\r\n\tNO ", True),
        (b"TLS-Required: Yes", False),
        (b"TLS-Required: No\r\nTLS-Required: No", False),
        (b"X-TLS-Required: No", False),
        (b"Subject: x\r\n\r\nTLS-Required: No", False),
    ],
)
def test_tls_required_is_one_field_of_the_header_that_says_no(header: bytes, says_so: bool) -> None:
    """RFC 8689 section 3."""
    assert needs_no_tls(Message(b"From: a@b.example\r\n" + header + b"\r\n\r\nx\r\n")) is says_so


async def test_a_message_that_cannot_be_read_to_its_end_is_never_completed() -> None:
    async with ScriptedServer() as server:
        connection = await opened(server)
        with pytest.raises(StoreError):
            await connection.send(envelope(), TO, Message(CONTENT * 100, chunk=100, fails_after=1000))
        assert not connection.is_usable
        await asyncio.sleep(0.05)
        assert server.taken == []


async def test_stopping_in_the_middle_does_not_complete_a_message() -> None:
    async with ScriptedServer(replies={"DATA": SILENCE}) as server:
        connection = await opened(server, Timeouts())
        sending = asyncio.create_task(connection.send(envelope(), TO, Message()))
        await asyncio.sleep(0.05)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not connection.is_usable
        assert server.taken == []


@given(st.lists(st.integers(1, 9), max_size=5))
def test_replies_are_read_however_they_are_cut(cuts: list[int]) -> None:
    data = b"250-one\r\n250-SIZE 10\r\n250 end\r\n354 go\n550 5.1.1 no\r\n"
    reader, replies, start = ReplyReader(), [], 0
    for cut in [*cuts, len(data)]:
        replies += reader.feed(data[start : start + cut])
        start += cut
    assert [(reply.code, len(reply.lines)) for reply in replies] == [(250, 3), (354, 1), (550, 1)]


@pytest.mark.parametrize("data", [b"99 x\r\n", b"abc\r\n", b"600 x\r\n", b"\r\n", b"250x\r\n", b"\xff" * 5000])
def test_what_is_no_reply_is_an_error(data: bytes) -> None:
    with pytest.raises(RemoteError):
        ReplyReader().feed(data)


def test_control_characters_of_a_reply_do_not_reach_a_terminal() -> None:
    [reply] = ReplyReader().feed(b"550 \x1b[2Jhe\x07llo\r\n")
    assert str(reply) == "550 ?[2Jhe?llo"


@contextmanager
def sink(program: str, port: int, *options: str) -> Iterator[None]:
    """Postfix's smtp-sink, listening."""
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, *user, *options, f"127.0.0.1:{port}", "64"])
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.mark.servers
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "delivered"),
        (("-p",), "delivered"),
        (("-e",), "delivered"),
        (("-f", "rcpt"), "failed"),
        (("-r", "rcpt"), "deferred"),
        (("-f", "mail"), "failed"),
        (("-r", "data"), "deferred"),
        (("-f", "."), "failed"),
        (("-r", "."), "deferred"),
        (("-q", "data"), "deferred"),
        (("-q", "."), "deferred"),
        (("-Q", "mail"), "deferred"),
    ],
)
async def test_smtp_sink_is_understood_in_all_its_moods(
    server_program: Callable[[str], str], free_port: Callable[[], int], options: tuple[str, ...], expected: str
) -> None:
    port = free_port()
    with sink(server_program("smtp-sink"), port, *options):
        connection = await connect("127.0.0.1", port, hostname="mx.example.net", timeouts=Timeouts())
        attempt = await connection.send(envelope(), TO, Message())
        assert statuses(attempt) == [expected] * 3
        assert attempt.may_have_arrived == (options == ("-q", "."))
        if attempt.is_connection_usable:
            assert statuses(await connection.send(envelope(), TO, Message())) == [expected] * 3
        connection.close()
