"""The scanners a user would pick instead, started privately on loopback and asked for scores: bogofilter, SpamAssassin's spamd, rspamd.

Each peer learns the training half, then scores the test half; `score` returns scores and the CPU it cost, helpers (redis) included.
Settings follow each distribution's defaults, without network look-ups; what is overridden stands in the code below.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from processes import LOOPBACK, Memory, Server, free_port, peak_memory


@dataclass(frozen=True, slots=True)
class Sample:
    """One message of the run: its file, and whether it is spam."""

    path: Path
    is_spam: bool


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores in the order of the messages, and what the run of them cost."""

    scores: list[float]
    wall_seconds: float
    cpu_seconds: float
    memory: Memory


class Peer(Protocol):
    name: str
    limit: int  # at most this many messages are scored in a round (slow peers)

    def start(self, train: Sequence[Sample]) -> None: ...
    def score(self, test: Sequence[Sample]) -> Scored: ...
    def stop(self) -> None: ...


class Bogofilter:
    name = "bogofilter, one bulk process"
    limit = 10**9

    def __init__(self, work: Path) -> None:
        self._database = work / "bogofilter"
        self._database.mkdir()

    def _run(self, arguments: Sequence[str], names: Sequence[Path]) -> tuple[bytes, float, float, float]:
        began = time.perf_counter()
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answered:
            given.write("".join(f"{name}\n" for name in names).encode())
            given.seek(0)
            command = ["bogofilter", "-C", "-d", str(self._database), *arguments, "-b"]
            process = subprocess.Popen(command, stdin=given, stdout=answered)
            peak = 0.0
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                peak = max(peak, peak_memory(process.pid))  # its rusage would begin with the memory of this process, before exec
                time.sleep(0.01)
            _, status, used = ended
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in (0, 1, 2):
                raise SystemExit(f"bogofilter failed with {process.returncode}")
            answered.seek(0)
            return answered.read(), time.perf_counter() - began, used.ru_utime + used.ru_stime, peak

    def start(self, train: Sequence[Sample]) -> None:
        self._run(["-s"], [sample.path for sample in train if sample.is_spam])
        self._run(["-n"], [sample.path for sample in train if not sample.is_spam])

    def score(self, test: Sequence[Sample]) -> Scored:
        output, wall, used, peak = self._run(["-TT"], [sample.path for sample in test])
        found = dict(line.rsplit(None, 1) for line in output.decode().splitlines())
        return Scored([float(found[str(sample.path)]) for sample in test], wall, used, Memory(round(peak, 1), round(peak, 1), 0.0))

    def stop(self) -> None:
        shutil.rmtree(self._database, ignore_errors=True)


