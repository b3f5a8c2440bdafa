"""Honest mail while slow connections fill a listener: its latency, and how much of it is put off.

    python benchmarks/slow_connections.py [--connections 10000] [--seconds 30]

The attackers hold as many connections as the listener takes, half in a command and half in mail data, send an octet every few seconds and
connect again when they are told to go. Bar: honest mail has a p99 under 2 s and is not refused.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import smtplib
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import psutil
import uvloop
from results import table, write_section

from tests.end_to_end.running import environment, unused_port

HERE = Path(__file__).resolve().parent
OPENING = b"EHLO client.example\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
DRIP_SECONDS = 5.0
BAR = 2.0


class Slow(asyncio.Protocol):
    """One attacker's connection."""

    def __init__(self, attack: Attack, in_data: bool) -> None:
        self.attack, self.in_data = attack, in_data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.attack.open.add(self)
        if self.in_data:
            self.transport.write(OPENING)

    def connection_lost(self, error: Exception | None) -> None:
        self.attack.open.discard(self)
        self.attack.lost += 1


class Attack:
    def __init__(self, port: int, connections: int) -> None:
        self.port, self.connections = port, connections
        self.open: set[Slow] = set()
        self.lost = 0
        self.ready = threading.Event()
        self.stop = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        due = loop.time()
        while not self.stop:
            missing = min(200, self.connections - len(self.open))
            tries = [
                loop.create_connection(
                    lambda odd=(number + step) % 2 == 1: Slow(self, odd),  # type: ignore[misc]
                    "127.0.0.1",
                    self.port,
                    local_addr=(f"127.{1 + (number + step) % 200}.0.1", 0),
                )
                for step in range(missing)
            ]
            number += missing
            await asyncio.gather(*tries, return_exceptions=True)
            if len(self.open) >= self.connections:
                self.ready.set()
            if loop.time() >= due:
                due = loop.time() + DRIP_SECONDS
                for one in list(self.open):
                    one.transport.write(b"x")
            await asyncio.sleep(0.02)


def honest(port: int, seconds: float) -> tuple[list[float], int]:
    """Latencies from connecting to the reply, and messages refused, one message after the other."""
    taken, refused = [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
                client.sendmail("a@example.net", ["b@example.org"], b"Subject: hello\r\n\r\nhello\r\n")
            taken.append(time.monotonic() - began)
        except (smtplib.SMTPException, OSError):
            refused += 1
        time.sleep(0.02)
    return taken, refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    port = unused_port()
    server = subprocess.Popen([sys.executable, str(HERE / "front_end_server.py"), str(port), "receiver"], env=environment())
    try:
        time.sleep(2.0)
        before, _ = honest(port, 3.0)
        attack = Attack(port, given.connections)
        thread = threading.Thread(target=lambda: uvloop.run(attack.run()))
        thread.start()
        attack.ready.wait(120)
        time.sleep(3.0)
        lost = attack.lost
        process = psutil.Process(server.pid)
        cpu = sum(process.cpu_times()[:2])
        taken, refused = honest(port, given.seconds)
        cpu = sum(process.cpu_times()[:2]) - cpu
        memory = process.memory_info().rss >> 20
        ended = attack.lost - lost
        held = len(attack.open)
        attack.stop = True
        thread.join()
    finally:
        server.kill()
        server.wait()
    quantiles = statistics.quantiles(taken, n=100)
    rows = [
        ("slow connections held", held),
        ("told to go in that time", ended),
        ("honest messages taken", len(taken)),
        ("honest messages refused", refused),
        ("p50 / p99 of honest mail, ms", f"{quantiles[49] * 1000:.0f} / {quantiles[98] * 1000:.0f}"),
        ("p50 without an attack, ms", f"{statistics.median(before) * 1000:.0f}"),
        ("CPU of the listener, share of one core", f"{cpu / given.seconds:.2f}"),
        ("memory of the listener, MiB", memory),
    ]
    text = table(("", f"{given.seconds:.0f} s"), rows)
    print(text)
    write_section("slow-connections", text, title=f"Honest mail beside {given.connections:,} slow connections")
    return 0 if quantiles[98] < BAR and not refused else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
