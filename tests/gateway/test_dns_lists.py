"""DNS lists of a real name server on loopback that may hang, refuse, lie or talk nonsense; what is believed, kept and given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from esa.engine.resolver import FAILED, NOTHING, Lookup, Outcome, RecordType
from esa.gateway import events as gateway_events
from esa.gateway.dns import Dns
from esa.gateway.dns_lists import CACHED, GIVE_UP_AFTER, MOST_SECONDS, NOTHING_SECONDS, PAUSE, DnsLists, Questions
from esa.gateway.events import Event as Log
from esa.gateway.metrics import Counter, Counters, Row
from esa.gateway.sender_facts import SenderFacts
from esa.policy.history import History, Kind, Learning, Seen, Subject, learned
from esa.policy.host_access import Needs, Sender
from esa.policy.reputation import DnsZone, Reputation
from esa.policy.senders import IpAddress, read_address
from tests.gateway.name_server import Manner, NameServer, name_server

BL, SLOW = "bl.example.net", "slow.example.net"
REPUTATION = Needs(reputation=True)


def address(text: str) -> IpAddress:
    found = read_address(text)
    assert found is not None
    return found


HERE = address("192.0.2.1")


class Known:
    """One address of which ten messages were spam."""

    has_imported = False

    def look_up(self, subject: Subject) -> History | None:
        return learned(None, Seen(10, 10), 0.0, Learning()) if subject == (Kind.ADDRESS, "192.0.2.1") else None


class Names:
    """The domain name system as a dict; some names hang."""

    def __init__(self, answers: Mapping[str, Lookup | None]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def look_up(self, name: str, kind: RecordType) -> Lookup:
        self.asked.append(name)
        for end, answer in self.answers.items():
            if name.endswith(end):
                if answer is None:
                    await asyncio.sleep(60)
                return answer or FAILED
        return NOTHING


@asynccontextmanager
async def asking(
    folder: Path, zone: Mapping[tuple[str, str], tuple[str, ...]], manner: Manner = "honest", zones: Sequence[str] = (BL,)
) -> AsyncIterator[tuple[NameServer, SenderFacts, Row]]:
    row = Counters.create(folder / "counters").row(0)
    async with name_server(zone) as server:
        server.manner = manner
        resolver = Dns([server.address], timeout=0.3)
        reputation = Reputation([DnsZone(one, -6.0) for one in zones], Known())
        try:
            yield server, SenderFacts(resolver, reputation, timeout=0.3, budget=10, row=row, now=lambda: 0.0), row
        finally:
            await resolver.close()


async def test_a_listed_address_is_found_and_the_list_is_tried_once_for_soundness(tmp_path: Path) -> None:
    zone = {(f"{last}.2.0.192.{BL}", "A"): ("127.0.0.2",) for last in (1, 2)}
    async with asking(tmp_path, zone) as (server, facts, _):
        assert (await facts.find(HERE, REPUTATION)).reputation == -10.0
        assert (await facts.find(address("192.0.2.2"), REPUTATION)).reputation == -6.0
        assert server.asked.count((f"1.0.0.127.{BL}", "A")) == 1


async def test_ipv6_addresses_are_asked_for_by_their_nibbles(tmp_path: Path) -> None:
    nibbles = "1." + "0." * 23 + "8.b.d.0.1.0.0.2"
    async with asking(tmp_path, {(f"{nibbles}.{BL}", "A"): ("127.0.0.2",)}) as (_, facts, _row):
        assert (await facts.find(address("2001:db8::1"), REPUTATION)).reputation == -6.0


@pytest.mark.parametrize("answer", ["203.0.113.9", "10.0.0.1", "128.0.0.2"])
async def test_an_answer_outside_127_is_no_listing(tmp_path: Path, answer: str) -> None:
    async with asking(tmp_path, {(f"9.2.0.192.{BL}", "A"): (answer,)}) as (_, facts, _row):
        sender = await facts.find(address("192.0.2.9"), REPUTATION)
        assert (sender.reputation, sender.listed) == (None, frozenset())


async def test_a_list_that_names_everybody_is_ignored_and_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Log, object]] = []
    monkeypatch.setattr(gateway_events, "warning", lambda event, **fields: told.append((event, fields["zone"])))
    zone = {(f"{last}.2.0.192.{BL}", "A"): ("127.0.0.2",) for last in range(2, 6)} | {(f"1.0.0.127.{BL}", "A"): ("127.0.0.2",)}
    async with asking(tmp_path, zone) as (_, facts, _row):
        for last in range(2, 6):
            assert (await facts.find(address(f"192.0.2.{last}"), REPUTATION)).reputation is None
    assert told == [(Log.DNS_LIST_IGNORED, BL)]


async def test_a_list_that_refuses_our_questions_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Log] = []
    monkeypatch.setattr(gateway_events, "warning", lambda event, **fields: told.append(event))
    async with asking(tmp_path, {(f"1.2.0.192.{BL}", "A"): ("127.255.255.254",)}) as (_, facts, _row):
        sender = await facts.find(HERE, REPUTATION)
    assert sender.reputation == -5.0
    assert [(piece.source, piece.text) for piece in sender.evidence][-1] == ("dnslist", "no answer")
    assert told == [Log.DNS_LIST_IGNORED]


@pytest.mark.parametrize("manner", ["silent", "garbage", "servfail"])
async def test_a_dead_resolver_leaves_what_was_learned_and_says_so(tmp_path: Path, manner: Manner, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Log] = []
    monkeypatch.setattr(gateway_events, "error", lambda event, **fields: told.append(event))
    async with asking(tmp_path, {}, manner) as (server, facts, row):
        for last in range(1, GIVE_UP_AFTER + 1):
            sender = await facts.find(address(f"192.0.2.{last}"), REPUTATION)
            assert sender.evidence[-1].text == "no answer"
            assert sender.reputation == (-5.0 if last == 1 else None)
        assert told == [Log.RESOLVER_SILENT]
        asked = len(server.asked)
        known = facts.known(HERE, REPUTATION)  # nobody is asked any more, and nobody waits
        assert known is not None
        assert known.reputation == -5.0
        assert len(server.asked) == asked
        assert row.values[Counter.DNS_UNANSWERED] == GIVE_UP_AFTER


async def test_one_list_that_hangs_does_not_silence_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(gateway_events, "error", lambda event, **fields: told.append(fields["subjects"]))
    names = Names({f"127.{BL}": NOTHING, SLOW: None, BL: Lookup(Outcome.FOUND, ("127.0.0.2",))})
    facts = SenderFacts(names, Reputation([DnsZone(BL, -2.0), DnsZone(SLOW, -6.0)]), timeout=0.1, budget=10)
    found: list[Sender] = [await facts.find(address(f"198.51.100.{last}"), REPUTATION) for last in range(GIVE_UP_AFTER + 2)]
    assert {sender.reputation for sender in found} == {-2.0}
    assert told == [SLOW]
    assert sum(name.endswith(SLOW) for name in names.asked) == GIVE_UP_AFTER


async def test_questions_for_one_host_stay_within_the_budget(tmp_path: Path) -> None:
    zones = [f"bl{number}.example.net" for number in range(50)]
    names = Names({"example.net": Lookup(Outcome.FOUND, ("127.0.0.2",))})
    facts = SenderFacts(names, Reputation([DnsZone(zone, -0.1) for zone in zones]), timeout=1, budget=20)
    await facts.find(HERE, REPUTATION)
    assert len(names.asked) == 20


# --- what is kept


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Lookup(Outcome.FOUND, ("127.0.0.2",), 600), 600.0),
        (Lookup(Outcome.FOUND, ("127.0.0.2",), 0), 60.0),
        (Lookup(Outcome.FOUND, ("127.0.0.2",), 10**9), MOST_SECONDS),
        (NOTHING, NOTHING_SECONDS),
        (FAILED, 10.0),
    ],
)
async def test_an_answer_is_kept_for_its_time_within_bounds(answer: Lookup, seconds: float) -> None:
    now = [0.0]
    lists = DnsLists(clock=lambda: now[0])
    names = Names({f"1.0.0.127.{BL}": NOTHING, BL: answer})
    value = await lists.ask(Questions(names, None, 5), HERE, BL)
    assert lists.recall(HERE, [BL]) == {BL: value}
    now[0] = seconds - 1
    assert lists.recall(HERE, [BL]) == {BL: value}
    now[0] = seconds + 1
    assert lists.recall(HERE, [BL]) == {}


async def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    lists = DnsLists(clock=lambda: 0.0)
    names = Names({})
    for number in range(CACHED + 10):
        await lists.ask(Questions(names, None, 1), address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), BL)
    assert lists.recall(address("10.0.0.9"), [BL]) == {}
    assert lists.recall(address("10.0.0.10"), [BL]) == {BL: ()}
    assert len(lists._kept) == CACHED


async def test_after_a_pause_one_host_more_is_enough_to_begin_another() -> None:
    now = [0.0]
    lists = DnsLists(clock=lambda: now[0])
    begun = []
    for _ in range(GIVE_UP_AFTER + 1):
        begun.append(lists.note(BL, answered=False))
    assert begun == [False, False, True, False]
    now[0] = PAUSE + 1
    assert lists.note(BL, answered=False)
    assert not lists.note(BL, answered=True)
    now[0] = 3 * PAUSE
    assert not lists.note(BL, answered=False)
