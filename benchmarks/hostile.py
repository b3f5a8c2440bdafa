"""What mail that attacks a parser costs in the whole pipeline: CPU milliseconds per megabyte, and at twice the size.

    python benchmarks/hostile.py

Shapes of tests/core/hostile.py and recipes of the pack `limits`, each at about 2 MB and 4 MB: past 1 MB, so that both sizes pay for buffers
that are given back after each message, and the allocator is told to give such memory back to the kernel each time: what it keeps at one size
and not at the other would be the difference. Bars: 50 ms CPU per MB at most, and twice the size costs less than 2.6 times as much. Exit 1 if a
bar is missed.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from results import table, write_section

from esa.engine.judge import native_engine
from esa.engine.model import Model
from esa_core import Engine
from tests.conformance.limits import build
from tests.conftest import SHARED
from tests.core.hostile import HOSTILE

BAR = 50.0  # ms per MB
LINEAR = 2.6
MMAP_THRESHOLD = -3  # mallopt(3)
SHOWN = 20


def cpu(engine: Engine, raw: bytes) -> float:
    """Thread CPU seconds of one scan, the best of three."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        engine.scan([raw])
        times.append(time.thread_time() - began)
    return min(times)


def shapes() -> dict[str, tuple[bytes, bytes]]:
    """Each shape at about 2 MB and at twice that."""
    found = {}
    for name, shape in HOSTILE.items():
        size = 2_000_000 * 100_000 // max(len(shape(100_000)), 1)
        found[name] = (shape(size), shape(2 * size))
    recipes = SHARED / "conformance" / "limits" / "recipes.json"
    if recipes.is_file():
        for recipe in json.loads(recipes.read_text("utf-8")):
            found[f"pack limits: {recipe['id']}"] = (build(recipe, 2.0), build(recipe, 4.0))
    return found


def main() -> int:
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 1 << 20)
    engine = native_engine(Model.load(), None)
    rows = []
    for name, (once, twice) in shapes().items():
        first, second = cpu(engine, once), cpu(engine, twice)
        rows.append((1e9 * second / len(twice), second / first, name, len(twice)))
    rows.sort(reverse=True)
    worst = rows[0][0]
    steep = max((ratio, name) for _, ratio, name, _ in rows)
    text = table(
        ("shape", "octets", "CPU ms per MB", "times at twice the size"),
        [(name, f"{size:,}", f"{cost:.1f}", f"{ratio:.2f}") for cost, ratio, name, size in rows[:SHOWN]],
    )
    text += (
        f"\n\nThe worst {SHOWN} of {len(rows)}. Bars: {BAR:.0f} ms per MB ({'met' if worst <= BAR else 'MISSED'}: {worst:.1f}); less than "
        f"{LINEAR} times at twice the size ({'met' if steep[0] < LINEAR else 'MISSED'}: {steep[0]:.2f}, {steep[1]})."
    )
    print(text)
    write_section("hostile", text, title="What mail that attacks a parser costs")
    return 0 if worst <= BAR and steep[0] < LINEAR else 1


if __name__ == "__main__":
    sys.exit(main())
