"""esa as a long-lived scanner for the side-by-side run: file names on standard input, one score a line out; an empty line ends a run.

Usage: esa_worker.py [MODEL]
"""

from __future__ import annotations

import sys
from pathlib import Path

import esa


def main() -> None:
    scanner = esa.Scanner(model=Path(sys.argv[1])) if len(sys.argv) > 1 else esa.Scanner()
    scanner.scan(b"Subject: warm up\n\nready\n")
    print("ready", flush=True)
    names: list[str] = []
    for line in sys.stdin:
        name = line.rstrip("\n")
        if name:
            names.append(name)
            continue
        for report in scanner.scan_many(Path(name).read_bytes() for name in names):
            print(f"{report.score:.6f}")
        print(flush=True)
        names.clear()


main()
