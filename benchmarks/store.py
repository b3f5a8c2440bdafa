"""The spool, the delivery and the keeping of a message, each alone: rate, and CPU a message.

`python benchmarks/store.py [--messages N] [--folder DIR]`: appends groups of 20 records, delivers them to Postfix's smtp-sink and to a
Maildir, and takes them into tracking. Median of three runs. The folder should lie on the disk that is asked about.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from processes import LOOPBACK, Server, free_port
from results import table, write_section

from esa.gateway import events
from esa.gateway.delivery.deliver import DeliverSettings, run_deliver
from esa.gateway.keep import KeepSettings, OpenKeep
from esa.message.envelope import Envelope, Session
from esa.policy.destination_controls import DestinationControl
from esa.policy.smtp_routes import TO_MAILDIR, SmtpRoute, parse_route
from esa.store.identifier import new_identifier
from esa.store.record import Event, EventName, Record, Splinter
from esa.store.spool import Spool

GROUP = 20
RUNS = 3
SIZES = (2 << 10, 16 << 10)
CONCURRENCY = 20


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of one run over so many messages."""

    messages: int
    wall: float
    user: float
    system: float


def measured(messages: int, work: Callable[[], None]) -> Run:
    """Run the work in this process, all threads counted."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    return Run(messages, wall, after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)


def make_records(count: int, size: int) -> list[Record]:
    """Accepted messages as the receive route commits them."""
    line = b"This line only makes the message longer; nothing in it matters.\r\n"
    content = (b"Subject: minutes of the meeting\r\n\r\n" + line * (size // len(line) + 1))[: size - 2] + b"\r\n"
    now = time.time()
    prefix = b"Received: from client.example.net (client.example.net [192.0.2.1])\r\n\tby mx.example.org; now\r\nX-Esa-Verdict: clean\r\n"
    fields = {"verdict": "clean", "score": 12.5, "reasons": ["a=+1.2", "b=-0.4"], "subject": "minutes of the meeting", "reply": "250 2.0.0"}
    return [
        Record(
            id=new_identifier(),
            envelope=Envelope("a@example.net", ("b@example.org",), size, "8BITMIME"),
            session=Session("192.0.2.1", 50_000, "client.example.net", "ESMTP", "public", now),
            splinters=(Splinter(("b@example.org",), "deliver"),),
            events=(Event(EventName.CONNECTED, now, {"client": "192.0.2.1"}), Event(EventName.ACCEPTED, now, fields)),
            prefix=prefix,
            content=content,
            size=size,
        )
        for _ in range(count)
    ]


def append(state: Path, count: int, size: int) -> Run:
    groups = [make_records(GROUP, size) for _ in range(count // GROUP)]
    with Spool(state / "spool", "receive-0") as spool:

        def work() -> None:
            for group in groups:
                spool.append(group)

        return measured(count, work)


def deliver(state: Path, count: int, size: int, route: SmtpRoute | None) -> Run:
    append(state, count, size)

    async def run() -> None:
        stop, done = asyncio.Event(), 0

        def counted(kind: str, recipients: int) -> None:
            nonlocal done
            if kind != "delivered":
                raise SystemExit(f"a delivery came to {kind}")
            done += recipients
            if done == count:
                stop.set()

        await run_deliver(
            DeliverSettings(state, "mx.example.org", route or TO_MAILDIR, control=DestinationControl(CONCURRENCY)), stop, count=counted
        )

    return measured(count, lambda: uvloop.run(run()))


def keep(state: Path, count: int, size: int) -> Run:
    append(state, count, size)
    with OpenKeep(KeepSettings(state)) as opened:
        return measured(count, opened.start)


def median(folder: Path, work: Callable[[Path], Run]) -> Sequence[str]:
    """Cells of the table: messages a second and CPU µs a message, user and system, medians of the runs."""
    runs = []
    for number in range(RUNS):
        state = folder / str(number)
        runs.append(work(state))
        shutil.rmtree(state)
    rate = statistics.median(run.messages / run.wall for run in runs)
    user, system = (statistics.median(1e6 * seconds / run.messages for run in runs for seconds in [part(run)]) for part in (_user, _system))
    return f"{rate:,.0f}", f"{user:.0f}", f"{system:.0f}"


def _user(run: Run) -> float:
    return run.user


def _system(run: Run) -> float:
    return run.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    events.configure("benchmark", stream=open(os.devnull, "w"))  # noqa: SIM115 (until the end; lines are made, nobody reads them)
    count = given.messages // GROUP * GROUP
    folder = Path(tempfile.mkdtemp(prefix="esa-store-", dir=given.folder))
    port = free_port()
    privileges = ["-u", "nobody"] if os.geteuid() == 0 else []
    rows = []
    try:
        with Server(["smtp-sink", *privileges, f"{LOOPBACK}:{port}", "1000"], port, log=folder / "sink.log"):
            for size in SIZES:
                kinds: dict[str, Callable[[Path], Run]] = {
                    f"append, groups of {GROUP}": lambda state, size=size: append(state, count, size),
                    f"deliver to smtp-sink, {CONCURRENCY} connections": lambda state, size=size: deliver(
                        state, count, size, parse_route([f"{LOOPBACK}:{port}"])
                    ),
                    "deliver to a Maildir": lambda state, size=size: deliver(state, count, size, None),
                    "keep: into tracking": lambda state, size=size: keep(state, count, size),
                }
                rows += [(name, f"{size >> 10} KiB", *median(folder, work)) for name, work in kinds.items()]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = table(["what", "message", "messages/s", "user µs a message", "system µs a message"], rows)
    text += f"\n\n{count:,} messages, median of {RUNS} runs, everything synced to disk; rates are those of the disk as busy as it was."
    print(text)
    write_section("store", text, title="Spool, delivery, tracking")


if __name__ == "__main__":
    main()
