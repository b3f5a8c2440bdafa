"""A long queue: how long a gateway takes from its start until it takes mail, and what its processes hold.

`python benchmarks/long_queue.py [--messages N] [--write]`: makes a state folder with N messages of 2 KiB that wait for a next hop which refuses
connections, and starts `esa serve` on it: before, with nothing that waits; stopped in order; and with queue.db lost. Looks at memory (PSS, over all
processes) 3 seconds after each start.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import smtplib
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from results import table, write_section
from store import make_records

from esa.config.load import load
from esa.gateway.delivery.open_queue import OpenQueue
from esa.gateway.keep import KeepSettings, OpenKeep
from esa.gateway.process import deliver_settings
from esa.store.entry import Outcome, Result
from esa.store.segments import SpoolReader
from esa.store.spool import Spool
from esa.store.waiting import Capacity
from tests.end_to_end import running
from tests.end_to_end.running import Gateway, children_of

SIZE = 2 << 10
GROUP = 500
SETTLE_SECONDS = 3.0
DEAD = 9  # of the discard service: nobody listens there
ROUTE = f'[delivery]\nroute = "127.0.0.1:{DEAD}"\n'
REPLY = "451 4.3.0 later"
PATIENCE = 300.0  # seconds that a start may take
CONTENT = b"From: a@example.net\r\nSubject: hello\r\n\r\nbody\r\n"


def fill(gateway: Gateway, count: int) -> None:
    """As accepted, imported and tracked, the first of them tried once: what waits when a gateway is stopped."""
    state = gateway.state
    settings = deliver_settings(load(gateway.configuration))
    with Spool(state / "spool", "receive-0") as spool:
        for start in range(0, count, GROUP):
            spool.append(make_records(min(GROUP, count - start), SIZE))
    with OpenQueue(state, settings.schedule, settings.router) as queue:
        queue.reroute()
        rooms = Capacity(GROUP)
        reader = SpoolReader(state / "spool", queue.cursors())
        while batch := reader.read():
            now = time.time()
            tried = queue.step(batch, [], rooms=rooms, now=now)
            results = [tuple(Result(one, "deferred", REPLY) for one in entry.pending) for entry in tried]
            queue.settle([Outcome(entry, given, "", now) for entry, given in zip(tried, results, strict=True)])
            reader.advance(batch)
    with OpenKeep(KeepSettings(state)) as keep:
        keep.drain()


def pss(process: int) -> int:
    """Proportional set size in octets: what is shared counts once over all."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def started(gateway: Gateway) -> tuple[float, float, int, int]:
    """Seconds to the first 250 and to all processes at work; octets over all processes, and of `deliver`."""
    began = time.monotonic()
    starting = threading.Thread(target=gateway.start)
    starting.start()
    first = _first(gateway) - began
    starting.join()
    ready = time.monotonic() - began
    time.sleep(SETTLE_SECONDS)
    held = pss(gateway.pid) + sum(map(pss, children_of(gateway.pid)))
    deliver = pss(gateway.children()["deliver"])
    gateway.stop()
    return first, ready, held, deliver


def _first(gateway: Gateway) -> float:
    """When the first message was taken, in monotonic seconds."""
    while True:
        try:
            assert gateway.send(CONTENT)[0] == 250
            return time.monotonic()
        except (OSError, smtplib.SMTPException):
            time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="on the disk that is asked about; default: that of temporary files")
    parser.add_argument("--prepared", type=Path, help="make the state here and end; where it is there already, start on it")
    parser.add_argument("--write", action="store_true", help="write the figures into RESULTS.md")
    given = parser.parse_args()
    running.READY_SECONDS = PATIENCE
    rows = []
    with contextlib.ExitStack() as stack:
        folder = given.prepared or Path(stack.enter_context(tempfile.TemporaryDirectory(dir=given.folder)))
        full = folder / "full"
        if not full.exists():
            full.mkdir(parents=True)
            fill(Gateway(full, workers=2, more=ROUTE), given.messages)
            if given.prepared:
                return
        (folder / "empty").mkdir()
        for what, place in (("nothing waits", "empty"), ("stopped in order", "full"), ("queue.db lost", "full")):
            gateway = Gateway(folder / place, workers=2, more=ROUTE)
            if what == "queue.db lost":
                for path in gateway.state.glob("queue.db*"):
                    path.unlink()
            first, ready, held, deliver = started(gateway)
            waiting = 0 if place == "empty" else given.messages
            rows.append((what, f"{waiting:,}", f"{first:.1f}", f"{ready:.1f}", f"{held / 2**20:.0f}", f"{deliver / 2**20:.0f}"))
            print(rows[-1], flush=True)
    text = table(("start", "messages", "first 250, s", "all at work, s", "all processes, MiB", "deliver, MiB"), rows)
    print(text)
    if given.write:
        write_section("long-queue", text, title="A long queue")


if __name__ == "__main__":
    main()
