"""The listener on real sockets: order of replies, limits, spilling, time, shutdown, hostile clients, real SMTP programs."""

from __future__ import annotations

import asyncio
import json
import smtplib
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from esa.gateway import listener as listener_module
from esa.gateway.limits import Limits
from esa.gateway.protocol import Connection
from esa.gateway.receiver import Answer, Transaction
from esa.message.envelope import Envelope
from esa.message.reply import Reply
from tests.gateway.sessions import ACCEPTED, Client, Recorder, listening

MAIL = "MAIL FROM:<a@partner.example>"
RECIPIENT = "RCPT TO:<user@example.com>"


@pytest.fixture
def quick_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "SWEEP_INTERVAL", 0.05)


# --- what arrives


async def test_a_message_arrives_with_its_envelope_and_session() -> None:
    recorder = Recorder()
    async with listening(recorder) as running:
        client = await running.connect()
        await client.ask("EHLO client.example")
        await client.ask("MAIL FROM:<A.Author@Partner.Example> SIZE=20 BODY=8BITMIME SMTPUTF8")
        await client.ask(RECIPIENT)
        await client.ask("DATA")
        assert await client.ask(b"Subject: x\r\n\r\n..\r\n.\r\n") == "250 2.0.0 accepted"
    (message,) = recorder.messages
    assert message.content == b"Subject: x\r\n\r\n.\r\n"
    assert message.envelope.reverse_path == "A.Author@partner.example"
    assert message.envelope.recipients == ("user@example.com",)
    assert (message.envelope.size, message.envelope.body, message.envelope.smtputf8) == (17, "8BITMIME", True)
    assert (message.session.client_address, message.session.helo, message.session.protocol) == ("127.0.0.1", "client.example", "UTF8SMTP")
    assert message.session.listener == "test"
    assert message.session.received_at > 1.7e9


async def test_null_reverse_path_is_accepted() -> None:
    recorder = Recorder()
    async with listening(recorder) as running:
        client = await running.connect()
        for command in ("HELO c", "MAIL FROM:<>", RECIPIENT, "DATA"):
            await client.ask(command)
        await client.ask(b"x\r\n.\r\n")
    assert recorder.messages[0].envelope.is_null
    assert recorder.messages[0].session.protocol == "SMTP"


async def test_pipelined_commands_get_their_replies_in_one_segment_and_in_order() -> None:
    async with listening(Recorder()) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        commands = [MAIL, "RCPT TO:<x@elsewhere.example>", RECIPIENT, "NOOP", "DATA"]
        await client.send("".join(f"{command}\r\n" for command in commands).encode())
        await asyncio.sleep(0.05)
        replies = (await client.reader.read(4096)).decode().splitlines()
        assert [reply[:3] for reply in replies] == ["250", "550", "250", "250", "354"]


async def test_commands_behind_mail_data_wait_for_its_reply() -> None:
    recorder = Recorder(hold=True)
    async with listening(recorder) as running:
        client = await running.connect()
        await client.begin()
        await client.send(b"x\r\n.\r\nNOOP\r\nQUIT\r\n")
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.readline(), 0.1)
        recorder.messages[0].finish(Reply(250, "2.0.0", "late"))
        assert [await client.reply() for _ in range(3)] == ["250 2.0.0 late", "250 2.0.0 Ok", "221 2.0.0 Bye"]
        assert await client.is_closed()


async def test_a_transaction_is_finished_once() -> None:
    recorder = Recorder(hold=True)
    async with listening(recorder) as running:
        client = await running.connect()
        await client.begin()
        await client.send(b".\r\n")
        await asyncio.sleep(0.05)
        recorder.messages[0].finish(ACCEPTED)
        with pytest.raises(RuntimeError, match="once"):
            recorder.messages[0].finish(ACCEPTED)
        assert await client.reply() == "250 2.0.0 accepted"


