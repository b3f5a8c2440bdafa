"""kill -9 of any process of a gateway under load, the whole run; see tests/chaos/crash.py for what is done and looked for.

python benchmarks/crash.py [--kills 50] [--sessions 24] [--messages 5000]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from results import table, write_section

from tests.chaos.crash import run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--keep", action="store_true", help="leave the folder of the run")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="esa-crash-"))
    began = time.monotonic()
    try:
        outcome = asyncio.run(run(folder, kills=given.kills, sessions=given.sessions, messages=given.messages))
    finally:
        if given.keep:
            print(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    kills, sent = outcome.kills, outcome.sent
    at_work = 100 * kills.receivers_at_work / kills.total
    rows = [
        (
            "kills (SIGKILL)",
            f"{kills.total}: " + ", ".join(f"{name} {count}" for name, count in sorted(kills.by_name.items())),
            given.kills,
        ),
        ("of these, a receiver with a message in scan or commit", f"{at_work:.0f} %", "≥ 80 %"),
        ("messages acknowledged", f"{len(sent.acknowledged):,}", "≥ 5,000"),
        ("acknowledged and lost", len(outcome.lost), 0),
        ("still in the queue at the end", len(outcome.unfinished), "–"),
        ("arrived twice (in flight at a kill)", len(outcome.duplicated), "only those in flight"),
        ("of these, not named by tracking", len(outcome.unlogged), 0),
        ("sent, connection died before the reply", len(sent.unanswered), "–"),
        ("other replies after mail data", dict(sent.other) or "none", "–"),
        ("seconds until the killed process was replaced, median", f"{statistics.median(kills.restarts_seconds):.2f}", "–"),
        ("seconds of the orderly stop at the end", f"{outcome.stop_seconds:.1f}", "< 10"),
    ]
    text = table(("what", "measured", "bar"), rows)
    print(text)
    print(f"{time.monotonic() - began:.0f} s")
    write_section("crash", text, title="kill -9 under load")
    good = not outcome.lost and not outcome.unlogged and at_work >= 80 and len(sent.acknowledged) >= given.messages
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
