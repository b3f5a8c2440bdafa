"""A whole gateway that logs as AsyncOS does: what happens to mail can be followed by its numbers, with the patterns of those who read such logs."""

from __future__ import annotations

import re
import smtplib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esa.cli.serve import GTUBE
from tests.end_to_end.running import Gateway, running, unused_port
from tests.end_to_end.test_first_mail import CLEAN
from tests.gateway.certificates import Authority
from tests.gateway.test_client import sink

# the patterns of a public log pipeline for such logs (grok), in Python's words
PATTERNS = {
    "start": r"Info: Start MID (?P<MID>\d+) ICID (?P<ICID>\d+)$",
    "queued": r"MID (?P<MID>\d+) (?P<Action>queued for delivery)",
    "case": r"MID (?P<MID>\d+).*?using engine: CASE (?P<CASE>.*)",
    "message_id": r"MID (?P<MID>\d+) Message-ID '(?P<MessageID>.*)'",
    "subject": r"MID (?P<MID>\d+) Subject '(?P<Subject>.*)'",
    "to": r"MID (?P<MID>\d+) ICID \d+ RID \d+ To: <(?P<To>.*)>",
    "from": r"MID (?P<MID>\d+) ICID \d+ From: <(?P<From>.*)>",
}


class LoggingGateway(Gateway):
    def words(self) -> list[str]:
        """The lines without time."""
        return [line[25:] for line in self.log.read_text().splitlines() if " Info: " in line or " Warning: " in line]

    def wait_for(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for line in self.words():
                if found := re.search(pattern, line):
                    return found
            time.sleep(0.05)
        raise AssertionError("\n".join(self.words()[-60:]))


@pytest.fixture
def gateway(tmp_path: Path, server_program: Callable[[str], str]) -> Iterator[LoggingGateway]:
    port = unused_port()
    authority = Authority(tmp_path)
    authority.certificate("mx.example.org")
    more = f'[[certificate]]\nchain = "{tmp_path}/1.pem"\nkey = "{tmp_path}/1.key"\n[delivery]\nroute = "127.0.0.1:{port}"\n'
    gateway = LoggingGateway(tmp_path, workers=2, more=more, listener='accept_domains = ["example.org"]\n')
    text = gateway.configuration.read_text().replace("[gateway]\n", '[gateway]\nlog_format = "asyncos"\n')
    gateway.configuration.write_text(text)
    with sink(server_program("smtp-sink"), port):
        gateway.start()
        try:
            yield gateway
        finally:
            gateway.end()


def test_a_message_is_followed_from_connection_to_delivery(gateway: LoggingGateway) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.starttls()
        client.ehlo("client.example.net")
        client.mail("a@example.net")
        assert [client.rcpt(path)[0] for path in ("b@example.org", "c@example.com", "d@example.org")] == [250, 550, 250]
        assert client.data(b"Message-ID: <1@example.net>\r\n" + CLEAN)[0] == 250
    mid = gateway.wait_for(r"Message finished MID (\d+) done")[1]
    icid = gateway.wait_for(r"ICID (\d+) close")[1]
    dcid = gateway.wait_for(r"New SMTP DCID (\d+)")[1]
    told = [line.removeprefix("Info: ") for line in gateway.words() if re.search(r"\b[MID]C?ID: ?\d|\b(MID|ICID|DCID) \d", line)]
    expected = [
        rf"New SMTP ICID {icid} interface mail \(127\.0\.0\.1\) address 127\.0\.0\.1 reverse dns host unknown verified no",
        rf"ICID {icid} ACCEPT SG UNKNOWNLIST match sbrs\[none\] SBRS None",
        rf"ICID {icid} TLS success protocol TLSv1\.3 cipher TLS_\w+",
        rf"Start MID {mid} ICID {icid}",
        rf"MID {mid} ICID {icid} From: <a@example\.net>",
        rf"MID {mid} ICID {icid} To: <c@example\.com> Rejected by RAT",
        rf"MID {mid} ICID {icid} RID 0 To: <b@example\.org>",
        rf"MID {mid} ICID {icid} RID 1 To: <d@example\.org>",
        rf"MID {mid} Message-ID '<1@example\.net>'",
        rf"MID {mid} Subject 'minutes of the meeting'",
        rf"MID {mid} ready \d+ bytes from <a@example\.net>",
        rf"MID {mid} matched all recipients for per-recipient policy DEFAULT in the inbound table",
        rf"MID {mid} interim verdict using engine: CASE spam negative",
        rf"MID {mid} using engine: CASE spam negative",
        rf"MID {mid} queued for delivery",
        rf"New SMTP DCID {dcid} interface 127\.0\.0\.1 address 127\.0\.0\.1 port \d+",
        rf"Delivery start DCID {dcid} MID {mid} to RID \[0, 1\]",
        rf"Message done DCID {dcid} MID {mid} to RID \[0, 1\]",
        rf"MID {mid} RID \[0, 1\] Response '2\.0\.0 Ok'",
        rf"Message finished MID {mid} done",
        rf"ICID {icid} close",
    ]
    places = []
    for pattern in expected:
        found = [place for place, line in enumerate(told) if re.fullmatch(pattern, line)]
        assert len(found) == 1, (pattern, told)
        places += found
    assert places[:15] == sorted(places[:15])
    assert places[15:20] == sorted(places[15:20])
    gateway.wait_for(rf"DCID {dcid} close")
    for name, pattern in PATTERNS.items():
        assert any(re.search(pattern, line) for line in gateway.words()), name
    identifier = next(iter(gateway.command("track", "--json", "--recipient", "d@example.org").split('"id": "')[1:]), "")[:26]
    shown = gateway.command("track", identifier, "--json")
    assert f'"icid": {icid}' in shown
    assert f'"mid": {mid}' in shown


def test_refused_and_abandoned_mail_ends_too_and_numbers_go_on_after_a_restart(gateway: LoggingGateway) -> None:
    assert gateway.send(b"\r\n" + GTUBE.encode())[0] == 550
    aborted = gateway.wait_for(r"Message aborted MID (\d+) Rejected by antispam")[1]
    gateway.wait_for(rf"Message finished MID {aborted} aborted")
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.ehlo("client.example.net")
        client.mail("a@example.net")
        client.rcpt("gone@example.org")
        client.rset()
    gateway.wait_for(r"Message aborted MID \d+ Receiving aborted by sender")
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as client:
        assert client.recv(100).startswith(b"220 ")
    lost = gateway.wait_for(r"ICID (\d+) lost")[1]
    gateway.wait_for(rf"ICID {lost} close")
    assert sum("lost" in line for line in gateway.words()) == 1  # those that said QUIT are not
    before = {int(number) for line in gateway.words() for number in re.findall(r"Start MID (\d+)", line)}
    gateway.stop()
    gateway.start()
    for _ in range(4):
        assert gateway.send(CLEAN)[0] == 250
    every = [int(number) for line in gateway.words() for number in re.findall(r"Start MID (\d+)", line)]
    assert len(every) == len(set(every)) == 6
    assert min(set(every) - before) > max(before)
    deadline = time.monotonic() + 20
    while '"aborted"' not in (shown := gateway.command("track", "--json", "--recipient", "gone@example.org")):
        assert time.monotonic() < deadline, shown
        time.sleep(0.2)


def test_refused_connections_are_gathered_and_reported(tmp_path: Path) -> None:
    more = '[[sender_group]]\nname = "BLACKLIST"\npolicy = "BLOCKED"\nsenders = ["127.0.0.5"]\n'
    for gateway in running(tmp_path, workers=1, more=more):
        for _ in range(3):
            with pytest.raises(smtplib.SMTPConnectError):
                smtplib.SMTP("127.0.0.1", gateway.port, timeout=20, source_address=("127.0.0.5", 0))
        gateway.stop()
        gateway.start()
        deadline = time.monotonic() + 20
        while '"connections": 3' not in (shown := gateway.command("report", "connections", "--json")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert '"group": "BLACKLIST"' in shown
        assert '"because": "127.0.0.5"' in shown
        assert '"connections": 3' in shown
