"""Dialogues about recipients: recipient access, sources of recipients, and what a harvester is told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from esa.gateway.directory.call_ahead import CallAhead, NextHop
from esa.gateway.directory.file import FileSource
from esa.gateway.directory.kept import Keeping, KeptSource
from esa.gateway.directory.sources import Directory, Scope, Source
from esa.gateway.metrics import Counter
from esa.gateway.rates import NodeRates, create_memory
from esa.gateway.reception import ListenerReceiver
from esa.message.reply import Reply
from esa.policy.host_access import HostAccess
from esa.policy.mail_flow import AccessRule, MailFlowPolicy
from esa.policy.recipient_access import RecipientAccess, RecipientRule, parse_entry
from esa.store.record import EventName
from tests.gateway.directory.test_call_ahead import KNOWS, NO_SUCH_USER
from tests.gateway.directory.test_kept import Oracle
from tests.gateway.directory.waiting import until
from tests.gateway.scripted import SILENCE, ScriptedServer
from tests.gateway.sessions import HOSTNAME, Client, Listening, listening
from tests.gateway.test_receive import Bench

MOVED = RecipientRule(accepts=False, reply=Reply(551, "5.1.6", "moved"))
LATER = RecipientRule(accepts=False, reply=Reply(450, "4.2.1", "later"))
FREE = RecipientRule(True, Reply(250, "2.1.5", "always welcome"), bypass_recipient_check=True, bypass_receiving_control=True)
OURS = RecipientRule()
ENTRIES = [("old@example.org", MOVED), ("slow@example.org", LATER), ("abuse@example.org", FREE), ("example.org", OURS)]


@asynccontextmanager
async def open_desk(
    folder: Path, policy: MailFlowPolicy, *sources: Source, entries: Sequence[tuple[str, RecipientRule]] = ()
) -> AsyncIterator[tuple[Bench, Listening]]:
    """A listener with these entries whose senders are counted."""
    bench = Bench(folder)
    descriptor = create_memory(1)
    access = RecipientAccess([(parse_entry(text), rule) for text, rule in entries or ENTRIES])
    directory = Directory(sources) if sources else None
    bench.receiver = ListenerReceiver(bench.route, access, HostAccess((), policy), None, NodeRates(descriptor, 0), directory=directory)
    async with listening(bench.receiver) as running:
        yield bench, running
    os.close(descriptor)
    for source in sources:
        await source.close()
    await bench.route.drain()
    bench.spool.close()


async def recipients(client: Client, *forward_paths: str) -> list[str]:
    for command in ("EHLO client.example", "MAIL FROM:<a@example.net>"):
        assert (await client.ask(command)).startswith("250")
    return [await client.ask(f"RCPT TO:<{path}>") for path in forward_paths]


async def test_entries_reply_in_their_own_words_and_the_rest_is_not_relayed(tmp_path: Path) -> None:
    async with open_desk(tmp_path, MailFlowPolicy()) as (_, running):
        replies = await recipients(await running.connect(), '"OLD"@Example.org', "abuse@example.org", "b@example.org", "b@example.com")
        assert replies == ["551 5.1.6 moved", "250 2.1.5 always welcome", "250 2.1.5 Recipient ok", "550 5.7.1 relaying denied"]


async def test_a_recipient_that_bypasses_receiving_control_is_not_counted(tmp_path: Path) -> None:
    async with open_desk(tmp_path, MailFlowPolicy(max_rcpts_per_hour=2)) as (_, running):
        paths = ["abuse@example.org"] * 4 + ["b@example.org"] * 3 + ["abuse@example.org"]
        codes = [reply[:3] for reply in await recipients(await running.connect(), *paths)]
        assert codes == ["250"] * 6 + ["452", "250"]


async def test_a_refusal_for_now_is_no_invalid_recipient_and_one_for_good_is(tmp_path: Path) -> None:
    async with open_desk(tmp_path, MailFlowPolicy(dhap_limit=3, dhap_disconnect=False)) as (_, running):
        client = await running.connect()
        assert {reply[:3] for reply in await recipients(client, *["slow@example.org"] * 5)} == {"450"}
        await client.ask("RSET")
        replies = await recipients(client, *["old@example.org"] * 3, "b@example.org", "old@example.org")
        assert replies == ["551 5.1.6 moved"] * 3 + ["550 5.7.1 Too many invalid recipients"] * 2


async def test_postmaster_without_a_domain_is_accepted(tmp_path: Path) -> None:
    async with open_desk(tmp_path, MailFlowPolicy()) as (_, running):
        replies = await recipients(await running.connect(), "Postmaster", f"postmaster@{HOSTNAME}", f"root@{HOSTNAME}")
        assert [reply[:3] for reply in replies] == ["250", "250", "550"]


HARVESTED = "550 5.7.1 Too many invalid recipients"


async def file_source(folder: Path, *addresses: str, name: str = "staff") -> FileSource:
    (folder / f"{name}.txt").write_text("".join(f"{address}\n" for address in addresses))
    source = FileSource(Scope(name), folder / f"{name}.txt", delimiter="+")
    await source.start()
    return source


async def test_who_is_not_in_the_directory_is_refused_and_entries_may_bypass_it(tmp_path: Path) -> None:
    async with open_desk(tmp_path, MailFlowPolicy(), await file_source(tmp_path, "anna@example.org")) as (_, running):
        replies = await recipients(await running.connect(), "anna+x@example.org", "bert@example.org", "abuse@example.org", "postmaster")
        assert replies == ["250 2.1.5 Recipient ok", "550 5.1.1 Recipient unknown", "250 2.1.5 always welcome", "250 2.1.5 Recipient ok"]


async def test_a_directory_that_cannot_be_asked_puts_off_and_that_is_no_invalid_recipient(tmp_path: Path) -> None:
    source = KeptSource(Scope("ill"), Oracle(OSError("down")), Keeping())
    async with open_desk(tmp_path, MailFlowPolicy(dhap_limit=2), source) as (_, running):
        replies = await recipients(await running.connect(), *(f"x{number}@example.org" for number in range(6)))
        assert set(replies) == {"451 4.4.3 Recipient cannot be verified, try again later"}


async def test_hosts_that_may_relay_are_asked_about_nobody(tmp_path: Path) -> None:
    oracle = Oracle(False)
    policy = MailFlowPolicy(access=AccessRule.RELAY)
    async with open_desk(tmp_path, policy, KeptSource(Scope("no"), oracle, Keeping())) as (_, running):
        assert [reply[:3] for reply in await recipients(await running.connect(), "b@example.com", "old@example.org")] == ["250", "250"]
    assert oracle.asked == []


async def test_nobody_outside_our_domains_is_asked_about(tmp_path: Path) -> None:
    async with ScriptedServer(KNOWS) as server:
        hop = NextHop("127.0.0.1", server.port, HOSTNAME, timeout=5.0)
        source = KeptSource(Scope("ahead"), CallAhead("ahead", hop), Keeping())
        async with open_desk(tmp_path, MailFlowPolicy(), source) as (_, running):
            paths = ["b@example.com", "anna@example.org", "bert@example.org", "old@example.org"]
            assert [reply[:3] for reply in await recipients(await running.connect(), *paths)] == ["550", "250", "550", "551"]
        asked = [command.partition("@")[2] for command in server.commands if command.startswith("RCPT")]
        assert set(asked) == {"example.org>"}


async def test_a_source_that_hangs_keeps_one_session_waiting_and_the_others_are_served(tmp_path: Path) -> None:
    hanging = KeptSource(Scope("ill"), Oracle(None), Keeping(timeout=30.0))
    async with open_desk(tmp_path, MailFlowPolicy(), await file_source(tmp_path, "anna@example.org"), hanging) as (_, running):
        waiting, other = await running.connect(), await running.connect()
        for command in ("EHLO client.example", "MAIL FROM:<a@example.net>"):
            await waiting.ask(command)
        await waiting.send(b"RCPT TO:<bert@example.org>\r\nRCPT TO:<anna@example.org>\r\n")
        for _ in range(20):
            assert (await recipients(other, "anna@example.org"))[0].startswith("250")
            assert (await other.ask("RSET")).startswith("250")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting.line(), 0.05)


async def test_a_client_that_leaves_while_its_recipient_is_looked_for_leaves_nothing_behind(tmp_path: Path) -> None:
    async with open_desk(tmp_path, MailFlowPolicy(), KeptSource(Scope("ill"), Oracle(None), Keeping(timeout=0.2))) as (bench, running):
        client = await running.connect()
        for command in ("EHLO client.example", "MAIL FROM:<a@example.net>"):
            await client.ask(command)
        await client.send(b"RCPT TO:<bert@example.org>\r\n")
        client.close()
        await until(lambda: not running.server.connections)
        await asyncio.sleep(0.3)
        assert bench.counted(Counter.CONNECTIONS_OPEN) == 0


async def test_after_the_limit_nothing_is_looked_up_and_no_reply_differs(tmp_path: Path) -> None:
    """What is not looked at cannot take a different time."""
    oracle = Oracle(False)
    policy = MailFlowPolicy(dhap_limit=5, dhap_disconnect=False)
    async with open_desk(tmp_path, policy, KeptSource(Scope("no"), oracle, Keeping())) as (bench, running):
        client = await running.connect()
        replies = await recipients(client, *(f"x{number}@example.org" for number in range(5)))
        assert replies == ["550 5.1.1 Recipient unknown"] * 5
        oracle.answer = True
        asked = list(oracle.asked)
        later = [
            "anna@example.org",
            "abuse@example.org",
            "old@example.org",
            "b@example.com",
            "postmaster",
            *(f"y{n}@example.org" for n in range(30)),
        ]
        assert {await client.ask(f"RCPT TO:<{path}>") for path in later} == {HARVESTED}
        again = await running.connect()
        assert set(await recipients(again, *later)) == {HARVESTED}
        assert oracle.asked == asked
        assert bench.counted(Counter.HARVESTS_REFUSED) == 2 * len(later)


async def test_an_answer_that_comes_after_the_limit_is_not_told(tmp_path: Path) -> None:
    """Many connections at once gain nothing: what they are told stops at the limit too."""
    replies: dict[str, bytes | list[bytes]] = {"RCPT": NO_SUCH_USER, **{f"RCPT known{n}@example.org": b"250 ok\r\n" for n in range(20)}}
    async with ScriptedServer(replies) as server:
        hop = NextHop("127.0.0.1", server.port, HOSTNAME, connections=1, timeout=5.0)
        source = KeptSource(Scope("ahead"), CallAhead("ahead", hop), Keeping(timeout=10.0))
        policy = MailFlowPolicy(dhap_limit=5, dhap_disconnect=False, max_concurrency=100)
        async with open_desk(tmp_path, policy, source) as (_, running):
            clients = [await running.connect() for _ in range(40)]
            for client in clients:
                for command in ("EHLO client.example", "MAIL FROM:<a@example.net>"):
                    await client.ask(command)
            names = [f"{'known' if number >= 20 else 'x'}{number % 20}" for number in range(40)]
            for client, name in zip(clients, names, strict=True):
                await client.send(f"RCPT TO:<{name}@example.org>\r\n".encode())
            told = [await client.reply() for client in clients]
    assert told.count("550 5.1.1 Recipient unknown") == 5
    assert told.count(HARVESTED) == 35
    assert not any(reply.startswith("250") for reply in told[20:])


async def test_recipients_that_are_learned_before_the_block_are_counted_and_assumed_ones_are_not(tmp_path: Path) -> None:
    async with ScriptedServer({"RCPT": SILENCE}) as server:
        hop = NextHop("127.0.0.1", server.port, HOSTNAME, timeout=0.1)
        silent = KeptSource(Scope.of("ahead", ["sub.example.org"]), CallAhead("ahead", hop), Keeping(timeout=0.1, outage="accept"))
        staff = await file_source(tmp_path, "anna@example.org", "abuse@example.org")
        entries = [("example.org", OURS), ("sub.example.org", OURS)]
        async with open_desk(tmp_path, MailFlowPolicy(dhap_limit=2), staff, silent, entries=entries) as (bench, running):
            paths = ["anna@example.org", "a@sub.example.org", "abuse@example.org", "x@example.org", "y@example.org", "z@example.org"]
            replies = await recipients(await running.connect(), *paths)
            assert [reply[:3] for reply in replies] == ["250", "250", "250", "550", "550", "550"]
        (detected,) = [event for stored in bench.stored() for event in stored.record.events if event.name is EventName.HARVEST_DETECTED]
        assert (detected.fields["invalid"], detected.fields["learned"]) == (2, 2)
