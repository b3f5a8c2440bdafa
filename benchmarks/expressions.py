"""Regular expressions on real mail: behind the literals of the one program, against google-re2's own Filter and hyperscan over the same text.

    python benchmarks/expressions.py [--messages N] [--rounds N] [--write]

Expressions are two or three rare words of this mail with white space, digits or a choice between them, blind to case; one in fifty is of words that
stand side by side in it. In the second table a tenth has no literal: numbers with hyphens, points or letters. Filter and hyperscan (SINGLEMATCH) say which
match; ours also where first, and how often. Ours costs the scan with the program less the scan without, and the search of what was woken; the others
are handed the folded text of each region. All must find the same in every message. The third table is one message of 1 MB, made of what the
expressions look for.
Thread CPU time, best of the rounds.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import hyperscan
import re2
from mail import corpus_path, dictionary_terms, read
from results import table, write_section

from esa.engine.program import Pattern, Program
from esa.message.content import Message
from esa_core import Engine, flag_names, parse

SIZES = (10, 100, 1_000, 10_000)
SHAPES = (r"\b{a}\s+{b}\b", r"{a}[0-9-]*{b}", r"({a}|{b})s?\s+{c}", r"{a}.{{0,10}}{b}")
NUMBERS = (
    r"\b\d{{{a}}}-\d{{{b}}}-\d{{{c}}}\b",
    r"\b[A-Z]{{{a}}}[0-9]{{{b}}}[A-Z]{{{c}}}\b",
    r"\d{{{a}}}\.\d{{{b}}},\d{{{c}}}",
    r"#\d{{{a}}}/\d{{{b}}}-{c}",
)
MEGABYTE = 1 << 20


def expressions(words: Sequence[str], phrases: Sequence[str], n: int, *, without: bool = False) -> list[str]:
    chosen = random.Random(n)
    made = [chosen.choice(SHAPES).format(a=chosen.choice(words), b=chosen.choice(words), c=chosen.choice(words)) for _ in range(n)]
    made[::50] = [re.sub(" ", r"\\s+", chosen.choice(phrases)) for _ in made[::50]]
    if without:
        made[5::10] = [
            chosen.choice(NUMBERS).format(a=chosen.randint(2, 9), b=chosen.randint(2, 9), c=chosen.randint(2, 9)) for _ in made[5::10]
        ]
    return made


def filter_of(sources: Sequence[str]) -> re2.Filter:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    theirs = re2.Filter()
    for source in sources:
        theirs.Add(source.encode(), options)
    theirs.Compile()
    return theirs


def hyperscan_of(sources: Sequence[str]) -> tuple[hyperscan.Database, float]:
    flags = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_UTF8
    database = hyperscan.Database()
    began = time.thread_time()
    database.compile(expressions=[source.encode() for source in sources], ids=range(len(sources)), elements=len(sources), flags=flags)
    return database, time.thread_time() - began


def program_of(sources: Sequence[str]) -> tuple[Program, float]:
    began = time.thread_time()
    program = Program([Pattern(source, "expression") for source in sources])
    return program, time.thread_time() - began


def compare(raws: Sequence[bytes], texts: Sequence[Sequence[bytes]], sources: Sequence[str], rounds: int) -> list[object]:
    program, building = program_of(sources)
    theirs = filter_of(sources)
    database, compiling = hyperscan_of(sources)
    heard: set[int] = set()

    def hear(number: int, *_: object) -> None:
        heard.add(number)

    bare, engine = Engine(program=Program([]).native), Engine(program=program.native)
    ours_best = theirs_best = third_best = float("inf")
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
        third = []
        began = time.thread_time()
        for regions in texts:
            for text in regions:
                database.scan(text, match_event_handler=hear)
            third.append(heard.copy())
            heard.clear()
        third_best = min(third_best, time.thread_time() - began)
    if third != expected:
        raise SystemExit(f"{len(sources)} expressions: hyperscan finds other messages than Filter")
    found = [set(counts) for counts, _ in answers]
    if any(mine != other for mine, other, (_, flags) in zip(found, expected, answers, strict=True) if not flags):
        raise SystemExit(f"{len(sources)} expressions: other messages are found")
    octets = sum(len(text) for regions in texts for text in regions)
    windows = sum(len(batch.windows(row)) for row in range(len(raws)))
    return [
        f"{len(sources):,}",
        f"{octets / 1e6 / ours_best:.0f}",
        f"{octets / 1e6 / theirs_best:.0f}",
        f"{theirs_best / ours_best:.1f}×",
        f"{octets / 1e6 / third_best:.0f}",
        f"{third_best / ours_best:.1f}×",
        f"{1e6 * ours_best / len(raws):.1f}",
        f"{windows / len(raws):.2f}",
        f"{sum(map(len, found)) / len(raws):.2f}",
        sum(bool(flags) for _, flags in answers),
        f"{1000 * building:.0f}",
        f"{1000 * compiling:.0f}",
    ]


def worst(words: Sequence[str], phrases: Sequence[str], sources: Sequence[str]) -> list[list[object]]:
    """Texts of 1 MB that are hostile to these expressions, and what they cost."""
    chosen = random.Random(1)
    pieces = [re.sub(r"\\s\+", " ", phrase) for phrase in phrases]
    made = {
        "words of the expressions": " ".join(chosen.choices(words, k=MEGABYTE // 5)),
        "each a line": "\n".join(chosen.choices(words, k=MEGABYTE // 5)),
        "with nothing between": "".join(chosen.choices(words, k=MEGABYTE // 5)),
        "phrases that match": ". ".join(chosen.choices(pieces, k=MEGABYTE // 10)),
        "digits": "".join(chosen.choices("0123456789", k=MEGABYTE)),
        "numbers": "".join(chosen.choices("0123456789-. ,#/ax", k=MEGABYTE)),
        "one word": f"{words[0]} " * MEGABYTE,
    }
    program, _ = program_of(sources)
    engine, bare = Engine(program=program.native), Engine(program=Program([]).native)
    rows: list[list[object]] = []
    for name, text in made.items():
        raw = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode()[:MEGABYTE]
        took: list[float] = []
        for _ in range(2):  # the first search of an expression makes its states
            began = time.thread_time()
            bare.scan([raw])
            without = time.thread_time() - began
            began = time.thread_time()
            batch = engine.scan([raw])
            capped = "too_many_matches" in flag_names(int(batch.flags[0]))
            counts, flags = program.counts(batch, 0, Message(raw), is_capped=capped)
            took.append(time.thread_time() - began - without)
        rows.append(
            [
                name,
                *(f"{1000 * one:.0f}" for one in took),
                len(batch.windows(0)),
                len(counts),
                " ".join([*["too_many_matches"] * capped, *flags]),
            ]
        )
    return rows


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--messages", type=int, default=500)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--write", action="store_true", help="write the figures into RESULTS.md")
    chosen = options.parse_args()
    raws = read(corpus_path("spamassassin"), chosen.messages)[0]
    texts = [[region.folded for region in parse(raw).regions] for raw in raws]
    words = [term for term in dictionary_terms(raws, 4_000) if " " not in term]
    known = set(words)
    pairs = {
        pair
        for regions in texts
        for text in regions
        for pair in re.findall(r"(?=\b([a-z]{4,} [a-z]{4,})\b)", text.decode("ascii", "replace"))
    }
    phrases = sorted(pair for pair in pairs if known & set(pair.split()))
    header = [
        "expressions",
        "esa MB/s",
        "re2 Filter MB/s",
        "it / esa",
        "hyperscan MB/s",
        "it / esa",
        "esa µs a message",
        "windows",
        "found",
        "past the budget",
        "esa build ms",
        "hyperscan build ms",
    ]
    octets = sum(len(text) for regions in texts for text in regions)
    text = table(header, [compare(raws, texts, expressions(words, phrases, n), chosen.rounds) for n in SIZES])
    text += f"\n\n{len(raws):,} messages, {octets / 1e6:.1f} MB of folded text, one thread, best of {chosen.rounds} rounds; windows searched and expressions found"
    text += (
        " are of one message. Messages past the budget are flagged and not compared.\n\nA tenth of the expressions without a literal:\n\n"
    )
    text += table(header, [compare(raws, texts, expressions(words, phrases, n, without=True), chosen.rounds) for n in SIZES])
    text += "\n\nA message of 1 MB against 5,000 of these:\n\n"
    hostile = worst(words, phrases, expressions(words, phrases, 5_000, without=True))
    text += table(["text of", "first time, ms", "then, ms", "windows", "found", "flags"], hostile)
    print(text)
    if chosen.write:
        write_section("expressions", text, title="Regular expressions against google-re2's Filter and hyperscan")
    return 0


if __name__ == "__main__":
    sys.exit(main())
