"""`make fuzz`: every target in a process of its own, guided by coverage, until it has had its runs; findings are kept and the target goes on.

    python -m tests.fuzz [--runs N] [--seconds S] [--jobs J] [--seed X] [--afresh] [--write] [TARGET ...]

A run goes on where the last one ended: inputs that led to something new are kept in build/fuzz/TARGET/, executions so far in
build/fuzz/TARGET.json. A finding (a sanitizer's report, a violated invariant, an input that takes three seconds of CPU, memory not given
back) is written to build/fuzz-found/TARGET-*; once mended, the file goes to tests/fuzz/found/TARGET/ and stays there. The last lines are a
table: executions, edges reached by the seeds and by the end, findings. Exit 1 if there are findings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.results import table, write_section
from tests.conftest import ROOT
from tests.fuzz import seeds, targets

CORPORA = ROOT / "build" / "fuzz"
FOLDER = ROOT / "build" / "fuzz-found"
MOST_FINDINGS = 5  # of one target in one run
TELLING = re.compile(r"^(?:fuzz: |.*runtime error: |==\d+==ERROR: |SUMMARY: |.*Error: ).*", re.MULTILINE)
COLUMNS = ("target", "executions", "per second", "seeds", "edges", "to", "features", "to", "inputs", "findings")
ROW = "{:<14}{:>12}{:>12}{:>7}{:>8}{:>8}{:>10}{:>8}{:>8}{:>10}"
TITLE = "Fuzzing the parsers of the core"


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one target over all runs: what has been done, and what the last run reached."""

    executions: int = 0
    seconds: float = 0.0  # of CPU
    seeds: int = 0
    edges_first: int = 0  # reached by the seeds
    edges_last: int = 0
    features_first: int = 0  # edges times how often, in eight classes
    features_last: int = 0
    kept: int = 0  # inputs that led to something new

    def cells(self) -> tuple[str, ...]:
        speed = self.executions / self.seconds if self.seconds else 0.0
        counted = (self.seeds, self.edges_first, self.edges_last, self.features_first, self.features_last, self.kept)
        return (f"{self.executions:,}", f"{speed:,.0f}", *(f"{count:,}" for count in counted))


def findings(name: str) -> int:
    """What waits to be mended."""
    return sum(path.suffix != ".txt" for path in FOLDER.glob(f"{name}-*"))


def read_progress(name: str) -> Progress:
    file = CORPORA / f"{name}.json"
    return Progress(**json.loads(file.read_text("utf-8"))) if file.exists() else Progress()


def forget(name: str) -> None:
    (CORPORA / f"{name}.json").unlink(missing_ok=True)
    shutil.rmtree(CORPORA / name, ignore_errors=True)


def last_input(name: str) -> Path:
    return FOLDER / f"{name}.last"


def longest(name: str) -> int:
    return seeds.LONGEST.get(name, seeds.LONGEST_ELSE)


def child(name: str, *, runs: int, seconds: float, seed: int) -> None:
    """One target in this process; its result as JSON on the last line."""
    module = targets.load()
    if module is None:
        sys.exit("the targets are not built: make fuzz")
    folder = CORPORA / name
    with last_input(name).open("w+b") as file:
        file.truncate(module.LAST + longest(name))
        last = mmap.mmap(file.fileno(), 0)
    begin = [path.read_bytes() for path in seeds.found_before(name)] + seeds.seeds_of(name)
    resumed = [path.read_bytes() for path in sorted(folder.iterdir(), key=lambda path: (path.stat().st_size, path.name))]
    result = module.run(
        name,
        begin,
        seeds.words_of(name),
        resumed=resumed,
        folder=os.fsencode(folder),
        runs=runs,
        seconds=seconds,
        seed=seed,
        longest=longest(name),
        last=memoryview(last),
        watched=True,
    )
    print(json.dumps({**result, "seeds": len(begin)}))


