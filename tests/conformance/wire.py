"""Packs smtp-smuggling and smtp-dialogues: raw octets against a real gateway."""

from __future__ import annotations

import json
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conformance.gateway import Running, running
from tests.conformance.outcome import Outcome, failed, judged, passed

BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")
COMMAND_TIMEOUT = 4  # seconds; the gateway of the dialogues is set to it, so that idle clients are seen to be sent away
PLAIN = b"From: a@partner.example\r\nTo: user@example.com\r\nSubject: plain\r\n\r\nplain\r\n"


class Client:
    """A raw SMTP client: sends octets, reads whole replies."""

    def __init__(self, gateway: Running, timeout: float = 10.0) -> None:
        self.socket = gateway.connect(timeout)
        self.buffer = b""

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def line(self, timeout: float = 10.0) -> str | None:
        """The next reply line without CRLF; None if the connection is closed. Raises TimeoutError."""
        self.socket.settimeout(timeout)
        while b"\r\n" not in self.buffer:
            try:
                chunk = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not chunk:
                return None
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("latin-1")

    def reply(self, timeout: float = 10.0) -> list[str] | None:
        """All lines of the next reply; None if the connection is closed before it is whole."""
        lines: list[str] = []
        while (line := self.line(timeout)) is not None:
            lines.append(line)
            if line[3:4] != "-":
                return lines
        return None

    def replies(self, quiet: float) -> list[str]:
        """Last lines of all replies until the connection is closed or silent for `quiet` seconds."""
        last: list[str] = []
        try:
            while (lines := self.reply(quiet)) is not None:
                last.append(lines[-1])
        except TimeoutError:
            pass
        return last

    def transaction(self, recipient: str) -> bool:
        """Up to and with the 354."""
        self.reply()
        for command, code in (
            ("EHLO c.partner.example", "250"),
            ("MAIL FROM:<a@partner.example>", "250"),
            (f"RCPT TO:<{recipient}>", "250"),
        ):
            self.send(command.encode() + b"\r\n")
            lines = self.reply()
            if lines is None or not lines[-1].startswith(code):
                return False
        self.send(b"DATA\r\n")
        lines = self.reply()
        return lines is not None and lines[-1].startswith("354")

    def start_tls(self) -> None:
        """The client's handshake; a reply in the clear behind the 220 would be lost in it, and break it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def close(self) -> None:
        self.socket.close()


def run_smuggling(folder: Path) -> Iterator[Outcome]:
    pack = json.loads((folder / "sequences.json").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as work, running(Path(work)) as gateway:
        for sequence in pack["sequences"]:
            recipient = f"{sequence['id']}@example.com"
            octets = (pack["prefix"] + sequence["seq"] + pack["smuggled"]).encode("utf-8")
            yield _smuggle(gateway, sequence["id"], recipient, octets)


def _smuggle(gateway: Running, name: str, recipient: str, octets: bytes) -> Outcome:
    client = Client(gateway)
    try:
        if not client.transaction(recipient):
            return failed(name, "the transaction was not accepted up to DATA")
        client.send(octets)
        replies = client.replies(0.5)
        try:
            client.send(b"\r\n.\r\nQUIT\r\n")
            replies += client.replies(2.0)
        except ConnectionError:
            pass
    finally:
        client.close()
    accepted = [reply for reply in replies if reply.startswith("250")]
    if len(accepted) > 1:
        return failed(name, f"{len(accepted)} replies of 250: {replies}")
    if not accepted:
        return judged(name, all(reply[:1] in "245" for reply in replies), f"odd replies: {replies}")
    delivered = gateway.sink.wait_for(recipient)
    if delivered is None:
        return failed(name, "accepted, but it never came to the next hop")
    if b"SMUGGLED-BODY" not in delivered.data:
        return failed(name, "the accepted message does not hold the whole data")
    if found := BARE.search(delivered.data):
        return failed(name, f"{found.group()!r} was sent to the next hop")
    if any("victim@example.com" in other.recipients for other in gateway.sink.delivered):
        return failed(name, "the smuggled message came to the next hop")
    return passed(name)


def run_dialogues(folder: Path) -> Iterator[Outcome]:
    dialogues = json.loads((folder / "dialogues.json").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as work, running(Path(work), command_timeout=f"{COMMAND_TIMEOUT} s") as gateway:
        for number, dialogue in enumerate(dialogues):
            name = dialogue["id"]
            wrong = _play(gateway, dialogue["steps"]) or _aftermath(gateway, f"after-{number}@example.com")
            yield judged(name, not wrong, wrong)


def _play(gateway: Running, steps: list[dict[str, Any]]) -> str:
    """Play one dialogue; what went wrong, or nothing."""
    client = Client(gateway)
    try:
        for step in steps:
            if wrong := _step(client, step):
                return wrong
    except TimeoutError:
        return "no reply in time"
    except ConnectionError:
        return "the connection was closed"
    finally:
        client.close()
    return ""


def _step(client: Client, step: dict[str, Any]) -> str:
    if "send" in step:
        try:
            client.send(step["send"].encode("utf-8") * step.get("repeat", 1))
        except ConnectionError:
            return "" if step.get("repeat", 1) > 1 else "the connection was closed"
    elif "expect" in step:
        lines = client.reply()
        if lines is None or not any(re.search(step["expect"], line) for line in lines):
            return f"expected {step['expect']}, got {lines}"
    elif "expect_any" in step:
        replies = client.replies(2.0)
        if not any(re.search(step["expect_any"], reply) for reply in replies):
            return f"expected {step['expect_any']} in one of {replies[-3:]}"
    elif "starttls" in step:
        client.start_tls()
    elif "expect_close" in step:
        return "the connection stayed open" if client.reply() is not None else ""
    elif "expect_close_or" in step:
        lines = client.reply(COMMAND_TIMEOUT * 4)
        if lines is not None and not re.search(step["expect_close_or"], lines[-1]):
            return f"expected a close or {step['expect_close_or']}, got {lines}"
    elif "wait_close_s" in step:
        until = time.monotonic() + COMMAND_TIMEOUT * 4
        while time.monotonic() < until:
            if client.line(COMMAND_TIMEOUT * 4) is None:
                return ""
        return "the connection stayed open"
    elif "send_slow" in step:
        return _send_slowly(client, step["send_slow"].encode())
    elif "close" in step:
        client.close()
    else:
        return f"this runner cannot play {sorted(step)}"
    return ""


def _send_slowly(client: Client, octets: bytes) -> str:
    """One octet at a time, faster than the time limit, until the gateway answers or closes: the limit is the command's, not the octet's."""
    until = time.monotonic() + COMMAND_TIMEOUT * 4
    while time.monotonic() < until:
        try:
            client.send(octets)
            client.socket.settimeout(0.5)
            if client.socket.recv(1, socket.MSG_PEEK) is not None:
                return ""
        except TimeoutError:
            continue
        except ConnectionError:
            return ""
    return "a slow command was waited for without end"


def _aftermath(gateway: Running, recipient: str) -> str:
    """After each dialogue a plain message goes through, nothing was run, and the log has no traceback."""
    client = Client(gateway)
    try:
        if not client.transaction(recipient):
            return "afterwards a plain message was not taken"
        client.send(PLAIN + b".\r\n")
        lines = client.reply()
    finally:
        client.close()
    if lines is None or not lines[-1].startswith("250"):
        return f"afterwards a plain message got {lines}"
    if any(gateway.folder.rglob("esa_pwned")):
        return "a command of the client was run"
    return "a traceback stands in the log" if "Traceback" in gateway.log.read_text(errors="replace") else ""
