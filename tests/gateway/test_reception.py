"""Dialogues with a listener that has sender groups: who is greeted how, what their policy allows, and what is asked of whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from esa.engine.resolver import FAILED, NOTHING, Lookup, Outcome, RecordType
from esa.gateway import events as gateway_events
from esa.gateway.events import Event as Log
from esa.gateway.limits import Limits
from esa.gateway.metrics import Counter
from esa.gateway.reception import ListenerReceiver
from esa.gateway.recipients import REFUSED_LIMIT
from esa.gateway.sender_facts import GIVE_UP_AFTER, SenderFacts
from esa.gateway.tls import TlsSettings
from esa.policy.host_access import HostAccess, SenderGroup
from esa.policy.mail_flow import SHIPPED, AccessRule, Demand, MailFlowPolicy, PipelineRule
from esa.policy.recipient_access import RecipientAccess
from esa.policy.reputation import DnsZone, Histories, Reputation
from esa.policy.senders import parse_sender
from esa.store.record import EventName
from tests.gateway.certificates import Authority
from tests.gateway.sessions import Client, Listening, listening
from tests.gateway.test_receive import POSITIVE, Bench

Answers = dict[tuple[str, str], tuple[str, ...] | Lookup]


class Names:
    """The domain name system as a dict of (name, type) → values; remembers what it was asked."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []
        self.hangs = False

    async def look_up(self, name: str, kind: RecordType) -> Lookup:
        self.asked.append((name, kind))
        if self.hangs:
            await asyncio.sleep(60)
        answer = self.answers.get((name, kind), NOTHING)
        return answer if isinstance(answer, Lookup) else Lookup(Outcome.FOUND, answer)


def group(name: str, policy: MailFlowPolicy, *entries: str) -> SenderGroup:
    return SenderGroup(name, policy, tuple(map(parse_sender, entries)))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls(authority: Authority) -> TlsSettings:
    return TlsSettings(certificates=(authority.certificate(),))


class House(Bench):
    """A route with a real spool, and a listener with these groups that takes mail for example.org."""

    def __init__(
        self,
        folder: Path,
        groups: Sequence[SenderGroup],
        names: Names | None = None,
        weights: dict[str, float] | None = None,
        histories: Histories | None = None,
    ) -> None:
        super().__init__(folder)
        lists = [DnsZone(zone, weight) for zone, weight in (weights or {}).items()]
        facts = SenderFacts(names, Reputation(lists, histories), timeout=0.3, budget=10, row=self.row)
        self.receiver = ListenerReceiver(self.route, RecipientAccess.of_domains(["example.org"]), HostAccess(groups), facts)


@asynccontextmanager
async def open_house(
    folder: Path,
    *groups: SenderGroup,
    names: Names | None = None,
    weights: dict[str, float] | None = None,
    histories: Histories | None = None,
    tls: TlsSettings | None = None,
) -> AsyncIterator[tuple[House, Listening]]:
    house = House(folder, groups, names, weights, histories)
    async with listening(house.receiver, limits=Limits(message_size=1 << 20), tls=tls) as running:
        yield house, running
    await house.route.drain()
    house.spool.close()


async def send(client: Client, content: bytes = b"Subject: hello\r\n\r\nhello\r\n", *recipients: str) -> str:
    for command in ("EHLO client.example", "MAIL FROM:<a@example.net>", *(f"RCPT TO:<{one}>" for one in recipients or ("b@example.org",))):
        assert (await client.ask(command)).startswith("250")
    assert (await client.ask("DATA")).startswith("354")
    return await client.ask(content + b".\r\n")


async def capabilities(client: Client) -> list[str]:
    await client.send(b"EHLO client.example\r\n")
    lines = [await client.line()]
    while lines[-1][3] == "-":
        lines.append(await client.line())
    return [line[4:] for line in lines]


