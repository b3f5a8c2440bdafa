"""What message filters cost: ten thousand of them against ten over the whole scan, a decision where nothing matches, and five thousand expressions.

    python benchmarks/filters.py [--messages N] [--rounds N] [--write]

The mix of the ten thousand: 40 % addresses and hosts, 20 % literals in the subject or another field, 20 % expressions on the text of which a tenth have
no literal, 10 % attachments, 10 % dictionaries and weights. 20 of them fire on every message; one message in a hundred hits five more. CPU time of
this thread, both sides by turns; medians.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mail import corpus_path, read
from results import table, write_section

from esa.engine.dictionary import Dictionary
from esa.engine.scanner import Scanner
from esa.message.envelope import Envelope, Session
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.read import read as read_filters
from esa.policy.filters.scope import Listener, Scope
from esa.policy.view import View

MANY, FEW = 10_000, 10
ALWAYS, PLANTED = 20, 5
HIT_SHARE = 0.01  # messages that hit PLANTED filters more
WITHOUT_LITERAL = 100  # the program takes no more expressions of which no text must stand there: further filters use one of these again
BATCH = 64
BAR_RATIO, BAR_DECISION, BAR_COMPILE, BAR_HOSTILE = 1.25, 20.0, 10.0, 1.0
GOAL_RATIO, GOAL_DECISION, GOAL_COMPILE, GOAL_HOSTILE = 1.1, 8.0, 2.0, 0.1
DICTIONARIES = 20
_LETTERS = "bcdfghjklmnprstvwz"


class Prepared(NamedTuple):
    scope: Scope
    plan: FilterPlan
    scanner: Scanner
    text: str


def name(chosen: random.Random, length: int = 9) -> str:
    """A word that no mail has."""
    return "q" + "".join(chosen.choices(_LETTERS, k=length))


def address_filter(chosen: random.Random, number: int) -> str:
    word = name(chosen)
    match number % 5:
        case 0:
            return f'mail-from == "^{word}@{name(chosen)}\\\\.example$"'
        case 1:
            return f'mail-from == "@{word}\\\\.example$"'
        case 2:
            return f'rcpt-to == "(?i)^{word}@"'
        case 3:
            return f'remote-ip == "10.{chosen.randrange(256)}.{chosen.randrange(256)}.0/24" and recv-listener == "InboundMail"'
        case _:
            return f'remote-ip == "{word}.example"'


def header_filter(chosen: random.Random, number: int) -> str:
    return (f'subject == "{name(chosen)}"', f'header("X-Mailer") == "{name(chosen)} [0-9]"', f'header("Received") == "by {name(chosen)}"')[
        number % 3
    ]


def without_literal(number: int) -> str:
    """Never in mail, though nothing in it must stand there: so many digits and signs behind one another."""
    return f"[0-9]{{{2 + number % 10}}}[#%]{{{2 + number // 10}}}[0-9]"


def body_filter(chosen: random.Random, number: int) -> str:
    if number % 10 == 0:
        return f'body-contains("{without_literal(number // 10 % WITHOUT_LITERAL)}")'
    first, second = name(chosen, 6), name(chosen, 6)
    return (
        f'body-contains("(?i){first}\\\\s+{second}")',
        f'only-body-contains("{first}[0-9-]*{second}")',
        f'body-contains("(?i)({first}|{second})s?\\\\s+{name(chosen)}", 2)',
    )[number % 3]


def attachment_filter(chosen: random.Random, number: int) -> str:
    return (
        f'attachment-filename == "(?i){name(chosen)}\\\\.exe$"',
        f'attachment-mimetype == "application/{name(chosen)}"',
        f"attachment-size > {20 + chosen.randrange(30)}M",
    )[number % 3]


def dictionary_filter(chosen: random.Random, number: int) -> str:
    book = number % DICTIONARIES
    return (
        f'dictionary-match("book{book}", {2 + chosen.randrange(8)})',
        f'subject-dictionary-match("book{book}", 3)',
        f'mail-from-dictionary-match("book{book}")',
    )[number % 3]


KINDS = ((40, address_filter), (20, header_filter), (20, body_filter), (10, attachment_filter), (10, dictionary_filter))


def filters_of(n: int, *, always: int, planted: Sequence[str] = (), seed: int = 3) -> str:
    """`n` filters of the mix; `always` of them fire on every message, and one for each planted text where it stands."""
    chosen = random.Random(seed)
    kinds = [kind for share, kind in KINDS for _ in range(share)]
    conditions = [kinds[number * 37 % 100](chosen, number) for number in range(n - always - len(planted))]
    conditions += [f'body-contains("{text}")' for text in planted]
    fires = ('header("From")', "body-size > 10", "rcpt-count >= 1", 'recv-listener == "InboundMail"')
    conditions += [fires[number % len(fires)] for number in range(always)]
    chosen.shuffle(conditions)
    return "\n".join(f'f{number}: if ({condition}) {{ log-entry("filter {number}"); }}' for number, condition in enumerate(conditions))


def prepare(text: str, dictionaries: Sequence[Dictionary]) -> Prepared:
    scope = Scope(dictionaries=frozenset(one.name for one in dictionaries))
    plan = FilterPlan(read_filters(text).filters, scope)
    if plan.problems:
        raise SystemExit(str(plan.problems[0]))
    return Prepared(scope, plan, Scanner(checks=["spam", "dictionaries", Listener(scope.terms.listed)], dictionaries=dictionaries), text)


SESSION = Session(client_address="192.0.2.1", listener="InboundMail")
ENVELOPE = Envelope("someone@sender.example", ("one@recipient.example", "two@recipient.example"))


def view_of(raw: bytes, report: object, prepared: Prepared) -> View:
    return View(raw, SESSION, ENVELOPE, report, lookup=prepared.scanner.lookup, identifier="x")  # type: ignore[arg-type]


def pipeline(prepared: Prepared, raws: Sequence[bytes]) -> int:
    """Scan and decide; how many filters fired."""
    fired = 0
    for start in range(0, len(raws), BATCH):
        batch = raws[start : start + BATCH]
        for raw, report in zip(batch, prepared.scanner.scan_batch(batch), strict=True):
            fired += len(prepared.plan.run(view_of(raw, report, prepared)).trail)
    return fired


def cpu(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def planted_in(raws: Sequence[bytes]) -> tuple[list[bytes], list[str]]:
    """The messages, of which one in a hundred has the planted words behind its text."""
    words = [f"planted{name(random.Random(number), 6)}" for number in range(PLANTED)]
    every = round(1 / HIT_SHARE)
    tail = (" ".join(words) + "\r\n").encode()
    return [raw + tail if number % every == 0 else raw for number, raw in enumerate(raws)], words


def decision(prepared: Prepared, raw: bytes) -> float:
    """Microseconds of one decision where nothing matches: the view made, the filters run."""
    report = prepared.scanner.scan(raw)
    rounds = 2_000
    if prepared.plan.run(view_of(raw, report, prepared)).trail:
        raise SystemExit("the message was to match nothing")

    def work() -> None:
        for _ in range(rounds):
            prepared.plan.run(view_of(raw, report, prepared))

    return statistics.median(1e6 * cpu(work) / rounds for _ in range(7))


def hostile() -> list[tuple[str, bytes]]:
    """Messages of 1 MB made to keep expressions busy."""
    head = b"From: a@b.example\r\nSubject: x\r\n\r\n"
    size = 1 << 20
    return [
        ("one letter", head + b"q" * size),
        ("digits and signs", head + b"12%%3#" * (size // 6)),
        ("nearly words", head + b" qbcdf qghjk" * (size // 12)),
        ("half a match", head + b"qbcdfg \t \t " * (size // 11)),
    ]


def expression_filters(n: int) -> str:
    return "\n".join(f'f{number}: if ({body_filter(random.Random(number), number)}) {{ log-entry("x"); }}' for number in range(n))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--messages", type=int, default=1_500)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--write", action="store_true", help="write the figures into RESULTS.md")
    chosen = options.parse_args()
    raws, planted = planted_in(read(corpus_path("spamassassin"), chosen.messages)[0])
    draw = random.Random(8)
    dictionaries = [Dictionary.of(f"book{number}", {name(draw): 1 + place % 9 for place in range(200)}) for number in range(DICTIONARIES)]

    few = prepare(filters_of(FEW, always=0), dictionaries)
    began = time.thread_time()
    many = prepare(filters_of(MANY, always=ALWAYS, planted=planted), dictionaries)
    building = time.thread_time() - began
    times: dict[str, list[float]] = {"few": [], "many": []}
    for _ in range(chosen.rounds):
        times["few"].append(cpu(lambda: pipeline(few, raws)) / len(raws))
        times["many"].append(cpu(lambda: pipeline(many, raws)) / len(raws))
    fired = pipeline(many, raws) / len(raws)
    base, loaded = statistics.median(times["few"]), statistics.median(times["many"])
    ratio = statistics.median(b / a for a, b in zip(times["few"], times["many"], strict=True))

    thousand = prepare(filters_of(1_000, always=0), dictionaries)
    microseconds = decision(thousand, raws[1])

    text = expression_filters(5_000)
    began = time.thread_time()
    five = prepare(text, ())
    compiling = time.thread_time() - began
    worst, worst_name = max((cpu(lambda raw=raw: pipeline(five, [raw])), kind) for kind, raw in hostile())

    rows = [
        (f"{MANY:,} filters against {FEW}, scan and decision", f"{ratio:.2f}×", f"{BAR_RATIO}× / {GOAL_RATIO}×", verdict(ratio, BAR_RATIO, GOAL_RATIO)),
        ("decision where nothing matches, 1,000 filters", f"{microseconds:.1f} µs", f"{BAR_DECISION:.0f} / {GOAL_DECISION:.0f} µs",
         verdict(microseconds, BAR_DECISION, GOAL_DECISION)),
        ("5,000 filters with expressions: read and compile", f"{compiling:.2f} s", f"{BAR_COMPILE:.0f} / {GOAL_COMPILE:.0f} s",
         verdict(compiling, BAR_COMPILE, GOAL_COMPILE)),
        (f"the same on the worst 1 MB ({worst_name})", f"{worst:.3f} s", f"{BAR_HOSTILE:.0f} / {GOAL_HOSTILE} s",
         verdict(worst, BAR_HOSTILE, GOAL_HOSTILE)),
    ]  # fmt: skip
    shown = table(("what", "measured", "bar / goal", ""), rows)
    shown += (
        f"\n\n{len(raws):,} messages of corpus spamassassin in batches of {BATCH}, default model: {1e6 * base:.0f} µs a message with {FEW} filters, "
        f"{1e6 * loaded:.0f} with {MANY:,}, of which {fired:.2f} fire on a message; {building:.1f} s to read and compile these. "
        f"{chosen.rounds} rounds by turns, CPU time of the thread, medians. Of expressions without a literal there are {WITHOUT_LITERAL} different ones."
    )
    print(shown)
    if chosen.write:
        write_section("filters", shown, title="Message filters")
    return 0 if all(row[3] != "MISSED" for row in rows) else 1


def verdict(value: float, bar: float, goal: float) -> str:
    return "goal met" if value <= goal else "met" if value <= bar else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