async def test_a_receiver_may_answer_later() -> None:
    class Slow(Recorder):
        def mail(self, transaction: Transaction, parameters: object) -> Answer:
            return asyncio.get_running_loop().create_task(self.think(None))

        def greet(self, connection: Connection) -> Answer:
            return asyncio.get_running_loop().create_task(self.think(None))

        async def think(self, answer: Reply | None) -> Reply | None:
            await asyncio.sleep(0.02)
            return answer

    recorder = Slow()
    async with listening(recorder) as running:
        client = await running.connect(greeting=False)
        await client.send(b"EHLO c\r\n" + f"{MAIL}\r\n{RECIPIENT}\r\nDATA\r\n".encode() + b"x\r\n.\r\n")
        assert [(await client.reply())[:3] for _ in range(6)] == ["220", "250", "250", "250", "354", "250"]
    assert recorder.contents == [b"x\r\n"]


async def test_a_receiver_that_fails_costs_451_and_not_the_session() -> None:
    class Broken(Recorder):
        def recipient(self, transaction: Transaction, forward_path: str, parameters: object) -> Answer:
            raise ValueError("bug")

    async with listening(Broken()) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.ask(MAIL)
        assert (await client.ask(RECIPIENT)).startswith("451 4.3.0")
        assert (await client.ask("NOOP")).startswith("250")


async def test_a_refused_greeting_closes_the_connection() -> None:
    class Closed(Recorder):
        def greet(self, connection: Connection) -> Answer:
            return Reply(554, "5.7.1", "Not you")

    async with listening(Closed()) as running:
        client = await running.connect(greeting=False)
        assert await client.reply() == "554 5.7.1 Not you"
        assert await client.is_closed()


# --- chunks and delivery status


async def test_a_message_in_chunks_arrives_whole_and_each_chunk_is_answered() -> None:
    recorder = Recorder()
    async with listening(recorder) as running:
        client = await running.connect()
        await client.ask("EHLO client.example")
        await client.send(f"{MAIL}\r\n{RECIPIENT}\r\nBDAT 10\r\nSubject: xBDAT 7\r\n\r\n\r\n.\r\nBDAT 0 LAST\r\nNOOP\r\n".encode())
        replies = [await client.reply() for _ in range(6)]
        assert [reply[:9] for reply in replies] == ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0"]
        assert replies[4] == "250 2.0.0 accepted"
    assert recorder.contents == [b"Subject: x\r\n\r\n.\r\n"]


async def test_what_the_client_wants_to_be_told_is_in_the_envelope() -> None:
    recorder = Recorder()
    async with listening(recorder) as running:
        client = await running.connect()
        await client.ask("EHLO client.example")
        await client.ask(f"{MAIL} RET=hdrs ENVID=QQ+2B314")
        await client.ask(f"{RECIPIENT} NOTIFY=success,failure ORCPT=rfc822;other+40example.org")
        await client.ask("RCPT TO:<second@example.com>")
        await client.ask("RCPT TO:<third@example.com> NOTIFY=NEVER")
        assert (await client.ask("RCPT TO:<x@example.com> ORCPT=utf-8;\u00e4@example.com")).startswith("553 5.6.7")
        await client.ask("DATA")
        await client.ask(b".\r\n")
    envelope = recorder.messages[0].envelope
    assert envelope.recipients == ("user@example.com", "second@example.com", "third@example.com")
    assert envelope.options is not None
    assert (envelope.options.ret, envelope.options.envelope_id) == ("HDRS", "QQ+2B314")
    assert envelope.options.recipients == (
        ("user@example.com", "SUCCESS,FAILURE", "rfc822;other+40example.org"),
        ("third@example.com", "NEVER", ""),
    )
    assert Envelope.from_list(json.loads(json.dumps(envelope.to_list()))) == envelope


async def test_octets_of_a_refused_chunk_are_not_commands_and_its_rest_is_no_message() -> None:
    class Choosy(Recorder):
        def data(self, transaction: Transaction) -> Answer:
            return Reply(451, "4.7.1", "Not now")

    recorder = Choosy()
    async with listening(recorder) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.send(f"{MAIL}\r\n{RECIPIENT}\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\n".encode())
        replies = [await client.reply() for _ in range(5)]
        assert [reply[:3] for reply in replies] == ["250", "250", "451", "503", "250"]
        assert running.server.held == 0
    assert recorder.messages == []
    assert len(recorder.aborts) == 1


