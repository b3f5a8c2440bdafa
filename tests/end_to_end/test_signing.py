"""Mail that leaves is signed with DKIM for its author's domain; mail that comes in is not, and a copy held back is when it is released."""

from __future__ import annotations

import json
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from esa.cli.serve import GTUBE
from esa.gateway.delivery.signing import SigningPrivateKey, make_key, private_octets
from tests.conformance.gateway import Sink
from tests.end_to_end.running import Gateway, running
from tests.message.test_dkim import verifies

TABLES = """
[delivery]
route = "127.0.0.1:{port}"
[[dkim]]
domain = "example.net"
selector = "r"
key = "r.pem"
sub_domains = true
[[dkim]]
domain = "example.net"
selector = "e"
key = "e.pem"
[[mail_policy]]
name = "held"
table = "outgoing"
recipients = ["held@"]
positive = {{ action = "quarantine" }}
{sender}
"""
HOUSE = '[[sender_group]]\nname = "HOUSE"\npolicy = "RELAYED"\nsenders = ["127.0.0.1"]\n'


class Site(NamedTuple):
    gateway: Gateway
    sink: Sink
    keys: dict[str, SigningPrivateKey]

    def send(self, content: bytes, *, number: int = 0) -> bytes:
        """The octets at the next hop."""
        recipient = f"b{number}@example.com"
        self.offer(content, recipient)
        found = self.sink.wait_for(recipient)
        assert found is not None, self.gateway.log.read_text()[-3000:]
        return found.data.replace(b"\r\n..", b"\r\n.")

    def offer(self, content: bytes, recipient: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.gateway.port, timeout=30) as client:
            client.sendmail("a@example.net", [recipient], content)


def site(folder: Path, sender: str) -> Iterator[Site]:
    keys = {"r": make_key("rsa-sha256"), "e": make_key("ed25519-sha256")}
    for name, key in keys.items():
        (folder / f"{name}.pem").write_bytes(private_octets(key))
        (folder / f"{name}.pem").chmod(0o600)
    sink = Sink()
    sink.start()
    for gateway in running(
        folder, workers=1, more=TABLES.format(port=sink.port, sender=sender), listener='accept_domains = ["example.com"]\n'
    ):
        yield Site(gateway, sink, keys)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Site]:
    yield from site(tmp_path, HOUSE)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Site]:
    yield from site(tmp_path, "")


def test_outgoing_mail_leaves_with_a_signature_of_each_key_of_its_author(house: Site) -> None:
    bodies = [
        b"Hello.\r\n",
        b"",
        b".dots\r\n..\r\n" + b"long " * 20000 + b"\r\n",
        b"one line\nbare\n",
        b"x" * 78 + b"\r\n" + b"y\r\n" * 600_000,
    ]
    for number, body in enumerate(bodies):
        content = b"From: A <a@Example.NET>\r\nTo: b@example.com\r\nSubject: hello\r\n\r\n" + body
        left = house.send(content, number=number)
        assert verifies(left, house.keys["r"].public_key(), 0)
        assert verifies(left, house.keys["e"].public_key(), 1)
    below = house.send(b"From: a@sales.example.net\r\nSubject: hello\r\n\r\nHello.\r\n", number=10)
    assert verifies(below, house.keys["r"].public_key())
    assert below.count(b"DKIM-Signature:") == 1
    stranger = house.send(b"From: a@example.org\r\nSubject: hello\r\n\r\nHello.\r\n", number=11)
    assert b"DKIM-Signature" not in stranger


def test_mail_from_outside_is_not_signed_whoever_it_says_it_is_from(outside: Site) -> None:
    left = outside.send(b"From: a@example.net\r\nSubject: hello\r\n\r\nHello.\r\n")
    assert b"DKIM-Signature" not in left


def test_what_was_held_is_signed_when_it_is_released(house: Site) -> None:
    house.offer(b"From: a@example.net\r\nSubject: hello\r\n\r\n" + GTUBE.encode() + b"\r\n", "held@example.com")
    deadline = time.monotonic() + 20
    while not (listed := house.gateway.command("quarantine", "list", "--json").strip()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert listed
    house.gateway.command("quarantine", "release", json.loads(listed.splitlines()[0])["id"])
    found = house.sink.wait_for("held@example.com")
    assert found is not None
    assert verifies(found.data, house.keys["r"].public_key())


def test_a_key_that_others_can_read_keeps_the_gateway_from_starting(house: Site) -> None:
    house.gateway.stop()
    (house.gateway.folder / "r.pem").chmod(0o644)
    with pytest.raises(RuntimeError, match="others can read this key"):
        house.gateway.start()
