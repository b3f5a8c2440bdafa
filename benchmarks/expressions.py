"""Regular expressions on real mail: behind the literals of the one program, against google-re2's own Filter over the same text.

    python benchmarks/expressions.py [--messages N] [--rounds N] [--write]

Expressions are two or three rare words of this mail with white space, digits or a choice between them, blind to case. Filter says which match; ours
also where first, and how often. Ours costs the scan with the program
less the scan without, and the search of what was woken; Filter is handed the folded text of each region. Both must find the same in
every message. Thread CPU time, best
of the rounds.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import re2
from mail import corpus_path, dictionary_terms, read
from results import table, write_section

from esa.engine.program import Pattern, Program
from esa.message.content import Message
from esa_core import Engine, parse

SIZES = (10, 1_000, 5_000)


def expressions(words: Sequence[str], n: int) -> list[str]:
    chosen = random.Random(n)
    shapes = (r"\b{a}\s+{b}\b", r"{a}[0-9-]*{b}", r"({a}|{b})s?\s+{c}", r"{a}.{{0,10}}{b}")
    return [chosen.choice(shapes).format(a=chosen.choice(words), b=chosen.choice(words), c=chosen.choice(words)) for _ in range(n)]


def compare(raws: Sequence[bytes], texts: Sequence[Sequence[bytes]], sources: Sequence[str], rounds: int) -> list[object]:
    began = time.thread_time()
    program = Program([Pattern(source, "expression") for source in sources])
    building = time.thread_time() - began
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    theirs = re2.Filter()
    for source in sources:
        theirs.Add(source.encode(), options)
    theirs.Compile()
    bare, engine = Engine(program=Program([]).native), Engine(program=program.native)
    ours_best = theirs_best = float("inf")
    for _ in range(rounds):
        began = time.thread_time()
        bare.scan(raws)
        without = time.thread_time() - began
        began = time.thread_time()
        batch = engine.scan(raws)
        answers = [program.counts(batch, row, Message(raw)) for row, raw in enumerate(raws)]
        ours_best = min(ours_best, time.thread_time() - began - without)
        began = time.thread_time()
        expected = [{number for text in regions for number in theirs.Match(text) or ()} for regions in texts]
        theirs_best = min(theirs_best, time.thread_time() - began)
    found = [set(counts) for counts, _ in answers]
    if any(mine != other for mine, other, (_, flags) in zip(found, expected, answers, strict=True) if not flags):
        raise SystemExit(f"{len(sources)} expressions: other messages are found")
    octets = sum(len(text) for regions in texts for text in regions)
    return [
        f"{len(sources):,}",
        f"{octets / 1e6 / ours_best:.0f}",
        f"{octets / 1e6 / theirs_best:.0f}",
        f"{theirs_best / ours_best:.1f}×",
        f"{1e6 * ours_best / len(raws):.1f}",
        f"{sum(map(len, found)) / len(raws):.2f}",
        sum(bool(flags) for _, flags in answers),
        f"{1000 * building:.0f}",
    ]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--messages", type=int, default=500)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--write", action="store_true", help="write the figures into RESULTS.md")
    chosen = options.parse_args()
    raws = read(corpus_path("spamassassin"), chosen.messages)[0]
    texts = [[region.folded for region in parse(raw).regions] for raw in raws]
    words = [term for term in dictionary_terms(raws, 4_000) if " " not in term]
    rows = [compare(raws, texts, expressions(words, n), chosen.rounds) for n in SIZES]
    header = [
        "expressions",
        "esa MB/s",
        "re2 Filter MB/s",
        "it / esa",
        "esa µs a message",
        "found a message",
        "past the budget",
        "esa build ms",
    ]
    text = table(header, rows)
    octets = sum(len(text) for regions in texts for text in regions)
    text += f"\n\n{len(raws):,} messages, {octets / 1e6:.1f} MB of folded text, one thread, best of {chosen.rounds} rounds. Messages past the budget are"
    text += " flagged and not compared."
    print(text)
    if chosen.write:
        write_section("expressions", text, title="Regular expressions against google-re2's Filter")
    return 0


if __name__ == "__main__":
    sys.exit(main())
