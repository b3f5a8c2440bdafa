"""The running gateway with a real Postfix as next hop: verified TLS, a certificate of ours, the address that mail leaves from, and what waits."""

from __future__ import annotations

import json
import os
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import absent, find_program, unused_port
from tests.end_to_end.running import Gateway, running
from tests.gateway.chains import Chains, issue
from tests.gateway.test_postfix_differential import MAIN, MASTER

pytestmark = pytest.mark.servers

TABLES = """
[delivery]
route = "127.0.0.1:{good}"
retry_initial = "1 h"
[delivery_tls]
authorities = "{authorities}"
certificate = "{certificate}"
key = "{key}"
[[delivery_interface]]
name = "second"
ipv4 = "127.0.0.2"
hostname = "second.example.org"
[[sender_group]]
name = "HOUSE"
policy = "RELAYED"
senders = ["127.0.0.1"]
[mail_flow_policy.RELAYED]
delivery_interface = "second"
spam_check = false
[[smtp_route]]
domains = ["strict.example"]
hosts = ["127.0.0.1:{good}"]
[[smtp_route]]
domains = ["wrong.example"]
hosts = ["127.0.0.1:{own}"]
[[smtp_route]]
domains = ["plain.example"]
hosts = ["127.0.0.1:{plain}"]
[[smtp_route]]
domains = ["asking.example"]
hosts = ["127.0.0.1:{asking}"]
[[destination]]
domains = ["strict.example", "wrong.example", "plain.example", "asking.example"]
tls = "required-verify"
tls_names = ["mx.partner.example"]
"""


@dataclass
class Site:
    gateway: Gateway
    log: Path  # of Postfix

    def send(self, *domains: str) -> dict[str, dict[str, object]]:
        """What tracking says of a message to each domain, once it was tried."""
        with smtplib.SMTP("127.0.0.1", self.gateway.port, timeout=30) as client:
            for domain in domains:
                body = b".hello\r\n" * (150_000 if domain.startswith("long") else 1)
                client.sendmail("a@example.net", [f"b@{domain}"], b"Subject: x\r\n\r\n" + body)
        deadline = time.monotonic() + 30
        found: dict[str, dict[str, object]] = {}
        while len(found) < len(domains) and time.monotonic() < deadline:
            time.sleep(0.2)
            listed = self.gateway.command("track", "--json", "--since", "1h", "--state", str(self.gateway.state))
            for message in map(json.loads, listed.splitlines()):
                for event in message["events"]:
                    if event["name"].startswith("delivery."):
                        found[event["recipients"][0].partition("@")[2]] = event
        return found


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "Postfix does not listen"
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    program = find_program("postfix")
    if program is None:
        absent("the program postfix is not installed")
    if os.geteuid() != 0:
        absent("a private Postfix can only be started by root")
    folder = tmp_path_factory.mktemp("postfix-tls")
    for path in (folder, *folder.parents):
        if path != Path("/") and path.stat().st_uid == 0:
            path.chmod(path.stat().st_mode | 0o055)
    for name in ("conf", "queue", "data", "tls", "gateway"):
        (folder / name).mkdir()
    subprocess.run(["chown", "postfix", folder / "data"], check=True)
    chains = Chains(folder / "tls")
    good = chains.good("mx.partner.example")
    own = chains.files(issue("mx.partner.example", by=None, names=["mx.partner.example"]))
    client = chains.files(issue("mx.example.org", by=chains.intermediate, names=["mx.example.org"], is_client=True), chains.intermediate)
    ports = {name: unused_port() for name in ("good", "own", "plain", "asking")}
    offering = "-o smtpd_tls_loglevel=1 -o smtpd_tls_security_level=encrypt -o smtpd_tls_chain_files="
    options = {
        "good": f"{offering}{good[1]},{good[0]}",
        "own": f"{offering}{own[1]},{own[0]}",
        "plain": "-o smtpd_tls_security_level=none",
        "asking": f"{offering}{good[1]},{good[0]} -o smtpd_tls_req_ccert=yes -o smtpd_tls_CAfile={chains.authorities}",
    }
    services = "".join(
        f"127.0.0.1:{port} inet n - n - - smtpd -o syslog_name=postfix/{name} {options[name]}\n" for name, port in ports.items()
    )
    main = MAIN.format(folder=folder).replace("relay_domains = example.com", "relay_domains = static:all")
    (folder / "conf" / "main.cf").write_text(main)
    (folder / "conf" / "master.cf").write_text(MASTER + services)
    subprocess.run([program, "-c", folder / "conf", "set-permissions"], capture_output=True, check=False)
    with (folder / "out").open("wb") as log:
        postfix = subprocess.Popen([program, "-c", folder / "conf", "start-fg"], stdout=log, stderr=log)
        try:
            for port in ports.values():
                _wait_for(port)
            more = TABLES.format(authorities=chains.authorities, certificate=client[0], key=client[1], **ports)
            for gateway in running(folder / "gateway", workers=1, more=more):
                yield Site(gateway, folder / "mail.log")
        finally:
            subprocess.run([program, "-c", folder / "conf", "stop"], capture_output=True, check=False)
            postfix.wait(30)


def test_mail_goes_to_a_real_server_in_verified_tls_or_waits_and_says_why(site: Site) -> None:
    found = site.send("strict.example", "wrong.example", "plain.example", "asking.example", "usual.example", "long.example")
    assert {domain: event["name"] for domain, event in found.items()} == {
        "strict.example": "delivery.delivered",
        "wrong.example": "delivery.deferred",
        "plain.example": "delivery.deferred",
        "asking.example": "delivery.delivered",
        "usual.example": "delivery.delivered",
        "long.example": "delivery.delivered",  # in chunks, which Postfix takes
    }, site.gateway.log.read_text()[-2000:]
    for domain in ("strict.example", "asking.example"):
        assert (str(found[domain]["tls"])[:7], found[domain]["verification"]) == ("TLSv1.3", "verified: the domain")
    assert found["usual.example"]["verification"] == "not verified"
    assert str(found["wrong.example"]["reply"]).endswith("tls = required-verify: the certificate is not trusted: self-signed certificate")
    assert str(found["plain.example"]["reply"]).endswith("tls = required-verify: STARTTLS is not offered")
    log = site.log.read_text()
    assert "postfix/good/smtpd" in log
    assert "Trusted TLS connection established from" in log  # Postfix, of our own certificate
    assert "client=localhost[127.0.0.2]" in log or "client=unknown[127.0.0.2]" in log  # the interface of the mail flow policy
    assert "[127.0.0.1]: TLSv1.3" not in log
