"""`make chaos`: every fault in its full size, each with its figure against the bar.

    python -m tests.chaos [--write] [SCENARIO…]

Loopback and folders of its own only; every scenario is bounded. Exit code 0: every bar is met; 1: one is not.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.results import table, write_section
from tests.chaos.calls import EVERY, failing_calls
from tests.chaos.damage import damaged_databases, damaged_records
from tests.chaos.disks import few_descriptors, full_disk, no_inodes, slow_disk, unwritable_disk
from tests.chaos.figures import Figure, unmet
from tests.chaos.hops import failing_hops, failing_sinks
from tests.chaos.kills import kills_at_steps, kills_in_a_reroute
from tests.chaos.neighbours import slow_neighbours
from tests.chaos.order import order_of_calls
from tests.chaos.peers import real_next_hops
from tests.chaos.signals import random_kills, reload_under_load, stop_under_load

Scenario = Callable[[Path], Awaitable[list[Figure]]]
SCENARIOS: Mapping[str, Scenario] = {
    "order": partial(order_of_calls, messages=1_000),
    "calls-receive": partial(failing_calls, process="receive", kinds=EVERY),
    "calls-deliver": partial(failing_calls, process="deliver"),
    "calls-keep": partial(failing_calls, process="keep"),
    "kills": partial(kills_at_steps, messages=100, kills=3),
    "reroute": partial(kills_in_a_reroute, messages=100, kills=12),
    "random-kills": partial(random_kills, kills=300, messages=5_000),
    "full-disk": full_disk,
    "inodes": no_inodes,
    "read-only": unwritable_disk,
    "slow-disk": slow_disk,
    "descriptors": few_descriptors,
    "damage": partial(damaged_records, messages=1_000),
    "databases": damaged_databases,
    "hops": partial(failing_hops, messages=20),
    "sinks": partial(failing_sinks, messages=10),
    "peers": partial(real_next_hops, messages=100),
    "neighbours": partial(slow_neighbours, pairs=3, seconds=3.5),
    "stop": partial(stop_under_load, stops=5),
    "reload": partial(reload_under_load, reloads=5),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Faults in their full size, with figures.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"only these: {', '.join(SCENARIOS)}")
    parser.add_argument("--write", action="store_true", help="write the figures of what was run into benchmarks/RESULTS.md, a section each")
    given = parser.parse_args(arguments)
    if unknown := set(given.scenarios) - set(SCENARIOS):
        parser.error(f"no scenario is called {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    figures: list[Figure] = []
    for name in given.scenarios or SCENARIOS:
        began = time.monotonic()
        found = _run(SCENARIOS[name])
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        for figure in found:
            print(" | ".join((*figure[:4], "met" if figure.is_met else "NOT MET")), flush=True)
        if given.write:
            rows = [(*figure[:4], "yes" if figure.is_met else "no") for figure in found]
            text = table(("fault", "what was done", "figure", "bar", "met"), rows)
            write_section(f"chaos-{name}", text, title=f"Faults: {name}", shown=f"python -m tests.chaos --write {name}")
        figures += found
    missed = unmet(figures)
    print(f"{len(figures) - len(missed)} of {len(figures)} bars met", file=sys.stderr)
    return 1 if missed else 0


def _run(scenario: Scenario) -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="esa-chaos-"))
    try:

        async def run() -> list[Figure]:
            return await scenario(folder)

        return asyncio.run(run())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