class SpamAssassin:
    name = "SpamAssassin spamd -L, rules and Bayes"
    limit = 80

    def __init__(self, work: Path) -> None:
        self._folder = work / "spamd"
        self._folder.mkdir()
        self._port = free_port()
        self._server: Server | None = None

    def _site(self) -> Path:
        listed = subprocess.run(["dpkg", "-L", "spamassassin"], capture_output=True, text=True, check=True).stdout.split()
        return Path(next(line for line in listed if line.endswith("/local.cf") and "share" not in line)).parent

    def start(self, train: Sequence[Sample]) -> None:
        for rules in self._site().glob("*.pre"):
            shutil.copy(rules, self._folder)
        (self._folder / "local.cf").write_text(
            f"use_bayes 1\nbayes_path {self._folder / 'bayes'}\nbayes_auto_learn 0\nbayes_auto_expire 0\n"
            "use_auto_welcomelist 0\nuse_txrep 0\nclear_headers\nadd_header all Score _SCORE_\n"
        )
        for label, wanted in (("spam", True), ("ham", False)):
            names = self._folder / f"{label}.list"
            names.write_text("".join(f"{sample.path}\n" for sample in train if sample.is_spam is wanted))
            self._learn("--no-sync", f"--{label}", "-f", str(names))
        self._learn("--sync")
        user = "debian-spamd" if os.geteuid() == 0 else ""
        if user:
            subprocess.run(["chown", "-R", user, str(self._folder)], check=True)
        self._server = Server(
            [
                *("spamd", "-L", "-x", "-i", LOOPBACK, "-p", str(self._port), "-m", "1", "--min-children=1", "--min-spare=0"),
                *("--max-conn-per-child=100000", "-s", "stderr", f"--siteconfigpath={self._folder}", "-H", str(self._folder)),
                *("-r", str(self._folder / "pid")),
                *(["-u", user] if user else []),
            ],
            self._port,
            log=self._folder / "log",
            ready=self._answers,
        )

    def _learn(self, *arguments: str) -> None:
        subprocess.run(["sa-learn", "--siteconfigpath", str(self._folder), *arguments], stdout=subprocess.DEVNULL, check=True)

    def _exchange(self, request: bytes) -> bytes:
        with socket.create_connection((LOOPBACK, self._port), 60) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()

    def _answers(self) -> bool:
        try:
            return b"PONG" in self._exchange(b"PING SPAMC/1.2\r\n\r\n")
        except OSError:
            return False

    def score(self, test: Sequence[Sample]) -> Scored:
        assert self._server is not None
        before, began, scores = self._server.cpu_seconds(), time.perf_counter(), []
        for sample in test:
            raw = sample.path.read_bytes()
            answer = self._exchange(b"HEADERS SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(raw) + raw)
            found = re.search(rb"(?im)^Spam: \S+ ; (-?[\d.]+)", answer)
            if not found:
                raise SystemExit("spamd gave no score")
            scores.append(float(found.group(1)))
        wall = time.perf_counter() - began
        return Scored(scores, wall, self._server.cpu_seconds() - before, self._server.memory())

    def stop(self) -> None:
        if self._server:
            self._server.stop()


# Modules of rspamd that ask the network or short-cut repeated messages; switched off so that only its own work is measured.
_RSPAMD_OFF = (
    *("rbl", "dmarc", "spf", "dkim", "arc", "asn", "mx_check", "url_redirector", "surbl", "emails", "dkim_signing", "greylist"),
    *("ratelimit", "phishing", "whitelist", "hfilter", "fuzzy_check", "rspamd_update"),
)


class Rspamd:
    name = "rspamd, default rules and Bayes, no DNS (with its redis)"
    limit = 1000

    def __init__(self, work: Path) -> None:
        self._folder = work / "rspamd"
        for part in ("local.d", "override.d", "db", "log", "run", "redis"):
            (self._folder / part).mkdir(parents=True)
        self._normal, self._controller, self._redis_port = free_port(), free_port(), free_port()
        self._redis: Server | None = None
        self._server: Server | None = None

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text + "\n")

    def start(self, train: Sequence[Sample]) -> None:
        self._write("local.d/redis.conf", f'servers = "{LOOPBACK}:{self._redis_port}";')
        self._write("override.d/worker-normal.inc", f'bind_socket = "{LOOPBACK}:{self._normal}"; count = 1; keepalive = true;')
        self._write("override.d/worker-controller.inc", f'bind_socket = "{LOOPBACK}:{self._controller}"; secure_ip = ["{LOOPBACK}"];')
        self._write("override.d/worker-proxy.inc", "enabled = false;")
        self._write("override.d/options.inc", f'dns {{ nameserver = ["{LOOPBACK}:9"]; timeout = 0.2s; retransmits = 1; }}')
        self._write("override.d/classifier-bayes.conf", 'learn_condition = "return function() return true end";')
        for module in _RSPAMD_OFF:
            self._write(f"override.d/{module}.conf", "enabled = false;")
        redis = ["redis-server", "--port", str(self._redis_port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no"]
        self._redis = Server([*redis, "--dir", self._folder / "redis"], self._redis_port, log=self._folder / "log" / "redis")
        listed = subprocess.run(["dpkg", "-L", "rspamd"], capture_output=True, text=True, check=True).stdout.split()
        configuration = next(line for line in listed if line.endswith("/rspamd.conf"))
        folders = {"LOCAL_CONFDIR": "", "DBDIR": "db", "LOGDIR": "log", "RUNDIR": "run"}
        variables = [f"--var={key}={self._folder / part}" for key, part in folders.items()]
        self._server = Server(["rspamd", "-i", "-f", "-c", configuration, *variables], self._normal, log=self._folder / "log" / "out")
        self._settle()
        self._post_all(self._controller, [(sample.path, "/learnspam" if sample.is_spam else "/learnham") for sample in train])
        self._settle()

    def _settle(self, seconds: float = 120.0) -> None:
        """Wait until the Hyperscan helper has compiled its databases, which it does after the port has opened."""
        assert self._server is not None
        deadline, idle, last = time.perf_counter() + seconds, 0, self._server.cpu_seconds()
        while idle < 3 and time.perf_counter() < deadline:
            time.sleep(1)
            now = self._server.cpu_seconds()
            idle, last = (idle + 1 if now - last < 0.05 else 0), now

    def _post_all(self, port: int, items: Sequence[tuple[Path, str]]) -> list[bytes]:
        answers = []
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
        for path, target in items:
            for attempt in range(2):
                try:
                    connection.request("POST", target, body=path.read_bytes())
                    answers.append(connection.getresponse().read())
                    break
                except (http.client.HTTPException, OSError):
                    connection.close()
                    if attempt:
                        raise
        connection.close()
        return answers

    def score(self, test: Sequence[Sample]) -> Scored:
        assert self._server is not None
        assert self._redis is not None
        before, began = self._server.cpu_seconds() + self._redis.cpu_seconds(), time.perf_counter()
        answers = self._post_all(self._normal, [(sample.path, "/checkv2") for sample in test])
        wall = time.perf_counter() - began
        used = self._server.cpu_seconds() + self._redis.cpu_seconds() - before
        one, two = self._server.memory(), self._redis.memory()
        together = Memory(one.rss + two.rss, one.pss + two.pss, one.anonymous + two.anonymous)
        return Scored([float(json.loads(answer)["score"]) for answer in answers], wall, used, together)

    def stop(self) -> None:
        for server in (self._server, self._redis):
            if server:
                server.stop()


PEERS = {"bogofilter": Bogofilter, "spamd": SpamAssassin, "rspamd": Rspamd}
