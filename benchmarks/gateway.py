"""The whole gateway (scan on, durable) against Postfix on the same disk, interleaved; and its memory under large messages.

    python benchmarks/gateway.py [--messages 2000] [--rounds 5] [--only rate|memory] [--sessions 20]

Rate: Postfix's smtp-source, 16 KiB, --sessions sessions, one connection a message and kept sessions. Both run all the time; each round offers to
one, waits until its queue is empty, then to the next, so that none delivers while another accepts. Both throw the mail away after queueing
it (Postfix: transport discard; ours: route /dev/null); ours has scanned it before. Beside it, without a bar, ours when it hands the mail
on to smtp-sink meanwhile. Memory: anonymous memory of all processes of the gateway (smaps_rollup), sampled
while large messages come in.
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from baselines.postfix import Postfix
from processes import LOOPBACK, Server, cpu_seconds, free_port, memory
from results import table, write_section

SIZE, SESSIONS = 16 << 10, 20
BAR = 2.5
MANY, MANY_BAR = 100, 3.0  # sessions from which on the bar is higher
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
class Run:
    rate: float  # messages a second, as the client sees it
    cpu: float  # microseconds a message, of the whole server
    receive_cpu: float  # of the receivers alone; 0 where that is not known apart


def offer(port: int, count: int, *, keep: bool, sessions: int = SESSIONS, message: Path | None = None) -> float:
    """Seconds that smtp-source takes; with its own filler, or with the message of a file."""
    command = ["smtp-source", "-M", "client.example.org", "-f", "a@example.org", "-t", "b@example.net", "-C", "10"]
    command += [
        "-s",
        str(sessions),
        "-m",
        str(count),
        *(["-F", str(message)] if message else ["-l", str(SIZE)]),
        *(["-d"] if keep else []),
        f"{LOOPBACK}:{port}",
    ]
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


def measure_rate(folder: Path, messages: int, rounds: int, sessions: int) -> tuple[str, bool]:
    sink_port, postfix_port = free_port(), free_port()
    sink = Server(["smtp-sink", "-u", "nobody", f"{LOOPBACK}:{sink_port}", "1000"], sink_port, log=folder / "sink.log")
    ours = {
        "/dev/null": Gateway(folder / "discarding", route="/dev/null"),
        "smtp-sink": Gateway(folder / "handing-on", route=f"{LOOPBACK}:{sink_port}"),
    }
    postfix = Postfix(folder / "postfix", postfix_port)

    def run_ours(gateway: Gateway, keep: bool) -> Run:
        receivers = [process for name, process in gateway.processes().items() if name.startswith("receive")]
        began, own = gateway.server.cpu_seconds(), sum(map(cpu_seconds, receivers))
        seconds = offer(gateway.port, messages, keep=keep, sessions=sessions)
        own = sum(map(cpu_seconds, receivers)) - own
        quiet(lambda: (totals := gateway.totals())["esa_messages_kept"] - totals["esa_deliveries_sent"])
        return Run(messages / seconds, 1e6 * (gateway.server.cpu_seconds() - began) / messages, 1e6 * own / messages)

    def run_postfix(keep: bool) -> Run:
        began = postfix.cpu_seconds()
        seconds = offer(postfix_port, messages, keep=keep, sessions=sessions)
        quiet(postfix.waiting)
        return Run(messages / seconds, 1e6 * (postfix.cpu_seconds() - began) / messages, 0.0)

    def run_all(keep: bool) -> dict[str, Run]:
        return {**{where: run_ours(gateway, keep) for where, gateway in ours.items()}, "Postfix": run_postfix(keep)}

    try:
        rows, good = [], True
        bar = BAR if sessions < MANY else MANY_BAR
        for keep in (False, True):
            run_all(keep)
            runs = [run_all(keep) for _ in range(rounds)]
            theirs = [run["Postfix"] for run in runs]
            for where in ours:
                own = [run[where] for run in runs]
                ratios = [one.rate / other.rate for one, other in zip(own, theirs, strict=True)]
                ratio = statistics.median(ratios)
                has_bar = where == "/dev/null"
                good = good and (ratio >= bar or not has_bar)
                rows.append(
                    (
                        f"{'kept sessions' if keep else 'one connection a message'}; esa then to {where}",
                        spread([run.rate for run in own]),
                        spread([run.rate for run in theirs]),
                        f"**{ratio:.1f}×** ({min(ratios):.1f}–{max(ratios):.1f})",
                        f"≥ {bar:g}×" if has_bar else "",
                        f"{statistics.median(run.receive_cpu for run in own):.0f}",
                        f"{statistics.median(run.cpu for run in own):.0f}",
                        f"{statistics.median(run.cpu for run in theirs):.0f}",
                    )
                )
    finally:
        postfix.stop()
        for gateway in ours.values():
            gateway.server.stop()
        sink.stop()
    header = (
        f"{SIZE >> 10} KiB, {sessions} sessions",
        "esa, messages/s",
        "Postfix, messages/s",
        "median of the ratios",
        "bar",
        "esa receive, CPU µs/message with scan and spool",
        "esa in all",
        "Postfix in all, to discard",
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
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--only", choices=("rate", "memory"))
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="esa-gateway-"))
    good = True
    try:
        if given.only != "memory":
            text, reached = measure_rate(folder, given.messages, given.rounds, given.sessions)
            print(text)
            section = "gateway-rate" if given.sessions == SESSIONS else f"gateway-rate-{given.sessions}"
            write_section(section, text, title=f"The gateway beside Postfix, {given.sessions} sessions")
            good = good and reached
        if given.only != "rate":
            text, reached = measure_memory(folder)
            print(text)
            write_section("gateway-memory", text, title="Memory under large messages")
            good = good and reached
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
