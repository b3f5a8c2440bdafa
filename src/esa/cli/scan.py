"""`esa scan`: every message of the paths given, one verdict each. What cannot be read is told at the end and stops nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.program import DONE, FAILED, FOUND
from esa.cli.terminal import coloured, json_option, print_json, printable, printable_lines, progress, say

if TYPE_CHECKING:
    from esa.engine.scanner import Scanner
    from esa.engine.verdict import Report
    from esa.errors import EsaError
    from esa.learning.corpora import Item

COLOURS = {"clean": "green", "suspect": "yellow", "positive": "red"}
REASONS_SHOWN = 5


@click.command("scan", short_help="Scan messages and print verdict, score and reasons.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@json_option
@click.option("--model", type=click.Path(path_type=Path), help="Model file to use instead of the bundled one.")
@click.option(
    "--dictionary",
    "dictionaries",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Dictionary to match: one term a line, optional weight after a comma, # comments. May be given several times.",
)
@click.option("--reasons", type=click.IntRange(min=0), help=f"Print at most this many reasons [default: {REASONS_SHOWN}; all with --json].")
def command(paths: tuple[str, ...], as_json: bool, model: Path | None, dictionaries: tuple[Path, ...], reasons: int | None) -> int:
    """Scan messages and print verdict, score and reasons.

    \b
    Examples:
      esa scan message.eml
      esa scan --json ~/Maildir archive.mbox corpus.tar.zst > verdicts.jsonl
      some-program | esa scan -

    PATH is a message, an mbox, a tar archive (each plain or compressed: .gz, .xz, .bz2, .zst), a folder of such, a Maildir,
    a TREC index (full/index), or - for standard input. Nothing is sent anywhere: scanning is offline.

    The score runs from 0 to 100, the probability that the message is unwanted; above 36 it is suspect, above 74 positive.
    Reasons are contributions in log-odds (+ speaks for spam); all of them together sum to the score's logit.

    With --json each line is an object: path, verdict, score, reasons, flags, checks, micros; or path and error for what
    could not be read. A one-line summary goes to standard error.

    Exit status: 0 all clean, 1 something was suspect or positive, 2 used wrongly, 3 some inputs could not be read.
    """
    from esa.engine.dictionary import Dictionary
    from esa.engine.scanner import Scanner
    from esa.learning.corpora import iter_corpora

    scanner = Scanner(model=model, dictionaries=[Dictionary.from_file(path) for path in dictionaries])
    counts = {"positive": 0, "suspect": 0, "clean": 0}
    faults: list[EsaError] = []
    micros = 0.0
    began = time.perf_counter()
    with progress("scanning") as meter:
        for item, report in scan_items(scanner, iter_corpora(paths)):
            meter.advance()
            if report is None:
                if item.error is not None:
                    faults.append(item.error)
                if as_json:
                    print_json({"path": item.path, "error": str(item.error)})
                continue
            counts[report.verdict] += 1
            micros += report.micros
            if as_json:
                print_json(describe(item.path, report, reasons))
            else:
                _print_line(item.path, report, REASONS_SHOWN if reasons is None else reasons)
    for fault in faults:
        say(f"unreadable: {printable_lines(str(fault))}")
    say(_summary(counts, len(faults), micros, time.perf_counter() - began))
    if faults:
        return FAILED
    return FOUND if counts["positive"] or counts["suspect"] else DONE


def scan_items(scanner: Scanner, items: Iterable[Item]) -> Iterator[tuple[Item, Report | None]]:
    """Each item with its report, in order and scanned in batches; None for an item that could not be read."""
    from esa.engine.scanner import BATCH_MESSAGES, BATCH_OCTETS

    batch: list[Item] = []
    octets = 0

    def flush() -> Iterator[tuple[Item, Report | None]]:
        reports = iter(scanner.scan_batch([item.content for item in batch if item.content is not None]))
        for item in batch:
            yield item, None if item.content is None else next(reports)

    for item in items:
        batch.append(item)
        octets += len(item.content or b"")
        if len(batch) >= BATCH_MESSAGES or octets >= BATCH_OCTETS:
            yield from flush()
            batch, octets = [], 0
    yield from flush()


def describe(path: str, report: Report, reasons: int | None = None) -> dict[str, object]:
    """One line of `esa scan --json`."""
    return {
        "path": path,
        "verdict": report.verdict.value,
        "score": round(report.score, 4),
        "reasons": [
            {"name": reason.name, "family": reason.family, "contribution": reason.contribution} for reason in report.reasons[:reasons]
        ],
        "flags": list(report.flags),
        "checks": _plain(report.checks),
        "micros": round(report.micros, 1),
    }


def _plain(facts: object) -> object:
    """Mappings of any kind, in one another, as dicts."""
    return {name: _plain(one) for name, one in facts.items()} if isinstance(facts, Mapping) else facts


def _print_line(path: str, report: Report, reasons: int) -> None:
    verdict = coloured(f"{report.verdict.value:<8}", COLOURS[report.verdict])
    shown = ", ".join(f"{reason.name}={reason.contribution:+.1f}" for reason in report.reasons[:reasons])
    notes = f"  [{', '.join(report.flags)}]" if report.flags else ""
    click.echo(f"{verdict} {report.score:5.1f}  {printable(path)}  {shown}{notes}")
    for dictionary, found in report.checks.get("dictionaries", {}).items():
        if isinstance(found, dict):
            terms = ", ".join(f"{term} × {count}" for term, count in found["terms"].items())
            click.echo(f"{'':16}dictionary {dictionary}, score {found['score']}: {printable(terms)}")


def _summary(counts: dict[str, int], unreadable: int, micros: float, seconds: float) -> str:
    scanned = sum(counts.values())
    text = f"{scanned:,} scanned: {counts['positive']:,} positive, {counts['suspect']:,} suspect, {counts['clean']:,} clean"
    if unreadable:
        text += f", {unreadable:,} unreadable"
    if scanned:
        text += f"; {micros / scanned:,.0f} µs a message, {scanned / seconds:,.0f} messages/s with reading"
    return text