async def test_a_receiver_may_answer_a_chunk_without_octets_later() -> None:
    class Slow(Recorder):
        def data(self, transaction: Transaction) -> Answer:
            return asyncio.get_running_loop().create_task(self.think())

        async def think(self) -> None:
            await asyncio.sleep(0.02)

    recorder = Slow()
    async with listening(recorder) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.send(f"{MAIL}\r\n{RECIPIENT}\r\nBDAT 0 LAST\r\n".encode())
        assert [(await client.reply())[:3] for _ in range(3)] == ["250"] * 3
    assert recorder.contents == [b""]


async def test_chunks_are_held_to_the_size_limit_and_large_ones_go_to_a_file(tmp_path: Path) -> None:
    recorder = Recorder()
    async with listening(recorder, spill_directory=tmp_path, limits=Limits(message_size=3_000_000)) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.ask(MAIL)
        await client.ask(RECIPIENT)
        assert (await client.ask(b"BDAT 2000000\r\n" + b"z" * 2_000_000)).startswith("250 2.0.0")
        assert running.server.held < 2**21
        assert (await client.ask(b"BDAT 1000001 LAST\r\n" + b"z" * 1_000_001)).startswith("552 5.3.4")
        assert list(tmp_path.iterdir()) == []
        await client.ask(MAIL)
        await client.ask(RECIPIENT)
        assert (await client.ask(b"BDAT 2000000\r\n" + b"z" * 2_000_000)).startswith("250 2.0.0")
        assert (await client.ask(b"BDAT 900000 LAST\r\n" + b"z" * 900_000)).startswith("250 2.0.0")
        assert running.server.held == 0
    assert recorder.messages[0].size == 2_900_002
    assert len(list(tmp_path.iterdir())) == 1


async def test_empty_chunks_without_end_are_idle_commands() -> None:
    async with listening(Recorder()) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.send(f"{MAIL}\r\n{RECIPIENT}\r\n".encode() + b"BDAT 0\r\n" * 500)
        replies = [await client.reply() for _ in range(123)]
        assert any(reply.startswith("421 4.7.0") for reply in replies)
        assert await client.is_closed()


async def test_past_the_memory_budget_a_chunk_is_put_off() -> None:
    recorder = Recorder()
    async with listening(recorder, limits=Limits(memory=100_000)) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.ask(MAIL)
        await client.ask(RECIPIENT)
        assert (await client.ask(b"BDAT 200000\r\n" + b"z" * 200_000)).startswith("452 4.3.1")
        assert (await client.ask(b"BDAT 3 LAST\r\nabc")).startswith("503")
        assert running.server.held == 0
    assert recorder.messages == []


# --- bare line ends


async def test_bare_line_feeds_are_refused_after_the_true_end_where_that_is_set() -> None:
    recorder = Recorder()
    async with listening(recorder, bare_newline="reject") as running:
        client = await running.connect()
        await client.begin()
        assert (await client.ask(b"a\nb\n.\nMAIL FROM:<x@y>\r\n.\r\n")).startswith("550 5.6.11")
        assert (await client.ask("NOOP")).startswith("250")
        assert (await client.ask(b"NOOP\n")).startswith("550 5.5.2")
        assert await client.is_closed()
    assert recorder.messages == []
    assert len(recorder.aborts) == 1


async def test_normalized_octets_are_counted_for_the_receiver() -> None:
    recorder = Recorder()
    async with listening(recorder) as running:
        client = await running.connect()
        await client.begin()
        await client.ask(b"a\nb\rc\0d\r\n.\r\n")
    assert recorder.contents == [b"a\r\nb c d\r\n"]
    assert recorder.messages[0].normalized == 3


# --- large messages


async def test_a_large_message_is_in_a_file_and_not_in_memory(tmp_path: Path) -> None:
    recorder = Recorder(hold=True)
    body = (b"y" * 76 + b"\r\n") * 40_000
    async with listening(recorder, spill_directory=tmp_path) as running:
        client = await running.connect()
        await client.begin()
        await client.send(body + b".\r\n")
        while not recorder.messages:
            await asyncio.sleep(0.01)
        message = recorder.messages[0]
        assert message.content == b""
        assert message.size == len(body)
        assert message.content_path is not None
        assert message.content_path.parent == tmp_path
        assert message.content_path.read_bytes() == body
        assert message.content_path.stat().st_mode & 0o777 == 0o600
        assert running.server.held < 2**20
        message.finish(ACCEPTED)
        assert (await client.reply()).startswith("250")
        assert running.server.held == 0
    assert list(tmp_path.iterdir()) == [message.content_path]


