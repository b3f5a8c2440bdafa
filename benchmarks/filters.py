"""What message filters and mail policies cost: ten thousand filters against ten, a decision where nothing matches, expressions, and the cost ledger.

    python benchmarks/filters.py [--messages N] [--rounds N] [--write]

The mix of the ten thousand stands in `filter_mix`: 20 of them fire on every message, one message in a hundred hits five more. They are measured twice: in
process, where nothing but the scan and the decision is; and in a real gateway, as the processor time of its receive worker, which receives, scans, decides,
records and commits. CPU time, both sides by turns; medians. No address comes twice.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from filter_gateway import Played
from filter_mix import ALWAYS, WITHOUT_LITERAL, body_filter, dictionaries, filters_of, name, planted_in, visits
from mail import corpus_path, read
from results import table, write_section

from esa.engine.dictionary import Dictionary
from esa.engine.scanner import Scanner
from esa.engine.verdict import Report
from esa.gateway.deciding import Case, Decider
from esa.policy.content_filter import Rules
from esa.policy.filters.ledger import Ledgers
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.read import read as read_filters
from esa.policy.filters.scope import Listener, Scope
from esa.policy.mail_policy import MailPolicy
from esa.policy.policy_table import MailPolicies, Members, PolicyTable, parse_member
from esa_core._header_lines import header_end

MANY, FEW = 10_000, 10
BATCH = 64
BAR_RATIO, BAR_DECISION, BAR_COMPILE, BAR_HOSTILE = 1.25, 20.0, 10.0, 1.0
GOAL_RATIO, GOAL_DECISION, GOAL_COMPILE, GOAL_HOSTILE = 1.1, 8.0, 2.0, 0.1
POLICIES = 100
LEDGER_MESSAGES = 100_000
BAR_OWN, BAR_TOTAL = 0.01, 0.05
_LOGGED = re.compile(r'log-entry\(".*?"\)')


class Prepared(NamedTuple):
    scope: Scope
    plan: FilterPlan
    scanner: Scanner
    text: str


def prepare(text: str, dictionaries: Sequence[Dictionary]) -> Prepared:
    scope = Scope(dictionaries=frozenset(one.name for one in dictionaries))
    plan = FilterPlan(read_filters(text).filters, scope)
    if plan.problems:
        raise SystemExit(str(plan.problems[0]))
    return Prepared(scope, plan, Scanner(checks=["spam", "dictionaries", Listener(scope.terms.listed)], dictionaries=dictionaries), text)


def policies() -> MailPolicies:
    """A hundred, of which half name recipients and half senders: addresses, domains, users, and what is below a domain."""
    draw = random.Random(5)
    tables = []
    for number in range(POLICIES):
        word = name(draw)
        entry = parse_member((f"{word}@{name(draw)}.example", f"{word}.example", f"{word}@", f".{word}.example")[number // 2 % 4])
        tables.append((MailPolicy(f"p{number}"), Members(recipients=(entry,)) if number % 2 else Members(senders=(entry,))))
    both = PolicyTable(tables)
    return MailPolicies(both, both)


class Offered:
    """Messages to scan and decide about, each time with other addresses."""

    def __init__(self, raws: Sequence[bytes]) -> None:
        self.raws = raws
        self._heads = [raw[: header_end(raw)].lower() for raw in raws]
        self._visits = visits()

    def cases(self, reports: Sequence[Report]) -> Iterator[Case]:
        rows = zip(self.raws, self._heads, reports, itertools.islice(self._visits, len(self.raws)), strict=True)
        return (Case("x", raw, head, report, session, envelope) for raw, head, report, (session, envelope) in rows)

    def scanned(self, prepared: Prepared) -> list[Report]:
        return [
            report for start in range(0, len(self.raws), BATCH) for report in prepared.scanner.scan_batch(self.raws[start : start + BATCH])
        ]


def decider(prepared: Prepared, table: MailPolicies | None = None, ledgers: Ledgers | None = None) -> Decider:
    rules = Rules(prepared.plan, {}, prepared.scope)
    return Decider(table or MailPolicies.of_one(), rules, lookup=prepared.scanner.lookup, ledgers=ledgers)


def cpu(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def decide_all(decides: Decider, cases: Sequence[Case]) -> float:
    """CPU seconds of deciding about these."""

    def work() -> None:
        for case in cases:
            decides.decide(case)

    return cpu(work)


def pipeline(prepared: Prepared, offered: Offered) -> float:
    """CPU seconds a message of scan and decision."""
    reports: list[Report] = []
    scanning = cpu(lambda: reports.extend(offered.scanned(prepared)))
    return (scanning + decide_all(decider(prepared), list(offered.cases(reports)))) / len(offered.raws)


def by_turns(rounds: int, *sides: Callable[[], float]) -> list[list[float]]:
    """What each side gave in each round."""
    found: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for times, side in zip(found, sides, strict=True):
            times.append(side())
    return found


def ratio_of(few: Sequence[float], many: Sequence[float]) -> float:
    return statistics.median(b / a for a, b in zip(few, many, strict=True))


def decision(offered: Offered, books: Sequence[Dictionary]) -> float:
    """Microseconds of one decision where nothing matches: 1,000 filters and POLICIES policies."""
    thousand = prepare(filters_of(1_000, always=0), books)
    decides, reports = decider(thousand, policies()), offered.scanned(thousand)
    gc.collect()
    gc.freeze()  # as a receive worker does when it is ready
    if any(decides.decide(case).plan.messages is not None for case in offered.cases(reports)):
        raise SystemExit("the messages were to match nothing")
    return statistics.median(1e6 * decide_all(decides, list(offered.cases(reports))) / len(reports) for _ in range(15))


class Accounts(NamedTuple):
    messages: int
    own: float  # microseconds a message that the ledger takes
    decision: float  # microseconds of one
    told: float  # what the ledger says of it / what the thread's clock says


def accounts(prepared: Prepared, offered: Offered) -> Accounts:
    """The ledger of LEDGER_MESSAGES decisions, beside as many without one."""
    ledgers = Ledgers()
    table = policies()
    sides = decider(prepared, table), decider(prepared, table, ledgers)
    reports = offered.scanned(prepared)
    gc.collect()
    gc.freeze()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(-(-LEDGER_MESSAGES // len(reports))):
        cases = list(offered.cases(reports))
        for side in (0, 1) if number % 2 else (1, 0):
            times[side].append(1e6 * decide_all(sides[side], cases) / len(cases))
    without, with_it = times
    costs = ledgers.costs()
    own = statistics.median(b - a for a, b in zip(without, with_it, strict=True))
    return Accounts(costs.messages, own, statistics.mean(without), costs.microseconds(costs.total) / statistics.mean(without))


def in_gateways(texts: Sequence[str], books: Sequence[Dictionary], raws: Sequence[bytes], rounds: int) -> list[list[float]]:
    """CPU microseconds a message of the receive workers of gateways with these filters, by turns."""
    folder = Path(tempfile.mkdtemp(prefix="esa-filters-"))
    played: list[Played] = []
    try:
        for number, filters in enumerate(texts):
            played.append(Played(folder / str(number), filters, books))
        for one in played:
            one.play(raws[: len(raws) // 4], 0)  # what is loaded late is loaded
        seeds = itertools.count(1)
        return by_turns(rounds, *[lambda one=one: 1e6 * one.play(raws, next(seeds)) / len(raws) for one in played])
    finally:
        for one in played:
            one.stop()
        shutil.rmtree(folder, ignore_errors=True)


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
    options.add_argument("--messages", type=int, default=1_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--write", action="store_true", help="write the figures into RESULTS.md")
    chosen = options.parse_args()
    raws, planted = planted_in(read(corpus_path("spamassassin"), chosen.messages)[0])
    offered, books = Offered(raws), dictionaries()

    of_few, of_many = filters_of(FEW, always=0), filters_of(MANY, always=ALWAYS, planted=planted)
    few = prepare(of_few, books)
    began = time.thread_time()
    many = prepare(of_many, books)
    building = time.thread_time() - began
    inner = by_turns(chosen.rounds, lambda: pipeline(few, offered), lambda: pipeline(many, offered))
    decides = decider(many)
    fired = [
        len(done.trail) if (done := decides.decide(case).plan.messages) is not None else 0 for case in offered.cases(offered.scanned(many))
    ]
    tagging = _LOGGED.sub('tag-message("seen")', of_many)
    with_few, with_many, with_tags = in_gateways((of_few, of_many, tagging), books, raws, chosen.rounds)
    microseconds = decision(Offered([raw for number, raw in enumerate(raws) if number % 100]), books)
    ledger = accounts(many, offered)

    text = expression_filters(5_000)
    began = time.thread_time()
    five = prepare(text, ())
    compiling = time.thread_time() - began
    worst, worst_name = max((pipeline(five, Offered([raw])), kind) for kind, raw in hostile())

    ratio, tagged, scanned = ratio_of(with_few, with_many), ratio_of(with_few, with_tags), ratio_of(*inner)
    whole = statistics.median(with_many)
    rows = [
        (f"{MANY:,} filters against {FEW}, whole gateway; those that fire write to the log", f"{ratio:.2f}×", f"{BAR_RATIO}× / {GOAL_RATIO}×",
         verdict(ratio, BAR_RATIO, GOAL_RATIO)),
        (f"{MANY:,} filters against {FEW}, whole gateway; those that fire tag the message", f"{tagged:.2f}×", f"{BAR_RATIO}× / {GOAL_RATIO}×",
         verdict(tagged, BAR_RATIO, GOAL_RATIO)),
        (f"{MANY:,} filters against {FEW}, scan and decision alone", f"{scanned:.2f}×", "", ""),
        (f"decision where nothing matches, 1,000 filters and {POLICIES} policies", f"{microseconds:.1f} µs",
         f"{BAR_DECISION:.0f} / {GOAL_DECISION:.0f} µs", verdict(microseconds, BAR_DECISION, GOAL_DECISION)),
        ("5,000 filters with expressions: read and compile", f"{compiling:.2f} s", f"{BAR_COMPILE:.0f} / {GOAL_COMPILE:.0f} s",
         verdict(compiling, BAR_COMPILE, GOAL_COMPILE)),
        (f"the same on the worst 1 MB ({worst_name})", f"{worst:.3f} s", f"{BAR_HOSTILE:.0f} / {GOAL_HOSTILE} s",
         verdict(worst, BAR_HOSTILE, GOAL_HOSTILE)),
        ("what the cost ledger takes, of all that the receive worker does", f"{100 * ledger.own / whole:.1f} %", f"{100 * BAR_OWN:.0f} %",
         verdict(ledger.own / whole, BAR_OWN, BAR_OWN)),
        ("what the ledger says of decisions, of what the thread's clock says", f"{100 * ledger.told:.1f} %", f"100 ± {100 * BAR_TOTAL:.0f} %",
         verdict(abs(ledger.told - 1), BAR_TOTAL, BAR_TOTAL)),
    ]  # fmt: skip
    shown = table(("what", "measured", "bar / goal", ""), rows)
    shown += (
        f"\n\n{len(raws):,} messages of corpus spamassassin, default model; {chosen.rounds} rounds by turns, medians. "
        f"The receive worker of a gateway takes {statistics.median(with_few):.0f} µs a message with {FEW} filters and {whole:.0f} with {MANY:,}, of which "
        f"{statistics.mean(fired):.2f} fire on a message, and each that does writes a line of the log and of tracking; {statistics.median(with_tags):.0f} "
        f"where each adds a tag instead. "
        f"Scan in batches of {BATCH} and decision take {1e6 * statistics.median(inner[0]):.0f} and {1e6 * statistics.median(inner[1]):.0f}. "
        f"Reading and compiling {MANY:,} takes {building:.1f} s. Of expressions without a literal there are {WITHOUT_LITERAL} different ones. "
        f"Ledger: {ledger.messages:,} decisions with {MANY:,} filters and {POLICIES} policies, of which it takes {ledger.own:.1f} µs of {ledger.decision:.0f}."
    )
    print(shown)
    if chosen.write:
        write_section("filters", shown, title="Message filters")
    return 0 if all(row[3] != "MISSED" for row in rows) else 1


def verdict(value: float, bar: float, goal: float) -> str:
    return "goal met" if value <= goal else "met" if value <= bar else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
