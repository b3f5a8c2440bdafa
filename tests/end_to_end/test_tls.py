"""TLS of a whole gateway: mail over STARTTLS says so in its trace field, tracking and log; SIGHUP renews certificates and loses nobody."""

from __future__ import annotations

import os
import signal
import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.command import esa
from tests.end_to_end.running import RECIPIENT, REVERSE_PATH, Gateway, running
from tests.end_to_end.test_first_mail import CLEAN
from tests.gateway.certificates import Authority
from tests.gateway.name_server import name_server_beside

MORE = '[[certificate]]\nchain = "{0}/1.pem"\nkey = "{0}/1.key"\n[[certificate]]\nchain = "{0}/2.pem"\nkey = "{0}/2.key"\n'


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    authority.certificate("mx.example.org")
    authority.certificate("mx.example.org", key="RSA")
    return authority


@pytest.fixture
def gateway(tmp_path: Path, authority: Authority) -> Iterator[Gateway]:
    yield from running(tmp_path, workers=2, more=MORE.format(tmp_path))


def session(gateway: Gateway, authority: Authority) -> tuple[smtplib.SMTP, dict[str, object]]:
    client = smtplib.SMTP("127.0.0.1", gateway.port, timeout=30)
    client._host = "mx.example.org"  # type: ignore[attr-defined]  # the name to verify
    client.starttls(context=authority.client())
    assert isinstance(client.sock, ssl.SSLSocket)
    return client, dict(client.sock.getpeercert() or {})


def until(condition: Callable[[], bool], patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def test_mail_over_tls_says_so_everywhere(gateway: Gateway, authority: Authority) -> None:
    client, _ = session(gateway, authority)
    with client:
        client.sendmail(REVERSE_PATH, [RECIPIENT], CLEAN)
    (content,) = gateway.arrived(1)
    assert b"with ESMTPS id" in content
    assert b"\t(TLSv1.3 TLS_" in content
    until(lambda: "tls=TLSv1.3 cipher=TLS_" in gateway.log.read_text())
    until(lambda: "TLSv1.3 TLS_" in gateway.command("track", "--json", "--recipient", RECIPIENT))


def test_certificates_are_read_again_and_bad_ones_are_not_taken(gateway: Gateway, authority: Authority, tmp_path: Path) -> None:
    open_before, old = session(gateway, authority)
    newer = authority.certificate("mx.example.org")
    for number in (1, 2):
        (tmp_path / f"{number}.pem").write_bytes(newer.chain.read_bytes())
    os.kill(gateway.pid, signal.SIGHUP)
    until(lambda: "event=service.reload_refused" in gateway.log.read_text())
    client, found = session(gateway, authority)
    client.quit()
    assert found["serialNumber"] == old["serialNumber"]
    for number in (1, 2):
        (tmp_path / f"{number}.key").write_bytes(newer.key.read_bytes())
    os.kill(gateway.pid, signal.SIGHUP)
    until(lambda: "event=service.reloaded" in gateway.log.read_text())
    client, found = session(gateway, authority)
    client.quit()
    assert found["serialNumber"] != old["serialNumber"]
    open_before.sendmail(REVERSE_PATH, [RECIPIENT], CLEAN)
    open_before.quit()
    gateway.arrived(1)


def test_the_end_of_a_certificate_stands_in_log_and_metrics_and_a_renewal_shows(
    gateway: Gateway, authority: Authority, tmp_path: Path
) -> None:
    def ends() -> list[str]:
        return sorted(line for line in gateway.http("/metrics")[1].splitlines() if line.startswith("esa_certificate_end_timestamp_seconds"))

    until(lambda: len(ends()) == 2)
    before = ends()
    old = authority.certificate("mx.example.org", is_expired=True)
    (tmp_path / "1.pem").write_bytes(old.chain.read_bytes())
    (tmp_path / "1.key").write_bytes(old.key.read_bytes())
    os.kill(gateway.pid, signal.SIGHUP)
    until(lambda: "event=service.reloaded" in gateway.log.read_text())
    assert gateway.log.read_text().count("event=certificate.expired") == 1
    assert [one == two for one, two in zip(before, ends(), strict=True)] == [False, True]


def test_a_running_gateway_is_verified_by_our_own_tools(gateway: Gateway, authority: Authority) -> None:
    with name_server_beside({}) as names:
        options = ("--authorities", authority.file, "--resolver", names.address, "--json")
        (line,) = esa("tlsverify", "mx.example.org", "--host", f"127.0.0.1:{gateway.port}", *options).lines
    assert (line["verified"], line["protocol"], line["matching_name"]) == (True, "TLSv1.3", "mx.example.org")
    target = f"smtp://127.0.0.1:{gateway.port}"
    (shown,) = esa("cert", "show", target, "--authorities", authority.file, "--json").lines
    assert (shown["trusted"], shown["reason"]) == (True, "")
