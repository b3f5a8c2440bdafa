"""Pack injection-strings: what a client can say by SMTP goes in, as HELO name, paths, header fields and names of attachments; and by AUTH.

Contexts that only the web interface, reports or notices have are told as skipped.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

from esa.gateway.authentication import Credentials, Users
from esa.gateway.directory.ldap import LdapSettings, Server
from esa.gateway.directory.ldap_filter import Filter
from esa.gateway.directory.users import LdapUsers
from esa.gateway.patience import FailureLimits, Patience
from tests.conformance.gateway import Running, running
from tests.conformance.outcome import Outcome, failed, judged, skipped
from tests.conformance.wire import Client
from tests.conftest import find_program
from tests.gateway.directory.slapd import BASE, MANAGER, Slapd, slapd_running

BY_SMTP = {"log", "shell", "path", "header-inject", "sql", "ldap-filter", "template"}
SEARCHED = {"sql", "ldap-filter"}  # also looked for in tracking
SETTINGS = {"header-inject"}  # also written into the configuration
NOTHING_FOUND = 1  # exit code
LONGEST_LINE = 32_768  # octets of a log line
OURS = {"received", "return-path", "x-esa-id", "x-esa-verdict", "x-esa-score", "x-esa-reasons"}
SENT = {"from", "to", "subject", "mime-version", "content-type", "content-transfer-encoding"}


def run(folder: Path) -> Iterator[Outcome]:
    cases = json.loads((folder / "strings.json").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as work, running(Path(work), log_format="json") as gateway:
        for number, case in enumerate(cases):
            name = f"{number} {case['context']} {case['value'][:30]!r}"
            if case["context"] == "ldap-bind":
                yield _log_in(Path(work), name, case["value"])
            elif case["context"] not in BY_SMTP:
                yield skipped(name, f"the context {case['context']} belongs to the web interface and reports, a later issue")
            else:
                fault = _send(gateway, number, case["value"]) or _look(gateway, case["context"], case["value"])
                yield failed(name, fault) if fault else judged(name, not list(gateway.folder.rglob("esa_pwned*")), "a command was run")
        yield judged("log", not (fault := _fault_of_log(gateway.log)), fault)


def _log_in(folder: Path, name: str, password: str) -> Outcome:
    """AUTH with a password that proves nothing, of a user that a real directory knows and of its manager."""
    program = find_program("slapd")
    if program is None:
        return skipped(name, "slapd is absent")

    async def users_who_get_in(server: Slapd) -> list[str]:
        settings = LdapSettings((Server("127.0.0.1", server.port, "off"),), BASE, Filter("(|(uid={a})(cn={a}))"))
        users = Users([LdapUsers("people", settings, proven_for=0.0)], Patience.of_one_process(FailureLimits()), failure_seconds=0.0)
        names = ["anna", "manager", MANAGER]
        found = [await users.verify(Credentials(one, password.encode()), "192.0.2.1") for one in names]
        right = await users.verify(Credentials("anna", b"anna's secret"), "192.0.2.1")
        await users.close()
        return [one for one in found if one] if right == "anna" else ["nobody, not even with the right password"]

    with slapd_running(program, Path(tempfile.mkdtemp(dir=folder)), ["anna"]) as server:
        found = asyncio.run(users_who_get_in(server))
    return judged(name, not found, f"it lets in: {found}")


def _send(gateway: Running, number: int, value: str) -> str:
    """One session that says the string wherever it may; what was wrong, or nothing."""
    recipient = f"case{number}@example.com"
    octets = value.encode("utf-8", "surrogatepass")
    line = octets.replace(b"\r", b"").replace(b"\n", b"")
    quoted = b'"' + line.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    client = Client(gateway)
    try:
        client.reply()
        for command in (b"EHLO " + octets, b"EHLO client.example", b"VRFY " + line, b"MAIL FROM:<%b@partner.example> SMTPUTF8" % quoted):
            client.send(command + b"\r\n")
            if client.reply() is None:
                return f"no reply to {command!r}"
        client.send(b"RSET\r\nMAIL FROM:<a@partner.example>\r\n")
        client.replies(0.1)
        client.send(b"RCPT TO:<%b@example.com>\r\n" % quoted)
        client.replies(0.1)
        for command in (b"RSET", b"MAIL FROM:<a@partner.example>", b"RCPT TO:<%b>" % recipient.encode(), b"DATA"):
            client.send(command + b"\r\n")
            reply = client.reply()
            if reply is None or reply[-1][0] not in "23":
                return f"{reply} to {command!r}"
        client.send(_message(octets) + b".\r\n")
        reply = client.reply()
    finally:
        client.close()
    if reply is None or not reply[-1].startswith("250"):
        return f"the message was not taken: {reply}"
    delivered = gateway.sink.wait_for(recipient)
    if delivered is None:
        return "the message did not arrive"
    found = message_from_bytes(delivered.data, policy=policy.default)
    names = {name.lower() for name in found}
    return f"header fields that nobody sent: {names - SENT - OURS}" if names - SENT - OURS else ""


def _message(octets: bytes) -> bytes:
    word = b"=?utf-8?B?" + b64encode(octets) + b"?="
    return (
        b"From: %b <a@partner.example>\r\nTo: user@example.com\r\nSubject: %b\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="cut"\r\n\r\n--cut\r\nContent-Type: text/plain\r\n\r\nhello\r\n'
        b"--cut\r\nContent-Type: application/octet-stream; name=\"%b\"\r\nContent-Disposition: attachment; filename*=utf-8''%b\r\n\r\nx\r\n"
        b"--cut--\r\n"
    ) % (word, word, word, b"".join(b"%%%02x" % octet for octet in octets))


def _look(gateway: Running, context: str, value: str) -> str:
    if context in SEARCHED:
        code, output = _esa(gateway.folder, "track", f"--sender=no{value}", "--json", "--config", "esa.toml")
        if code not in (0, NOTHING_FOUND) or "partner.example" in output:
            return f"tracking finds by it: exit {code}, {output[:200]}"
    if context in SETTINGS:
        (gateway.folder / "odd.toml").write_text(f"[gateway]\nhostname = {json.dumps(value)}\n")
        code, output = _esa(gateway.folder, "config", "check", "--config", "odd.toml")
        if code == 0:
            return "it may be the host name of the configuration"
    return ""


def _esa(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "esa.cli", *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def _fault_of_log(log: Path) -> str:
    """One record a line, each of them JSON, none without end."""
    time.sleep(0.2)
    for number, line in enumerate(log.read_bytes().split(b"\n")[:-1], 1):
        if len(line) > LONGEST_LINE:
            return f"line {number} has {len(line)} octets"
        try:
            record = json.loads(line)
        except ValueError:
            return f"line {number} is no JSON: {line[:100]!r}"
        if "time" not in record:
            return f"line {number} is none of ours: {line[:100]!r}"
    return ""
