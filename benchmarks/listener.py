"""What a listener costs beside taking mail: batching, large tables, a second worker, idle sessions.

    python benchmarks/listener.py [--only latency,tables,workers,idle] [--rounds 7] [--messages 3000]

latency: one client, one message at a time, from the end of mail data to the reply; of two listeners in one process one scans where it
stands and the other by the route's batch stage, asked in turns. tables: two gateways, of which one has 50,000 networks in its host access
and a dictionary of 10,000 terms; CPU of the receivers, one connection a message. workers: two gateways with one and two receivers, and in
the same round two processes of SHA-256 against one. idle: memory of a receiver that holds 10,000 sessions.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import ipaddress
import multiprocessing
import os
import random
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import psutil
import uvloop
from front_end_server import TAKEN
from gateway import Gateway, offer, quiet
from mail import corpus_path, dictionary_terms, read
from processes import LOOPBACK, cpu_seconds, free_port, memory
from results import table, write_section

from esa.engine.scanner import Scanner
from esa.engine.verdict import Report
from esa.gateway.batcher import Stage
from esa.gateway.limits import Limits
from esa.gateway.listener import serve
from esa.gateway.receive import COMMIT_OCTETS, SCAN_ITEMS
from esa.gateway.receiver import Receiver, Transaction

LATENCY_BARS = 50.0, 1_000.0  # microseconds, p50 and p99
TABLES_BAR = 15.0  # per cent
WORKERS_BAR, CONTROL_BAR = 0.9, 1.5
IDLE_BAR, IDLE_SESSIONS = 150.0, 10_000  # MiB
NETWORKS, TERMS = 50_000, 10_000
PAUSE = 0.002  # seconds between messages: low load
EVERY_MESSAGE = "max_msgs_per_session = 1000000\nmax_concurrency = -1\n"


# --- latency


class Direct(Receiver):
    """Scans where it stands."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner

    def message(self, transaction: Transaction) -> None:
        self._scanner.scan_batch([transaction.content])
        transaction.finish(TAKEN)


class Batched(Receiver):
    """Scans in batches, as the route of a worker does."""

    def __init__(self, scanner: Scanner) -> None:
        self._stage: Stage[Transaction, list[Report]] = Stage(
            "scan",
            lambda waiting: list(scanner.scan_batch([one.content for one in waiting])),
            lambda waiting, reports, microseconds: [one.finish(TAKEN) for one in waiting],  # type: ignore[func-returns-value, arg-type]
            lambda waiting, error: sys.exit(str(error)),
            loop=asyncio.get_running_loop(),
            batch_items=SCAN_ITEMS,
            batch_octets=COMMIT_OCTETS,
            inline=True,
        )

    def message(self, transaction: Transaction) -> None:
        self._stage.put(transaction, transaction.size)


def serve_both(ports: tuple[int, int]) -> None:
    async def run() -> None:
        scanner = Scanner()
        for port, receiver in zip(ports, (Direct(scanner), Batched(scanner)), strict=True):
            await serve(receiver, socket.create_server((LOOPBACK, port)), hostname="mx.example.org", limits=Limits(transactions=1_000_000))
        await asyncio.Event().wait()

    uvloop.run(run())


class Sender:
    """One kept session."""

    def __init__(self, port: int) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self._socket = socket.create_connection((LOOPBACK, port), 30)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")
        self._reply()
        self._ask(b"EHLO client.example\r\n")

    def _reply(self) -> None:
        while self._lines.readline()[3:4] == b"-":
            pass

    def _ask(self, octets: bytes) -> None:
        self._socket.sendall(octets)
        self._reply()

    def microseconds(self, content: bytes) -> float:
        """From the end of mail data to its reply."""
        for command in (b"MAIL FROM:<a@example.net>\r\n", b"RCPT TO:<b@example.org>\r\n", b"DATA\r\n"):
            self._ask(command)
        self._socket.sendall(content)
        time.sleep(PAUSE)  # all of it is there
        began = time.perf_counter_ns()
        self._ask(b".\r\n")
        return (time.perf_counter_ns() - began) / 1000