@pytest.mark.parametrize("end", [b"RSET", b""])
async def test_the_file_of_a_message_that_does_not_arrive_whole_is_removed(tmp_path: Path, end: bytes) -> None:
    recorder = Recorder()
    async with listening(recorder, spill_directory=tmp_path) as running:
        client = await running.connect()
        await client.begin()
        await client.send(b"z" * 3_000_000)
        while not list(tmp_path.iterdir()):
            await asyncio.sleep(0.01)
        client.close()
        while not recorder.gone:
            await asyncio.sleep(0.01)
        assert running.server.held == 0
    assert list(tmp_path.iterdir()) == []
    assert recorder.messages == []
    assert len(recorder.aborts) == 1


async def test_a_message_past_the_limit_is_cut_and_refused_after_its_end(tmp_path: Path) -> None:
    recorder = Recorder()
    async with listening(recorder, spill_directory=tmp_path, limits=Limits(message_size=2_000_000)) as running:
        client = await running.connect()
        assert (await client.ask("EHLO c")).startswith("250")
        assert (await client.ask(f"{MAIL} SIZE=2000001")).startswith("552 5.3.4")
        await client.begin()
        await client.send(b"z" * 5_000_000)
        assert (await client.ask(b"\r\n.\r\n")).startswith("552 5.3.4")
        assert (await client.ask("NOOP")).startswith("250")
        assert running.server.held == 0
    assert list(tmp_path.iterdir()) == []
    assert recorder.messages == []


async def test_a_full_disk_while_spilling_is_a_transient_refusal(tmp_path: Path) -> None:
    recorder = Recorder()
    async with listening(recorder, spill_directory=tmp_path / "absent") as running:
        client = await running.connect()
        await client.begin()
        assert (await client.ask(b"z" * 3_000_000 + b"\r\n.\r\n")).startswith("452 4.3.1")
        assert running.server.held == 0
    assert recorder.messages == []


async def test_past_the_memory_budget_mail_is_put_off() -> None:
    recorder = Recorder(hold=True)
    async with listening(recorder, limits=Limits(memory=200_000)) as running:
        first = await running.connect()
        await first.begin()
        await first.send(b"x" * 150_000 + b"\r\n.\r\n")
        second = await running.connect()
        await second.begin()
        assert (await second.ask(b"x" * 150_000 + b"\r\n.\r\n")).startswith("452 4.3.1")
        recorder.messages[0].finish(ACCEPTED)
        assert (await first.reply()).startswith("250")
        recorder.hold = False
        await second.begin()
        assert (await second.ask(b"x" * 150_000 + b"\r\n.\r\n")).startswith("250")
        assert running.server.held == 0


# --- limits


async def test_recipients_past_the_limit_are_put_off_and_the_others_stay() -> None:
    recorder = Recorder()
    async with listening(recorder, limits=Limits(recipients=5)) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.ask(MAIL)
        await client.send(f"{RECIPIENT}\r\n".encode() * 50)
        replies = [await client.reply() for _ in range(50)]
        assert [reply[:9] for reply in replies] == ["250 2.1.5"] * 5 + ["452 4.5.3"] * 45
        await client.ask("DATA")
        assert (await client.ask(b".\r\n")).startswith("250")
    assert len(recorder.messages[0].recipients) == 5


@pytest.mark.parametrize("command", ["XYZZY", "DATA", "MAIL FROM:x", "q" * 3000])
async def test_too_many_errors_end_the_session(command: str) -> None:
    async with listening(Recorder(), limits=Limits(errors=3)) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        replies = [await client.ask(command) for _ in range(3)]
        assert all(reply.startswith("50") for reply in replies)
        await client.ask(command)
        assert (await client.reply()).startswith("421 4.7.0")
        assert await client.is_closed()


