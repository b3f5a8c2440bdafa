"""The whole gateway (scan on, durable) against Postfix on the same disk, interleaved; and its memory under large messages.

    python benchmarks/gateway.py [--messages 2000] [--rounds 5] [--only rate|delivery|memory] [--sizes 2,16] [--sessions 1,20,100] [--write]

Rate: Postfix's smtp-source, of each size (KiB) and number of sessions, one connection a message and kept sessions. Both run all the time; each
round offers to one, waits until its queue is empty, then to the other, so that none delivers while another accepts. Both throw the mail away
after queueing it (Postfix: transport discard; ours: route /dev/null); ours has scanned it before. One session offers an eighth of --messages.
Delivery: both hand the mail on to smtp-sink (Postfix by its smtp transport, unscanned; ours scanned), and the time counts until the last has
arrived. Memory: anonymous memory of all processes of the gateway (smaps_rollup), sampled while large messages come in.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from baselines.postfix import Postfix
from processes import LOOPBACK, Server, cpu_seconds, free_port, memory
from results import table, write_section

SIZE = 16  # KiB
BARS = {1: 1.5, 20: 3.0, 100: 5.0}  # times the rate of Postfix, by sessions
GOALS = {1: 2.5, 20: 4.0, 100: 10.0}
DELIVERY_BAR, DELIVERY_GOAL = 1.0, 2.0
MIB = 1 << 20


class Gateway:
    """`esa serve` in a folder of its own."""

    def __init__(
        self, folder: Path, *, route: str, message_size: str = "50 MiB", workers: int = 0, listener: str = "", more: str = ""
    ) -> None:
        """`listener` and `more` are lines of configuration: of the listener's table, and tables."""
        folder.mkdir(parents=True)
        self.port, self.health = free_port(), free_port()
        configuration = folder / "esa.toml"
        delivery = f'[delivery]\nroute = "{route}"\n'
        configuration.write_text(
            f'[gateway]\nstate = "{folder / "state"}"\nworkers = {workers}\n'
            f'[[listener]]\nport = {self.port}\nmax_message_size = "{message_size}"\n{listener}'
            # every message goes on after its scan, whatever its score: smtp-source's filler is no mail that a model could know
            f'[metrics]\nport = {self.health}\n[mail_policy]\npositive = "deliver"\nsuspect = "deliver"\n{delivery}{more}'
        )
        self.log = folder / "log"
        command = [sys.executable, "-m", "esa.cli", "serve", "--config", str(configuration)]
        self.server = Server(command, self.port, log=self.log, folder=folder, ready=lambda: b"service.started" in self.log.read_bytes())

    def totals(self) -> dict[str, int]:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.health}/health", timeout=10) as answer:
            body = json.load(answer)
        totals: dict[str, int] = body["totals"]
        return totals

    def processes(self) -> dict[str, int]:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.health}/health", timeout=10) as answer:
            body = json.load(answer)
        return {name: int(process["pid"]) for name, process in body["processes"].items()}


@dataclass(frozen=True, slots=True)
class Case:
    size: int  # KiB
    sessions: int
    keep: bool  # sessions go on with the next message

    def __str__(self) -> str:
        kind = "kept" if self.keep else "a connection a message"
        return f"{self.size} KiB, {self.sessions} session{'s' if self.sessions > 1 else ''}, {kind}"


@dataclass(frozen=True, slots=True)
class Run:
    accepted: float  # messages a second, as the client sees it
    done: float  # messages a second, until the last has gone on
    cpu: float  # microseconds a message, of the whole server
    receive_cpu: float  # of the receivers alone; 0 where that is not known apart


def offer(port: int, count: int, *, keep: bool, sessions: int = 20, size: int = SIZE, message: Path | None = None) -> float:
    """Seconds that smtp-source takes; with its own filler of `size` KiB, or with the message of a file."""
    command = ["smtp-source", "-M", "client.example.org", "-f", "a@example.org", "-t", "b@example.net", "-C", "10"]
    command += ["-s", str(sessions), "-m", str(count), *(["-F", str(message)] if message else ["-l", str(size << 10)])]
    command += [*(["-d"] if keep else []), f"{LOOPBACK}:{port}"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"smtp-source failed: {done.stdout}{done.stderr}")
    return time.perf_counter() - began


def quiet(look: Callable[[], int], patience: float = 120.0) -> None:
    """Wait until `look()` is 0."""
    deadline = time.monotonic() + patience
    while look() and time.monotonic() < deadline:
        time.sleep(0.05)


