"""What commands share towards a person: a progress bar on long work, tables, JSON lines. rich is loaded only when something is drawn."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines instead of text for people.")


class Meter(Protocol):
    def advance(self, amount: float = 1.0) -> None:
        """Count `amount` more as done."""

    def total(self, amount: float) -> None:
        """Tell how much there is to do, once that is known."""


class _Silent:
    def advance(self, amount: float = 1.0) -> None:
        pass

    def total(self, amount: float) -> None:
        pass


@contextmanager
def progress(label: str, total: float | None = None, *, unit: str = "messages") -> Iterator[Meter]:
    """A progress bar with rate on stderr while the block runs; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    class Bar:
        def __init__(self, bar: Progress, task: TaskID) -> None:
            self._bar, self._task = bar, task

        def advance(self, amount: float = 1.0) -> None:
            self._bar.advance(self._task, amount)
            task = self._bar.tasks[0]
            if task.speed:
                self._bar.update(self._task, rate=f"{task.speed:,.0f} {unit}/s")

        def total(self, amount: float) -> None:
            self._bar.update(self._task, total=amount)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(err=True), transient=True) as bar:
        yield Bar(bar, bar.add_task(label, total=total, rate=""))


def console(*, err: bool = False) -> Console:
    """A rich console: colour only on a terminal and without NO_COLOR; wide lines are not broken where nobody looks at them."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    return Console(stderr=err, highlight=False, soft_wrap=not stream.isatty(), width=None if stream.isatty() else 160)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = (), below: Collection[str] = ()) -> None:
    """A table on stdout; cells are made printable, those of the columns `right` set to the right.

    On a terminal too narrow for all of it, the columns `below` go to a line of their own under each row, cut at the edge. Into a pipe
    every row is one line and nothing is cut, for whoever searches it.
    """
    from rich.cells import cell_len, set_cell_size  # a character may be two cells wide, or none

    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    edge = console().width if sys.stdout.isatty() else None
    is_narrow = edge is not None and sum(widths) + 2 * (len(widths) - 1) > edge
    above = [position for position, name in enumerate(columns) if not is_narrow or name not in below]
    under = [position for position in range(len(columns)) if position not in above]

    def line(row: Sequence[str]) -> str:
        gaps = [" " * (widths[position] - cell_len(row[position])) for position in above]
        return "  ".join(
            gap + row[position] if columns[position] in right else row[position] + gap for position, gap in zip(above, gaps, strict=True)
        ).rstrip()

    def cut(text: str) -> str:
        return text if edge is None or cell_len(text) <= edge else set_cell_size(text, edge - 1) + "…"

    lines = [click.style(cut(line(columns)), bold=True) if edge is not None and "NO_COLOR" not in os.environ else line(columns)]
    for row in cells:
        lines.append(cut(line(row)))
        if under:
            lines.append(cut("  " + "  ".join(row[position] for position in under if row[position])))
    click.echo("\n".join(lines))


def counted(number: int, one: str, many: str = "") -> str:
    """`1 message`, `2 messages`; `many` where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def say(text: str) -> None:
    """One line of talk on stderr; never a result."""
    click.echo(text, err=True)


def print_json(value: Mapping[str, object]) -> None:
    """One JSON object on one line of stdout, in ASCII: a file name may hold octets that are no text."""
    sys.stdout.write(json.dumps(value) + "\n")


def coloured(text: str, colour: str) -> str:
    """`text` in a colour where stdout is a terminal and NO_COLOR is not set."""
    return click.style(text, fg=colour) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def printable(text: str) -> str:
    """Text out of a message or file name, with control characters escaped: nothing in it can steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """As `printable`, line by line; further lines are set in."""
    return "\n    ".join(printable(line) for line in text.splitlines())
