"""A real gateway for tests: `esa serve` as its own process, in a folder of its own, on ports of its own.

Used by tests/end_to_end, tests/chaos and benchmarks. Nothing of it is faked; processes are found through /proc, the state through its
files.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import smtplib
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import esa
from esa.gateway.metrics import Counter, Counters

READY_SECONDS = 30.0
STOP_SECONDS = 60.0
REVERSE_PATH, RECIPIENT = "a@example.net", "b@example.org"


class Gateway:
    """One gateway; `start` and `stop` may follow each other."""

    def __init__(self, folder: Path, *, workers: int = 2, more: str = "", listener: str = "") -> None:
        """Writes esa.toml; `more` are further tables of it, `listener` further lines of its listener."""
        self.folder, self.state = folder, folder / "state"
        self.port, self.health_port = unused_port(), unused_port()
        self.configuration = folder / "esa.toml"
        self.configuration.write_text(
            f'[gateway]\nhostname = "mx.example.org"\nstate = "{self.state}"\nworkers = {workers}\ndrain = "5 s"\n'
            f"[[listener]]\nport = {self.port}\n{listener}[metrics]\nport = {self.health_port}\n{more}"
        )
        self.log = folder / "log"
        self.inherited: tuple[int, ...] = ()  # descriptors that `esa serve` is started with
        self.environment: dict[str, str] = {}  # variables that it is started with, beside those of the tests
        self.before: tuple[str, ...] = ()  # words before its command, as those of prlimit
        self._process: subprocess.Popen[bytes] | None = None

    # --- start and end

    def start(self) -> None:
        """Start, and return when mail is taken."""
        with self.log.open("ab") as log:
            mark = log.tell()
            self._process = subprocess.Popen(
                [*self.before, *self._command("serve")],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment() | self.environment,
                pass_fds=self.inherited,
            )
        deadline = time.monotonic() + READY_SECONDS
        while b"event=service.started" not in self.log.read_bytes()[mark:]:
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.end()
                raise RuntimeError(f"the gateway did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> float:
        """SIGTERM; the seconds until it has ended."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(STOP_SECONDS)
        assert status == 0, self.log.read_text()[-3000:]
        return time.monotonic() - began

    def kill_parent(self) -> None:
        """SIGKILL; its children drain by themselves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Leave nothing running, whatever the state."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                for process in (*self.children().values(), self.pid):
                    os.kill(process, signal.SIGKILL)
                self._process.wait()

    # --- what can be asked of it

    def command(self, *words: str, check: bool = True) -> str:
        """Run `esa WORDS --state …` beside it; what it prints."""
        done = subprocess.run(
            self._command(*words), cwd=self.folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or done.returncode in (0, 1), f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "esa.cli", *words, "--config", str(self.configuration)]

    def send(self, content: bytes, *recipients: str) -> tuple[int, str]:
        """Offer a message with the standard library; code and text of the reply to mail data."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            client.ehlo("client.example.net")
            client.mail(REVERSE_PATH)
            for recipient in recipients or (RECIPIENT,):
                client.rcpt(recipient)
            code, text = client.data(content)
            return code, text.decode()

    def maildir(self) -> list[Path]:
        """Messages that have arrived, by name."""
        return sorted((self.state / "Maildir" / "new").glob("*"))

    def arrived(self, count: int, patience: float = 20.0) -> list[bytes]:
        """Wait until `count` messages are in the Maildir; their bytes."""
        deadline = time.monotonic() + patience
        while len(self.maildir()) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.maildir()) == count, self.log.read_text()[-3000:]
        return [path.read_bytes() for path in self.maildir()]

    def http(self, path: str) -> tuple[int, str]:
        """Status and body of the health server."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def health(self) -> dict[str, object]:
        body: dict[str, object] = json.loads(self.http("/health")[1])
        return body

    # --- its processes

    def children(self) -> dict[str, int]:
        """Name → process number of the living children."""
        found = {}
        for process in children_of(self.pid):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
                if b"esa.gateway.process" in words:
                    found[words[words.index(b"esa.gateway.process") + 1].decode()] = process
        return found

    def in_work(self, name: str) -> int:
        """Messages in scan or commit of a receiver (`receive-N`), by its counters."""
        values = Counters(self.state / "run" / "counters").row(2 + int(name.partition("-")[2])).values
        return int(values[Counter.IN_SCAN] + values[Counter.IN_COMMIT])

    def database(self, name: str, question: str) -> list[tuple[object, ...]]:
        """Read a database of the state folder, beside its writer."""
        with contextlib.closing(sqlite3.connect(f"file:{self.state / name}?mode=ro", uri=True)) as database:
            return database.execute(question).fetchall()


def environment() -> dict[str, str]:
    """The environment with the `esa` under test on the path, installed or not."""
    source = str(Path(esa.__file__).resolve().parent.parent)
    paths: Sequence[str] = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), source]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def running(folder: Path, *, workers: int = 2, more: str = "", listener: str = "") -> Iterator[Gateway]:
    """A started gateway, ended afterwards; the body of a fixture."""
    gateway = Gateway(folder, workers=workers, more=more, listener=listener)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.end()


def is_running(process: int) -> bool:
    """False once the process is dead, whether its parent has looked or not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children_of(parent: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found