async def test_a_blocked_sender_is_greeted_with_a_refusal_and_others_are_not(tmp_path: Path) -> None:
    async with open_house(tmp_path, group("BLACKLIST", SHIPPED["BLOCKED"], "127.0.0.5")) as (house, running):
        blocked = await running.connect(address="127.0.0.5", greeting=False)
        assert await blocked.line() == "554 mx.example.com Your access to this mail system has been rejected"
        assert await blocked.is_closed()
        assert (await send(await running.connect())).startswith("250")
        assert house.counted(Counter.CONNECTIONS_REFUSED) == 1
        await asyncio.sleep(0.05)
        assert house.counted(Counter.CONNECTIONS_OPEN) == 1


async def test_a_refused_sender_is_reset_without_a_word(tmp_path: Path) -> None:
    policy = MailFlowPolicy("SILENT", access=AccessRule.TCPREFUSE)
    async with open_house(tmp_path, group("SILENT", policy, "127.0.0.5")) as (_, running):
        client = await running.connect(address="127.0.0.5", greeting=False)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client.reader.read(), 10)
        assert (await send(await running.connect())).startswith("250")


async def test_a_sender_that_is_refused_after_its_name_was_looked_for_is_reset_too(tmp_path: Path) -> None:
    policy = MailFlowPolicy("SILENT", access=AccessRule.TCPREFUSE)
    async with open_house(tmp_path, group("SILENT", policy, "nx.domain"), names=Names({})) as (house, running):
        client = await running.connect(greeting=False)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client.reader.read(), 10)
        await asyncio.sleep(0.05)
        assert house.counted(Counter.CONNECTIONS_OPEN) == 0


async def test_the_greeting_is_the_policys(tmp_path: Path) -> None:
    policy = MailFlowPolicy("POLITE", banner_text="Good day", banner_hostname="mail.example.com")
    rude = MailFlowPolicy("RUDE", access=AccessRule.REJECT, reject_banner_code=421, reject_banner_text="Later")
    async with open_house(tmp_path, group("A", policy, "127.0.0.5"), group("B", rude, "127.0.0.6")) as (_, running):
        assert await (await running.connect(address="127.0.0.5", greeting=False)).line() == "220 mail.example.com Good day"
        assert await (await running.connect(address="127.0.0.6", greeting=False)).line() == "421 mx.example.com Later"
        assert await (await running.connect(greeting=False)).line() == "220 mx.example.com ESMTP esa"


async def test_whoever_speaks_before_a_greeting_that_waits_is_refused(tmp_path: Path) -> None:
    policy = MailFlowPolicy("PATIENT", greeting_delay=0.4)
    async with open_house(tmp_path, group("PATIENT", policy, "127.0.0.5", "nx.domain"), names=Names({})) as (house, running):
        for address in ("127.0.0.5", "127.0.0.6"):
            early = await running.connect(address=address, greeting=False)
            await early.send(b"EHLO client.example\r\n")
            assert await early.line() == "554 5.5.1 You spoke before the greeting"
            assert await early.is_closed()
            assert (await send(await running.connect(address=address))).startswith("250")
        assert house.counted(Counter.CONNECTIONS_REFUSED) == 2


async def test_a_client_that_sends_on_before_the_reply_is_told_once_in_the_log_and_its_mail_is_taken(tmp_path: Path) -> None:
    async with open_house(tmp_path) as (house, running):
        client = await running.connect()
        await client.send(
            b"EHLO client.example\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"
        )
        assert [(await client.reply())[:3] for _ in range(5)] == ["250", "250", "250", "354", "250"]
        assert house.counted(Counter.PIPELINING_VIOLATIONS) == 1


