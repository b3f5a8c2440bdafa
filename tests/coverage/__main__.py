"""The table of `make coverage`: for each source of the core its lines with code, those that ran, and which did not.

    python -m tests.coverage FOLDER [--bar PERCENT] [--missing] [--write]

FOLDER holds the objects of the coverage build with what gcov counted. A line of a `.pxd`, of a header or of C within a Cython source counts as
run if it ran in any module. Exit 1 if fewer lines than the bar ran.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.results import table, write_section

Counts = dict[str, dict[int, int]]


def count(folder: Path) -> Counts:
    """Executions of each line of each source that gcov knows of."""
    found: Counts = defaultdict(lambda: defaultdict(int))
    data = sorted(path.resolve() for path in folder.rglob("*.gcno"))
    with tempfile.TemporaryDirectory() as empty:
        for path in data:
            told = subprocess.run(["gcov", "--json-format", "--stdout", str(path)], cwd=empty, capture_output=True, check=True)
            for line in told.stdout.splitlines():
                for file in json.loads(line)["files"]:
                    at = file["file"].rfind("src/esa_core/")
                    name = file["file"][at:] if at >= 0 else ""
                    if name.endswith((".pyx", ".pxd", ".h")):
                        for one in file["lines"]:
                            found[name][one["line_number"]] += one["count"]
    return found


def ranges(lines: list[int]) -> str:
    told: list[str] = []
    first = last = -2
    for line in [*sorted(lines), -1]:
        if line == last + 1:
            last = line
            continue
        if first >= 0:
            told.append(f"{first}-{last}" if last > first else str(first))
        first = last = line
    return " ".join(told)


def rows(counts: Counts, *, missing: bool) -> Iterator[str]:
    for name in sorted(counts):
        lines = counts[name]
        absent = [line for line, n in lines.items() if n == 0]
        told = f"  {ranges(absent)}" if missing and absent else ""
        yield f"{name.removeprefix('src/esa_core/'):<24}{len(lines):>6}{len(lines) - len(absent):>7}{share(lines):>8.1f} %{told}"


def write(counts: Counts, told: list[str]) -> None:
    """Into RESULTS.md: the sums, and the sources of which fewer lines ran than of all together."""
    everything = {(name, line): n for name, lines in counts.items() for line, n in lines.items()}
    lowest = sorted((share(lines), name) for name, lines in counts.items() if share(lines) < share(everything))
    rows_of = [(name.removeprefix("src/esa_core/"), len(counts[name]), f"{percent:.1f} %") for percent, name in lowest]
    text = "\n\n".join((". ".join(told) + ".", "Sources below the whole:", table(("source", "lines", "run"), rows_of)))
    write_section("coverage", text, title="Lines of the core that the tests run", shown="make coverage WRITE=1")


def share(lines: Mapping[int, int] | Mapping[tuple[str, int], int]) -> float:
    return 100 * sum(n > 0 for n in lines.values()) / len(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.coverage")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bar", type=float, default=0.0)
    parser.add_argument("--missing", action="store_true", help="name the lines that did not run")
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/RESULTS.md")
    given = parser.parse_args()
    counts = count(given.folder)
    if not counts:
        sys.exit(f"{given.folder} holds nothing that gcov counted")
    print(f"{'source':<24}{'lines':>6}{'run':>7}{'share':>10}")
    print("\n".join(rows(counts, missing=given.missing)))
    kinds = {"Cython": (".pyx", ".pxd"), "C headers": (".h",)}
    met, told = True, []
    for kind, suffixes in kinds.items():
        lines = {(name, line): n for name in counts if name.endswith(suffixes) for line, n in counts[name].items()}
        if lines:
            run = sum(n > 0 for n in lines.values())
            met = met and 100 * run >= given.bar * len(lines)
            told.append(f"{kind}: {run:,} of {len(lines):,} lines, {share(lines):.1f} % (bar: {given.bar:g} %)")
    print("\n".join(told))
    if given.write:
        write(counts, told)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
