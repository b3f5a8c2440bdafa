"""`esa bench`: the library's speed, and mail played into a server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import esa

SINK = """
import asyncio, sys
async def serve(reader, writer):
    writer.write(b"220 sink\\r\\n")
    data = False
    async for line in reader:
        if data:
            data = line != b".\\r\\n"
            if not data: writer.write(b"250 2.0.0 ok\\r\\n")
        elif line.startswith(b"EHLO"): writer.write(b"250-sink\\r\\n250 PIPELINING\\r\\n")
        elif line.startswith(b"RCPT") and b"nobody" in line: writer.write(b"550 5.1.1 no\\r\\n")
        elif line.startswith(b"DATA"): writer.write(b"354 go\\r\\n"); data = True
        elif line.startswith(b"QUIT"): writer.write(b"221 bye\\r\\n"); break
        else: writer.write(b"250 ok\\r\\n")
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 24)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@pytest.fixture
def sink() -> Iterator[int]:
    """The port of a server that takes everything but mail to nobody."""
    process = subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    folder = tmp_path / "mail"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.eml").write_text(f"From: a@example.org\nSubject: {i}\n\nhello\n")
    return folder


def test_the_library_is_measured(mail: Path) -> None:
    done = esa("bench", "--json", mail)
    assert done.code == 0
    assert done.lines[0]["messages"] == 5
    assert done.lines[0]["cpu_us_per_message"] > 0  # type: ignore[operator]
    assert "messages/s of CPU" in esa("bench", mail).out


def test_mail_is_played_into_a_server(mail: Path, sink: int) -> None:
    done = esa("bench", "--json", mail, "--smtp", f"127.0.0.1:{sink}", "--sessions", 3, "--messages", 50)
    assert done.code == 0
    (result,) = done.lines
    assert (result["sent"], result["accepted"], result["replies"]) == (50, 50, {"250 2.0.0": 50})
    assert set(result["latency_ms"]) == {"p50", "p90", "p99", "max"}  # type: ignore[call-overload]
    people = esa("bench", mail, "--smtp", f"127.0.0.1:{sink}")
    assert "reply 250 2.0.0" in people.out


def test_refused_mail_exits_1(mail: Path, sink: int) -> None:
    done = esa("bench", "--json", mail, "--smtp", f"127.0.0.1:{sink}", "--recipient", "nobody@example.net")
    assert (done.code, done.lines[0]["replies"]) == (1, {"550 5.1.1": 5})


def test_a_server_that_is_not_there_exits_3(mail: Path) -> None:
    done = esa("bench", mail, "--smtp", "127.0.0.1:1")
    assert done.code == 3
    assert "127.0.0.1:1: no message could be sent" in done.err


def test_wrong_endpoints_and_empty_corpora_are_told(mail: Path, tmp_path: Path) -> None:
    assert esa("bench", mail, "--smtp", "nowhere").code == 2
    done = esa("bench", tmp_path / "absent")
    assert done.code == 3
    assert "there is no message to measure with" in done.err
