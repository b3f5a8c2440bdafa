"""Greylisting over real sockets, with a clock of the test's own: who has to come back, at which command, and who need not."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from esa.gateway.greylisting import Greylisting
from esa.gateway.limits import Limits
from esa.gateway.metrics import Counter
from esa.gateway.reception import ListenerReceiver
from esa.gateway.sender_facts import SenderFacts
from esa.policy.host_access import HostAccess
from esa.policy.incoming_relay import IncomingRelay, IncomingRelays
from esa.policy.mail_flow import SHIPPED
from esa.policy.recipient_access import RecipientAccess
from esa.policy.reputation import Reputation
from esa.store.greylist import FILE_NAME, Greylist, GreylistSettings
from tests.gateway.sessions import Client, Listening, listening
from tests.gateway.test_receive import POSITIVE, Bench
from tests.gateway.test_reception import Names, group
from tests.policy.test_incoming_relay import hosts
from tests.store.test_greylist import Clock

NAMED, NAMELESS, RELAY, TRUSTED = "127.0.1.5", "127.0.2.6", "127.0.3.7", "127.0.4.8"
NAMES = Names({("5.1.0.127.in-addr.arpa", "PTR"): ("mx1.shop.example.net",), ("mx1.shop.example.net", "A"): (NAMED,)})
GREY = replace(SHIPPED["ACCEPTED"], name="GREY", greylist=True)
GROUPS = (group("TRUSTED", SHIPPED["TRUSTED"], TRUSTED), group("GREY", GREY, "ALL"))
MAIL = b"From: Shop <news@example.net>\r\nSubject: hello\r\n\r\nhello\r\n"
CODE = b"From: Bank <no-reply@bank.example>\r\nSubject: Your code\r\n\r\nYour verification code is 482913.\r\n"


class House(Bench):
    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__(folder)
        self.greylist = Greylist(folder, GreylistSettings(delay=300, auto_allow=2), clock=clock)
        self.route.greylisting = Greylisting(self.greylist)
        facts = SenderFacts(NAMES, Reputation(), timeout=2.0, budget=10)
        relays = IncomingRelays([IncomingRelay("RELAY", hosts(RELAY))])
        self.receiver = ListenerReceiver(self.route, RecipientAccess.of_domains(["example.org"]), HostAccess(GROUPS), facts, relays=relays)


@asynccontextmanager
async def house(folder: Path, clock: Clock) -> AsyncIterator[tuple[House, Listening]]:
    made = House(folder, clock)
    async with listening(made.receiver, limits=Limits(message_size=1 << 20)) as running:
        yield made, running
    await made.route.drain()
    made.spool.close()
    made.greylist.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def offer(client: Client, content: bytes = MAIL, *recipients: str, sender: str = "a@example.net") -> list[str]:
    """The replies to RCPT and to the mail data."""
    for command in ("EHLO client.example", f"MAIL FROM:<{sender}>"):
        assert (await client.ask(command)).startswith("250")
    replies = [await client.ask(f"RCPT TO:<{one}>") for one in recipients or ("b@example.org",)]
    if any(reply.startswith("250") for reply in replies):
        assert (await client.ask("DATA")).startswith("354")
        replies.append(await client.ask(content + b".\r\n"))
    else:
        await client.ask("RSET")
    return replies


async def test_a_client_without_a_name_is_told_at_rcpt_and_passes_when_it_comes_back(tmp_path: Path, clock: Clock) -> None:
    async with house(tmp_path, clock) as (made, running):
        client = await running.connect(address=NAMELESS)
        assert await offer(client, CODE) == ["451 4.7.1 Greylisted, try again in 300 seconds"]
        clock.now += 250
        assert await offer(client) == ["451 4.7.1 Greylisted, try again in 50 seconds"]
        clock.now += 50
        assert (await offer(client))[1].startswith("250")
        assert (await offer(client))[1].startswith("250")
        assert made.counted(Counter.GREYLISTED) == 2
        assert len(made.stored()) == 1 + 1 + 2  # two abandoned transactions, which tracking knows too
    refused = [event for one in made.stored() for event in one.record.events if event.name == "recipient.refused"]
    assert str(refused[0].fields["reply"]).startswith("451 4.7.1 Greylisted")


async def test_a_client_with_a_name_is_told_when_its_mail_has_been_read(tmp_path: Path, clock: Clock) -> None:
    async with house(tmp_path, clock) as (made, running):
        client = await running.connect(address=NAMED)
        replies = await offer(client)
        assert replies[0].startswith("250")
        assert replies[1].startswith("451 4.7.1 Greylisted, try again in 300 seconds (")
        clock.now += 300
        assert (await offer(client))[1].startswith("250 2.0.0")
        assert made.counted(Counter.MESSAGES_DEFERRED) == 1
    events = [event for one in made.stored() for event in one.record.events]
    told = {str(event.name): event.fields["greylist"] for event in events if "greylist" in event.fields}
    assert told == {"message.greylisted": "new", "message.accepted": "waited"}


async def test_a_login_code_of_a_client_with_a_name_never_waits(tmp_path: Path, clock: Clock) -> None:
    async with house(tmp_path, clock) as (_, running):
        client = await running.connect(address=NAMED)
        assert (await offer(client, CODE, sender="no-reply@bank.example"))[1].startswith("250")
        assert (await offer(client, CODE, "b@example.org", "c@example.org"))[2].startswith("451")  # a code is for one person


async def test_a_known_author_that_is_aligned_with_its_client_never_waits_again(tmp_path: Path, clock: Clock) -> None:
    async with house(tmp_path, clock) as (_, running):
        client = await running.connect(address=NAMED)
        assert (await offer(client))[1].startswith("451")
        clock.now += 300
        assert (await offer(client))[1].startswith("250")  # example.net is known from now on
        assert (await offer(client, MAIL, "other@example.org", sender="else@example.net"))[1].startswith("250")
        forged = MAIL.replace(b"news@example.net", b"news@bank.example")
        assert (await offer(client, forged, "third@example.org", sender="else@example.net"))[1].startswith("451")
        stranger = await running.connect(address=NAMELESS)  # another client that writes the known author
        assert (await offer(stranger, MAIL, "fourth@example.org"))[0].startswith("451")


async def test_a_call_ahead_is_answered_and_a_bounce_waits_at_its_end(tmp_path: Path, clock: Clock) -> None:
    async with house(tmp_path, clock) as (_, running):
        client = await running.connect(address=NAMELESS)
        replies = await offer(client, sender="")
        assert replies[0].startswith("250")
        assert replies[1].startswith("451 4.7.1 Greylisted")
        clock.now += 300
        assert (await offer(client, sender=""))[1].startswith("250")


async def test_whom_it_is_not_for_never_waits(tmp_path: Path, clock: Clock) -> None:
    async with house(tmp_path, clock) as (_, running):
        for address in (TRUSTED, RELAY):
            assert (await offer(await running.connect(address=address)))[1].startswith("250")


async def test_spam_is_refused_for_good_and_begins_no_triplet(tmp_path: Path, clock: Clock) -> None:
    async with house(tmp_path, clock) as (_, running):
        client = await running.connect(address=NAMED)
        assert (await offer(client, POSITIVE))[1].startswith("550 5.7.1")
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        assert connection.execute("SELECT count(*) FROM entry").fetchone() == (0,)


async def test_a_client_that_has_shown_often_enough_that_it_comes_back_passes(tmp_path: Path, clock: Clock) -> None:
    async with house(tmp_path, clock) as (_, running):
        client = await running.connect(address=NAMELESS)
        for number in range(2):
            assert (await offer(client, MAIL, f"{number}@example.org"))[0].startswith("451")
            clock.now += 300
            assert (await offer(client, MAIL, f"{number}@example.org"))[1].startswith("250")
        assert (await offer(client, MAIL, "new@example.org"))[1].startswith("250")


async def test_a_file_that_is_held_by_another_lets_mail_in(tmp_path: Path, clock: Clock) -> None:
    async with house(tmp_path, clock) as (_, running):
        holder = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        client = await running.connect(address=NAMELESS)
        assert (await offer(client))[1].startswith("250")
        holder.execute("ROLLBACK")
        holder.close()
