"""Dictionary terms in real mail: our automaton against pyahocorasick in one process, and what a million entries cost.

    python benchmarks/automaton.py [--rounds N] [--write]

Both search the same folded texts for the same terms and must count the same matches. Thread CPU time, the two taking turns, best and median of
the rounds. pyahocorasick reads str, one character an octet, and its matches are counted by `sum`; ours are counted per term. A million entries
are built in a process of their own each, whose growth is the memory of building.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import ahocorasick
from mail import corpus_path, dictionary_terms, read
from results import table, write_section

from esa_core import Automaton, fold, parse

SIZES = (1_000, 10_000, 100_000)
MILLION = 1_000_000
ENTRIES: dict[str, Callable[[int], bytes]] = {
    "addresses": lambda i: b"user%d.%d@host%d.example" % (i % 977, i, i % 5_003),
    "domains": lambda i: b"host%d.zone%d.example" % (i, i % 701),
    "single words": lambda i: b"word%dx" % (i * 7_919),
    "phrases": lambda i: b"offer %d of list %d" % (i, i % 97),
}


def peak_memory() -> int:
    """Largest resident size of this program in octets; getrusage would begin with that of the process that started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def compare(texts: Sequence[bytes], terms: Sequence[bytes], rounds: int, *, whole_word: bool) -> list[object]:
    """One row: GB/s of both; whole words have no rival in pyahocorasick, which then does the substrings only."""
    n = len(terms)
    began = time.thread_time()
    ours = Automaton(terms, whole_word=whole_word)
    building = time.thread_time() - began
    began = time.thread_time()
    theirs = ahocorasick.Automaton()
    for number, term in enumerate(terms):
        theirs.add_word(term.decode("latin-1"), number)
    theirs.make_automaton()
    their_building = time.thread_time() - began
    strings = [text.decode("latin-1") for text in texts]
    octets = sum(map(len, texts))
    our_times, their_times = [], []
    for _ in range(rounds):
        began = time.thread_time()
        counts = ours.scan(texts)[2]
        our_times.append(time.thread_time() - began)
        began = time.thread_time()
        matches = sum(sum(1 for _ in theirs.iter(string)) for string in strings)
        their_times.append(time.thread_time() - began)
    if not whole_word and int(counts.sum()) != matches:
        raise SystemExit(f"{n} terms: ours finds {counts.sum()} matches, pyahocorasick {matches}")
    our_speed, their_speed = (octets / 1e9 / min(times) for times in (our_times, their_times))
    spread = f"{octets / 1e9 / statistics.median(our_times):.2f}"
    return [
        f"{n:,}{', whole words' if whole_word else ''}",
        f"{our_speed:.2f}",
        spread,
        f"{their_speed:.3f}",
        f"{statistics.median(their_times) / statistics.median(our_times):.0f}×",
        f"{1000 * int(counts.sum()) / octets:.1f}",
        f"{1000 * building:.0f}",
        f"{1000 * their_building:.0f}",
        f"{ours.nbytes / n:,.0f}",
    ]


def build_million(kind: str) -> None:
    """In a process of its own: print what a million entries of a kind cost."""
    terms = [ENTRIES[kind](i) for i in range(MILLION)]
    texts = [parse(raw).folded for raw in read(corpus_path("spamassassin"), 500)[0]]
    texts.append(b" ; ".join((terms[0], terms[-1])))
    before = peak_memory()
    began = time.thread_time()
    automaton = Automaton(terms, whole_word=True)
    seconds = time.thread_time() - began
    grown = peak_memory() - before
    times = []
    for _ in range(5):
        began = time.thread_time()
        counts = automaton.scan(texts)[2]
        times.append(time.thread_time() - began)
    if int(counts[-2:].sum()) != 2:
        raise SystemExit(f"{kind}: the first and the last entry were not found")
    print(seconds, automaton.nbytes / MILLION, grown / MILLION, sum(map(len, texts)) / 1e9 / min(times), sep="\t")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--write", action="store_true", help="write the figures into RESULTS.md")
    options.add_argument("--million", choices=sorted(ENTRIES), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.million:
        build_million(chosen.million)
        return 0
    raws = read(corpus_path("spamassassin"), 2_000)[0]
    texts = [parse(raw).folded for raw in raws]
    dictionaries = {n: list(dict.fromkeys(fold(term.encode()) for term in dictionary_terms(raws, n))) for n in SIZES}
    rows = [compare(texts, dictionaries[n], chosen.rounds, whole_word=whole) for whole in (False, True) for n in SIZES]
    header = [
        "terms",
        "esa GB/s",
        "median",
        "pyahocorasick GB/s",
        "it / esa",
        "matches a kB",
        "esa build ms",
        "pyahocorasick build ms",
        "esa octets a term",
    ]
    text = table(header, rows)
    text += (
        f"\n\n{len(texts):,} messages, {sum(map(len, texts)) / 1e6:.1f} MB of folded text, one thread, {chosen.rounds} rounds in turns; "
    )
    text += "best round, then the ratio of medians. Equal numbers of matches at every size of substrings; for whole words "
    text += "pyahocorasick finds the substrings only.\n\n"
    lines: list[list[object]] = []
    for kind in ENTRIES:
        done = subprocess.run([sys.executable, __file__, "--million", kind], capture_output=True, text=True, check=True)
        seconds, kept, grown, speed = map(float, done.stdout.split("\t"))
        lines.append([kind, f"{seconds:.1f}", f"{kept:.0f}", f"{grown:.0f}", f"{speed:.2f}"])
    text += table(
        ["a million entries", "build CPU s", "octets an entry, kept", "octets an entry, peak of building", "GB/s of real mail"], lines
    )
    print(text)
    if chosen.write:
        write_section("automaton", text, title="Dictionary terms against pyahocorasick")
    return 0


if __name__ == "__main__":
    sys.exit(main())