class Pair:
    """Ours and Postfix, which hand all mail on to `sink` (host:port), or throw it away."""

    def __init__(self, folder: Path, sink: str = "") -> None:
        self._port = free_port()
        self.ours = Gateway(folder / "esa", route=sink or "/dev/null")
        self.theirs = Postfix(folder / "postfix", self._port, sink=sink)

    def stop(self) -> None:
        self.theirs.stop()
        self.ours.server.stop()

    def run_ours(self, case: Case, messages: int) -> Run:
        gateway = self.ours
        receivers = [process for name, process in gateway.processes().items() if name.startswith("receive")]
        all_before, before = gateway.server.cpu_seconds(), sum(map(cpu_seconds, receivers))
        began = time.perf_counter()
        accepted = offer(gateway.port, messages, keep=case.keep, sessions=case.sessions, size=case.size)
        receive = sum(map(cpu_seconds, receivers)) - before
        quiet(lambda: (totals := gateway.totals())["esa_messages_kept"] - totals["esa_deliveries_sent"])
        done, cpu = time.perf_counter() - began, gateway.server.cpu_seconds() - all_before
        return Run(messages / accepted, messages / done, 1e6 * cpu / messages, 1e6 * receive / messages)

    def run_theirs(self, case: Case, messages: int) -> Run:
        before, began = self.theirs.cpu_seconds(), time.perf_counter()
        accepted = offer(self._port, messages, keep=case.keep, sessions=case.sessions, size=case.size)
        quiet(self.theirs.waiting)
        done, cpu = time.perf_counter() - began, self.theirs.cpu_seconds() - before
        return Run(messages / accepted, messages / done, 1e6 * cpu / messages, 0.0)

    def run(self, case: Case, messages: int, rounds: int) -> list[tuple[Run, Run]]:
        """Of ours and theirs, by turns; the first round is not counted."""
        if case.sessions == 1:
            messages //= 8
        return [(self.run_ours(case, messages), self.run_theirs(case, messages)) for _ in range(rounds + 1)][1:]


def measure_rate(folder: Path, messages: int, rounds: int, cases: Sequence[Case]) -> tuple[str, bool]:
    pair = Pair(folder)
    rows, good = [], True
    try:
        for case in cases:
            runs = pair.run(case, messages, rounds)
            ratios = [ours.accepted / theirs.accepted for ours, theirs in runs]
            ratio, bar, goal = statistics.median(ratios), BARS.get(case.sessions), GOALS.get(case.sessions)
            good = good and (bar is None or ratio >= bar)
            rows.append(
                (
                    str(case),
                    spread([ours.accepted for ours, _ in runs]),
                    spread([theirs.accepted for _, theirs in runs]),
                    f"**{ratio:.1f}×** ({min(ratios):.1f}–{max(ratios):.1f})",
                    "" if bar is None else f"{bar:g}× / {goal:g}×: {'missed' if ratio < bar else 'met'}",
                    f"{statistics.median(ours.receive_cpu for ours, _ in runs):.0f}",
                    f"{statistics.median(ours.cpu for ours, _ in runs):.0f}",
                    f"{statistics.median(theirs.cpu for _, theirs in runs):.0f}",
                )
            )
            print(*rows[-1], sep="; ", flush=True)
    finally:
        pair.stop()
    header = (
        "accepted, durable; ours with its scan",
        "esa, messages/s",
        "Postfix, messages/s",
        "median of the ratios",
        "bar / goal",
        "esa receive, CPU µs/message with scan and spool",
        "esa in all",
        "Postfix in all, to discard",
    )
    return table(header, rows), good


def measure_delivery(folder: Path, messages: int, rounds: int, cases: Sequence[Case]) -> tuple[str, bool]:
    port = free_port()
    rows, good = [], True
    with Server(["smtp-sink", "-u", "nobody", f"{LOOPBACK}:{port}", "1000"], port, log=folder / "sink.log"):
        pair = Pair(folder / "delivering", f"{LOOPBACK}:{port}")
        try:
            for case in cases:
                runs = pair.run(case, messages, rounds)
                ratios = [ours.done / theirs.done for ours, theirs in runs]
                ratio = statistics.median(ratios)
                good = good and ratio >= DELIVERY_BAR
                rows.append(
                    (
                        str(case),
                        spread([ours.done for ours, _ in runs]),
                        spread([theirs.done for _, theirs in runs]),
                        f"**{ratio:.1f}×** ({min(ratios):.1f}–{max(ratios):.1f})",
                        f"{DELIVERY_BAR:g}× / {DELIVERY_GOAL:g}×: {'missed' if ratio < DELIVERY_BAR else 'met'}",
                        f"{statistics.median(ours.cpu for ours, _ in runs):.0f}",
                        f"{statistics.median(theirs.cpu for _, theirs in runs):.0f}",
                    )
                )
                print(*rows[-1], sep="; ", flush=True)
        finally:
            pair.stop()
    header = (
        "from the first connection until the last is in smtp-sink",
        "esa with its scan, messages/s",
        "Postfix without, messages/s",
        "median of the ratios",
        "bar / goal",
        "esa in all, CPU µs/message",
        "Postfix in all",
    )
    return table(header, rows), good


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


# --- memory -----------------------------------------------------------------------------------------------------------------------------


