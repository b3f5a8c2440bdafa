"""Playing recorded mail into a server: what goes over the wire, and how it is counted."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from esa.cli.player import Outcome, Plan, play, wire_form
from esa.errors import EsaError


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"A: b\n\nc\n", b"A: b\r\n\r\nc\r\n.\r\n"),
        (b"A: b\r\n\r\nc\r\n", b"A: b\r\n\r\nc\r\n.\r\n"),
        (b"A: b\n\nno end", b"A: b\r\n\r\nno end\r\n.\r\n"),
        (b"A: b\n\n.\n..\n.x", b"A: b\r\n\r\n..\r\n...\r\n..x\r\n.\r\n"),
        (b".leads\n", b"..leads\r\n.\r\n"),
        (b"A: b\n\na\rb\n", b"A: b\r\n\r\na\r\nb\r\n.\r\n"),
        (b"From a@b Thu\nA: b\n\nc\n", b"A: b\r\n\r\nc\r\n.\r\n"),
        (b"", b".\r\n"),
    ],
)
def test_lines_end_with_crlf_and_dots_are_stuffed(content: bytes, wire: bytes) -> None:
    assert wire_form(content) == wire


class Server:
    """A small scripted SMTP server: refuses recipients at `refuse`, closes after `close_after` messages, keeps what it got."""

    def __init__(
        self, *, extensions: tuple[str, ...] = (), refuse_data: str = "", close_after: int | None = None, mute: bool = False
    ) -> None:
        self.extensions, self.refuse_data, self.close_after, self.mute = extensions, refuse_data, close_after, mute
        self.received: list[bytes] = []
        self.commands: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            taken = 0

            def answer(text: str) -> None:
                stream.write(text.encode() + b"\r\n")
                stream.flush()

            if self.mute:
                stream.read()
                return
            answer("220 test ESMTP")
            while line := stream.readline():
                word = line.split(b" ")[0].strip().upper()
                self.commands.append(line.strip())
                if word == b"EHLO":
                    lines = ["test", *self.extensions]
                    answer("\r\n".join(f"250{' ' if i + 1 == len(lines) else '-'}{text}" for i, text in enumerate(lines)))
                elif word == b"DATA":
                    answer("354 go on")
                    data = b""
                    while (part := stream.readline()) not in (b".\r\n", b""):
                        data += part[1:] if part.startswith(b".") else part
                    self.received.append(data)
                    taken += 1
                    answer(self.refuse_data or "250 2.0.0 accepted as X")
                    if taken == self.close_after:
                        return
                elif word == b"QUIT":
                    answer("221 bye")
                    return
                elif word == b"RCPT" and b"refused" in line:
                    answer("550 5.1.1 nobody here")
                else:
                    answer("250 2.1.0 ok")


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(**options: object) -> Server:
        servers.append(Server(**options))  # type: ignore[arg-type]  # the options of Server
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def plan(server: Server, messages: int, *, sessions: int = 2, recipient: str = "b@example.net", per_session: int = 100) -> Plan:
    return Plan("127.0.0.1", server.port, sessions, messages, "a@example.org", recipient, per_session, 5.0)


MAIL = [b"Subject: one\n\n.first\n", b"Subject: two\n\nsecond\n"]


@pytest.mark.parametrize("extensions", [(), ("PIPELINING", "SIZE 1000000", "8BITMIME")])
def test_every_message_arrives_as_it_was_recorded(serve: Callable[..., Server], extensions: tuple[str, ...]) -> None:
    server = serve(extensions=extensions)
    outcome = play(MAIL, plan(server, 10))
    assert (outcome.sent, outcome.accepted, dict(outcome.replies)) == (10, 10, {"250 2.0.0": 10})
    assert sorted(server.received) == sorted([b"Subject: one\r\n\r\n.first\r\n", b"Subject: two\r\n\r\nsecond\r\n"] * 5)
    assert len(outcome.latencies) == 10


def test_sizes_and_eight_bits_are_declared_where_the_server_offers_it(serve: Callable[..., Server]) -> None:
    server = serve(extensions=("PIPELINING", "SIZE", "8BITMIME"))
    play(["A: é\n\n".encode()], plan(server, 1))
    assert b"MAIL FROM:<a@example.org> SIZE=9 BODY=8BITMIME" in server.commands


def test_a_refusal_is_counted_by_its_code(serve: Callable[..., Server]) -> None:
    outcome = play(MAIL, plan(serve(refuse_data="550 5.7.1 no"), 4))
    assert (outcome.sent, outcome.accepted, dict(outcome.replies)) == (4, 0, {"550 5.7.1": 4})


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",)])
def test_a_refused_recipient_is_counted_and_the_session_goes_on(serve: Callable[..., Server], extensions: tuple[str, ...]) -> None:
    server = serve(extensions=extensions)
    outcome = play(MAIL, plan(server, 4, sessions=1, recipient="refused@example.net"))
    assert (outcome.sent, outcome.accepted, dict(outcome.replies)) == (4, 0, {"550 5.1.1": 4})
    assert [line for line in server.commands if line.startswith(b"EHLO")] == [b"EHLO bench.example.org"]


def test_a_session_that_the_server_closes_is_opened_again(serve: Callable[..., Server]) -> None:
    server = serve(close_after=2)
    outcome = play(MAIL, plan(server, 6, sessions=1))
    assert outcome.accepted == 6
    assert sum(outcome.faults.values()) >= 2


def test_sessions_end_after_their_share(serve: Callable[..., Server]) -> None:
    server = serve()
    play(MAIL, plan(server, 6, sessions=1, per_session=2))
    assert server.commands.count(b"QUIT") == 3


def test_a_server_that_is_not_there_is_an_error_with_the_place(free_port: Callable[[], int]) -> None:
    with pytest.raises(EsaError) as caught:
        play(MAIL, Plan("127.0.0.1", free_port(), 2, 4, "a@example.org", "b@example.net", 10, 5.0))
    assert "connect" in caught.value.what
    assert "127.0.0.1" in (caught.value.where or "")


def test_a_server_that_says_nothing_times_out(serve: Callable[..., Server]) -> None:
    server = serve(mute=True)
    with pytest.raises(EsaError, match="timed out"):
        play(MAIL, Plan("127.0.0.1", server.port, 1, 1, "a@example.org", "b@example.net", 10, 0.1))


def test_percentiles_are_in_milliseconds() -> None:
    outcome = Outcome(latencies=[i / 1000 for i in range(1, 101)])
    assert outcome.percentiles() == {"p50": 51.0, "p90": 91.0, "p99": 100.0, "max": 100.0}


@pytest.mark.servers
def test_postfix_smtp_sink_takes_what_is_played(server_program: Callable[[str], str], free_port: Callable[[], int]) -> None:
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
    sink = subprocess.Popen([server_program("smtp-sink"), *user, f"127.0.0.1:{port}", "100"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        outcome = play(MAIL, Plan("127.0.0.1", port, 5, 200, "a@example.org", "b@example.net", 20, 10.0))
        assert (outcome.accepted, sum(outcome.faults.values())) == (200, 0)
    finally:
        sink.terminate()
        sink.wait(10)
