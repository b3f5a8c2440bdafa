"""A real gateway that asks a file, a database, a directory and the next hop who there is; and one that is harvested."""

from __future__ import annotations

import json
import smtplib
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running import Gateway, running, unused_port
from tests.gateway.directory.slapd import BASE, slapd_running

pytestmark = pytest.mark.servers
TABLES = """
[[recipient_access]]
recipients = ["postmaster@example.org"]
bypass_recipient_check = true
[[recipient_access]]
recipients = ["gone@example.org"]
access = "REJECT"
text = "5.1.6 gone"
[[recipient_access]]
recipients = ["example.org", "ldap.example", "sql.example", "hop.example"]

[[recipient_file]]
name = "staff"
file = "staff.txt"
extension = "+"
domains = ["example.org"]

[[recipient_sql]]
name = "customers"
database = "customers.sqlite"
query = "SELECT 1 FROM customers WHERE name = :local_part AND active"
domains = ["sql.example"]

[[recipient_ldap]]
name = "people"
servers = ["{ldap}"]
tls = "off"
base = "{base}"
filter = "(uid={{u}})"
domains = ["ldap.example"]

[[recipient_call_ahead]]
name = "ahead"
next_hop = "127.0.0.1:{hop}"
domains = ["hop.example"]
outage = "accept"
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, server_program: Callable[[str], str]) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "staff.txt").write_text("anna@example.org\n")
    with sqlite3.connect(folder / "customers.sqlite") as database:
        database.execute("CREATE TABLE customers (name TEXT, active INTEGER)")
        database.executemany("INSERT INTO customers VALUES (?, ?)", [("carla", 1), ("left", 0)])
    database.close()
    hop = unused_port()
    sink = subprocess.Popen(
        [server_program("smtp-sink"), "-u", "nobody", "-r", "RCPT", f"127.0.0.1:{hop}", "10"], stderr=subprocess.DEVNULL
    )
    try:
        with slapd_running(server_program("slapd"), folder / "slapd", ["dora"]) as slapd:
            yield from running(folder, more=TABLES.format(ldap=slapd.url, base=BASE, hop=hop))
    finally:
        sink.terminate()
        sink.wait()


def answers(gateway: Gateway, *recipients: str) -> list[str]:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
        client.ehlo("client.example.net")
        client.mail("a@example.net")
        return [f"{code} {text.decode()}" for code, text in (client.rcpt(recipient) for recipient in recipients)]


def test_each_domain_is_answered_by_its_source(gateway: Gateway) -> None:
    known = ["anna@example.org", "Anna+news@example.org", "postmaster@example.org", "carla@sql.example", "dora@ldap.example"]
    assert {answer[:3] for answer in answers(gateway, *known)} == {"250"}
    unknown = ["bert@example.org", "left@sql.example", "nobody@ldap.example", '"*"@ldap.example', "\"' OR '1'='1\"@sql.example"]
    assert set(answers(gateway, *unknown)) == {"550 5.1.1 Recipient unknown"}
    assert answers(gateway, "gone@example.org", "b@example.com") == ["550 5.1.6 gone", "550 5.7.1 relaying denied"]


def test_a_next_hop_that_puts_off_its_own_recipients_is_an_outage(gateway: Gateway) -> None:
    assert answers(gateway, "b@hop.example") == ["250 2.1.5 Recipient ok"]  # smtp-sink -r RCPT says 450


def test_a_file_that_is_replaced_is_read_by_every_worker(gateway: Gateway) -> None:
    (gateway.folder / "new.txt").write_text("emil@example.org\n")
    (gateway.folder / "new.txt").replace(gateway.folder / "staff.txt")
    deadline = time.monotonic() + 20
    while gateway.log.read_text().count("event=recipients.loaded") < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    for _ in range(10):
        assert [answer[:3] for answer in answers(gateway, "emil@example.org", "anna@example.org")] == ["250", "550"]


def test_the_log_says_what_decided_and_a_command_asks_as_the_gateway_does(gateway: Gateway) -> None:
    answers(gateway, "who@ldap.example")
    assert "recipient=<who@ldap.example> reply=550/5.1.1 because=people" in gateway.log.read_text()
    shown = gateway.command("recipient", "check", "dora@ldap.example", "who@sql.example", "gone@example.org", "--json")
    fates = [json.loads(line) for line in shown.splitlines()]
    assert [(fate["accepted"], fate["because"]) for fate in fates] == [
        (True, "ldap.example"),
        (False, "sql.example"),
        (False, "gone@example.org"),
    ]
    assert [[(said["source"], said["standing"]) for said in fate["sources"]] for fate in fates] == [
        [("people", "known")],
        [("customers", "unknown")],
        [],
    ]


def test_a_harvest_of_a_directory_is_stopped_and_its_gain_reported(tmp_path: Path) -> None:
    (tmp_path / "staff.txt").write_text("anna@example.org\nbert@example.org\n")
    more = (
        '[[recipient_access]]\nrecipients = ["example.org"]\n[[recipient_file]]\nfile = "staff.txt"\n'
        "[mail_flow_policy.ACCEPTED]\ndhap_limit = 10\n"
    )
    for gateway in running(tmp_path, more=more):
        told = []
        for name in [
            *(f"x{number}" for number in range(8)),
            "anna",
            "bert",
            "y1",
            "y2",
            "anna",
            "bert",
            *(f"z{number}" for number in range(8)),
        ]:
            with socket.create_connection(("127.0.0.1", gateway.port), 20) as client, client.makefile() as lines:
                lines.readline()
                for line in ("HELO client.example", "MAIL FROM:<a@example.net>", f"RCPT TO:<{name}@example.org>"):
                    client.sendall(f"{line}\r\n".encode())
                    reply = lines.readline().rstrip()
                told.append(reply)
        assert [reply[:3] for reply in told[:12]] == ["550"] * 8 + ["250"] * 2 + ["550"] * 2
        assert set(told[12:]) == {"550 5.7.1 Too many invalid recipients"}
        deadline = time.monotonic() + 20
        while '"connections": 10' not in (shown := gateway.command("report", "dhap", "--json")) and time.monotonic() < deadline:
            time.sleep(0.2)
        (report,) = [json.loads(line) for line in shown.splitlines()]
        assert (report["invalid"], report["learned"], report["refused"], report["connections"]) == (10, 2, 10, 10)
