"""An incoming relay before a whole gateway: the reputation of the client behind it is asked for, told and tracked."""

from __future__ import annotations

import smtplib
import time
from pathlib import Path

from tests.end_to_end.running import running
from tests.end_to_end.test_first_mail import CLEAN
from tests.gateway.name_server import name_server_beside

TABLES = """
[[incoming_relay]]
name = "EDGE"
hosts = ["127.0.0.5"]
hops = 2
[[dns_list]]
zone = "good.example.net"
weight = 6.8
[dns]
servers = ["{server}"]
"""
TRACE = (
    b"Received: from inner.example.org (inner.example.org [127.0.0.77]) by edge.example.org with ESMTP id 2; date\r\n"
    b"Received: from mx.example.net (mx.example.net [192.0.2.108])\r\n\tby inner.example.org with ESMTPS id 1; date\r\n"
)


def test_the_client_behind_a_relay_is_asked_of_told_and_tracked(tmp_path: Path) -> None:
    with name_server_beside({("108.2.0.192.good.example.net", "A"): ("127.0.0.2",)}) as server:
        for gateway in running(tmp_path, workers=1, more=TABLES.format(server=server.address)):
            with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20, source_address=("127.0.0.5", 0)) as client:
                client.ehlo("edge.example.org")
                client.mail("a@example.net")
                client.rcpt("b@example.org")
                code, text = client.data(TRACE + CLEAN)
                assert code == 250
            identifier = text.decode().split()[-1]
            deadline = time.monotonic() + 20
            while "message.accepted" not in (shown := gateway.command("track", identifier, "--json")) and time.monotonic() < deadline:
                time.sleep(0.1)
            for part in ('"client": "127.0.0.5"', '"relay": "EDGE"', '"origin": "192.0.2.108"', '"origin_reputation": 6.8'):
                assert part in shown
            (kept,) = [line for line in gateway.log.read_text().splitlines() if "event=message.kept" in line]
            assert "relay=EDGE origin=192.0.2.108 origin_reputation=6.8 origin_group=UNKNOWNLIST" in kept
            (content,) = gateway.arrived(1)
            assert b"([127.0.0.5])" in content  # the trace field says who connected
