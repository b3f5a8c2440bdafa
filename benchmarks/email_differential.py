"""The core against Python's `email` on every message of the shared corpora, as tests/conformance/differential.py compares them.

    python benchmarks/email_differential.py

Exit 1 if header names differ without a named reason, less than 99.5 % of the texts are equal, or a difference is unexplained.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from results import write_section

from tests.conformance.differential import CORPORA, holds, read_all, report, row


def main() -> int:
    rows, whole = read_all(CORPORA)
    text = report([*rows, row("all", whole)], whole)
    print(text)
    write_section("email-differential", text, title="The core and Python's email on every message of the corpora")
    return 0 if holds(whole) else 1


if __name__ == "__main__":
    sys.exit(main())
