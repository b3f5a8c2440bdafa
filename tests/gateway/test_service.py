"""The parent: listening sockets, health and figures, and children that are started again. Without mail; that is tests/end_to_end."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest

from esa.config.schema import Listener
from esa.errors import ConfigurationError
from esa.gateway import supervisor
from esa.gateway.health import Health, HealthServer
from esa.gateway.metrics import Counter, Counters
from esa.gateway.sockets import open_listener
from esa.gateway.supervisor import Child, Job


def test_each_worker_gets_a_socket_of_its_own_on_one_port() -> None:
    sockets = open_listener(Listener(port=0), 3)
    try:
        assert len({one.getsockname() for one in sockets}) == 1
        assert len({one.fileno() for one in sockets}) == 3
        with socket.create_connection(sockets[0].getsockname()):
            pass
    finally:
        for one in sockets:
            one.close()


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_in_use_is_told_with_address_key_and_mend(shared: bool) -> None:
    with socket.socket() as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            open_listener(Listener(name="inbound", port=port), 2)
    assert str(caught.value).splitlines() == [
        f'[[listener]] "inbound", port: 127.0.0.1 port {port} is in use by another program',
        "stop that program, or choose another port (or --listen HOST:PORT)",
    ]


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(ConfigurationError, match="no address of this machine"):
        open_listener(Listener(address="192.0.2.1", port=2525), 1)


@pytest.fixture
def counters(tmp_path: Path) -> Counters:
    return Counters.create(tmp_path / "counters")


def health(*, ready: bool = True, free: int | None = 1 << 40, failures: int = 0, commits: int = 0) -> Health:
    return Health({"receive-0": {"pid": 1, "ready": ready, "restarts": 0}}, free, failures, commits)


def test_health_is_200_when_all_is_well_and_503_with_the_problems_named(counters: Counters) -> None:
    seen = [health()]
    server = HealthServer(counters, lambda: seen[-1])
    assert server.respond("GET", "/health")[0] is HTTPStatus.OK
    for sick, problem in (
        (health(ready=False), "receive-0 is not running"),
        (health(free=1000), "the state folder is full or read-only"),
        (health(free=None), "the state folder cannot be read"),
        (health(failures=1), "the spool cannot be written"),
    ):
        seen.append(sick)
        status, _, body = server.respond("GET", "/health")
        assert status is HTTPStatus.SERVICE_UNAVAILABLE
        assert json.loads(body)["problems"] == [problem]
    seen.append(health(failures=1, commits=1))
    assert server.respond("GET", "/health")[0] is HTTPStatus.OK


def test_only_get_and_head_of_two_paths_are_answered(counters: Counters) -> None:
    server = HealthServer(counters, health)
    assert server.respond("POST", "/health")[0] is HTTPStatus.METHOD_NOT_ALLOWED
    assert server.respond("GET", "/")[0] is HTTPStatus.NOT_FOUND
    assert server.respond("HEAD", "/metrics?x=y")[0] is HTTPStatus.OK


@pytest.fixture
async def address(counters: Counters) -> AsyncIterator[tuple[str, int]]:
    counters.row(0).add(Counter.MESSAGES_KEPT, 12)
    server = HealthServer(counters, health)
    host, _, port = (await server.start("127.0.0.1", 0)).rpartition(":")
    yield host, int(port)
    await server.close()


@pytest.mark.parametrize(
    ("request_text", "first", "last"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK", b"esa_messages_kept_total 12.0"),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK", b"Connection: close"),
        (b"EHLO x\r\n\r\n", b"HTTP/1.1 400 Bad Request", b"this is no HTTP request"),
        (b"A" * 100_000 + b"\r\n\r\n", b"", b""),
        (b"GET /health", b"", b""),
    ],
)
async def test_http_answers_what_it_understands_and_closes(
    address: tuple[str, int], request_text: bytes, first: bytes, last: bytes
) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request_text)
    writer.write_eof()
    try:
        answer = await reader.read()
    except ConnectionResetError:
        answer = b""
    writer.close()
    assert answer.startswith(first)
    assert last in answer
    if not first:
        assert answer == b""


class Script:
    """A child that is a small Python program in place of a process of the gateway."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str) -> None:
        self.runs = tmp_path / "runs"
        script = tmp_path / "child"
        script.write_text(
            f"#!{sys.executable}\nimport os, sys, time\nopen({str(self.runs)!r}, 'a').write('.')\n"
            "ready = next(int(word.partition('=')[2]) for word in sys.argv if word.startswith('--ready='))\n" + program
        )
        script.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(script))
        self._descriptor = os.memfd_create("configuration")
        self.child = Child(Job("receive-0", 2), configuration=self._descriptor, inherited=())

    def count(self) -> int:
        return len(self.runs.read_text()) if self.runs.exists() else 0

    def close(self) -> None:
        os.close(self._descriptor)


async def test_a_child_that_dies_is_started_again_and_stops_when_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = Script(monkeypatch, tmp_path, "os.write(ready, b'1')\ntime.sleep(60)")
    run = asyncio.create_task(script.child.run())
    async with asyncio.timeout(20):
        await script.child.ready.wait()
        script.child.kill()
        while script.child.restarts < 1:
            await asyncio.sleep(0.01)
        await script.child.ready.wait()
        script.child.terminate()
        await run
    assert script.count() == 2
    assert not script.child.failed_first
    script.close()


async def test_a_child_that_fails_before_it_was_ever_ready_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = Script(monkeypatch, tmp_path, "sys.exit(3)")
    async with asyncio.timeout(20):
        await script.child.run()
    assert script.child.failed_first
    assert script.count() == 1
    script.close()


async def test_a_child_that_dies_fast_is_started_again_with_growing_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supervisor, "FIRST_WAIT", 0.01)
    waits: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", record)
    script = Script(monkeypatch, tmp_path, "os.write(ready, b'1')")
    run = asyncio.create_task(script.child.run())
    async with asyncio.timeout(20):
        while script.child.restarts < 4:
            await sleep(0.01)
        script.child.terminate()
        await run
    assert waits[:3] == [0.01, 0.02, 0.04]
    script.close()
