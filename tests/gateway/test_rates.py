"""What a sender has done is counted over all its connections, listeners and workers; and a directory harvest learns nothing past its limit."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from esa.gateway import events as gateway_events
from esa.gateway.events import Event as Log
from esa.gateway.limits import Limits
from esa.gateway.metrics import Counter
from esa.gateway.rates import ALERT_WINDOW, HOUR, NodeRates, SenderCounts, create_memory
from esa.gateway.reception import ListenerReceiver
from esa.policy.host_access import HostAccess
from esa.policy.mail_flow import MailFlowPolicy
from esa.policy.recipient_access import RecipientAccess
from esa.policy.senders import network_of, read_address
from esa.store.record import EventName
from tests.gateway.sessions import Client, Listening, listening
from tests.gateway.test_receive import Bench

INVALID = "550 5.7.1 relaying denied"
HARVEST = "550 5.7.1 Too many invalid recipients"


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 10_000.0

    def __call__(self) -> float:
        return self.now


class Node(Bench):
    """A node of several workers, each with a listener of its own in this process; they share one memory."""

    def __init__(self, folder: Path, policy: MailFlowPolicy) -> None:
        super().__init__(folder)
        self.clock = Clock()
        self.policy = policy
        self.memory = create_memory(3)

    def receiver_of(self, worker: int) -> ListenerReceiver:
        rates = NodeRates(self.memory, worker, clock=self.clock)
        return ListenerReceiver(self.route, RecipientAccess.of_domains(["example.org"]), HostAccess((), self.policy), None, rates)


@asynccontextmanager
async def two_workers(folder: Path, policy: MailFlowPolicy) -> AsyncIterator[tuple[Node, Listening, Listening]]:
    node = Node(folder, policy)
    limits = Limits(errors=1000)
    async with listening(node.receiver_of(0), limits=limits) as one, listening(node.receiver_of(1), limits=limits) as other:
        yield node, one, other
    await node.route.drain()
    node.spool.close()
    os.close(node.memory)


async def begin(running: Listening, address: str = "127.0.0.1", reverse_path: str = "a@example.net") -> Client:
    client = await running.connect(address=address)
    for command in ("EHLO client.example", f"MAIL FROM:<{reverse_path}>"):
        assert (await client.ask(command)).startswith("250")
    return client


async def recipients(client: Client, *addresses: str) -> list[str]:
    """Replies to these, pipelined; "" for a closed connection."""
    await client.send(b"".join(f"RCPT TO:<{address}>\r\n".encode() for address in addresses))
    replies = []
    for _ in addresses:
        try:
            replies.append(await client.line())
        except ConnectionError:
            replies.append("")
    return replies


async def test_connections_of_a_sender_are_counted_over_workers_and_given_back(tmp_path: Path) -> None:
    async with two_workers(tmp_path, MailFlowPolicy(max_concurrency=3)) as (_, one, other):
        clients = [await one.connect(), await other.connect(), await one.connect()]
        refused = await other.connect(greeting=False)
        assert (await refused.line()).startswith("421 4.7.0 ")
        assert await refused.is_closed()
        assert (await other.connect(address="127.0.0.9")) is not None
        assert (await clients[0].ask("QUIT")).startswith("221")
        assert await clients[0].is_closed()
        while True:
            again = await other.connect(greeting=False)
            if (await again.line()).startswith("220"):
                break


async def test_recipients_of_a_sender_are_counted_in_a_sliding_hour_over_workers(tmp_path: Path) -> None:
    policy = MailFlowPolicy(max_rcpts_per_hour=5, max_rcpts_per_hour_code=451, max_rcpts_per_hour_text="Slowly")
    async with two_workers(tmp_path, policy) as (node, one, other):
        first, second = await begin(one), await begin(other)
        assert await recipients(first, *["b@example.org"] * 3) == ["250 2.1.5 Recipient ok"] * 3
        node.clock.now += 1800
        assert (await recipients(second, *["b@example.org"] * 3))[1:] == ["250 2.1.5 Recipient ok", "451 4.7.1 Slowly"]
        assert (await recipients(await begin(one, "127.0.0.9"), "b@example.org")) == ["250 2.1.5 Recipient ok"]
        node.clock.now += 1800 + 2 * HOUR / 15
        replies = await recipients(first, *["b@example.org"] * 4)
        assert [reply[:3] for reply in replies] == ["250", "250", "250", "451"]


async def test_recipients_of_a_reverse_path_are_counted_whoever_sends_them(tmp_path: Path) -> None:
    policy = MailFlowPolicy(
        max_rcpts_per_envelope_sender=2, envelope_sender_interval=600.0, envelope_sender_exempt=("news@example.net", ".list.example")
    )
    async with two_workers(tmp_path, policy) as (node, one, other):
        assert [reply[:3] for reply in await recipients(await begin(one), *["b@example.org"] * 2)] == ["250", "250"]
        assert await recipients(await begin(other, "127.0.0.9", "A@Example.net"), "b@example.org") == [
            "452 4.7.1 Too many recipients received from the sender"
        ]
        for exempt in ("news@example.net", "x@a.list.example", ""):
            assert (await recipients(await begin(one, reverse_path=exempt), *["b@example.org"] * 3))[2].startswith("250")
        node.clock.now += 700
        assert (await recipients(await begin(other), "b@example.org"))[0].startswith("250")


async def test_a_harvest_ends_at_its_limit_over_workers_and_learns_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setattr(gateway_events, "warning", lambda event, **fields: told.append({"event": event, **fields}))
    async with two_workers(tmp_path, MailFlowPolicy()) as (node, one, other):
        first, second = await begin(one), await begin(other)
        assert await recipients(first, "b@example.org", "c@example.org") == ["250 2.1.5 Recipient ok"] * 2
        assert await recipients(first, *[f"x{number}@example.com" for number in range(13)]) == [INVALID] * 13
        assert await recipients(second, *[f"y{number}@example.com" for number in range(12)]) == [INVALID] * 12
        assert len(told) == 1
        assert (told[0]["event"], told[0]["invalid"], told[0]["learned"]) == (Log.HARVEST_DETECTED, 25, 2)
        assert "y11@example.com" in str(told[0]["sample"])
        assert await recipients(second, "z@example.com", "b@example.org") == [HARVEST, ""]
        assert await recipients(await begin(one), "b@example.org") == [HARVEST]
        assert await recipients(await begin(other), "z@example.com") == [HARVEST]
        assert (await recipients(await begin(one, "127.0.0.9"), "b@example.org"))[0].startswith("250")
        assert node.counted(Counter.HARVESTS_REFUSED) == 3
        assert len(told) == 1
        node.clock.now += HOUR + 2 * HOUR / 15
        assert (await recipients(await begin(one), "b@example.org"))[0].startswith("250")
        await node.route.drain()
        harvest = EventName.HARVEST_DETECTED, EventName.HARVEST_REFUSED  # beside what is told of each transaction that ends without mail
        notes = [event for stored in node.stored() for event in stored.record.events if event.name in harvest]
    assert [event.name for event in notes] == [EventName.HARVEST_DETECTED, *[EventName.HARVEST_REFUSED] * 3]
    assert (notes[0].fields["network"], notes[-1].fields["refused"]) == ("127.0.0.1", 3)


async def test_a_harvest_need_not_end_the_connection_and_its_words_can_be_chosen(tmp_path: Path) -> None:
    policy = MailFlowPolicy(dhap_limit=1, dhap_code=450, dhap_text="No more", dhap_disconnect=False)
    async with two_workers(tmp_path, policy) as (_, one, _other):
        client = await begin(one)
        replies = await recipients(client, "x@example.com", "y@example.com", "b@example.org", "y@example.com")
        assert replies == [INVALID, *["450 4.7.1 No more"] * 3]
        assert (await client.ask("NOOP")).startswith("250")


@pytest.mark.parametrize("limit", [0, -1])
async def test_without_a_limit_nothing_is_a_harvest(tmp_path: Path, limit: int) -> None:
    async with two_workers(tmp_path, MailFlowPolicy(dhap_limit=limit)) as (_, one, _other):
        client = await begin(one)
        assert await recipients(client, *[f"x{number}@example.com" for number in range(60)]) == [INVALID] * 60
        assert (await recipients(client, "b@example.org"))[0].startswith("250")


async def test_similar_addresses_are_one_sender_by_their_significant_bits(tmp_path: Path) -> None:
    async with two_workers(tmp_path, MailFlowPolicy(dhap_limit=2, significant_bits=24)) as (_, one, other):
        assert await recipients(await begin(one, "127.0.0.5"), "x@example.com") == [INVALID]
        assert await recipients(await begin(other, "127.0.0.6"), "y@example.com") == [INVALID]
        assert await recipients(await begin(one, "127.0.0.7"), "b@example.org") == [HARVEST]
        assert (await recipients(await begin(one, "127.0.1.7"), "b@example.org"))[0].startswith("250")


@pytest.mark.parametrize(
    ("address", "bits", "network"),
    [
        ("192.0.2.77", 32, "192.0.2.77"),
        ("192.0.2.77", 24, "192.0.2.0/24"),
        ("192.0.2.77", 0, "0.0.0.0/0"),
        ("2001:db8:1:2:3::4", 32, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3::4", 24, "2001:db8:1::/48"),
    ],
)
def test_a_sender_is_an_address_or_a_network(address: str, bits: int, network: str) -> None:
    parsed = read_address(address)
    assert parsed is not None
    assert network_of(parsed, bits) == network


def test_an_attack_that_goes_on_is_told_again_after_hours_and_not_before() -> None:
    clock = Clock()
    memory = create_memory(1)
    address = read_address("192.0.2.1")
    assert address is not None
    counts = SenderCounts(NodeRates(memory, 0, clock=clock), replace(MailFlowPolicy(), dhap_limit=2), address)
    alerts = 0
    for _ in range(200):
        if not counts.is_harvesting:
            alerts += counts.count_invalid()
        clock.now += 1200
    assert 200 * 1200 / (ALERT_WINDOW * 1.2) - 1 <= alerts <= 200 * 1200 / ALERT_WINDOW + 1
    os.close(memory)


def test_a_worker_that_died_held_nothing() -> None:
    memory = create_memory(2)
    address = read_address("192.0.2.1")
    assert address is not None
    policy = MailFlowPolicy(max_concurrency=1)
    assert SenderCounts(NodeRates(memory, 0), policy, address).enter() is None
    other = NodeRates(memory, 1)
    assert SenderCounts(other, policy, address).enter() == "max_concurrency"
    NodeRates(memory, 0)  # its successor
    assert SenderCounts(other, policy, address).enter() is None
    os.close(memory)


def test_connections_of_a_network_are_limited_whatever_the_policy_of_its_addresses() -> None:
    memory = create_memory(1)
    rates = NodeRates(memory, 0, connections_per_network=2)
    held, addresses = [], []
    for text in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.1", "2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:1:4::1"):
        address = read_address(text)
        assert address is not None
        addresses.append(address)
        counts = SenderCounts(rates, MailFlowPolicy(), address)
        held.append((counts, counts.enter()))
    assert [reason for _, reason in held] == [None, None, "connections_per_network", None, None, None, "connections_per_network"]
    held[0][0].leave()
    assert SenderCounts(rates, MailFlowPolicy(), addresses[2]).enter() is None
    os.close(memory)