async def test_a_flood_of_idle_commands_ends_the_session() -> None:
    async with listening(Recorder()) as running:
        client = await running.connect()
        await client.send(b"NOOP\r\n" * 5000)
        replies = [await client.reply() for _ in range(122)]
        assert replies[-1].startswith("421 4.7.0")
        assert await client.is_closed()


async def test_past_the_connection_limit_a_client_is_told_421() -> None:
    recorder = Recorder()
    async with listening(recorder, limits=Limits(connections=2)) as running:
        first, _ = await running.connect(), await running.connect()
        third = await running.connect(greeting=False)
        assert (await third.reply()).startswith("421 4.3.2")
        assert await third.is_closed()
        await first.ask("QUIT")
        assert await first.is_closed()
        assert len(recorder.gone) == 1
        await running.connect()


async def test_messages_of_one_session_are_limited() -> None:
    async with listening(Recorder(), limits=Limits(transactions=2)) as running:
        client = await running.connect()
        for _ in range(2):
            await client.begin()
            await client.ask(b".\r\n")
        assert (await client.ask(MAIL)).startswith("421 4.7.0")
        assert await client.is_closed()


# --- time


@pytest.mark.usefixtures("quick_sweep")
async def test_a_silent_client_is_told_421() -> None:
    async with listening(Recorder(), limits=Limits(command_timeout=0.2)) as running:
        client = await running.connect()
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.is_closed()


@pytest.mark.usefixtures("quick_sweep")
async def test_the_time_limit_is_for_a_command_and_not_for_an_octet() -> None:
    async with listening(Recorder(), limits=Limits(command_timeout=0.3)) as running:
        client = await running.connect()

        async def drip() -> None:
            while True:
                await client.send(b"E")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert (await client.reply()).startswith("421 4.4.2")
        dripping.cancel()


@pytest.mark.usefixtures("quick_sweep")
async def test_mail_data_below_the_minimum_rate_ends_the_session() -> None:
    recorder = Recorder()
    async with listening(recorder, limits=Limits(data_timeout=0.4, data_rate=1000)) as running:
        client = await running.connect()
        await client.begin()

        async def drip() -> None:
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert (await client.reply()).startswith("421 4.4.2")
        dripping.cancel()
        await asyncio.sleep(0.05)
    assert len(recorder.aborts) == 1


@pytest.mark.usefixtures("quick_sweep")
async def test_a_client_that_never_reads_is_dropped() -> None:
    recorder = Recorder()
    limits = Limits(command_timeout=0.3, errors=10**9, junk_commands=10**9)
    async with listening(recorder, limits=limits) as running:
        client = await running.connect()
        writing = asyncio.create_task(client.send(b"NOOP\r\n" * 3_000_000))
        while not recorder.gone:
            await asyncio.sleep(0.02)
        writing.cancel()
        assert len(running.server.connections) == 0


# --- ends


async def test_a_client_that_leaves_before_the_reply_leaves_a_closed_transaction() -> None:
    recorder = Recorder(hold=True)
    async with listening(recorder) as running:
        client = await running.connect()
        await client.begin()
        await client.send(b"x\r\n.\r\n")
        await asyncio.sleep(0.05)
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # with a reset
        while not recorder.gone:
            await asyncio.sleep(0.01)
        assert recorder.messages[0].closed
        assert recorder.aborts == []
        recorder.messages[0].finish(ACCEPTED)
        assert running.server.held == 0


async def test_a_client_that_shuts_its_writing_side_still_gets_its_replies() -> None:
    recorder = Recorder(hold=True)
    async with listening(recorder) as running:
        client = await running.connect()
        await client.begin()
        await client.send(b"x\r\n.\r\nQUIT\r\n")
        client.writer.write_eof()
        await asyncio.sleep(0.05)
        recorder.messages[0].finish(ACCEPTED)
        assert (await client.reply()).startswith("250")
        assert (await client.reply()).startswith("221")
        assert await client.is_closed()


