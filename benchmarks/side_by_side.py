"""esa beside the scanners a user would pick instead: the same messages, the same machine, one run, round by round.

Usage: python benchmarks/side_by_side.py [--messages N] [--rounds N] [--only NAME ...]

Half of the spamassassin corpus (leaky header fields dropped, repeated bodies left out) is learnt by every scanner that learns,
`N` messages of the other half are scored by all of them, in turn, in every round. CPU is user and system time of the scanner's
process tree, helpers included.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from mail import corpus_path, read
from peers import PEERS, Peer, Sample, Scored
from processes import cpu_seconds, memory
from results import table, write_section

HERE = Path(__file__).parent


class Esa:
    """esa with its shipped model, or with one trained by `esa train` on the training half."""

    limit = 10**9

    def __init__(self, work: Path, *, local: bool) -> None:
        self.name = "esa, local model (`esa train`)" if local else "esa, shipped model"
        self._work = work
        self._local = local
        self._process: subprocess.Popen[str] | None = None

    def start(self, train: Sequence[Sample]) -> None:
        arguments: list[str] = []
        if self._local:
            folder, model = self._work / "esa" / "corpus", self._work / "esa" / "local.esamodel"
            for label in ("ham", "spam"):
                (folder / label).mkdir(parents=True)
            for sample in train:
                (folder / ("spam" if sample.is_spam else "ham") / sample.path.name).symlink_to(sample.path)
            command = [sys.executable, "-m", "esa.cli", "train", "--out", str(model), str(folder)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            arguments = [str(model)]
        worker = [sys.executable, str(HERE / "esa_worker.py"), *arguments]
        self._process = subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise SystemExit("the esa worker did not start")

    def score(self, test: Sequence[Sample]) -> Scored:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before, began = cpu_seconds(self._process.pid), time.perf_counter()
        self._process.stdin.write("".join(f"{sample.path}\n" for sample in test) + "\n")
        self._process.stdin.flush()
        scores: list[float] = []
        while (line := self._process.stdout.readline()) != "\n":
            scores.append(float(line))
        wall = time.perf_counter() - began
        return Scored(scores, wall, cpu_seconds(self._process.pid) - before, memory(self._process.pid))

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


def prepare(work: Path) -> tuple[list[Sample], list[Sample]]:
    """Training half and test half as files, in a fixed random order; of messages with one body only the first."""
    messages, spam = read(corpus_path("spamassassin"))
    seen: set[bytes] = set()
    samples: list[Sample] = []
    for number, (raw, is_spam) in enumerate(zip(messages, spam, strict=True)):
        body = hashlib.sha256(re.sub(rb"\s+", b" ", raw.split(b"\n\n", 1)[-1])).digest()
        if body not in seen:
            seen.add(body)
            path = work / "mail" / f"{number:06d}.eml"
            path.write_bytes(raw)
            samples.append(Sample(path, is_spam))
    random.Random(20_260_101).shuffle(samples)
    return samples[: len(samples) // 2], samples[len(samples) // 2 :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(PEERS), choices=list(PEERS), help="peers beside esa")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="esa-side-by-side-") as folder:
        work = Path(folder)
        work.chmod(0o755)  # spamd reads its files as its own user
        (work / "mail").mkdir()
        train, test = prepare(work)
        test = test[: options.messages]
        scanners: list[Peer] = [Esa(work, local=False), Esa(work, local=True), *(PEERS[name](work) for name in options.only)]
        runs: dict[str, list[Scored]] = {scanner.name: [] for scanner in scanners}
        try:
            for scanner in scanners:
                print(f"{scanner.name}: learning", file=sys.stderr)
                scanner.start(train)
                scanner.score(test[:50])  # caches, start-up work
            for number in range(options.rounds):
                for scanner in scanners:
                    runs[scanner.name].append(scanner.score(test))
                    print(f"round {number + 1}: {scanner.name}", file=sys.stderr)
        finally:
            for scanner in scanners:
                scanner.stop()
        size = sum(sample.path.stat().st_size for sample in test)
    report(runs, len(test), len(train), size)


def report(runs: dict[str, list[Scored]], n: int, trained: int, size: int) -> None:
    costs = {name: sorted(1e6 * one.cpu_seconds / n for one in scored) for name, scored in runs.items()}
    least = median(next(iter(costs.values())))
    rows = []
    for name, scored in runs.items():
        cost = costs[name]
        rate = median(n / one.wall_seconds for one in scored)
        held = scored[-1].memory
        spread = f"{cost[0]:,.0f}–{cost[-1]:,.0f}"
        rows.append(
            (name, f"{median(cost):,.0f}", spread, f"{median(cost) / least:,.1f}×", f"{rate:,.0f}", f"{held.rss:.0f} ({held.pss:.0f})")
        )
    text = table(("scanner", "CPU µs/message, median", "min–max", "against esa", "messages/s, one process", "RSS (PSS) MiB"), rows)
    text += (
        f"\n\n{n:,} messages of the spamassassin corpus, mean {size / n / 1000:.1f} kB, {len(next(iter(runs.values())))} rounds in turn; "
    )
    text += f"{trained:,} others were learnt. Reading the files is included for esa and bogofilter, the loopback exchange for the daemons."
    print(text)
    write_section("side_by_side", text, title="Scanners side by side")


if __name__ == "__main__":
    main()
