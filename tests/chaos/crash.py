"""kill -9 of any process of a gateway under load: is every acknowledged message still there? Used by test_kill.py and benchmarks/crash.py.

Starts a real `esa serve` in a folder of its own, sends with its own client over many sessions (each message has a token of its own; the
client keeps the tokens that were answered 250), kills a process with SIGKILL after a random 50–1,500 ms, again and again; at least 80 % of
the kills must find a receiver with a message in scan or commit (the counters file says so after the process is dead). Then it lets the
queue run dry and looks for every acknowledged token in Maildir, quarantine and queue. Only a message in flight at a kill may be there
twice, and then tracking must say so.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import random
import re
import signal
import time
from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.end_to_end.running import READY_SECONDS, Gateway, is_running

TOKEN = re.compile(rb"^X-Token: ([0-9a-f]+-[0-9]+)\r?$", re.MULTILINE)
IDENTIFIER = re.compile(rb"^X-Esa-Id: ([0-9A-Z]{26})\r?$", re.MULTILINE)
FILLER = (b"This line only makes the message longer; nothing in it matters to anybody." + b"\r\n") * 40
HOLD_SECONDS = 0.5  # how long a kill waits for its receiver to have a message in scan or commit


@dataclass
class Sent:
    """What the client knows of its messages."""

    acknowledged: dict[str, str] = field(default_factory=dict)  # token → identifier in the 250
    unanswered: set[str] = field(default_factory=set)  # the connection died before the reply
    other: Tally[str] = field(default_factory=Tally)  # replies other than 250 after mail data
    refused_connections: int = 0


class Client:
    """Some sessions that send as fast as they are answered, and come back when their connection dies."""

    def __init__(self, port: int, sessions: int, *, run: str) -> None:
        self.sent = Sent()
        self._port, self._run = port, run
        self._number = 0
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._session()) for _ in range(sessions)]

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _session(self) -> None:
        while not self._stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.sent.refused_connections += 1
                await asyncio.sleep(0.02)
                continue
            try:
                await self._talk(reader, writer)
            except (OSError, asyncio.IncompleteReadError, EOFError):
                await asyncio.sleep(0.005)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._reply(reader)
        writer.write(b"EHLO client.example.net\r\n")
        await self._reply(reader)
        while not self._stop.is_set():
            self._number += 1
            token = f"{self._run}-{self._number}"
            writer.write(b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
            for expected in (b"250", b"250", b"354"):
                if not (await self._reply(reader)).startswith(expected):
                    raise EOFError
            self.sent.unanswered.add(token)
            writer.write(
                f"Message-ID: <{token}@example.net>\r\nX-Token: {token}\r\nSubject: minutes of the meeting\r\n"
                f"From: a@example.net\r\nTo: b@example.org\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n".encode()
                + FILLER[: random.randrange(100, len(FILLER))].rpartition(b"\r\n")[0]
                + b"\r\n.\r\n"
            )
            reply = await self._reply(reader)
            self.sent.unanswered.discard(token)
            if reply.startswith(b"250"):
                self.sent.acknowledged[token] = reply.decode().split()[-1]
            else:
                self.sent.other[reply[:9].decode()] += 1
                if reply.startswith(b"421"):
                    raise EOFError
        writer.write(b"QUIT\r\n")
        await self._reply(reader)

    @staticmethod
    async def _reply(reader: asyncio.StreamReader) -> bytes:
        while True:
            line = await reader.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            if line[3:4] != b"-":
                return line


@dataclass
class Kills:
    """What was killed."""

    by_name: Tally[str] = field(default_factory=Tally)
    receivers_at_work: int = 0
    restarts_seconds: list[float] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.by_name.values())


def plan_of_kills(count: int, workers: int) -> list[str]:
    """Which process to kill, in random order: 86 % receivers, the rest shared by deliver, keep and the parent, each at least once."""
    others = max(3, round(count * 0.14))
    plan = [("deliver", "keep", "parent")[number % 3] for number in range(others)]
    plan += [f"receive-{number % workers}" for number in range(count - others)]
    random.shuffle(plan)
    return plan


async def kill_one(gateway: Gateway, name: str, kills: Kills) -> None:
    """Kill it, note whether a receiver died at work, and wait until its successor is there."""
    if name == "parent":
        await asyncio.to_thread(gateway.kill_parent)
        kills.by_name[name] += 1
        began = time.monotonic()
        await asyncio.to_thread(gateway.start)
        kills.restarts_seconds.append(time.monotonic() - began)
        return
    deadline = time.monotonic() + READY_SECONDS
    while name not in (children := gateway.children()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name} does not come back")
        await asyncio.sleep(0.02)
    victim = children[name]
    if name.startswith("receive"):
        held = time.monotonic() + HOLD_SECONDS
        while not gateway.in_work(name) and time.monotonic() < held:
            await asyncio.sleep(0)
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    while is_running(victim):
        time.sleep(0.0002)
    if name.startswith("receive") and gateway.in_work(name):  # a dead process changes its row no more, its successor not for 100 ms
        kills.receivers_at_work += 1
    kills.by_name[name] += 1
    while gateway.children().get(name, victim) == victim:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name} was not started again")
        await asyncio.sleep(0.02)
    kills.restarts_seconds.append(time.monotonic() - began)


@dataclass
class Found:
    """Where the messages are afterwards: token → how often, per place; and identifiers that tracking calls possible duplicates."""

    delivered: Tally[str] = field(default_factory=Tally)
    quarantined: Tally[str] = field(default_factory=Tally)
    queued: set[str] = field(default_factory=set)  # identifiers
    identifiers: dict[str, set[str]] = field(default_factory=lambda: collections.defaultdict(set))
    logged_duplicates: set[str] = field(default_factory=set)  # identifiers


def look(gateway: Gateway) -> Found:
    found = Found()
    for place, tally in ((gateway.state / "Maildir" / "new", found.delivered), (gateway.state / "quarantine", found.quarantined)):
        for content in contents(place):
            token, identifier = TOKEN.search(content), IDENTIFIER.search(content)
            if token is not None:
                tally[token[1].decode()] += 1
                if identifier is not None:
                    found.identifiers[token[1].decode()].add(identifier[1].decode())
    found.queued = {str(row[0]) for row in gateway.database("queue.db", "SELECT message FROM entry")}
    duplicates = gateway.database("tracking.db", "SELECT message FROM event WHERE name = 'delivery.possible_duplicate'")
    found.logged_duplicates = {str(row[0]) for row in duplicates}
    return found


def contents(folder: Path) -> Iterator[bytes]:
    if folder.is_dir():
        for path in folder.rglob("*"):
            if path.is_file():
                yield path.read_bytes()


@dataclass
class Outcome:
    """The figures of one run."""

    kills: Kills
    sent: Sent
    lost: list[str]
    duplicated: list[str]  # tokens that arrived more than once
    unlogged: list[str]  # of these, the ones tracking does not name
    unfinished: list[str]  # acknowledged, still in the queue
    stop_seconds: float


async def run(folder: Path, *, kills: int, sessions: int, messages: int, workers: int = 2) -> Outcome:
    """One run; `messages` is the least number to acknowledge before it ends."""
    gateway = Gateway(folder, workers=workers)
    await asyncio.to_thread(gateway.start)
    client = Client(gateway.port, sessions, run=os.urandom(4).hex())
    done = Kills()
    for name in plan_of_kills(kills, workers):
        await asyncio.sleep(random.uniform(0.05, 1.5))
        await kill_one(gateway, name, done)
    while len(client.sent.acknowledged) < messages:
        await asyncio.sleep(0.1)
    await client.stop()
    await settle(gateway)
    stop_seconds = await asyncio.to_thread(gateway.stop)
    found = look(gateway)
    lost, duplicated, unlogged, unfinished = [], [], [], []
    for token, identifier in client.sent.acknowledged.items():
        places = found.delivered[token] + found.quarantined[token]
        if identifier in found.queued:
            unfinished.append(token)
        elif not places:
            lost.append(token)
    for token in found.delivered | found.quarantined:
        if found.delivered[token] + found.quarantined[token] > 1:
            duplicated.append(token)
            if not found.identifiers[token] & found.logged_duplicates:
                unlogged.append(token)
    return Outcome(done, client.sent, lost, duplicated, unlogged, unfinished, stop_seconds)


async def settle(gateway: Gateway, patience: float = 60.0) -> None:
    """Wait until deliver has handed on all there is: the queue is empty and the Maildir grows no more for a second."""
    deadline = time.monotonic() + patience
    quiet, before = 0, -1
    while quiet < 10 and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        arrived = len(gateway.maildir())
        waiting = gateway.database("queue.db", "SELECT 1 FROM entry WHERE state != 'failed' LIMIT 1")
        quiet = quiet + 1 if arrived == before and not waiting else 0
        before = arrived
