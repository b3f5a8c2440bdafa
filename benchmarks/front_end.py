"""The SMTP front end alone: accept and drop, against stock aiosmtpd on uvloop and Postfix's smtp-sink.

    python benchmarks/front_end.py [--rounds 5] [--sizes 2,16,256] [--sessions 20] [--scale 1.0] [--write]

One smtp-source drives every server in turn, round after round, so that all see the same neighbours. The figure is the server's own
processor time, user and system, in microseconds a message; wall time says little on a shared machine. Rows of one table compare,
tables do not.
--write puts the tables into RESULTS.md; without it they are only printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from processes import LOOPBACK, Server, free_port
from results import table, write_section

HERE = Path(__file__).resolve().parent
STOCK = "aiosmtpd 1.4 on uvloop, discard handler"
OURS = "esa, the same aiosmtpd handler"
NATIVE = "esa, Receiver"
SINK = "Postfix smtp-sink"
SESSIONS = 20
BAR = 6.0  # at 16 KiB, kept sessions: stock aiosmtpd costs at least so many times ours


@dataclass
class Contender:
    """A server, how many messages a round sends it, and what they cost."""

    name: str
    command: list[str]
    counts: dict[int, int]
    server: Server | None = None
    micros: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def start(self, folder: Path) -> None:
        port = free_port()
        command = [part.replace("PORT", str(port)) for part in self.command]
        self.server = Server(command, port, log=folder / "log", environment={"PYTHONPATH": str(HERE.parent / "src")})


def contenders() -> list[Contender]:
    python = sys.executable
    own = str(HERE / "front_end_server.py")
    privileges = ["-u", "nobody"] if os.geteuid() == 0 else []
    many = {2: 3000, 16: 3000, 256: 600}
    return [
        Contender(STOCK, [python, str(HERE / "baselines" / "aiosmtpd_drop.py"), "PORT"], {2: 800, 16: 500, 256: 60}),
        Contender(OURS, [python, own, "PORT", "handler"], many),
        Contender(NATIVE, [python, own, "PORT", "receiver"], many),
        Contender(SINK, ["smtp-sink", *privileges, f"{LOOPBACK}:PORT", "1000"], many),
    ]


def drive(contender: Contender, kib: int, sessions: int, count: int, kept: bool) -> tuple[float, float]:
    """Send `count` messages; the server's microseconds of processor time a message, and messages a second."""
    server = contender.server
    assert server is not None
    keep = ["-d"] if kept else []
    command = ["smtp-source", *keep, "-M", "client.example.org", "-f", "a@example.org", "-t", "b@example.net", "-s", str(sessions)]
    before, began = server.cpu_seconds(), time.perf_counter()
    subprocess.run([*command, "-m", str(count), "-l", str(kib * 1024), f"{LOOPBACK}:{server.port}"], check=True)
    wall = time.perf_counter() - began
    return (server.cpu_seconds() - before) * 1e6 / count, count / wall


def measure(group: list[Contender], kib: int, arguments: argparse.Namespace, kept: bool) -> None:
    for contender in group:
        contender.micros.clear()
        contender.rates.clear()
        drive(contender, kib, arguments.sessions, max(arguments.sessions, contender.counts[kib] // 10), kept)
    for _ in range(arguments.rounds):
        for contender in group:
            count = max(arguments.sessions, int(contender.counts[kib] * arguments.scale))
            micros, rate = drive(contender, kib, arguments.sessions, count, kept)
            contender.micros.append(micros)
            contender.rates.append(rate)


def rows_of(group: list[Contender], label: str) -> list[list[str]]:
    medians = {contender.name: statistics.median(contender.micros) for contender in group}
    return [
        [
            label,
            contender.name,
            f"{medians[contender.name]:.0f}",
            f"{min(contender.micros):.0f}-{max(contender.micros):.0f}",
            f"{max(contender.rates):.0f}",
            f"{medians[STOCK] / medians[contender.name]:.1f}",
            f"{medians[SINK] / medians[contender.name]:.2f}",
        ]
        for contender in group
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="2,16,256", help="KiB, of 2, 16, 256")
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of messages")
    parser.add_argument("--new-sessions", action="store_true", help="also a session for each message, at 16 KiB")
    parser.add_argument("--write", action="store_true", help="write the section of RESULTS.md")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    group = contenders()
    rows: list[list[str]] = []
    reached = 0.0
    with tempfile.TemporaryDirectory(prefix="esa-front-end-") as folder:
        try:
            for contender in group:
                contender.start(Path(folder))
            for kib in sizes:
                measure(group, kib, arguments, kept=True)
                rows += rows_of(group, f"{kib} KiB")
                if kib == 16:
                    stock, ours = (statistics.median(contender.micros) for contender in group[:2])
                    reached = stock / ours
            if arguments.new_sessions:
                measure(group, 16, arguments, kept=False)
                rows += rows_of(group, "16 KiB, a session each")
        finally:
            for contender in group:
                if contender.server:
                    contender.server.stop()
    header = ["message", "server", "CPU µs a message (median)", "spread", "best messages/s", "stock aiosmtpd / it", "smtp-sink / it"]
    text = table(header, rows)
    text += (
        f"\n\n{arguments.sessions} sessions of smtp-source, {arguments.rounds} interleaved rounds; server processor time from schedstat."
    )
    if 16 in sizes:
        text += f"\n\nBar: at 16 KiB and kept sessions stock aiosmtpd costs at least {BAR:.0f}× ours. Reached: {reached:.1f}×."
    print(text)
    if arguments.write:
        section = "front-end" if arguments.sessions == SESSIONS else f"front-end-{arguments.sessions}"
        write_section(section, text, title=f"SMTP front end: accept and drop, {arguments.sessions} sessions")
    return 0 if reached >= BAR or 16 not in sizes else 1


if __name__ == "__main__":
    sys.exit(main())
