"""A state folder with a history, for the commands that look at one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from esa.gateway.delivery.deliver import DeliverSettings, run_deliver
from esa.gateway.delivery.open_queue import OpenQueue
from esa.gateway.keep import KeepSettings, OpenKeep, run_keep
from esa.policy.smtp_routes import parse_route
from esa.store.entry import Outcome, Result
from esa.store.segments import Batch, SpoolReader
from esa.store.waiting import Capacity
from tests.conftest import unused_port
from tests.store.messages import commit, make_record, make_refusal


@dataclass(frozen=True, slots=True)
class State:
    """Identifiers of a message in each situation."""

    folder: Path
    waiting: str
    failed: str
    held: str
    refused: str


def make_state(folder: Path) -> State:
    """What a gateway leaves that has run: one message waits, one has failed, one is held, one was refused."""
    waiting, failed = make_record(recipients=("later@example.org",)), make_record(recipients=("gone@example.org", "b@example.org"))
    held = make_record(
        b"Subject: \x1b[31mred\r\nFrom: x\r\n\r\nbody\x07\r\n",
        action="quarantine",
        reverse_path="",
        fields={"subject": "\x1b[31mred", "verdict": "suspect", "score": 41.5},
    )
    refused = make_refusal()
    commit(folder, waiting, failed, held, refused)
    with OpenQueue(folder) as queue:
        now = time.time()
        first, second = queue.step(SpoolReader(folder / "spool", queue.cursors()).read(), [], rooms=Capacity(10), now=now)
        outcomes = [
            Outcome(first, (Result("later@example.org", "deferred", "451 4.2.0 later"),), "next:25", now),
            Outcome(
                second,
                (Result("gone@example.org", "failed", "550 5.1.1 \x1b[31mno such user"), Result("b@example.org", "delivered", "250 ok")),
                "next:25",
                now,
            ),
        ]
        queue.step(Batch(), outcomes, rooms=Capacity(0), now=now)
    with OpenKeep(KeepSettings(folder)) as keep:
        keep.start()
    return State(folder, waiting.id, failed.id, held.id, refused.id)


@contextmanager
def processes(folder: Path) -> Iterator[None]:
    """Deliver and keep, running beside the test; the route refuses connections, so that nothing leaves."""
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    route = parse_route([f"127.0.0.1:{unused_port()}"])

    async def run() -> None:
        ready = [asyncio.Event(), asyncio.Event()]
        tasks = [
            asyncio.create_task(
                run_deliver(DeliverSettings(folder, "mx.example.org", route, retry_initial=3600), stop, ready=ready[0].set)
            ),
            asyncio.create_task(run_keep(KeepSettings(folder), stop, ready=ready[1].set)),
        ]
        for event in ready:
            await event.wait()
        started.set()
        await asyncio.gather(*tasks)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert started.wait(20)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
