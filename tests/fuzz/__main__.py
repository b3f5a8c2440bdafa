"""`make fuzz`: every target in a process of its own, guided by coverage; findings are kept and the target goes on.

    python -m tests.fuzz [--runs N] [--seconds S] [--jobs J] [--seed X] [TARGET ...]

Inputs that were found before are run first. A finding (a sanitizer's report, a violated invariant, an input that takes three seconds of
CPU, memory not given back) is written to build/fuzz-found/TARGET-*; once mended, the file goes to tests/fuzz/found/TARGET/ and stays
there. The last lines are a table: executions, edges reached by the seeds and by the end, findings. Exit 1 if there are findings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.fuzz import seeds, targets

FOLDER = ROOT / "build" / "fuzz-found"
MOST_FINDINGS = 5  # of one target in one run
TELLING = re.compile(r"^(?:fuzz: |.*runtime error: |==\d+==ERROR: |SUMMARY: |.*Error: ).*", re.MULTILINE)
COLUMNS = ("target", "executions", "per second", "seeds", "edges", "to", "features", "to", "inputs", "findings")
ROW = "{:<14}{:>12}{:>12}{:>7}{:>8}{:>8}{:>10}{:>8}{:>8}{:>10}"


def last_input(name: str) -> Path:
    return FOLDER / f"{name}.last"


def longest(name: str) -> int:
    return seeds.LONGEST.get(name, seeds.LONGEST_ELSE)


def child(name: str, *, runs: int, seconds: float, seed: int) -> None:
    """One target in this process; its result as JSON on the last line."""
    module = targets.load()
    if module is None:
        sys.exit("the targets are not built: make fuzz")
    with last_input(name).open("w+b") as file:
        file.truncate(8 + longest(name))
        last = mmap.mmap(file.fileno(), 0)
    found = [path.read_bytes() for path in seeds.found_before(name)]
    begin = [*found, *seeds.seeds_of(name)]
    result = module.run(
        name, begin, seeds.words_of(name), runs=runs, seconds=seconds, seed=seed, longest=longest(name), last=memoryview(last), watched=True
    )
    print(json.dumps({**result, "seeds": len(begin)}))


def keep_finding(name: str, told: str) -> None:
    """The input that the process died of goes to a file of its own, with what was said beside it."""
    written = last_input(name).read_bytes()
    length = struct.unpack_from("<Q", written)[0]
    octets = written[8 : 8 + length]
    path = FOLDER / f"{name}-{hashlib.sha256(octets).hexdigest()[:12]}"
    path.write_bytes(octets)
    path.with_suffix(".txt").write_text(told)
    lines = TELLING.findall(told)
    print(f"{name}: {path.relative_to(ROOT)}: {'; '.join(line.strip() for line in lines[:2]) or told[-300:]}", flush=True)


def fuzz(name: str, *, runs: int, seconds: float, seed: int) -> dict[str, Any]:
    """One target until its runs or its time are over, over as many processes as findings make necessary."""
    total: dict[str, Any] = {"executions": 0, "seconds": 0.0, "findings": 0}
    began = time.monotonic()
    while total["findings"] < MOST_FINDINGS:
        left = max(seconds - (time.monotonic() - began), 1.0) if seconds else 0.0
        command = [sys.executable, "-m", "tests.fuzz", "--child", "--runs", str(runs), "--seconds", str(left), "--seed", str(seed), name]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        if process.returncode == 0:
            result = json.loads(process.stdout.splitlines()[-1])
            return {**result, "findings": total["findings"]}
        total["findings"] += 1
        keep_finding(name, process.stdout + process.stderr)
        seed += 1
        if seconds and time.monotonic() - began >= seconds:
            break
    return total


def rows(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield ROW.format(*COLUMNS)
    for name, result in results.items():
        speed = result["executions"] / result["seconds"] if result["seconds"] else 0
        cells = [
            result.get(key, "-") for key in ("seeds", "edges_first", "edges_last", "features_first", "features_last", "kept", "findings")
        ]
        yield ROW.format(name, f"{result['executions']:,}", f"{speed:,.0f}", *cells)
    total = sum(result["executions"] for result in results.values())
    findings = sum(result["findings"] for result in results.values())
    fewest = min(result["executions"] for result in results.values())
    yield f"{len(results)} targets, {total:,} executions, at least {fewest:,} each; {findings} findings"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--runs", type=int, default=500_000)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if given.child:
        child(given.targets[0], runs=given.runs, seconds=given.seconds, seed=given.seed)
        return 0
    module = targets.load()
    if module is None:
        sys.exit("the targets are not built: make fuzz")
    unknown = set(given.targets) - set(module.NAMES)
    if unknown:
        sys.exit(f"no target is called {', '.join(sorted(unknown))}; all targets: {', '.join(module.NAMES)}")
    names = given.targets or list(module.NAMES)
    seed = given.seed or int.from_bytes(os.urandom(4))
    print(f"seed {seed}, {given.runs:,} executions or {given.seconds:g} s a target (0: no bound)", flush=True)
    results: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor(given.jobs) as pool:
        work = {name: pool.submit(fuzz, name, runs=given.runs, seconds=given.seconds, seed=seed) for name in names}
        for name, result in work.items():
            results[name] = result.result()
            print(f"{name}: {results[name]}", flush=True)
    print("\n".join(rows(results)))
    return 1 if any(result["findings"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