def measure_latency(rounds: int) -> bool:
    ports = free_port(), free_port()
    server = multiprocessing.get_context("spawn").Process(target=serve_both, args=(ports,), daemon=True)
    server.start()
    try:
        mail, _ = read(corpus_path("spamassassin"), 400)
        contents = [_crlf(raw) for raw in mail if 2_000 < len(raw) < 8_000]
        senders = [Sender(port) for port in ports]
        for sender in senders:
            for content in contents[:50]:
                sender.microseconds(content)
        took: tuple[list[float], list[float]] = [], []
        for number in range(rounds):
            for content in contents:
                order = (0, 1) if number % 2 else (1, 0)
                for at in order:
                    took[at].append(senders[at].microseconds(content))
    finally:
        server.kill()
        server.join()
    quantiles = [statistics.quantiles(one, n=100) for one in took]
    rows = [
        (name, f"{of[49]:.0f}", f"{of[98]:.0f}")
        for name, of in zip(("scanned where it stands", "by the batch stage"), quantiles, strict=True)
    ]
    added = quantiles[1][49] - quantiles[0][49], quantiles[1][98] - quantiles[0][98]
    rows.append(("added by batching", f"**{added[0]:+.0f}**", f"**{added[1]:+.0f}**"))
    text = table(("end of mail data to reply, µs", "p50", "p99"), rows)
    text += f"\n\n{len(took[0]):,} messages each, one at a time. Bars: p50 {LATENCY_BARS[0]:.0f}, p99 {LATENCY_BARS[1]:,.0f}."
    print(text)
    write_section("listener-latency", text, title="What batching adds to the latency of one message")
    return added[0] <= LATENCY_BARS[0] and added[1] <= LATENCY_BARS[1]


def _crlf(raw: bytes) -> bytes:
    lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b" ").split(b"\n")
    return b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in lines)


# --- tables


def networks() -> list[str]:
    """/16 to /32 from everywhere but where the clients come from."""
    chosen = random.Random(4)
    found: set[str] = set()
    while len(found) < NETWORKS:
        bits = chosen.choice((16, 20, 22, 24, 24, 24, 28, 32, 32))
        first = ipaddress.ip_address(chosen.randrange(128 << 24, 223 << 24))
        found.add(str(ipaddress.ip_network((first, bits), strict=False)))
    return sorted(found)


def receive_cpu(gateway: Gateway, messages: int, *, keep: bool = False, message: Path | None = None) -> tuple[float, float]:
    """CPU microseconds a message of the receivers, and messages a second."""
    receivers = [process for name, process in gateway.processes().items() if name.startswith("receive")]
    used = sum(map(cpu_seconds, receivers))
    seconds = offer(gateway.port, messages, keep=keep, message=message)
    used = sum(map(cpu_seconds, receivers)) - used
    quiet(lambda: (totals := gateway.totals())["esa_messages_kept"] - totals["esa_deliveries_sent"])
    return 1e6 * used / messages, messages / seconds


def measure_tables(folder: Path, rounds: int, messages: int) -> bool:
    (folder / "blocked.txt").write_text("\n".join(networks()) + "\n")
    mail, _ = read(corpus_path("spamassassin"), 4096)
    (folder / "terms.txt").write_text("\n".join(dictionary_terms(mail, TERMS)) + "\n")
    policy = f"[mail_flow_policy.ACCEPTED]\n{EVERY_MESSAGE}"
    blocked = f'[[sender_group]]\nname = "BLOCKED"\npolicy = "BLOCKED"\nsender_files = ["{folder}/blocked.txt"]\n'
    pair = (
        Gateway(folder / "bare", route="/dev/null", more=policy + '[[sender_group]]\nname = "NOBODY"\nsenders = ["192.0.2.1"]\n'),
        Gateway(folder / "full", route="/dev/null", more=f'{policy}{blocked}[scan]\ndictionaries = ["{folder}/terms.txt"]\n'),
    )
    real = folder / "message"
    real.write_bytes(min((raw for raw in mail if len(raw) > 16_384), key=len).replace(b"\r\n", b"\n"))
    rows, extras = [], []
    try:
        for what, message in (("a real message of 16 KiB", real), ("smtp-source's filler, 16 KiB of X", None)):
            works = [partial(receive_cpu, gateway, messages, message=message) for gateway in pair]
            bare, full = _in_turns([lambda work=work: work()[0] for work in works], rounds)  # type: ignore[misc]
            ratios = [100 * (with_tables / without - 1) for without, with_tables in zip(bare, full, strict=True)]
            extras.append(statistics.median(ratios))
            rows.append((what, _spread(bare), _spread(full), f"**{extras[-1]:+.1f} %** ({min(ratios):+.1f} – {max(ratios):+.1f} %)"))
    finally:
        for gateway in pair:
            gateway.server.stop()
    extra = extras[0]
    text = table(
        ("receive, CPU µs a message, a connection each", "nothing loaded", f"{NETWORKS:,} networks, {TERMS:,} terms", "extra"), rows
    )
    text += f"\n\n{rounds} rounds in turns, {messages} messages each. Bar: {TABLES_BAR:.0f} % with real mail."
    print(text)
    write_section("listener-tables", text, title="What large tables cost a message")
    return extra <= TABLES_BAR


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def _in_turns(works: list[Callable[[], float]], rounds: int) -> list[list[float]]:
    for work in works:
        work()
    runs: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for run, work in zip(runs, works, strict=True):
            run.append(work())
    return runs