@pytest.mark.parametrize(
    ("before", "early"),
    [
        ([], b"EHLO client.example\r\nMAIL FROM:<a@example.net>\r\n"),
        (["EHLO c.example", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>"], b"DATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"),
    ],
)
async def test_a_policy_may_refuse_clients_that_send_on_before_the_reply(tmp_path: Path, before: list[str], early: bytes) -> None:
    policy = MailFlowPolicy("STRICT", pipelining_violation=PipelineRule.REFUSE)
    async with open_house(tmp_path, group("STRICT", policy, "127.0.0.5")) as (house, running):
        client = await running.connect(address="127.0.0.5")
        for command in before:
            assert (await client.ask(command)).startswith("250")
        await client.send(early)
        assert await client.line() == "554 5.5.0 You sent on without waiting for the reply"
        assert await client.is_closed()
        assert not house.stored()
        assert (await send(await running.connect(address="127.0.0.5"))).startswith("250"), (
            "who waits is served, commands in one packet or not"
        )


async def test_commands_that_may_be_pipelined_are_no_violation(tmp_path: Path) -> None:
    policy = MailFlowPolicy("STRICT", pipelining_violation=PipelineRule.REFUSE)
    async with open_house(tmp_path, group("STRICT", policy, "127.0.0.5")) as (house, running):
        client = await running.connect(address="127.0.0.5")
        await client.ask("EHLO client.example")
        await client.send(b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
        assert [(await client.line())[:3] for _ in range(3)] == ["250", "250", "354"]
        await client.send(b"Subject: x\r\n\r\nx\r\n.\r\nMAIL FROM:<a@example.net>\r\nQUIT\r\n")
        assert [(await client.line())[:3] for _ in range(3)] == ["250", "250", "221"]
        assert house.counted(Counter.PIPELINING_VIOLATIONS) == 0


async def test_a_policy_may_require_tls_or_not_offer_it(tmp_path: Path, tls: TlsSettings, authority: Authority) -> None:
    strict, lax = MailFlowPolicy("STRICT", tls=Demand.REQUIRED), MailFlowPolicy("LAX", tls=Demand.OFF)
    async with open_house(tmp_path, group("S", strict, "127.0.0.5"), group("L", lax, "127.0.0.6"), tls=tls) as (_, running):
        client = await running.connect(address="127.0.0.5")
        assert "STARTTLS" in await capabilities(client)
        assert (await client.ask("MAIL FROM:<a@example.net>")).startswith("530 5.7.0")
        await client.start_tls(authority.client())
        assert (await send(client)).startswith("250")
        client = await running.connect(address="127.0.0.6")
        assert "STARTTLS" not in await capabilities(client)
        assert (await client.ask("STARTTLS")).startswith("502")
        assert (await send(client)).startswith("250")
        assert "STARTTLS" in await capabilities(await running.connect())


async def test_a_policy_may_make_tls_mandatory_for_some_senders(tmp_path: Path, tls: TlsSettings, authority: Authority) -> None:
    policy = MailFlowPolicy("P", tls_mandatory_for=("@partner.example", ".partner.example"))
    async with open_house(tmp_path, group("P", policy, "127.0.0.5"), tls=tls) as (_, running):
        client = await running.connect(address="127.0.0.5")
        assert (await send(client)).startswith("250"), "others may send in the clear"
        for path in ("boss@partner.example", "Boss@Mail.Partner.Example"):
            assert (await client.ask(f"MAIL FROM:<{path}>")).startswith("530 5.7.0")
        assert (await client.ask("MAIL FROM:<>")).startswith("250")
        await client.ask("RSET")
        await client.start_tls(authority.client())
        await client.ask("EHLO client.example")
        assert (await client.ask("MAIL FROM:<boss@partner.example>")).startswith("250")


async def test_whoever_relays_may_send_to_any_domain_and_others_may_not(tmp_path: Path) -> None:
    async with open_house(tmp_path, group("RELAYLIST", SHIPPED["RELAYED"], "127.0.0.5")) as (_, running):
        assert (await send(await running.connect(address="127.0.0.5"), b"\r\n", "c@example.com")).startswith("250")
        stranger = await running.connect()
        for command in ("EHLO client.example", "MAIL FROM:<a@example.net>"):
            await stranger.ask(command)
        assert (await stranger.ask("RCPT TO:<c@example.com>")) == "550 5.7.1 relaying denied"


async def test_size_recipients_and_messages_are_limited_by_the_policy(tmp_path: Path) -> None:
    policy = MailFlowPolicy("NARROW", max_message_size=2000, max_rcpts_per_msg=2, max_msgs_per_session=2)
    async with open_house(tmp_path, group("NARROW", policy, "127.0.0.5")) as (_, running):
        client = await running.connect(address="127.0.0.5")
        assert "SIZE 2000" in await capabilities(client)
        assert (await client.ask("MAIL FROM:<a@example.net> SIZE=2001")).startswith("552 5.3.4")
        assert (await send(client, b"x" * 1000 + b"\r\n" + b"x" * 1000 + b"\r\n")).startswith("552 5.3.4")
        assert (await client.ask("MAIL FROM:<a@example.net>")).startswith("250")
        for _ in range(2):
            assert (await client.ask("RCPT TO:<b@example.org>")).startswith("250")
        assert (await client.ask("RCPT TO:<b@example.org>")) == "452 4.5.3 Too many recipients"
        await client.ask("RSET")
        assert (await client.ask("MAIL FROM:<a@example.net>")).startswith("421 4.7.0")
        assert await client.is_closed()
        other = await running.connect()
        assert "SIZE 1048576" in await capabilities(other)


async def test_a_thousand_refused_recipients_end_a_connection(tmp_path: Path) -> None:
    async with open_house(tmp_path) as (_, running):
        client = await running.connect()
        for command in ("EHLO client.example", "MAIL FROM:<a@example.net>"):
            await client.ask(command)
        await client.send(b"RCPT TO:<x@example.com>\r\n" * (REFUSED_LIMIT + 1))
        replies = [await client.line() for _ in range(REFUSED_LIMIT + 1)]
        assert replies[-2:] == ["550 5.7.1 relaying denied", "421 4.7.0 Too many refused recipients"]
        assert await client.is_closed()


async def test_mail_of_a_policy_without_spam_check_is_delivered_whatever_it_is(tmp_path: Path) -> None:
    async with open_house(tmp_path, group("WHITELIST", SHIPPED["TRUSTED"], "127.0.0.5")) as (house, running):
        assert (await send(await running.connect(address="127.0.0.5"), POSITIVE)).startswith("250")
        assert (await send(await running.connect(), POSITIVE)).startswith("550 5.7.1")
        (stored,) = house.stored()
        assert (stored.record.splinters[0].action, stored.record.splinters[0].reason) == ("deliver", "spam:unchecked")


async def test_tracking_and_the_log_say_the_group_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Log, dict[str, object]]] = []
    monkeypatch.setattr(gateway_events, "info", lambda event, **fields: told.append((event, fields)))
    names = Names({("5.0.0.127.in-addr.arpa", "PTR"): ("mx.example.net",), ("mx.example.net", "A"): ("127.0.0.5",)})
    async with open_house(tmp_path, group("KNOWN", SHIPPED["ACCEPTED"], ".example.net"), names=names) as (house, running):
        await send(await running.connect(address="127.0.0.5"))
        (stored,) = house.stored()
    fields = stored.record.events[0].fields
    assert stored.record.events[0].name is EventName.CONNECTED
    assert (fields["group"], fields["because"], fields["policy"], fields["names"]) == (
        "KNOWN",
        ".example.net",
        "ACCEPTED",
        "mx.example.net",
    )
    assert "reputation" not in fields
    kept = next(fields for event, fields in told if event is Log.MESSAGE_KEPT)
    assert (kept["group"], kept["because"]) == ("KNOWN", ".example.net")


async def test_names_count_only_where_they_lead_back(tmp_path: Path) -> None:
    names = Names(
        {
            ("5.0.0.127.in-addr.arpa", "PTR"): ("mx.example.net",),
            ("mx.example.net", "A"): ("192.0.2.1", "127.0.0.5"),
            ("6.0.0.127.in-addr.arpa", "PTR"): ("mx.example.net",),
            ("7.0.0.127.in-addr.arpa", "PTR"): FAILED,
            ("8.0.0.127.in-addr.arpa", "PTR"): ("ill.example.net",),
            ("ill.example.net", "A"): FAILED,
        }
    )
    groups = [
        group("KNOWN", MailFlowPolicy("KNOWN", banner_text="known"), "mx.example.net"),
        group("FORGED", MailFlowPolicy("FORGED", banner_text="forged"), "not.double.verified"),
        group("ILL", MailFlowPolicy("ILL", banner_text="ill"), "serv.fail"),
        group("NAMELESS", MailFlowPolicy("NAMELESS", banner_text="nameless"), "nx.domain"),
    ]
    async with open_house(tmp_path, *groups, names=names) as (_, running):
        for last, word in ((5, "known"), (6, "forged"), (7, "ill"), (8, "ill"), (9, "nameless")):
            client = await running.connect(address=f"127.0.0.{last}", greeting=False)
            assert await client.line() == f"220 mx.example.com {word}"


async def test_dns_lists_match_and_make_the_reputation(tmp_path: Path) -> None:
    names = Names(
        {
            ("5.0.0.127.bl.example.net", "A"): ("127.0.0.2",),
            ("6.0.0.127.bl.example.net", "A"): ("127.255.255.254",),  # "you ask too much"
            ("7.0.0.127.bl.example.net", "A"): ("203.0.113.9",),  # a name server that answers everything
            ("8.0.0.127.allow.example.net", "A"): ("127.0.0.1",),
            ("9.0.0.127.local.example.net", "A"): ("127.0.0.1",),
        }
    )
    groups = [
        group("NAMED", MailFlowPolicy("N", banner_text="named"), "dnslist[local.example.net]"),
        group("LOW", MailFlowPolicy("L", banner_text="low"), "SBRS[-10:-3]"),
        group("HIGH", MailFlowPolicy("H", banner_text="high"), "SBRS[1:10]"),
        group("UNKNOWN", MailFlowPolicy("U", banner_text="unknown"), "SBRS[none]"),
    ]
    async with open_house(tmp_path, *groups, names=names, weights={"bl.example.net": -6.0, "allow.example.net": 2.0}) as (_, running):
        for last, word in ((5, "low"), (6, "unknown"), (7, "unknown"), (8, "high"), (9, "named"), (10, "unknown")):
            client = await running.connect(address=f"127.0.0.{last}", greeting=False)
            assert await client.line() == f"220 mx.example.com {word}"


async def test_nothing_is_asked_that_no_group_needs(tmp_path: Path) -> None:
    names = Names({})
    groups = [group("NEAR", SHIPPED["ACCEPTED"], "127.0.0.5"), group("NAMED", SHIPPED["ACCEPTED"], ".example.net")]
    async with open_house(tmp_path, *groups, names=names, weights={"bl.example.net": -6.0}) as (_, running):
        await running.connect(address="127.0.0.5")
        assert names.asked == []
        await running.connect(address="127.0.0.6")
        assert names.asked == [("6.0.0.127.in-addr.arpa", "PTR")]


async def test_a_host_with_very_many_names_is_asked_for_within_the_budget(tmp_path: Path) -> None:
    names = Names({("5.0.0.127.in-addr.arpa", "PTR"): tuple(f"h{number}.example.net" for number in range(5000))})
    async with open_house(tmp_path, group("NAMED", SHIPPED["ACCEPTED"], ".example.net"), names=names) as (_, running):
        await running.connect(address="127.0.0.5")
        assert len(names.asked) <= 10


async def test_a_resolver_that_hangs_delays_few_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Log] = []
    monkeypatch.setattr(gateway_events, "error", lambda event, **fields: told.append(event))
    names = Names({})
    names.hangs = True
    groups = [group("ILL", SHIPPED["THROTTLED"], "serv.fail"), group("LISTED", SHIPPED["BLOCKED"], "dnslist[bl.example.net]")]
    async with open_house(tmp_path, *groups, names=names) as (house, running):
        for _ in range(GIVE_UP_AFTER):
            assert (await send(await running.connect())).startswith("250")
        asked = len(names.asked)
        assert told == [Log.RESOLVER_SILENT]
        assert (await send(await running.connect())).startswith("250")
        assert len(names.asked) == asked
        assert {stored.record.events[0].fields["because"] for stored in house.stored()} == {"serv.fail"}


async def test_a_client_that_leaves_while_its_name_is_looked_for_leaves_nothing_behind(tmp_path: Path) -> None:
    names = Names({})
    names.hangs = True
    async with open_house(tmp_path, group("ILL", SHIPPED["ACCEPTED"], "serv.fail"), names=names) as (house, running):
        client = await running.connect(greeting=False)
        client.close()
        await asyncio.sleep(0.5)
        assert house.counted(Counter.CONNECTIONS_OPEN) == 0
        assert running.server.connections == set()
