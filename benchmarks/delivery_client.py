"""The delivery client against aiosmtplib: processor time a message, over sessions that are kept, into Postfix's smtp-sink.

    python benchmarks/delivery_client.py [--messages 2000] [--rounds 5] [--sizes 2,256] [--write]

Each side is a process of its own on uvloop with 20 sessions, and sends the same message over and over; they take turns. Counted is the
processor time of the process from the first MAIL to the last reply, opened sessions before it not. Messages are lines of 76 letters, every fiftieth
begins with a dot.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import uvloop
from processes import LOOPBACK, Server, free_port
from results import table, write_section

from esa.gateway.delivery.client import connect
from esa.message.envelope import Envelope

SESSIONS = 20
BARS = {2: (2.5, 5.0), 256: (5.0, 10.0)}  # times the time of ours, bar and goal, by KiB
SENDER, RECIPIENT = "a@example.org", "b@example.net"
OURS, THEIRS = "esa", "aiosmtplib"
Send = Callable[[], Awaitable[None]]


def message(octets: int) -> bytes:
    """Header and lines, about so long."""
    head = f"From: <{SENDER}>\r\nTo: <{RECIPIENT}>\r\nSubject: a message\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n".encode()
    lines = []
    length = len(head)
    while length < octets:
        lines.append((b"." if len(lines) % 50 == 0 else b"x") + b"y" * 75 + b"\r\n")
        length += 78
    return head + b"".join(lines)


@dataclass(frozen=True, slots=True)
class Whole:
    """A message in memory, as the client takes it."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def chunks(self) -> Iterator[bytes]:
        yield self.content


async def open_ours(port: int, content: bytes) -> Send:
    connection = await connect(LOOPBACK, port, hostname="client.example.org")
    envelope, whole = Envelope(SENDER, (RECIPIENT,), len(content)), Whole(content)

    async def send() -> None:
        attempt = await connection.send(envelope, envelope.recipients, whole)
        if attempt.results[0].status != "delivered":
            raise SystemExit(f"not delivered: {attempt.results[0].reply}")

    return send


async def open_theirs(port: int, content: bytes) -> Send:
    import aiosmtplib

    client = aiosmtplib.SMTP(hostname=LOOPBACK, port=port, local_hostname="client.example.org", start_tls=False)
    await client.connect()

    async def send() -> None:
        await client.sendmail(SENDER, [RECIPIENT], content)

    return send


async def run(side: str, port: int, size: int, messages: int) -> float:
    """Microseconds of processor time a message."""
    content = message(size << 10)
    sends = [await (open_ours if side == OURS else open_theirs)(port, content) for _ in range(SESSIONS)]
    left = messages

    async def work(send: Send) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await send()

    for send in sends:
        await send()  # what is made once is made
    began = time.process_time()
    await asyncio.gather(*map(work, sends))
    return 1e6 * (time.process_time() - began) / messages


def measure(side: str, port: int, size: int, messages: int) -> float:
    inner = [sys.executable, __file__, "--inner", side, "--port", str(port), "--sizes", str(size), "--messages", str(messages)]
    done = subprocess.run(inner, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return float(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="2,256", help="KiB")
    parser.add_argument("--write", action="store_true", help="put the figures into RESULTS.md")
    parser.add_argument("--inner", choices=(OURS, THEIRS), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    if given.inner:
        print(uvloop.run(run(given.inner, given.port, sizes[0], given.messages)))
        return 0
    port, rows, good = free_port(), [], True
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(["smtp-sink", "-u", "nobody", f"{LOOPBACK}:{port}", "1000"], port, log=Path(folder) / "sink.log"),
    ):
        for size in sizes:
            messages = given.messages if size < 64 else given.messages // 8
            runs = [(measure(OURS, port, size, messages), measure(THEIRS, port, size, messages)) for _ in range(given.rounds)]
            ratios = [theirs / ours for ours, theirs in runs]
            ratio, (bar, goal) = statistics.median(ratios), BARS.get(size, (0.0, 0.0))
            good = good and ratio >= bar
            rows.append(
                (
                    f"{size} KiB",
                    f"{statistics.median(ours for ours, _ in runs):.0f}",
                    f"{statistics.median(theirs for _, theirs in runs):.0f}",
                    f"**{ratio:.1f}×** ({min(ratios):.1f}–{max(ratios):.1f})",
                    f"{bar:g}× / {goal:g}×: {'missed' if ratio < bar else 'met'}" if bar else "",
                )
            )
    text = table(("a message, kept sessions", "esa, CPU µs", "aiosmtplib on uvloop, CPU µs", "median of the ratios", "bar / goal"), rows)
    print(text)
    if given.write:
        write_section("delivery-client", text, title="Processor time of the delivery client")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
