"""Resident memory over a million messages, and after one of 30 MB: it must not grow.

    python benchmarks/leak.py [--messages N] [--write]

The whole pipeline of the shipped model with 1,000 terms over the spamassassin corpus and our golden mail, in batches of 64; every hundredth
message is also read as `Parsed`, with all its texts. Bar: after the first tenth resident memory stays within 2 %, and one message of 30 MB in
each of four shapes leaves no more behind than that. Exit 1 if the bar is missed.
"""

from __future__ import annotations

import argparse
import gc
import mmap
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from mail import corpus_path, dictionary_terms, read
from results import table, write_section

from esa.engine.judge import native_engine
from esa.engine.model import Model
from esa_core import Engine, Program, parse

BATCH = 64
BAR = 2.0  # percent
GREAT = 30_000_000
SHAPES: dict[str, Callable[[], bytes]] = {
    "text": lambda: b"Subject: great\n\n" + b"some words of text " * (GREAT // 19),
    "HTML": lambda: b"Content-Type: text/html\n\n" + b"<p>words <a href='http://example.org/'>link</a>" * (GREAT // 46),
    "base64": lambda: (
        b"Content-Transfer-Encoding: base64\n\n" + b"c29tZSB3b3JkcyBvZiB0ZXh0IHNvbWUgd29yZHMgb2YgdGV4dCBzb21lIHdvcmRz\n" * (GREAT // 65)
    ),
    "parts": lambda: (
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: text/plain; name=a.txt\n\nwords\n" * (GREAT // 47)
    ),
}


def resident() -> float:
    """MiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def scan(engine: Engine, mail: list[bytes], begin: int, n: int) -> None:
    for at in range(begin, begin + n, BATCH):
        batch = engine.scan([mail[(at + i) % len(mail)] for i in range(BATCH)])
        batch.counts(0)
        batch.contributions(1)
        parsed = parse(mail[at % len(mail)])
        assert len(parsed.text) + len(parsed.links) + len(parsed.folded) + len(parsed.parts) >= 0


def scan_great(engine: Engine, shape: Callable[[], bytes]) -> None:
    """The message stands in pages of its own, so that what is left behind is the core's."""
    octets = shape()
    with mmap.mmap(-1, len(octets)) as pages:
        pages[:] = octets
        del octets
        engine.scan([pages])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    mail, _ = read(corpus_path("spamassassin"), 3000)
    mail += [path.read_bytes() for path in sorted((Path(__file__).resolve().parent.parent / "tests" / "mail").glob("*/*.eml"))]
    terms = Program([term.encode() for term in dictionary_terms(mail, 1000)], "words")
    engine = native_engine(Model.load(), terms)
    step = given.messages // 10
    rows = []
    began = time.process_time()
    for part in range(10):
        scan(engine, mail, part * step, step)
        rows.append((f"{(part + 1) * step:,} messages", resident()))
        print(*rows[-1], flush=True)
    spent = time.process_time() - began
    settled = rows[0][1]
    for name, shape in SHAPES.items():
        scan_great(engine, shape)
        scan(engine, mail, 0, 2000)
        rows.append((f"then 30 MB of {name}", resident()))
        print(*rows[-1], flush=True)
    worst = max(100 * (size / settled - 1) for _, size in rows[1:])
    shown = [(what, f"{size:.1f}", f"{100 * (size / settled - 1):+.2f} %") for what, size in rows]
    verdict = f"Worst: {worst:+.2f} % (bar: {BAR:g} %); {1e6 * spent / given.messages:.1f} us of CPU a message; {engine.nbytes / 2**20:.1f} MiB held idle."
    text = table(("after", "resident MiB", "against the first row"), shown) + f"\n\n{verdict}"
    print(text)
    if given.write:
        write_section("leak", text, title="Memory over a million messages")
    return 1 if worst > BAR else 0


if __name__ == "__main__":
    sys.exit(main())
