"""A real gateway on loopback with a next hop that records every octet: for the packs that talk SMTP."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tests.conftest import unused_port

CONFIGURATION = """
[gateway]
hostname = "mx.example.com"
state = "state"
workers = 1
drain = "5 s"
log_format = "{log_format}"
[[listener]]
port = {port}
accept_domains = ["example.com"]
command_timeout = "{command_timeout}"
[[certificate]]
chain = "mx.pem"
key = "mx.key"
[delivery]
route = "127.0.0.1:{sink}"
[mail_policy]
positive = "deliver"
suspect = "deliver"
[metrics]
port = {metrics}
"""


@dataclass
class Delivered:
    """One transaction at the next hop."""

    recipients: list[str]
    data: bytes  # between the CRLF after DATA and the first CRLF.CRLF, as sent


@dataclass
class Sink:
    """A next hop made of plain sockets: it takes all mail and keeps the octets."""

    server: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    delivered: list[Delivered] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.server.getsockname()[1])

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(60)
            connection.sendall(b"220 sink ESMTP\r\n")
            buffer, recipients = b"", list[str]()
            while chunk := connection.recv(65536):
                buffer += chunk
                while b"\r\n" in buffer:
                    line, _, buffer = buffer.partition(b"\r\n")
                    verb = line.upper()
                    if verb == b"DATA":
                        connection.sendall(b"354 go on\r\n")
                        while b"\r\n.\r\n" not in b"\r\n" + buffer:
                            buffer += connection.recv(65536)
                        data, _, buffer = (b"\r\n" + buffer).partition(b"\r\n.\r\n")
                        self.delivered.append(Delivered(recipients, data[2:] + b"\r\n"))
                        recipients = []
                        connection.sendall(b"250 taken\r\n")
                    elif verb == b"QUIT":
                        connection.sendall(b"221 bye\r\n")
                        return
                    else:
                        if verb.startswith(b"RCPT"):
                            recipients.append(line.partition(b"<")[2].partition(b">")[0].decode("utf-8", "replace"))
                        connection.sendall(b"250 ok\r\n")

    def wait_for(self, recipient: str, seconds: float = 20.0) -> Delivered | None:
        """The transaction for this recipient, once it has arrived."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for delivered in self.delivered:
                if recipient in delivered.recipients:
                    return delivered
            time.sleep(0.02)
        return None


@dataclass(frozen=True)
class Running:
    """A running gateway: where it listens, what it has logged, and its next hop."""

    port: int
    sink: Sink
    folder: Path
    log: Path

    def connect(self, timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)


@contextlib.contextmanager
def running(folder: Path, *, command_timeout: str = "5 min", log_format: str = "text") -> Iterator[Running]:
    """Start `esa serve` in `folder`, with loopback ports that are free, and stop it again."""
    sink = Sink()
    sink.start()
    port = unused_port()
    text = CONFIGURATION.format(port=port, sink=sink.port, metrics=unused_port(), command_timeout=command_timeout, log_format=log_format)
    (folder / "esa.toml").write_text(text)
    issued = trustme.CA().issue_cert("mx.example.com")
    (folder / "mx.key").write_bytes(issued.private_key_pem.bytes())
    (folder / "mx.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    log = folder / "esa.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "esa.cli", "serve", "--config", "esa.toml"], cwd=folder, stdout=subprocess.DEVNULL, stderr=output
        )
    try:
        _wait_until_it_listens(process, port, log)
        yield Running(port, sink, folder, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        sink.server.close()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
                probe.settimeout(5)
                if probe.recv(3) == b"220":
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the gateway does not answer: {log.read_text(errors='replace')[-2000:]}")