async def test_draining_ends_idle_sessions_and_lets_transactions_finish() -> None:
    recorder = Recorder(hold=True)
    async with listening(recorder) as running:
        idle = await running.connect()
        reading, waiting = await running.connect(), await running.connect()
        await reading.begin()
        await waiting.begin()
        await waiting.send(b"w\r\n.\r\n")
        await asyncio.sleep(0.05)
        draining = asyncio.create_task(running.server.drain(10))
        assert (await idle.reply()).startswith("421 4.3.2")
        assert await idle.is_closed()
        with pytest.raises(ConnectionError):
            await running.connect()
        recorder.messages[0].finish(ACCEPTED)
        assert (await waiting.reply()).startswith("250")
        assert (await waiting.reply()).startswith("421 4.3.2")
        recorder.hold = False
        assert (await reading.ask(b"r\r\n.\r\n")).startswith("250")
        assert (await reading.reply()).startswith("421 4.3.2")
        await asyncio.wait_for(draining, 5)
    assert len(recorder.messages) == 2


async def test_draining_drops_what_does_not_end_in_time() -> None:
    async with listening(Recorder()) as running:
        client = await running.connect()
        await client.begin()
        await running.server.drain(0.1)
        assert await client.is_closed()


async def test_hostile_octets_never_break_a_reply() -> None:
    async with listening(Recorder()) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        for command in (b"EHLO a\rb", b"EHLO <x>", b"MAIL FROM:<\xff@x>", b"VRFY \xff\xfe", b"\x80\x81", b"HELO \x1b[31m"):
            reply = await client.ask(command + b"\r\n")
            assert reply.isascii()
            assert reply.isprintable()
            assert reply[:1] == "5" or command.startswith(b"VRFY")


# --- real programs


@pytest.mark.servers
@pytest.mark.parametrize("arguments", [[], ["-d"], ["-d", "-r", "3"]], ids=["new sessions", "kept sessions", "several recipients"])
async def test_smtp_source_sends_everything(server_program: Callable[[str], str], arguments: list[str]) -> None:
    recorder = Recorder()
    async with listening(recorder) as running:
        command = [server_program("smtp-source"), "-s", "10", "-m", "200", "-l", "5000", "-f", "a@partner.example", "-t", "u@example.com"]
        done = await asyncio.to_thread(subprocess.run, [*command, *arguments, f"127.0.0.1:{running.port}"], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
    assert len(recorder.messages) == 200
    assert all(message.size >= 4900 for message in recorder.messages)


@pytest.mark.servers
@pytest.mark.parametrize("arguments", [[], ["--pipeline"]], ids=["step by step", "pipelined"])
async def test_swaks_sends_a_message(server_program: Callable[[str], str], arguments: list[str]) -> None:
    recorder = Recorder()
    async with listening(recorder) as running:
        command = [
            server_program("swaks"),
            "--server",
            f"127.0.0.1:{running.port}",
            "--to",
            "user@example.com",
            "--from",
            "a@partner.example",
        ]
        done = await asyncio.to_thread(subprocess.run, [*command, "--helo", "client.example", *arguments], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stdout
    assert len(recorder.messages) == 1


async def test_smtplib_sends_a_message_with_non_ascii_addresses() -> None:
    recorder = Recorder()

    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=10) as client:
            client.ehlo()
            client.sendmail("ä@partner.example", ["ö@example.com"], b"Subject: x\r\n\r\n.\r\n", mail_options=["SMTPUTF8", "BODY=8BITMIME"])

    async with listening(recorder) as running:
        await asyncio.to_thread(send, running.port)
    assert recorder.messages[0].envelope.recipients == ("ö@example.com",)
    assert recorder.contents == [b"Subject: x\r\n\r\n.\r\n"]


async def test_many_clients_at_once_are_all_served() -> None:
    recorder = Recorder()
    async with listening(recorder) as running:

        async def talk(number: int) -> None:
            client: Client = await running.connect()
            for turn in range(3):
                await client.begin()
                assert (await client.ask(b"%d %d\r\n.\r\n" % (number, turn))).startswith("250")
            await client.ask("QUIT")

        await asyncio.gather(*(talk(number) for number in range(100)))
    assert sorted(recorder.contents) == sorted(b"%d %d\r\n" % (number, turn) for number in range(100) for turn in range(3))
