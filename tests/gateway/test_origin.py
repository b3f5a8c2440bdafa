"""Mail of incoming relays over real sockets: whose reputation and group counts, what is told of it, and what forged headers come to."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from esa.gateway import events
from esa.gateway.limits import Limits
from esa.gateway.reception import ListenerReceiver
from esa.gateway.sender_facts import SenderFacts
from esa.policy.host_access import HostAccess
from esa.policy.incoming_relay import IncomingRelay, IncomingRelays
from esa.policy.mail_flow import SHIPPED
from esa.policy.recipient_access import RecipientAccess
from esa.policy.reputation import DnsZone, Reputation
from tests.gateway.sessions import Listening, listening
from tests.gateway.test_events import restored_logging  # noqa: F401
from tests.gateway.test_receive import POSITIVE, Bench
from tests.gateway.test_reception import Names, group, send
from tests.policy.test_incoming_relay import hosts

RELAY, STRANGER = "127.0.0.5", "127.0.0.6"
GOOD, BAD = "192.0.2.108", "192.0.2.66"
NAMES = Names({("108.2.0.192.bl.example.net", "A"): ("127.0.0.2",), ("66.2.0.192.bad.example.net", "A"): ("127.0.0.2",)})
WEIGHTS = {"bl.example.net": 6.8, "bad.example.net": -9.0}
GROUPS = (
    group("RELAYS", replace(SHIPPED["TRUSTED"], name="RELAYS"), RELAY),
    group("WHITELIST", SHIPPED["TRUSTED"], "SBRS[6.0:10.0]"),
    group("BLACKLIST", SHIPPED["BLOCKED"], "SBRS[-10.0:-3.0]"),
)
HIGH = IncomingRelay("Relay1", hosts(RELAY), hops=1)


def received(address: str) -> bytes:
    return f"Received: from a.example (a.example [{address}])\r\n\tby relay.example with ESMTP id 1; date\r\n".encode()


def spam(address: str) -> bytes:
    return b"Subject: positive\r\n" + received(address) + b"\r\nBUY\r\n"


@asynccontextmanager
async def house(folder: Path, relay: IncomingRelay = HIGH) -> AsyncIterator[tuple[Bench, Listening]]:
    bench = Bench(folder)
    facts = SenderFacts(NAMES, Reputation([DnsZone(*one) for one in WEIGHTS.items()]), timeout=2.0, budget=10)
    access = RecipientAccess.of_domains(["example.org"])
    receiver = ListenerReceiver(bench.route, access, HostAccess(GROUPS), facts, relays=IncomingRelays([relay]))
    async with listening(receiver, limits=Limits(message_size=1 << 20, spill=1 << 16), spill_directory=bench.spool.incoming) as running:
        yield bench, running
    await bench.route.drain()
    bench.spool.close()


@pytest.fixture
def log(restored_logging: None) -> Iterator[io.StringIO]:  # noqa: F811
    stream = io.StringIO()
    events.configure("receive-0", log_format="asyncos", stream=stream)
    yield stream


async def test_the_client_of_a_relay_decides_whether_spam_is_looked_for(tmp_path: Path, log: io.StringIO) -> None:
    async with house(tmp_path) as (bench, running):
        relay = await running.connect(address=RELAY)
        assert (await send(relay, spam("198.51.100.7"))).startswith("550 5.7.1")  # although the relay itself is trusted
        assert (await send(relay, spam(GOOD))).startswith("250")
        assert (await send(relay, POSITIVE)).startswith("250")  # no address: the relay counts
        stored = [one.record for one in bench.stored()]
    lines = log.getvalue()
    assert "IncomingRelay(Relay1): Header Received found, IP 198.51.100.7 being used, SBRS None" in lines
    assert "IncomingRelay(Relay1): Header Received found, IP 192.0.2.108 being used, SBRS 6.8" in lines
    assert "IncomingRelay(Relay1): Header Received not found, IP of the connecting host being used" in lines
    assert lines.index("Start MID") < lines.index("IncomingRelay") < lines.index("Subject")
    told = [(record.session.relayed_from, record.events[0].fields.get("origin_group")) for record in stored]
    assert sorted(told, key=str) == sorted([("198.51.100.7", "ALL"), (GOOD, "WHITELIST"), ("", None)], key=str)
    assert {record.session.client_address for record in stored} == {RELAY}
    assert {record.events[0].fields["group"] for record in stored} == {"RELAYS"}


async def test_a_client_that_the_hat_would_refuse_is_told_and_its_mail_is_checked(tmp_path: Path) -> None:
    async with house(tmp_path) as (bench, running):
        relay = await running.connect(address=RELAY)
        assert (await send(relay, received(BAD) + b"Subject: hello\r\n\r\nhello\r\n")).startswith("250")
        (record,) = (one.record for one in bench.stored())
    fields = record.events[0].fields
    assert (fields["origin"], fields["origin_reputation"], fields["origin_group"]) == (BAD, -9.0, "BLACKLIST")


async def test_a_stranger_that_writes_the_relays_header_is_judged_as_itself(tmp_path: Path) -> None:
    async with house(tmp_path, IncomingRelay("Relay1", hosts(RELAY), "X-Sender-IP")) as (bench, running):
        stranger = await running.connect(address=STRANGER)
        assert (await send(stranger, b"X-Sender-IP: 192.0.2.108\r\n" + POSITIVE)).startswith("550 5.7.1")
        relay = await running.connect(address=RELAY)
        assert (await send(relay, b"X-Sender-IP: 198.51.100.7\r\nX-Sender-IP: 192.0.2.108\r\nSubject: x\r\n\r\n")).startswith("250")
        stored = [one.record for one in bench.stored()]
    assert [record.session.relayed_from for record in stored] == ["", ""]
    assert [record.events[0].fields.get("origin") for record in stored if record.events[0].fields["client"] == STRANGER] == [None]


async def test_a_large_message_is_read_from_its_file_and_an_ipv6_client_is_found(tmp_path: Path) -> None:
    async with house(tmp_path) as (bench, running):
        relay = await running.connect(address=RELAY)
        body = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 20_000
        assert (await send(relay, received("IPv6:2001:db8::7") + body)).startswith("250")
        (record,) = (one.record for one in bench.stored())
    assert record.session.relayed_from == "2001:db8::7"


async def test_text_that_looks_like_the_field_in_the_body_is_not_the_header(tmp_path: Path) -> None:
    async with house(tmp_path, IncomingRelay("Relay1", hosts(RELAY), "X-Sender-IP")) as (bench, running):
        relay = await running.connect(address=RELAY)
        assert (await send(relay, b"Subject: x\r\n\r\nX-Sender-IP: 192.0.2.108\r\n")).startswith("250")
        assert (await send(relay, b"Subject: y\r\nX-SENDER-ip : \r\n 192.0.2.108\r\n\r\n")).startswith("250")
        stored = [one.record.session.relayed_from for one in bench.stored()]
    assert stored == ["", GOOD]
