"""Greylisting of a whole gateway: the workers share what they know, it outlives a restart, and the report tells of it."""

from __future__ import annotations

import json
import smtplib
import time
from pathlib import Path

from tests.end_to_end.running import running
from tests.end_to_end.test_first_mail import CLEAN
from tests.gateway.name_server import name_server_beside

TABLES = """
[mail_flow_policy.ACCEPTED]
greylist = true
[greylisting]
delay = "1 s"
[dns]
servers = ["{server}"]
"""


def offer(port: int) -> tuple[int, bytes]:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.ehlo("client.example.net")
        client.mail("a@example.net")
        code, text = client.rcpt("b@example.org")
        return client.data(CLEAN) if code == 250 else (code, text)


def test_workers_agree_on_who_waits_and_remember_it_over_a_restart(tmp_path: Path) -> None:
    with name_server_beside({}) as server:
        for gateway in running(tmp_path, workers=2, more=TABLES.format(server=server.address)):
            assert offer(gateway.port) == (451, b"4.7.1 Greylisted, try again in 1 seconds")
            gateway.stop()
            gateway.start()
            deadline = time.monotonic() + 20
            while (code := offer(gateway.port)[0]) != 250 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert code == 250
            assert [offer(gateway.port)[0] for _ in range(6)] == [250] * 6  # whichever worker the kernel gives them to
            gateway.stop()
            shown = [json.loads(line) for line in gateway.command("report", "greylist", "--json").splitlines()]
            assert sum(day["came_back"] for day in shown[:-1]) == 1
            assert sum(day["known"] for day in shown[:-1]) == 6
            assert shown[-1] == {"now": {"waiting": 0, "triplets_known": 1, "clients_known": 1, "authors_known": 0}}
            assert "came back" in gateway.command("report", "greylist")
            gateway.start()