# --- workers


def hash_for(seconds: float) -> int:
    block, done, end = bytes(1_000_000), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        hashlib.sha256(block).digest()
        done += 1
    return done


def control(pool: multiprocessing.pool.Pool, seconds: float = 1.5) -> float:
    """What a second process of SHA-256 gains."""
    alone = sum(pool.map(hash_for, [seconds], 1))
    return sum(pool.map(hash_for, [seconds, seconds], 1)) / alone


def measure_workers(folder: Path, rounds: int, messages: int) -> bool:
    policy = f"[mail_flow_policy.ACCEPTED]\n{EVERY_MESSAGE}"
    pair = [Gateway(folder / f"workers-{count}", route="/dev/null", more=policy, workers=count) for count in (1, 2)]
    gains, controls, cpus, busy = [], [], [], []
    try:
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            for number in range(rounds + 1):
                gained = control(pool)
                (cpu_1, rate_1) = receive_cpu(pair[0], messages, keep=True)
                psutil.cpu_percent()
                (cpu_2, rate_2) = receive_cpu(pair[1], messages, keep=True)
                share = psutil.cpu_percent()
                if number:
                    gains.append(rate_2 / rate_1)
                    controls.append(gained)
                    cpus.append(100 * (cpu_2 / cpu_1 - 1))
                    busy.append(share)
    finally:
        for gateway in pair:
            gateway.server.stop()
    gain, gained, cpu = statistics.median(gains), statistics.median(controls), statistics.median(cpus)
    reached = gain / gained
    rows = [
        ("control, SHA-256 in two processes", f"×{gained:.2f}", "", ""),
        ("gateway, 16 KiB, scan and spool", f"×{gain:.2f}", f"{reached:.2f}", f"{cpu:+.1f} %"),
    ]
    text = table(("two against one", "messages a second", "of the control's", "receive, CPU a message"), rows)
    text += f"\n\nMedians of {rounds} rounds, {messages} messages each, 20 kept sessions. Bar: {WORKERS_BAR} of the control's gain."
    text += (
        f" All processors together were busy for {statistics.median(busy):.0f} % of the time with two workers; the client, the keeper and"
    )
    text += " the deliverer share them with the workers, the control has them for itself."
    met = reached >= WORKERS_BAR or gained < CONTROL_BAR
    print(text)
    write_section("listener-workers", text, title="Two workers against one")
    return met


# --- idle sessions


def measure_idle(folder: Path) -> bool:
    gateway = Gateway(
        folder / "idle",
        route="/dev/null",
        listener=f"max_connections = {IDLE_SESSIONS + 500}\n",
        more=f"[mail_flow_policy.ACCEPTED]\n{EVERY_MESSAGE}[senders]\nconnections_per_network = -1\n",
        workers=1,
    )
    clients: list[socket.socket] = []
    try:
        (receiver,) = (process for name, process in gateway.processes().items() if name.startswith("receive"))
        offer(gateway.port, 500, keep=True)
        before = memory(receiver)
        for number in range(IDLE_SESSIONS):
            client = socket.create_connection((LOOPBACK, gateway.port), 30, source_address=(f"127.{1 + number % 200}.0.1", 0))
            client.recv(200)
            client.sendall(b"EHLO client.example\r\n")
            client.recv(2000)
            clients.append(client)
        after = memory(receiver)
        served = offer(gateway.port, 500, keep=True)
    finally:
        for client in clients:
            client.close()
        gateway.server.stop()
    grown = after.rss - before.rss
    rows = [
        ("resident before, MiB", f"{before.rss:.0f}"),
        (f"resident with {IDLE_SESSIONS:,} sessions that have said EHLO, MiB", f"{after.rss:.0f}"),
        ("grown, MiB", f"**{grown:.0f}**"),
        ("octets a session", f"{grown * (1 << 20) / IDLE_SESSIONS:.0f}"),
        ("messages a second beside them", f"{500 / served:,.0f}"),
    ]
    text = table(("one receiver of the gateway", ""), rows) + f"\n\nBar: {IDLE_BAR:.0f} MiB."
    print(text)
    write_section("listener-idle", text, title="Idle sessions")
    return grown <= IDLE_BAR


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="latency,tables,workers,idle")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--messages", type=int, default=3000)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="esa-listener-"))
    measures: dict[str, Callable[[], bool]] = {
        "latency": lambda: measure_latency(given.rounds),
        "tables": lambda: measure_tables(folder, given.rounds, given.messages),
        "workers": lambda: measure_workers(folder, given.rounds, given.messages),
        "idle": lambda: measure_idle(folder),
    }
    try:
        met = [measures[name]() for name in given.only.split(",")]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(met) else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
