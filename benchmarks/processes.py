"""Servers under measurement: started in the foreground, ended by their own process, with the CPU time and memory of their whole tree."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
_TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def tree(process: int) -> list[int]:
    """The process and every living descendant."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = (entry / "stat").read_text()
                children.setdefault(int(stat[stat.rindex(")") + 2 :].split()[1]), []).append(int(entry.name))
    found, waiting = [], [process]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def cpu_seconds(process: int) -> float:
    """User and system seconds of the tree, finer than a clock tick for living threads; reaped children count by ticks."""
    total = 0.0
    for one in tree(process):
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
            stat = Path(f"/proc/{one}/stat").read_text()
            reaped = stat[stat.rindex(")") + 2 :].split()[13:15]
            total += sum(map(int, reaped)) / _TICK
    return total


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB of a process tree: resident, proportional, and anonymous (not backed by a file)."""

    rss: float
    pss: float
    anonymous: float


def memory(process: int) -> Memory:
    sums = {"Rss:": 0, "Pss:": 0, "Anonymous:": 0}
    for one in tree(process):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(" ")
                if name in sums:
                    sums[name] += int(value.split()[0])
    return Memory(*(round(value / 1024, 1) for value in sums.values()))


def peak_memory(process: int) -> float:
    """MiB of the largest resident size of one living process since it began its program; 0 if it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


class Server:
    """A program that is ready when `port` accepts (or `ready()` says so). Use as a context manager; ends with its children."""

    def __init__(
        self,
        command: Sequence[str | Path],
        port: int,
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        ready: Callable[[], bool] | None = None,
        wait: float = 120.0,
        cores: set[int] | None = None,
    ) -> None:
        began = time.perf_counter()
        prefix = ["taskset", "-c", ",".join(map(str, sorted(cores)))] if cores else []
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*prefix, *map(str, command)],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                cwd=folder,
            )
        self.port = port
        while not (ready or self._accepts)():
            if self._process.poll() is not None or time.perf_counter() - began > wait:
                self.stop()
                raise SystemExit(f"{command[0]} did not start; its log says:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        self.startup_seconds = time.perf_counter() - began

    @property
    def process(self) -> int:
        return self._process.pid

    def _accepts(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), 1).close()
        except OSError:
            return False
        return True

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process)

    def memory(self) -> Memory:
        return memory(self.process)

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        everyone = tree(self.process)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            for one in reversed(everyone):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
            self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
