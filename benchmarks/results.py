"""RESULTS.md, written by the benchmarks and never by hand: one marked section a benchmark, each with machine, date and command."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
HEAD = """# Results

Written by the benchmark commands; every section says with which. Machines are shared and noisy: compare inside one table
only, ratios before absolute figures, CPU before wall time.
"""


def machine() -> str:
    """One line: processor, cores, memory, kernel family, Python, load."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, CPython {platform.python_version()}, load {load:.1f}"


def command() -> str:
    """The command of this process, as anyone would repeat it from the repository's root."""
    script = Path(sys.argv[0]).resolve()
    root = RESULTS.parent.parent
    shown = script.relative_to(root) if script.is_relative_to(root) else Path(script.name)
    return shlex.join(["python", str(shown), *sys.argv[1:]])


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def write_section(name: str, markdown: str, *, title: str | None = None, shown: str | None = None) -> None:
    """Put `markdown` into section `name` of RESULTS.md, in place of what that section said before.

    `shown` is the command that made it, where that is not this process's own.
    """
    text = RESULTS.read_text() if RESULTS.exists() else HEAD
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    body = (
        f"<!-- {name} -->\n## {title or name}\n\n{markdown.strip()}\n\n`{shown or command()}` · {today} · {machine()}\n<!-- end {name} -->"
    )
    pattern = re.compile(rf"<!-- {re.escape(name)} -->.*?<!-- end {re.escape(name)} -->", re.DOTALL)
    text = pattern.sub(lambda _: body, text) if pattern.search(text) else text.rstrip() + "\n\n" + body + "\n"
    RESULTS.write_text(text)
