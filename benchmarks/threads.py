"""Two threads against one, beside a control that is alternated with them in the same minute.

    python benchmarks/threads.py [--rounds N] [--write]

The control is SHA-256 over blocks of 1 MB, which shares nothing and holds no lock: what it gains from a second thread is what the machine has
to give. A round is control and engine with one thread, then both with two; each thread has its own batches of 64 messages. Bars: the
engine's speed-up is 0.93 of the control's at least, and a message costs 7 % more CPU at most; "not measurable" if the control gains less than
1.5 times. Exit 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from mail import corpus_path, dictionary_terms, read
from results import table, write_section

from esa.engine.judge import native_engine
from esa.engine.model import Model
from esa_core import Program

BATCH = 64
SPEED_UP_BAR, CPU_BAR, CONTROL_BAR = 0.93, 7.0, 1.5
Work = Callable[[int], int]  # number of the call: units of work done


def timed(work: Work, n_threads: int, seconds: float) -> tuple[float, float]:
    """Units a second of wall time, and CPU seconds a unit, of threads that begin together."""
    done, spent = [0] * n_threads, [0.0] * n_threads
    barrier = threading.Barrier(n_threads + 1)
    until = [0.0]

    def run(at: int) -> None:
        barrier.wait()
        cpu, call, units = time.thread_time(), at * 1000, 0
        while time.monotonic() < until[0]:
            units += work(call)
            call += 1
        done[at], spent[at] = units, time.thread_time() - cpu

    threads = [threading.Thread(target=run, args=(at,)) for at in range(n_threads)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    until[0] = began + seconds
    barrier.wait()
    for thread in threads:
        thread.join()
    units = sum(done)
    return units / (time.monotonic() - began), sum(spent) / units


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.2)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    mail, _ = read(corpus_path("spamassassin"), 4096)
    batches = [mail[at : at + BATCH] for at in range(0, len(mail) - BATCH + 1, BATCH)]
    engine = native_engine(Model.load(), Program([term.encode() for term in dictionary_terms(mail, 10_000)], "words"))
    block = bytes(1_000_000)

    def hash_block(call: int) -> int:
        hashlib.sha256(block).digest()
        return 1

    def scan(call: int) -> int:
        return len(engine.scan(batches[call % len(batches)]))

    rounds: list[tuple[float, float, float]] = []
    for _ in range(given.rounds):
        (control_1, _), (engine_1, cpu_1) = timed(hash_block, 1, given.seconds), timed(scan, 1, given.seconds)
        (control_2, _), (engine_2, cpu_2) = timed(hash_block, 2, given.seconds), timed(scan, 2, given.seconds)
        rounds.append((control_2 / control_1, engine_2 / engine_1, 100 * (cpu_2 / cpu_1 - 1)))
        print(f"control x{rounds[-1][0]:.2f}, engine x{rounds[-1][1]:.2f}, CPU a message {rounds[-1][2]:+.1f} %", flush=True)
    control, speed_up, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
    if control < CONTROL_BAR:
        verdict = f"not measurable: the control gains x{control:.2f} only, the machine has no second core to give"
        met = True
    else:
        met = speed_up / control >= SPEED_UP_BAR and cpu <= CPU_BAR
        verdict = "met" if met else "missed"
    rows = [
        ("control, SHA-256 of 1 MB blocks", f"x{control:.2f}", "", ""),
        ("engine, batches of 64", f"x{speed_up:.2f}", f"{speed_up / control:.2f}", f"{cpu:+.1f} %"),
    ]
    text = table(("two threads against one", "speed-up", "of the control's", "CPU a message"), rows)
    text += f"\n\nMedians of {given.rounds} rounds. Bars: {SPEED_UP_BAR} of the control's speed-up, CPU +{CPU_BAR:g} %: {verdict}."
    print(text)
    if given.write:
        write_section("threads", text, title="Two threads")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