def keep_finding(name: str, told: str) -> int:
    """The input that the process died of goes to a file of its own, with what was said beside it; how many executions it was."""
    written = last_input(name).read_bytes()
    executions, length = struct.unpack_from("<QQ", written)
    octets = written[16 : 16 + length]
    path = FOLDER / f"{name}-{hashlib.sha256(octets).hexdigest()[:12]}"
    path.write_bytes(octets)
    path.with_suffix(".txt").write_text(told)
    lines = TELLING.findall(told)
    print(f"{name}: {path.relative_to(ROOT)}: {'; '.join(line.strip() for line in lines[:2]) or told[-300:]}", flush=True)
    return int(executions)


def fuzz(name: str, *, runs: int, until: float, seed: int) -> Progress:
    """One target until its runs or the time are over, over as many processes as findings make necessary."""
    done = read_progress(name)
    (CORPORA / name).mkdir(parents=True, exist_ok=True)
    found = 0
    while done.executions < runs and found < MOST_FINDINGS:
        left = until - time.monotonic()
        if left <= 1:
            break
        command = [
            sys.executable,
            "-m",
            "tests.fuzz",
            "--child",
            "--runs",
            str(runs - done.executions),
            "--seed",
            str(seed + done.executions),
        ]
        command += ["--seconds", str(left if left < 1e9 else 0), name]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        if process.returncode == 0:
            result = json.loads(process.stdout.splitlines()[-1])
            reached = {key: result[key] for key in ("seeds", "edges_first", "edges_last", "features_first", "features_last", "kept")}
            done = replace(done, executions=done.executions + result["executions"], seconds=done.seconds + result["seconds"], **reached)
        else:
            found += 1
            executions = keep_finding(name, process.stdout + process.stderr)
            done = replace(done, executions=done.executions + executions)
        (CORPORA / f"{name}.json").write_text(json.dumps(asdict(done)), "utf-8")
    return done


def rows(results: Mapping[str, Progress]) -> Iterator[str]:
    yield ROW.format(*COLUMNS)
    for name, progress in results.items():
        yield ROW.format(name, *progress.cells(), findings(name))
    yield summary(results)


def summary(results: Mapping[str, Progress]) -> str:
    executions = [progress.executions for progress in results.values()]
    found = sum(findings(name) for name in results)
    return f"{len(results)} targets, {sum(executions):,} executions, at least {min(executions):,} each; {found} findings"


def write(results: Mapping[str, Progress], runs: int) -> None:
    """The table into RESULTS.md."""
    text = table(COLUMNS, [(name, *progress.cells(), findings(name)) for name, progress in results.items()])
    text += f"\n\n{summary(results)}. Under ASan and UBSan with bounds checks, PYTHONMALLOC=malloc; each edge of gcc's trace-pc counts."
    write_section("fuzz", text, title=TITLE, shown=f"make fuzz RUNS={runs} WRITE=1")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--runs", type=int, default=500_000, help="executions of each target, those of earlier runs counted")
    parser.add_argument("--seconds", type=float, default=0.0, help="end after so long and go on another time; 0: no bound")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--afresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/RESULTS.md")
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
    if given.afresh:
        for name in names:
            forget(name)
    seed = given.seed or int.from_bytes(os.urandom(4))
    until = time.monotonic() + given.seconds if given.seconds else 1e12
    print(f"seed {seed}, {given.runs:,} executions a target in all", flush=True)
    results: dict[str, Progress] = {}
    with ThreadPoolExecutor(given.jobs) as pool:
        work = {name: pool.submit(fuzz, name, runs=given.runs, until=until, seed=seed) for name in names}
        for name, result in work.items():
            results[name] = result.result()
            print(f"{name}: {results[name].executions:,} executions", flush=True)
    print("\n".join(rows(results)))
    if given.write:
        write({name: read_progress(name) for name in module.NAMES}, given.runs)
    return 1 if any(map(findings, results)) else 0


if __name__ == "__main__":
    sys.exit(main())
