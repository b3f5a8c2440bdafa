"""What TLS costs the listener: handshakes and bulk for each cipher profile and kind of key, as `esa bench tls` measures them.

    python benchmarks/tls.py [--seconds 1.0] [--write]

--write puts the table into RESULTS.md.
"""

from __future__ import annotations

import argparse
import sys

from results import table, write_section

from esa.cli.bench_tls import measure
from esa.config.ciphers import PROFILES


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    parser.add_argument("--write", action="store_true", help="write the section of RESULTS.md")
    arguments = parser.parse_args()
    rows = [
        [cost.profile, cost.key, cost.version, cost.cipher, f"{cost.handshakes:,.0f}", f"{cost.resumed:,.0f}", f"{cost.megabytes:,.0f}"]
        for cost in measure(list(PROFILES), arguments.seconds)
    ]
    text = table(["profile", "key", "version", "cipher", "handshakes/s", "resumed/s", "MB/s received"], rows)
    text += "\n\nOne core, the server's half only, by processor time; client and server speak in memory."
    print(text)
    if arguments.write:
        write_section("tls", text, title="TLS in")
    return 0


if __name__ == "__main__":
    sys.exit(main())
