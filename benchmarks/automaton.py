"""Dictionary terms in real mail: our automaton against pyahocorasick and hyperscan in one process, and what a million entries cost.

    python benchmarks/automaton.py [--rounds N] [--write]

All search the same folded texts for the same terms and must count the same matches. Thread CPU time, all taking turns, best and median of the
rounds. pyahocorasick reads str, one character an octet, and its matches are counted by `sum`; ours are counted per term. hyperscan's literal mode
reports to a Python function that does nothing: of all matches, or of the first of each term (SINGLEMATCH), which leaves few calls. A million entries
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
import hyperscan
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


def compare_hyperscan(texts: Sequence[bytes], terms: Sequence[bytes], rounds: int) -> list[object]:
    """One row: GB/s of ours, of its literal mode with all matches, and with one of each term in each message."""
    ours = Automaton(terms)
    numbers = range(len(terms))
    databases = []
    began = time.thread_time()
    for flags in (0, hyperscan.HS_FLAG_SINGLEMATCH):
        database = hyperscan.Database()
        database.compile(expressions=terms, ids=numbers, elements=len(terms), flags=flags, literal=True)
        databases.append(database)
    building = (time.thread_time() - began) / 2
    matches = 0

    def count(*_: object) -> None:
        nonlocal matches
        matches += 1

    def ignore(*_: object) -> None:
        pass

    for text in texts:
        databases[0].scan(text, match_event_handler=count)
    counted = int(ours.scan(texts)[2].sum())
    if matches != counted:
        raise SystemExit(f"{len(terms)} terms: ours finds {counted} matches, hyperscan {matches}")
    times: list[list[float]] = [[], [], []]
    for _ in range(rounds):
        began = time.thread_time()
        ours.scan(texts)
        times[0].append(time.thread_time() - began)
        for number, database in enumerate(databases, 1):
            began = time.thread_time()
            for text in texts:
                database.scan(text, match_event_handler=ignore)
            times[number].append(time.thread_time() - began)
    octets = sum(map(len, texts))
    medians = [statistics.median(one) for one in times]
    return [
        f"{len(terms):,}",
        *(f"{octets / 1e9 / min(one):.2f}" for one in times),
        *(f"{medians[number] / medians[0]:.1f}×" for number in (1, 2)),
        f"{1000 * building:.0f}",
        f"{databases[0].size() / len(terms):,.0f}",
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
    speed, micros = sum(map(len, texts)) / 1e9 / min(times), 1e6 * min(times) / len(texts)
    print(seconds, automaton.nbytes / MILLION, grown / MILLION, speed, micros, sep="\t")


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
    header = [
        "terms",
        "esa GB/s",
        "hyperscan, all",
        "hyperscan, SINGLEMATCH",
        "it / esa, all",
        "it / esa, SINGLEMATCH",
        "its build ms",
        "its octets a term",
    ]
    text += table(header, [compare_hyperscan(texts, dictionaries[n], chosen.rounds) for n in SIZES]) + "\n\n"
    lines: list[list[object]] = []
    for kind in ENTRIES:
        done = subprocess.run([sys.executable, __file__, "--million", kind], capture_output=True, text=True, check=True)
        seconds, kept, grown, speed, micros = map(float, done.stdout.split("\t"))
        lines.append([kind, f"{seconds:.1f}", f"{kept:.0f}", f"{grown:.0f}", f"{speed:.2f}", f"{micros:.1f}"])
    text += table(
        [
            "a million entries",
            "build CPU s",
            "octets an entry, kept",
            "octets an entry, peak of building",
            "GB/s of real mail",
            "µs a message",
        ],
        lines,
    )
    print(text)
    if chosen.write:
        write_section("automaton", text, title="Dictionary terms against pyahocorasick and hyperscan")
    return 0


if __name__ == "__main__":
    sys.exit(main())
