"""Listeners of a whole gateway: several, on IPv4 and IPv6, with sockets that systemd hands over and keeps open."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running import RECIPIENT, REVERSE_PATH, Gateway, environment, unused_port
from tests.end_to_end.test_first_mail import CLEAN

LISTENERS = """
[gateway]
hostname = "mx.example.org"
state = "{state}"
workers = 2
drain = "5 s"
[[listener]]
name = "public"
port = {port}
accept_domains = ["example.org"]
[[listener]]
name = "public6"
address = "::1"
port = {port}
accept_domains = ["example.org"]
[[listener]]
name = "private"
port = {private}
[metrics]
port = {health}
"""
# What systemd does: the sockets are descriptors from 3 on, and LISTEN_PID is the process itself.
PASS = """
import os, sys
descriptors, names = sys.argv[1].split(","), sys.argv[2]
for number, descriptor in enumerate(descriptors):
    os.dup2(int(descriptor), 100 + number)
for number in range(len(descriptors)):
    os.dup2(100 + number, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(descriptors)), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, "-m", "esa.cli", *sys.argv[3:]])
"""


class Many(Gateway):
    """A gateway with three listeners, maybe with sockets that are passed to it."""

    def __init__(self, folder: Path, passed: dict[str, socket.socket] | None = None) -> None:
        super().__init__(folder)
        self.passed = passed or {}
        self.private = unused_port()
        if "public" in self.passed:
            self.port = self.passed["public"].getsockname()[1]
        self.configuration.write_text(LISTENERS.format(state=self.state, port=self.port, private=self.private, health=self.health_port))

    def _command(self, *words: str) -> list[str]:
        command = super()._command(*words)
        if words[0] != "serve" or not self.passed:
            return command
        names, sockets = ":".join(self.passed), [str(bound.fileno()) for bound in self.passed.values()]
        return [sys.executable, "-c", PASS, ",".join(sockets), names, *command[3:]]


@contextlib.contextmanager
def started(gateway: Many) -> Iterator[Many]:
    gateway.inherited = tuple(bound.fileno() for bound in gateway.passed.values())
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.end()


def send(host: str, port: int, recipient: str = RECIPIENT) -> None:
    with smtplib.SMTP(host, port, timeout=30) as client:
        client.sendmail(REVERSE_PATH, [recipient], CLEAN)


def listening_on(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.bind((host, port))
    bound.listen(128)
    return bound


def test_listeners_of_both_families_serve_each_with_its_own_recipients(tmp_path: Path) -> None:
    with started(Many(tmp_path)) as gateway:
        send("127.0.0.1", gateway.port)
        send("::1", gateway.port)
        send("127.0.0.1", gateway.private, "anybody@elsewhere.example")
        for host in ("127.0.0.1", "::1"):
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                send(host, gateway.port, "anybody@elsewhere.example")
        received = b"".join(gateway.arrived(3))
    assert b"[IPv6:::1]" in received
    assert b"([127.0.0.1])" in received


def test_sockets_of_systemd_are_served_and_stay_open_over_a_restart(tmp_path: Path) -> None:
    with listening_on("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with listening_on("::1", port) as second:
            gateway = Many(tmp_path, {"public": first, "public6": second})
            with started(gateway):
                send("127.0.0.1", port)
                send("::1", port)
                assert "LISTEN_FDS" not in Path(f"/proc/{next(iter(gateway.children().values()))}/environ").read_text()
                gateway.stop()
                waiting = socket.create_connection(("127.0.0.1", port), timeout=30)
            with started(gateway), waiting:
                assert waiting.recv(4) == b"220 "
                send("127.0.0.1", port)
                gateway.arrived(3)


@pytest.mark.parametrize("kind", ["for no listener", "no TCP socket"])
def test_a_socket_that_nobody_can_serve_is_a_fault(tmp_path: Path, kind: str) -> None:
    with listening_on("127.0.0.1", 0) if kind == "for no listener" else socket.socket(socket.AF_UNIX) as bound:
        gateway = Many(tmp_path)
        gateway.passed = {"unknown": bound}
        done = subprocess.run(
            gateway._command("serve"),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            pass_fds=[bound.fileno()],
        )
    assert done.returncode == 2, done.stderr
    assert "systemd" in done.stderr
    assert "Traceback" not in done.stderr
