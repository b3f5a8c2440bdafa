"""`esa evaluate`: the figures of a model on labelled mail, per corpus and as macro average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.program import DONE, FAILED
from esa.cli.terminal import console, json_option, print_json, printable_lines, progress, say

if TYPE_CHECKING:
    from esa.engine.model import Model
    from esa.learning.evaluation import Evaluation

COLUMNS = (  # figure, heading, decimals
    ("ham", "ham", 0),
    ("spam", "spam", 0),
    ("roca_percent", "(1−ROCA) %", 3),
    ("fn_at_fp_0_1", "FN at FP 0.1 %", 2),
    ("positive_recall", "positive recall %", 1),
    ("suspect_or_positive_recall", "suspect+ recall %", 1),
    ("ham_positive", "ham positive %", 2),
    ("ham_suspect", "ham suspect %", 2),
    ("calibration_error", "ECE", 3),
    ("cpu_us_per_message", "µs/message", 1),
    ("messages_per_second", "messages/s", 0),
)


@click.command("evaluate", short_help="Measure a model on labelled mail.")
@click.argument("paths", metavar="CORPUS...", nargs=-1, required=True)
@json_option
@click.option("--model", type=click.Path(path_type=Path), help="Model file to measure instead of the bundled one.")
@click.option("--keep-headers", is_flag=True, help="Keep header fields that give the label away (verdicts of other filters, list tags).")
@click.option("--leaky-headers", type=click.Path(path_type=Path), help="List of such fields to use instead of the shipped one.")
def command(paths: tuple[str, ...], as_json: bool, model: Path | None, keep_headers: bool, leaky_headers: Path | None) -> int:
    """Measure a model on labelled mail.

    \b
    Examples:
      esa evaluate spamassassin.tar.zst
      esa evaluate --json --model local.esamodel corpora/* > figures.json

    CORPUS is a folder or archive that holds <name>/ham/* and <name>/spam/*, one message a file, or a TREC index
    (full/index). Each corpus is measured by itself, never pooled: the year or the receiving site would give the label away.

    Header fields that give labels away are dropped before anything is scanned, unless --keep-headers is given. A corpus of
    which messages stand in the model's training is marked, and left out of the macro average. A figure that a corpus cannot
    give is empty (null): one class only, or under 3,000 ham for the miss rate at 0.1 %.

    Exit status: 0 measured, 2 used wrongly, 3 some inputs could not be read.
    """
    from esa.engine.model import DEFAULT_MODEL
    from esa.engine.scanner import Scanner
    from esa.learning.corpora import iter_corpora
    from esa.learning.evaluation import evaluate
    from esa.learning.leaks import SHIPPED_LIST, LeakList

    scanner = Scanner(model=model)
    clean = None if keep_headers else LeakList.load(leaky_headers or SHIPPED_LIST).strip

    def score(messages: Sequence[bytes]) -> list[float]:
        return [report.score for report in scanner.scan_many(messages)]

    with progress("evaluating") as meter:
        result = evaluate(
            iter_corpora(paths), score, clean=clean, lineage=lineage(scanner.model, model or DEFAULT_MODEL), on_progress=meter.advance
        )
    described: dict[str, object] = {"name": scanner.model.name, "kind": scanner.model.kind, "digest": scanner.model.digest}
    if as_json:
        print_json(result.to_json(described))
    else:
        _print_table(result, f"model {scanner.model.name} ({scanner.model.digest[:12]})")
    for error in result.errors:
        say(f"unreadable: {printable_lines(str(error))}")
    if not any(row["ham"] or row["spam"] for row in result.corpora.values()):
        say("no labelled message was found: labels are the folder names ham and spam, or the lines of a TREC index")
        return FAILED
    return FAILED if result.errors else DONE


def lineage(model: Model, path: Path) -> frozenset[bytes]:
    """The digests of the messages that a model was trained on, eight octets each; none if neither place holds any.

    A local model carries them itself; those of the bundled model, which holds nothing of a message, stand in a file beside it (`.lineage`).
    """
    beside = path.with_suffix(".lineage")
    digests = model.arrays["lineage"].tobytes() if "lineage" in model.arrays else b""
    digests += beside.read_bytes() if beside.is_file() else b""
    return frozenset(digests[start : start + 8] for start in range(0, len(digests), 8))


def _print_table(result: Evaluation, title: str) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("corpus")
    for _, heading, _ in COLUMNS:
        table.add_column(heading, justify="right")
    for name, row in result.corpora.items():
        mark = f"{name} (trained on {100 * (row['in_training'] or 0):.0f} %)" if row["in_training"] else name
        table.add_row(mark, *_cells(row))
    table.add_section()
    table.add_row("macro average", *_cells(result.macro))
    console().print(table)


def _cells(row: Mapping[str, float | int | None]) -> list[str]:
    return ["" if (value := row.get(name)) is None else f"{value:,.{decimals}f}" for name, _, decimals in COLUMNS]
