"""Sender groups of a real gateway with a real name server: configuration, names as a dict, then dialogues."""

from __future__ import annotations

import smtplib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running import Gateway, running
from tests.gateway.name_server import name_server_beside

ZONE = {
    ("6.0.0.127.in-addr.arpa", "PTR"): ("mx.partner.example",),
    ("mx.partner.example", "A"): ("127.0.0.6",),
    ("7.0.0.127.bl.example.net", "A"): ("127.0.0.2",),
}
TABLES = """
[[dns_list]]
zone = "bl.example.net"
weight = -6.0
[dns]
servers = ["{server}"]
[mail_flow_policy.PARTNER]
banner_text = "Welcome, partner"
max_rcpts_per_msg = 2
[[sender_group]]
name = "REFUSED"
policy = "BLOCKED"
senders = ["127.0.0.5"]
[[sender_group]]
name = "PARTNERS"
policy = "PARTNER"
senders = [".partner.example"]
[[sender_group]]
name = "BLACKLIST"
policy = "BLOCKED"
senders = ["SBRS[-10.0:-3.0]"]
[[sender_group]]
name = "UNKNOWNLIST"
policy = "ACCEPTED"
senders = ["SBRS[-2.9:10.0]", "SBRS[none]"]
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with name_server_beside(ZONE) as server:
        yield from running(tmp_path_factory.mktemp("gateway"), more=TABLES.format(server=server.address))


def greeting(gateway: Gateway, address: str) -> str:
    with socket.create_connection(("127.0.0.1", gateway.port), 20, source_address=(address, 0)) as client, client.makefile() as lines:
        return lines.readline().rstrip()


def test_each_sender_is_greeted_as_its_group(gateway: Gateway) -> None:
    assert greeting(gateway, "127.0.0.5").startswith("554 mx.example.org ")
    assert greeting(gateway, "127.0.0.6") == "220 mx.example.org Welcome, partner"
    assert greeting(gateway, "127.0.0.7").startswith("554 mx.example.org ")
    assert greeting(gateway, "127.0.0.8") == "220 mx.example.org ESMTP esa"
    log = gateway.log.read_text()
    assert "event=connection.refused client=127.0.0.5 " in log
    assert 'group=BLACKLIST because="SBRS[-10.0:-3.0]"' in log or "group=BLACKLIST because=SBRS[-10.0:-3.0]" in log
    assert "reputation=-6" in log


def test_tracking_says_the_group_of_a_message_and_the_policy_holds(gateway: Gateway) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20, source_address=("127.0.0.6", 0)) as client:
        client.ehlo("mx.partner.example")
        client.mail("a@partner.example")
        assert [client.rcpt(f"b{number}@example.org")[0] for number in range(3)] == [250, 250, 452]
        code, text = client.data(b"Subject: hello\r\n\r\nhello\r\n")
        assert code == 250
    identifier = text.decode().split()[-1]
    deadline = time.monotonic() + 20
    while "message.accepted" not in (shown := gateway.command("track", identifier, "--json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert '"group": "PARTNERS"' in shown
    assert '"because": ".partner.example"' in shown


def test_the_gateway_tells_what_it_refused(gateway: Gateway, tmp_path: Path) -> None:
    greeting(gateway, "127.0.0.5")
    assert "esa_connections_refused_total" in gateway.http("/metrics")[1]


def test_a_harvest_is_stopped_over_all_workers_exactly_at_its_limit_and_reported(tmp_path: Path) -> None:
    more = '[mail_flow_policy.ACCEPTED]\ndhap_limit = 25\n[delivery]\nroute = "/dev/null"\n'
    for gateway in running(tmp_path, workers=2, more=more, listener='accept_domains = ["example.org"]\n'):
        words: list[str] = []
        for number in range(60):  # the kernel spreads connections over the workers
            with socket.create_connection(("127.0.0.1", gateway.port), 20) as client, client.makefile() as lines:
                lines.readline()
                for command in ("HELO client.example", "MAIL FROM:<a@example.net>", f"RCPT TO:<x{number}@example.com>"):
                    client.sendall(f"{command}\r\n".encode())
                    reply = lines.readline().rstrip()
                words.append(reply)
        assert words == ["550 5.7.1 relaying denied"] * 25 + ["550 5.7.1 Too many invalid recipients"] * 35
        assert gateway.log.read_text().count("event=harvest.detected") == 1
        assert {line.split()[2] for line in gateway.log.read_text().splitlines() if "event=recipient.refused" in line} == {
            "receive-0",
            "receive-1",
        }
        deadline = time.monotonic() + 20
        while '"connections": 35' not in (shown := gateway.command("report", "dhap", "--json")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert '"invalid": 25' in shown
        assert '"refused": 35' in shown
        assert '"connections": 35' in shown
