"""What the recorder costs: CPU a message on the receive route and on its thread, octets a message, and what other forms would cost.

    python benchmarks/recorder.py [--messages 2000] [--rounds 7] [--write] [--gateway]

Mail of the old public corpus, scanned and decided by the shipped policy, one batch at a time as under load. Each round goes through the same messages in each
form, in turns; what counts is the CPU time of the thread, medians of the rounds. --gateway adds two whole gateways in turns, one that records and one that does
not: CPU of the receiving processes. Bar: 3 % more of that; goal: 15 µs a message on the route. Exit 1 if one that was measured is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gateway import Gateway, offer, quiet
from mail import corpus_path, read
from processes import cpu_seconds
from results import table, write_section

from esa.config.policies import policies_of
from esa.config.schema import Configuration
from esa.engine.scanner import Scanner
from esa.gateway.deciding import Case, Decider
from esa.gateway.judging import HEAD_LIMIT
from esa.gateway.mail_in_work import Arrival
from esa.gateway.metrics import Counter, Row
from esa.gateway.receiver import Transaction
from esa.gateway.recording import ARRIVED, Recording, beside_of, program_of
from esa.gateway.visit import Visit
from esa.message.envelope import Envelope, Session
from esa.message.reply import Reply
from esa.message.trace import REASONS_SHOWN
from esa.policy.host_access import Match
from esa.policy.mail_flow import SHIPPED
from esa.store.identifier import new_identifier
from esa.store.recorded import Program
from esa.store.recorder_folder import LINE_LIMIT
from esa.store.recorder_line import decode
from esa.store.recorder_writer import WAITING_LIMIT, Limits, Recorder
from esa_core._header_lines import header_end
from esa_core._json_lines import JsonLines

GOAL = 15.0  # microseconds a message on the route
BAR = 1.03  # of the CPU of a receiving process without the recorder
BATCH = 16  # messages scanned in one call
ACCEPTED = Reply(250, "2.0.0", "accepted")


def arrivals_of(raws: Sequence[bytes], scanner: Scanner, decider: Decider) -> list[Arrival]:
    """The messages as the route has them when their reply is given."""
    made = []
    visit = Visit(Match("UNKNOWNLIST", SHIPPED["ACCEPTED"], "SBRS[-1.0:10.0]"), None, {})
    for start in range(0, len(raws), BATCH):
        batch = raws[start : start + BATCH]
        sessions = [Session("192.0.2.7", 40_000, "mail.example.net", "ESMTPS", "mail", time.time()) for _ in batch]
        envelopes = [Envelope("bounces@example.net", ("somebody@example.org",), len(raw), number=1) for raw in batch]
        for raw, session, envelope, report in zip(
            batch, sessions, envelopes, scanner.scan_batch(batch, sessions=sessions, envelopes=envelopes), strict=True
        ):
            transaction = Transaction(SimpleNamespace(), envelope.reverse_path)  # type: ignore[arg-type]  # nothing is asked of it
            transaction.entries = {envelope.recipients[0]: "example.org"}
            arrival = Arrival(new_identifier(), transaction, session, envelope, raw, None, 0.0, visit=visit, report=report)
            arrival.head = raw[: min(header_end(raw), HEAD_LIMIT)].lower()
            arrival.reasons = tuple(report.reasons[:REASONS_SHOWN])
            arrival.reply = ACCEPTED
            arrival.plan, arrival.verdict, arrival.hits = decider.decide(
                Case(arrival.id, raw, arrival.head, report, session, envelope, visit, False, True)
            )
            assert arrival.subject is not None  # tracking has asked for these
            assert arrival.told_reasons
            made.append(arrival)
    return made


def cpu(work: Callable[[], object], count: int) -> float:
    """Microseconds of this thread for each of `count`."""
    began = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - began) / 1000 / count


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--messages", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--gateway", action="store_true", help="measure two whole gateways too")
    options.add_argument("--write", action="store_true", help="write the section of RESULTS.md")
    chosen = options.parse_args()
    raws, _ = read(corpus_path("spamassassin"))
    raws = raws[:: max(1, len(raws) // chosen.messages)][: chosen.messages]
    scanner = Scanner()
    decider = Decider(policies_of(Configuration().mail_policy))
    program = program_of(Configuration(), scanner, None)
    n = len(raws)
    spent: dict[str, list[float]] = {}
    octets: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(chosen.rounds + 1):
            arrivals = arrivals_of(raws, scanner, decider)  # new ones: a report remembers what it was asked
            measured = round_of(arrivals, Path(name) / str(number), program, octets)
            if number:
                for key, value in measured.items():
                    spent.setdefault(key, []).append(value)
    medians = {key: statistics.median(values) for key, values in spent.items()}
    rows = [
        (key, f"{medians[key]:.1f} ({min(values):.1f}–{max(values):.1f})", f"{octets[key]:,.0f}" if key in octets else "")
        for key, values in spent.items()
    ]
    good = medians[ON_ROUTE] <= GOAL
    text = (
        f"{n:,} messages of the corpus spamassassin, {chosen.rounds} rounds. Goal: {GOAL:.0f} µs a message on the route: "
        f"{'reached' if good else 'missed'}.\n\n" + table(("", "µs a message", "octets a message"), rows)
    )
    if chosen.gateway:
        told, ratio = whole_gateways(chosen.messages, chosen.rounds)
        text += "\n\n" + told
        good = good and ratio <= BAR
    print(text)
    if chosen.write:
        write_section("recorder", text, title="Recorder")
    return not good


ON_ROUTE, ON_THREAD, READING = "recorded on the route", "written by the thread", "read again"


def round_of(arrivals: list[Arrival], folder: Path, program: Program, octets: dict[str, float]) -> dict[str, float]:
    """Microseconds a message of each thing that is measured."""
    n = len(arrivals)
    loop = asyncio.new_event_loop()
    recorder = Recorder(folder, Limits(), program=program, columns=ARRIVED)
    recording = Recording(recorder, program, loop=loop, row=Row(memoryview(bytearray(8 * len(Counter))).cast("q")))

    def record() -> None:
        for arrival in arrivals:
            recording.add(arrival, "accepted")

    found = {ON_ROUTE: cpu(record, n), ON_THREAD: cpu(recorder.flush, n)}
    recorder.close()
    loop.close()
    [path] = folder.glob("*/*.rows")
    lines = path.read_bytes().splitlines(keepends=True)[1:]
    assert len(lines) == n
    octets[ON_ROUTE] = sum(map(len, lines)) / n
    found[READING] = cpu(lambda: [decode(line, program) for line in lines], n)
    native = JsonLines(ARRIVED, longest=LINE_LIMIT, most=WAITING_LIMIT)
    besides = [beside_of(arrival, "accepted", "", program) for arrival in arrivals]
    values = [json.loads(line) for line in lines]
    forms: dict[str, Callable[[], object]] = {
        "of that, the line": lambda: [native.add(arrival, beside) for arrival, beside in zip(arrivals, besides, strict=True)],
        "values like these by the standard library": lambda: [json.dumps(one) for one in values],
        "compressing the lines (zlib 1)": lambda: zlib.compress(b"".join(lines), 1),
    }
    for key, form in forms.items():
        found[key] = cpu(form, n)
    return found


def whole_gateways(messages: int, rounds: int) -> tuple[str, float]:
    """CPU of the receiving processes with the recorder and without, in turns; in words, and as a ratio."""
    with tempfile.TemporaryDirectory() as name:
        both = {
            "on": Gateway(Path(name) / "on", route="/dev/null", workers=1),
            "off": Gateway(Path(name) / "off", route="/dev/null", workers=1, more="[recorder]\nenabled = false\n"),
        }
        try:
            spent: dict[str, list[float]] = {"on": [], "off": []}
            for number in range(rounds + 1):
                for key, gateway in both.items():
                    [receiver] = [process for name, process in gateway.processes().items() if name.startswith("receive")]
                    began = cpu_seconds(receiver)
                    offer(gateway.port, messages, keep=True)
                    quiet(lambda gateway=gateway: (t := gateway.totals())["esa_messages_kept"] - t["esa_deliveries_sent"])  # type: ignore[misc]
                    if number:
                        spent[key].append(1e6 * (cpu_seconds(receiver) - began) / messages)
        finally:
            for gateway in both.values():
                gateway.server.stop()
    ratios = [on / off for on, off in zip(spent["on"], spent["off"], strict=True)]
    rows = [(key, f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})") for key, values in spent.items()]
    ratio = statistics.median(ratios)
    text = (
        f"Receiving process, 16 KiB messages, kept sessions, {rounds} rounds of {messages:,} in turns: "
        f"{ratio:.3f} ({min(ratios):.3f}–{max(ratios):.3f}) of the CPU with the recorder. Bar: {BAR}: {'met' if ratio <= BAR else 'missed'}.\n\n"
        + table(("recorder", "µs CPU a message"), rows)
    )
    return text, ratio


if __name__ == "__main__":
    sys.exit(main())
