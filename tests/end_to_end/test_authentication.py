"""Users of a file and of a real LDAP directory at a whole gateway with two workers: who is let in, how often one may guess, outages."""

from __future__ import annotations

import os
import re
import signal
import smtplib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from tests.end_to_end.running import REVERSE_PATH, Gateway, running
from tests.end_to_end.test_first_mail import CLEAN
from tests.gateway.certificates import Authority
from tests.gateway.directory.slapd import BASE, Slapd, slapd_running

pytestmark = pytest.mark.servers
QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
MORE = """
[[certificate]]
chain = "{folder}/1.pem"
key = "{folder}/1.key"
[authentication]
users = "{folder}/users"
[[user_ldap]]
name = "people"
servers = ["{url}"]
tls = "off"
base = "{base}"
timeout = "2 s"
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    authority.certificate("mx.example.org")
    return authority


@pytest.fixture
def slapd(server_program: Callable[[str], str], tmp_path: Path) -> Iterator[Slapd]:
    with slapd_running(server_program("slapd"), tmp_path / "slapd", ["anna", "bert"]) as server:
        yield server


@pytest.fixture
def gateway(tmp_path: Path, authority: Authority, slapd: Slapd) -> Iterator[Gateway]:
    (tmp_path / "users").write_text(f"scanner:{QUICK.hash('of the scanner')}\n")
    more = MORE.format(folder=tmp_path, url=slapd.url, base=BASE)
    yield from running(tmp_path, workers=2, more=more, listener='authentication = "required"\ntls = "required"\n')


def attempt(gateway: Gateway, authority: Authority, name: str, password: str, address: str = "127.0.0.1") -> int:
    """The code that AUTH is answered in a session of its own; where it is 235, of a message that is sent then."""
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30, source_address=(address, 0)) as client:
        client._host = "mx.example.org"  # type: ignore[attr-defined]  # the name to verify
        client.starttls(context=authority.client())
        try:
            client.ehlo("client.example.net")
            client.user, client.password = name, password
            client.auth("PLAIN", client.auth_plain)  # login would try every mechanism
        except smtplib.SMTPAuthenticationError as refusal:
            return refusal.smtp_code
        client.mail(REVERSE_PATH)
        client.rcpt("anybody@elsewhere.example")
        return client.data(CLEAN)[0]


def test_users_of_file_and_directory_send_to_any_domain_and_are_named(gateway: Gateway, authority: Authority) -> None:
    assert attempt(gateway, authority, "scanner", "of the scanner") == 250
    assert attempt(gateway, authority, "anna@example.org", "anna's secret") == 250
    assert attempt(gateway, authority, "anna", "bert's secret") == 535
    assert attempt(gateway, authority, "scanner", "anna's secret") == 535
    assert any(b"with ESMTPSA id" in content for content in gateway.arrived(2))
    assert "user=anna@example.org" in gateway.log.read_text()
    assert "secret" not in gateway.log.read_text()


def test_guesses_at_one_time_over_two_workers_and_a_reload_fail_no_more_often_than_they_may(gateway: Gateway, authority: Authority) -> None:
    with ThreadPoolExecutor(24) as threads:
        codes = list(threads.map(lambda number: attempt(gateway, authority, "anna", f"guess {number}"), range(24)))
    assert codes.count(535) == 5
    assert codes.count(454) == 19
    told = re.findall(r"(receive-\d+) event=authentication\.failed", gateway.log.read_text())
    assert len(told) == 24
    assert len(set(told)) == 2, "both workers took part"
    os.kill(gateway.pid, signal.SIGHUP)
    deadline = time.monotonic() + 30
    while "event=service.reloaded" not in gateway.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert attempt(gateway, authority, "anna", "anna's secret") == 454
    assert attempt(gateway, authority, "anna", "anna's secret", "127.0.0.9") == 250


def test_a_directory_that_is_down_is_told_as_temporary_and_in_the_log(gateway: Gateway, authority: Authority, slapd: Slapd) -> None:
    slapd.process.terminate()
    slapd.process.wait(20)
    for _ in range(8):
        assert attempt(gateway, authority, "anna", "anna's secret") == 454
    assert attempt(gateway, authority, "scanner", "of the scanner") == 250
    log = gateway.log.read_text()
    assert "event=source.silent source=people" in log
    assert 'reason="outage: people: ' in log
