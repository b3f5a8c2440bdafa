"""What each set of features costs: CPU a message with it and without, in one process, rounds in turn.

    python benchmarks/features.py [--write]

Every engine parses, decodes and folds; beside that it does one thing only, and what it costs over the engine that does nothing else is the
cost of that thing: median over rounds of the difference within a round. Hashed sets contain their dot product; the last row has it alone,
over rows that were extracted before.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from mail import corpus_path, read
from results import table, write_section

from esa.engine.judge import native_engine
from esa.engine.lexicons import shipped
from esa.engine.model import Model
from esa.learning.training import BODY_GRAMS, BODY_WORDS, HEADER_GRAMS, HEADER_TOKENS, MASKED_GRAMS, RAW4_WHDR, TEXT_WORDS, WHDR
from esa_core import N_FEATURES, Engine, LinearModel, extract_features

BATCH = 256
SETS = {
    "header tokens": HEADER_TOKENS,
    "body words": BODY_WORDS,
    "header 4-grams": HEADER_GRAMS,
    "body 4-grams": BODY_GRAMS,
    "masked 5-grams of subject and visible text": MASKED_GRAMS,
    "words of subject and visible text": TEXT_WORDS,
    "first stage of a local model: header tokens, body words": WHDR,
    "both stages: and both 4-grams": RAW4_WHDR,
}


def cpu(work: Callable[[], object], messages: int) -> float:
    """Microseconds a message."""
    began = time.thread_time()
    work()
    return 1e6 * (time.thread_time() - began) / messages


def scan(engine: Engine, raws: Sequence[bytes]) -> None:
    for start in range(0, len(raws), BATCH):
        engine.scan(raws[start : start + BATCH])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--rounds", type=int, default=9, help="rounds of each (default 9)")
    options.add_argument("--corpus", type=Path, default=None, help="corpus archive or folder (default: shared spamassassin)")
    options.add_argument("--write", action="store_true", help="write the figures into RESULTS.md")
    chosen = options.parse_args()
    raws, _ = read(chosen.corpus or corpus_path("spamassassin"))
    linear = LinearModel(np.random.default_rng(0).normal(size=N_FEATURES), normalised=True)
    bare = Engine()
    engines = {
        "facts of the cards": Engine(lexicon=shipped()),
        "facts and cards: the shipped model": native_engine(Model.load()),
        **{name: Engine(linear=linear, families=families) for name, families in SETS.items()},
    }
    rows = extract_features(raws, families=RAW4_WHDR)
    alone = "dot product alone, of both stages"
    works: dict[str, Callable[[], object]] = {name: lambda engine=engine: scan(engine, raws) for name, engine in engines.items()}  # type: ignore[misc]
    works[alone] = lambda: linear.logits(*rows)
    costs: dict[str, list[float]] = {name: [] for name in works}
    nothing: list[float] = []
    for _ in range(chosen.rounds):
        nothing.append(cpu(lambda: scan(bare, raws), len(raws)))
        for name, work in works.items():
            costs[name].append(cpu(work, len(raws)) - (0.0 if name == alone else nothing[-1]))
    features = {name: len(extract_features(raws, families=families)[1]) / len(raws) for name, families in SETS.items()}
    features[alone] = features["both stages: and both 4-grams"]
    lines = [["parse, decode, fold", "", f"{statistics.median(nothing):.2f}", f"{min(nothing):.2f}–{max(nothing):.2f}"]]
    for name, values in costs.items():
        count = f"{features[name]:,.0f}" if name in features else ""
        lines.append([name, count, f"{statistics.median(values):.2f}", f"{min(values):.2f}–{max(values):.2f}"])
    text = table(["set", "features a message", "CPU µs a message, added", "range"], lines)
    octets = sum(map(len, raws)) / len(raws)
    text += (
        f"\n\n{len(raws):,} messages of the spamassassin corpus, leaky header fields dropped, {octets:,.0f} octets mean; {chosen.rounds} "
        "rounds in turn, median and range of the difference to the first row in the same round. Every set but the facts contains its dot product."
    )
    print(text)
    if chosen.write:
        write_section("features", text, title="What each set of features costs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
