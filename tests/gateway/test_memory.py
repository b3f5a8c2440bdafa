"""Memory of a listening process stays flat under large messages (anonymous memory: what no file stands behind)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.gateway.sessions import Client

MIB = 2**20
ROOT = Path(__file__).resolve().parent.parent.parent
CHUNK = (b"m" * 70 + b"\r\n") * 7_000


@dataclass
class Process:
    number: int
    port: int
    before: int
    most: int = 0

    def anonymous(self) -> int:
        """Octets of anonymous memory now."""
        for line in Path(f"/proc/{self.number}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no Anonymous line")

    async def watch(self) -> None:
        while True:
            self.most = max(self.most, self.anonymous() - self.before)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def discarding(spill_directory: Path) -> AsyncIterator[Process]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.discard", str(spill_directory)], stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True
    )
    assert child.stdout is not None
    try:
        process = Process(child.pid, int(child.stdout.readline()), 0)
        client = await connect(process)
        await client.begin()
        assert (await client.ask(b"warm\r\n.\r\n")).startswith("250")
        client.close()
        process.before = process.anonymous()
        watching = asyncio.create_task(process.watch())
        yield process
        watching.cancel()
    finally:
        child.terminate()
        child.wait(10)
        child.stdout.close()


async def connect(process: Process) -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", process.port))
    assert (await client.reply()).startswith("220")
    return client


async def send_large(process: Process, size: int) -> str:
    client = await connect(process)
    await client.begin()
    sent = 0
    while sent < size:
        await client.send(CHUNK)
        sent += len(CHUNK)
    reply = await client.ask(b".\r\n")
    client.close()
    return reply


async def test_twenty_messages_of_25_mb_at_once_cost_under_128_mib(tmp_path: Path) -> None:
    async with discarding(tmp_path) as process:
        replies = await asyncio.gather(*(send_large(process, 25_000_000) for _ in range(20)))
        assert all(reply.startswith("250") for reply in replies)
        assert process.most < 128 * MIB
    assert list(tmp_path.iterdir()) == []


async def test_messages_of_200_mb_are_refused_and_cost_under_64_mib(tmp_path: Path) -> None:
    async with discarding(tmp_path) as process:
        client = await connect(process)
        await client.ask("EHLO c")
        assert (await client.ask("MAIL FROM:<a@b.example> SIZE=200000000")).startswith("552 5.3.4")
        client.close()
        replies = await asyncio.gather(*(send_large(process, 200_000_000) for _ in range(4)))
        assert all(reply.startswith("552 5.3.4") for reply in replies)
        assert process.most < 64 * MIB
    assert list(tmp_path.iterdir()) == []
