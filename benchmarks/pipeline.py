"""The core's pipeline against the same work in Python, in one process: parse, decode, fold, facts, score, 10,000 terms and 1,000 literals.

    python benchmarks/pipeline.py

Ours reads all readings of each message and scores with the shipped model. Of the literals one stands in each of 1 % of the messages, none in
the others; the terms stand in many. Both do the same messages; rounds alternate, and what counts is the CPU time of the thread. Bars: at least
30,000 messages a second and core for ours over the whole corpus, and at least 80 times less CPU than the batched Python stack. Exit 1 if a bar
is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from baselines.python_stack import BATCH, PythonStack
from mail import corpus_path, dictionary_terms, literals, read
from results import table, write_section

from esa.engine.judge import native_engine
from esa.engine.model import Model
from esa_core import Automaton, Engine, Program, parse

BAR_RATE = 30_000
BAR_RATIO = 80


def cpu(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def ours(engine: Engine, raws: Sequence[bytes], batch: int = BATCH) -> None:
    for start in range(0, len(raws), batch):
        engine.scan(raws[start : start + batch])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--sample", type=int, default=768, help="messages of each comparing round (default 768)")
    options.add_argument("--rounds", type=int, default=5, help="rounds of each (default 5)")
    options.add_argument("--corpus", type=Path, default=None, help="corpus archive or folder (default: shared spamassassin)")
    chosen = options.parse_args()
    raws, _ = read(chosen.corpus or corpus_path("spamassassin"))
    terms = dictionary_terms(raws)
    folded = [parse(raw).folded for raw in raws]
    pieces = literals(folded)
    hit = sum(rows > 0 for rows in map(len, map(Automaton(pieces, whole_word=False).counts, folded)))
    engine = native_engine(Model.load(), Program([*(term.encode() for term in terms), *pieces]))
    sample, sample_labels = read(chosen.corpus or corpus_path("spamassassin"), chosen.sample)
    stack = PythonStack([*terms, *(piece.decode() for piece in pieces)], sample, sample_labels)
    ours(engine, raws)  # warm
    whole = [cpu(lambda: ours(engine, raws)) / len(raws) for _ in range(chosen.rounds)]
    rows: dict[str, list[float]] = {"ours": [], "ours, one by one": [], "batched": [], "one by one": []}
    for _ in range(chosen.rounds):
        rows["ours"].append(cpu(lambda: ours(engine, sample)) / len(sample))
        rows["ours, one by one"].append(cpu(lambda: ours(engine, sample, 1)) / len(sample))
        rows["batched"].append(cpu(lambda: stack.scan_all(sample)) / len(sample))
        few = sample[: len(sample) // 4]
        rows["one by one"].append(cpu(lambda few=few: stack.scan_all(few, 1)) / len(few))
    rate = 1 / statistics.median(whole)
    middle = {name: statistics.median(values) for name, values in rows.items()}
    ratio = middle["batched"] / middle["ours"]
    octets = sum(map(len, raws)) / len(raws)
    lines = [
        _row(f"esa core, whole corpus ({len(raws):,} messages, {octets:,.0f} octets mean)", whole, None),
        _row(f"esa core, batches of {BATCH}", rows["ours"], middle["ours"]),
        _row("esa core, one by one", rows["ours, one by one"], middle["ours"]),
        _row(f"Python stack, batches of {BATCH}", rows["batched"], middle["ours"]),
        _row("Python stack, one by one", rows["one by one"], middle["ours"]),
    ]
    text = table(("pipeline", "CPU µs/message", "range", "messages/s/core", "times ours"), lines)
    text += (
        f"\n\nBars: {BAR_RATE:,} messages/s/core ({_met(rate >= BAR_RATE)}: {rate:,.0f}); the batched Python stack costs at least "
        f"{BAR_RATIO} times as much ({_met(ratio >= BAR_RATIO)}: {ratio:,.0f}). Corpus spamassassin, leaky header fields dropped. Ours: "
        f"parse in all readings, decode, fold, facts, cards, {len(terms):,} terms and {len(pieces):,} literals, of which {100 * hit / len(raws):.1f} % "
        "of the messages hit one. Python: email (default policy), pyahocorasick with the same terms and literals, three"
        f" HashingVectorizers, SGD. {chosen.rounds} alternating rounds on the same {len(sample):,} messages; median and range."
    )
    print(text)
    write_section("pipeline", text, title="The core's pipeline, and the same work in Python")
    return 0 if rate >= BAR_RATE and ratio >= BAR_RATIO else 1


def _met(yes: bool) -> str:
    return "met" if yes else "MISSED"


def _row(name: str, values: Sequence[float], base: float | None) -> tuple[str, ...]:
    middle = statistics.median(values)
    spread = f"{1e6 * min(values):,.1f}–{1e6 * max(values):,.1f}"
    return name, f"{1e6 * middle:,.1f}", spread, f"{1 / middle:,.0f}", f"{middle / base:,.1f}" if base else ""


if __name__ == "__main__":
    sys.exit(main())