def large_message(octets: int) -> bytes:
    """A message with one base64 attachment, about so long."""
    line = base64.b64encode(os.urandom(57)) + b"\r\n"
    head = (
        b"From: a@example.net\r\nTo: b@example.org\r\nSubject: the pictures\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHere they are.\r\n'
        b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    return head + line * ((octets - len(head)) // len(line)) + b"--b--\r\n"


def send(port: int, content: bytes, replies: list[str], *, declare: bool = False) -> None:
    """One message over a plain socket; `content` has no line that begins with a dot. The reply that ends the transaction is kept."""
    with socket.create_connection((LOOPBACK, port), 120) as connection, connection.makefile("rb") as lines:

        def reply() -> str:
            while True:
                line = lines.readline().decode()
                if line[3:4] != "-":
                    return line.strip()

        reply()
        size = f" SIZE={len(content)}" if declare else ""
        for command in ("EHLO client.example.net", f"MAIL FROM:<a@example.net>{size}", "RCPT TO:<b@example.org>", "DATA"):
            connection.sendall(f"{command}\r\n".encode())
            answer = reply()
            if answer[:1] in "45":
                replies.append(answer)
                return
        view = memoryview(content)
        for start in range(0, len(view), 1 << 18):
            connection.sendall(view[start : start + (1 << 18)])
        connection.sendall(b".\r\n")
        replies.append(reply())


class Sampler:
    """The most anonymous memory of a process tree, over what it had before."""

    def __init__(self, process: int) -> None:
        self._process = process
        self.before = memory(process).anonymous
        self.peak = self.before
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, memory(self._process).anonymous)

    def stop(self) -> float:
        self._stop.set()
        self._thread.join()
        return self.peak - self.before


def measure_memory(folder: Path) -> tuple[str, bool]:
    gateway = Gateway(folder / "large", route="")
    rows, good = [], True
    cases: tuple[tuple[str, int, int, str, bool, int], ...] = (
        ("200 MB × 4 in parallel, no SIZE given", 200_000_000, 4, "552", False, 64),
        ("200 MB × 4, SIZE given", 200_000_000, 4, "552", True, 64),
        ("25 MB × 20 in parallel", 25_000_000, 20, "250", False, 128),
    )
    try:
        send(gateway.port, large_message(3 * MIB), [])  # what is loaded late is loaded
        time.sleep(1)
        for what, octets, count, expected, declare, bar in cases:
            content = large_message(octets)
            replies: list[str] = []
            sampler = Sampler(gateway.server.process)
            began = time.perf_counter()
            threads = [
                threading.Thread(target=send, args=(gateway.port, content, replies), kwargs={"declare": declare}) for _ in range(count)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds = time.perf_counter() - began
            grown = sampler.stop()
            answered = sum(reply.startswith(expected) for reply in replies)
            good = good and answered == count and grown <= bar
            seen = sorted({re.sub(r"[0-9A-Z]{26}", "…", reply) for reply in replies})
            rows.append((what, f"{answered} of {count}: {'; '.join(seen)}", f"+{grown:.0f} MiB", f"+{bar} MB", f"{seconds:.1f}"))
            arrived = gateway.totals()
            quiet(lambda: (totals := gateway.totals())["esa_messages_kept"] - totals["esa_deliveries_sent"])
            if arrived["esa_messages_kept"] != gateway.totals()["esa_messages_kept"]:
                good = False
    finally:
        gateway.server.stop()
    return table(("offered", "replies", "anonymous memory of all processes, over before", "bar", "seconds"), rows), good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="2,16", help="KiB")
    parser.add_argument("--sessions", default="1,20,100")
    parser.add_argument("--only", choices=("rate", "delivery", "memory"))
    parser.add_argument("--write", action="store_true", help="put the figures into RESULTS.md")
    given = parser.parse_args()
    sizes, sessions = ([int(one) for one in text.split(",")] for text in (given.sizes, given.sessions))
    cases = [Case(size, many, keep) for keep in (False, True) for size in sizes for many in sessions]
    folder = Path(tempfile.mkdtemp(prefix="esa-gateway-"))
    good = True

    def tell(section: str, title: str, outcome: tuple[str, bool]) -> None:
        nonlocal good
        print(outcome[0])
        good = good and outcome[1]
        if given.write:
            write_section(section, outcome[0], title=title)

    try:
        if given.only in (None, "rate"):
            for many in sessions:
                chosen = [case for case in cases if case.sessions == many]
                tell(
                    f"gateway-rate-{many}",
                    f"Durable accept beside Postfix, {many} sessions",
                    measure_rate(folder / str(many), given.messages, given.rounds, chosen),
                )
        if given.only in (None, "delivery"):
            delivered = [case for case in cases if case.sessions > 1]
            tell(
                "gateway-delivery",
                "Received, scanned, delivered beside Postfix",
                measure_delivery(folder, given.messages, given.rounds, delivered),
            )
        if given.only in (None, "memory"):
            tell("gateway-memory", "Memory under large messages", measure_memory(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
