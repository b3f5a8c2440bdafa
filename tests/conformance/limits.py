"""Pack limits: mail that is made to be expensive, at the level of the library.

Linear means: twice the size takes less than 2.6 times the CPU.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import esa
from tests.conformance.outcome import Outcome, judged, skipped

LINEAR_FACTOR = 2.6
CPU_LIMIT = 2.0  # seconds, the largest bound of the recipes
MEMORY_LIMIT = 256 << 20  # octets a scan may add over the message itself
LATER = {
    "dkim-sigs-1000": "DKIM is a later issue: nothing asks the DNS yet",
    "arc-sets-200": "ARC is a later issue: nothing asks the DNS yet",
}


def build(recipe: dict[str, Any], times: float = 1.0) -> bytes:
    """The message of a recipe, `times` as large."""
    if "build_nested" in recipe:
        nested = recipe["build_nested"]
        return "".join(nested["open"].replace("{i}", str(number)) for number in range(int(nested["n"] * times))).encode()
    pieces = []
    for text, count in recipe["build"]:
        count = int(count * times) if count > 1 else count
        pieces.append("".join(text.replace("{i}", str(number)) for number in range(count)) if "{i}" in text else text * count)
    return "".join(pieces).encode()


def run(folder: Path) -> Iterator[Outcome]:
    for recipe in json.loads((folder / "recipes.json").read_text("utf-8")):
        name = recipe["id"]
        if name in LATER:
            yield skipped(name, LATER[name])
            continue
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        once, twice = build(recipe), build(recipe, 2.0)
        seconds, report = _cpu(once)
        seconds_twice, _ = _cpu(twice)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if seconds > CPU_LIMIT:
            yield judged(name, False, f"{seconds:.2f} s CPU")
        elif grown > MEMORY_LIMIT + 4 * len(twice):
            yield judged(name, False, f"{grown >> 20} MiB more memory")
        elif "flagged" in recipe["must"] and not report.flags:
            yield judged(name, False, f"not flagged ({recipe['must']})")
        else:
            factor = seconds_twice / max(seconds, 1e-9)
            yield judged(name, factor < LINEAR_FACTOR or seconds_twice < 0.02, f"not linear: {factor:.1f} times the CPU for twice the size")


def _cpu(raw: bytes) -> tuple[float, esa.Report]:
    """The least CPU time of three scans, and the report."""
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        report = esa.scan(raw)
        best = min(best, time.process_time() - begun)
    return best, report
