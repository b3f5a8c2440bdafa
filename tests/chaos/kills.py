"""F-02: kill -9 at named steps of the way of a message: is every acknowledged one delivered once, or tracking says why twice?

A step is a system call of one process (faults.py): the process dies before it makes the call, or when it has been made. The client keeps on
sending, each message once; the parent starts the process again. At the end of a step the queue runs dry and every message is looked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

from esa.errors import StoreError
from esa.gateway.keep import socket_path
from esa.store.control import ask
from tests.chaos.faults import Action, Call, Faults
from tests.chaos.figures import Figure
from tests.chaos.house import HELD, HERE, ONE, ROUTES, TWO, house, with_faults
from tests.chaos.ledger import Ledger, settle, settle_account
from tests.end_to_end.running import READY_SECONDS, Gateway
from tests.gateway.scripted import ScriptedServer

HOP = "b@hop.example.org"  # goes to a next hop over SMTP
SPLIT = (HERE, ONE, TWO, HOP)  # an entry for each in the queue
AT_ONCE = 4  # messages that are offered together
STEP_SECONDS = 20.0
_BEFORE, _AFTER = Action.KILL_BEFORE, Action.KILL_AFTER


@dataclass(frozen=True, slots=True)
class Step:
    """Where a process dies. `spread`: it is one of so many such calls, by chance."""

    name: str
    process: str
    call: Call
    action: Action
    path: str
    text: bytes = b""
    spread: int = 3
    recipients: Sequence[str] = SPLIT
    size: int = 2_000
    releases: bool = False  # what is held is released while it is armed
    restarts: bool = False  # it is something that is done after a start: the process is killed first, and then its successor


LARGE = 1_500_000
STEPS = (
    Step("a command is read", "receive-0", Call.RECEIVE, _AFTER, "socket:", spread=12),
    Step("in the middle of mail data", "receive-0", Call.RECEIVE, _AFTER, "socket:", spread=40, size=LARGE),
    Step("a body file is made", "receive-0", Call.OPEN, _AFTER, "/incoming/", size=LARGE),
    Step("a body is written", "receive-0", Call.WRITE, _AFTER, "/incoming/", size=LARGE),
    Step("a body is to be flushed", "receive-0", Call.FSYNC, _BEFORE, "/incoming/", size=LARGE),
    Step("a body is flushed", "receive-0", Call.FSYNC, _AFTER, "/incoming/", size=LARGE),
    Step("a body is to become content", "receive-0", Call.RENAME, _BEFORE, "/content/", size=LARGE),
    Step("a body has become content", "receive-0", Call.RENAME, _AFTER, "/content/", size=LARGE),
    Step("the folder of content is flushed", "receive-0", Call.FSYNC, _AFTER, "/content", size=LARGE),
    Step("a segment is begun", "receive-0", Call.OPEN, _AFTER, ".seg", spread=1, restarts=True),
    Step("a record is to be written", "receive-0", Call.WRITE, _BEFORE, ".seg"),
    Step("a record is written", "receive-0", Call.WRITE, _AFTER, ".seg"),
    Step("a record is to be flushed", "receive-0", Call.FDATASYNC, _BEFORE, ".seg"),
    Step("a record is flushed", "receive-0", Call.FDATASYNC, _AFTER, ".seg"),
    Step("the 250 is to be sent", "receive-0", Call.SEND, _BEFORE, "socket:", b"accepted as"),
    Step("the 250 is sent", "receive-0", Call.SEND, _AFTER, "socket:", b"accepted as"),
    Step("the queue is to be written", "deliver", Call.WRITE, _BEFORE, "queue.db-wal", spread=20),
    Step("the queue is written", "deliver", Call.WRITE, _AFTER, "queue.db-wal", spread=20),
    Step("the queue is to be flushed", "deliver", Call.FDATASYNC, _BEFORE, "queue.db-wal"),
    Step("entries are claimed", "deliver", Call.FDATASYNC, _AFTER, "queue.db-wal"),
    Step("a file of the Maildir is made", "deliver", Call.OPEN, _AFTER, "/tmp/"),
    Step("a file of the Maildir is to be flushed", "deliver", Call.FSYNC, _BEFORE, "/tmp/"),
    Step("a file of the Maildir is to be named", "deliver", Call.RENAME, _BEFORE, "/new/"),
    Step("a file of the Maildir is named", "deliver", Call.RENAME, _AFTER, "/new/"),
    Step("the Maildir is flushed", "deliver", Call.FSYNC, _AFTER, "/new"),
    Step("MAIL is to be sent to the next hop", "deliver", Call.SEND, _BEFORE, "socket:", b"MAIL FROM:"),
    Step("MAIL is sent to the next hop", "deliver", Call.SEND, _AFTER, "socket:", b"MAIL FROM:"),
    Step("the final dot is to be sent", "deliver", Call.SEND, _BEFORE, "socket:", b"\r\n.\r\n"),
    Step("the final dot is sent", "deliver", Call.SEND, _AFTER, "socket:", b"\r\n.\r\n"),
    Step("a reply of the next hop is read", "deliver", Call.RECEIVE, _AFTER, "socket:", spread=12),
    Step("tracking is to be written", "keep", Call.WRITE, _BEFORE, "tracking.db-wal", spread=20),
    Step("tracking is to be flushed", "keep", Call.FDATASYNC, _BEFORE, "tracking.db-wal"),
    Step("tracking is flushed", "keep", Call.FDATASYNC, _AFTER, "tracking.db-wal"),
    Step("a quarantined file is made", "keep", Call.OPEN, _AFTER, "/quarantine/", recipients=(HELD,)),
    Step("a quarantined file is flushed", "keep", Call.FSYNC, _AFTER, "/quarantine/", recipients=(HELD,)),
    Step("the quarantine is to be flushed", "keep", Call.FDATASYNC, _BEFORE, "quarantine.db-wal", recipients=(HELD,), spread=2),
    Step("the quarantine is flushed", "keep", Call.FDATASYNC, _AFTER, "quarantine.db-wal", recipients=(HELD,), spread=2),
    Step("a release is to be written", "keep", Call.WRITE, _BEFORE, ".seg", recipients=(HELD,), spread=1, releases=True),
    Step("a release is written", "keep", Call.WRITE, _AFTER, ".seg", recipients=(HELD,), spread=1, releases=True),
    Step("a release is flushed", "keep", Call.FDATASYNC, _AFTER, ".seg", recipients=(HELD,), spread=1, releases=True),
    Step("a released file is to go", "keep", Call.UNLINK, _BEFORE, "/quarantine/", recipients=(HELD,), spread=1, releases=True),
    Step("a released file is gone", "keep", Call.UNLINK, _AFTER, "/quarantine/", recipients=(HELD,), spread=1, releases=True),
)


async def kills_at_steps(folder: Path, *, messages: int, kills: int, steps: Sequence[Step] = STEPS) -> list[Figure]:
    """At each step `kills` kills, and at least `messages` messages acknowledged. A figure for each."""
    figures = []
    async with ScriptedServer() as hop:
        gateway = house(folder, routes=route_to(hop))
        with with_faults(gateway) as faults:
            for step in steps:
                ledger = Ledger()
                killed = await _at_step(gateway, faults, ledger, step, messages=messages, kills=kills)
                done = f"{step.process} killed {killed} of {kills} times, {len(ledger.acknowledged)} messages"
                figures.append(await _figure(gateway, ledger, hop, step.name, done, is_done=killed == kills))
                for path in gateway.state.glob("*/new/*"):
                    path.unlink()
                hop.taken.clear()
    return figures


async def kills_in_a_row(folder: Path, steps: Sequence[Step]) -> list[Figure]:
    """One kill at each step, and one account at the end."""
    async with ScriptedServer() as hop:
        gateway = house(folder, routes=route_to(hop))
        with with_faults(gateway) as faults:
            ledger, killed = Ledger(), 0
            for step in steps:
                killed += await _at_step(gateway, faults, ledger, step, messages=0, kills=1)
            done = f"killed at {killed} of {len(steps)} steps, {len(ledger.acknowledged)} messages"
            return [await _figure(gateway, ledger, hop, "steps in a row", done, is_done=killed == len(steps))]


async def kills_in_a_reroute(folder: Path, *, messages: int, kills: int) -> list[Figure]:
    """Mail waits for a hop that is down; the routes change, and `deliver` dies at each start while it gives the entries their new ones."""
    gateway = house(folder, routes='[[smtp_route]]\ndomains = ["one.example.org", "two.example.org"]\nhosts = ["127.0.0.1:9"]\n')
    ledger, killed = Ledger(), 0
    with with_faults(gateway) as faults:
        for _ in range(messages // AT_ONCE):
            await asyncio.gather(*(ledger.offer(gateway.port, (ONE, TWO)) for _ in range(AT_ONCE)))
        text = gateway.configuration.read_text()
        await asyncio.to_thread(gateway.stop)
        gateway.configuration.write_text(text[: text.index("[[smtp_route]]")] + ROUTES)
        for number in range(kills):
            action = (_BEFORE, _AFTER)[number % 2]
            faults.arm("deliver", (Call.WRITE, Call.FDATASYNC)[number // 2 % 2], action, path="queue.db-wal", nth=1 + number // 4 % 3)
            with contextlib.suppress(RuntimeError):  # it may end with deliver
                await asyncio.to_thread(gateway.start)
            deadline = time.monotonic() + 5
            while not faults.hit and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            killed += faults.hit
            faults.disarm()
            await asyncio.to_thread(gateway.kill_parent)
        await asyncio.to_thread(gateway.start)
        is_settled = await settle(gateway)
        account = settle_account(gateway, ledger)
    done = f"deliver killed {killed} of {kills} times while it starts, {len(ledger.acknowledged)} messages for two destinations"
    is_met = killed == kills and account.is_good and is_settled and not account.queued
    return [Figure("F-02 in a reroute", done, f"{account}", "lost 0, twice only logged", is_met)]


async def _figure(gateway: Gateway, ledger: Ledger, hop: ScriptedServer, name: str, done: str, *, is_done: bool) -> Figure:
    is_settled = await settle(gateway)
    account = settle_account(gateway, ledger, hop.taken)
    words = f"{account}" + ("" if is_settled else ", the queue did not run dry")
    return Figure(
        f"F-02 {name}", done, words, "lost 0, twice only logged", is_done and is_settled and account.is_good and not account.queued
    )


def route_to(hop: ScriptedServer) -> str:
    return f'{ROUTES}[[smtp_route]]\ndomains = ["hop.example.org"]\nhosts = ["127.0.0.1:{hop.port}"]\n'


async def _at_step(gateway: Gateway, faults: Faults, ledger: Ledger, step: Step, *, messages: int, kills: int) -> int:
    """Returns how often the process was killed there."""
    killed = 0
    for number in range(kills):
        died = gateway.children().get(step.process)
        if step.releases:
            await _hold(gateway, ledger, step)
        faults.arm(step.process, step.call, step.action, path=step.path, nth=random.randint(1, step.spread), text=step.text)
        if step.releases:
            await asyncio.to_thread(_release, gateway)
        if step.restarts and died is not None:
            os.kill(died, signal.SIGKILL)
        deadline = time.monotonic() + STEP_SECONDS
        async with contextlib.aclosing(_offers(gateway, ledger, step)) as offers:
            while not faults.hit and time.monotonic() < deadline:
                await anext(offers)
        killed += faults.hit
        faults.disarm()
        await _is_back(gateway, step.process, died)
        while len(ledger.acknowledged) < messages * (number + 1) / kills:
            await _offer(gateway, ledger, step)
    return killed


async def _offers(gateway: Gateway, ledger: Ledger, step: Step) -> AsyncGenerator[None, None]:
    """Offers some messages, and then waits a moment for what they bring about, again and again."""
    while True:
        if not step.releases:
            await _offer(gateway, ledger, step)
        for _ in range(10):
            yield
            await asyncio.sleep(0.03)


async def _offer(gateway: Gateway, ledger: Ledger, step: Step) -> None:
    await asyncio.gather(*(ledger.offer(gateway.port, step.recipients, size=step.size) for _ in range(AT_ONCE)))


async def _is_back(gateway: Gateway, process: str, died: int | None) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while gateway.children().get(process, died) == died:
        if time.monotonic() > deadline:
            return  # it was not killed
        await asyncio.sleep(0.02)


async def _hold(gateway: Gateway, ledger: Ledger, step: Step) -> None:
    """Have messages in the quarantine."""
    await _offer(gateway, ledger, step)
    await settle(gateway)


def _release(gateway: Gateway) -> None:
    """Release two of what is held; the process dies of it."""
    keys = [str(row[0]) for row in gateway.database("quarantine.db", "SELECT id FROM item WHERE state = 'held' LIMIT 2")]
    with contextlib.suppress(StoreError, OSError):
        ask(socket_path(gateway.state), {"verb": "release", "keys": keys}, patience=5.0)
