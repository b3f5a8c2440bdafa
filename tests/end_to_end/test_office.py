"""The filters of an imagined office in one real gateway: for each a message over SMTP that makes it fire, and others that do not.

What filters decide must be what the same filters decide in this process, and what the gateway makes of it must be seen where it lands: in replies,
delivered mail, next hops, quarantines, archives, tracking and the log. Conditions that wait for facts of later work are `WAITING`, and in no other list.
"""

from __future__ import annotations

import mailbox
import shutil
import smtplib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from esa.message.edits import Edit, InsertHeader, StripHeader, apply
from esa.message.reply import refusal_of
from esa.policy.filters.scope import Scope
from esa.policy.outcome import BlindCopy, Final, Outcome
from esa.store.quarantine import QuarantineView
from esa.store.tracking import Tracked, TrackingView
from tests.end_to_end.running import Gateway, unused_port
from tests.gateway.directory.slapd import BASE, slapd_running
from tests.gateway.name_server import name_server_beside
from tests.policy.filters.office import CASES, DICTIONARIES, FILTERS, RESOURCES, TEXT, WAITING, Case
from tests.policy.filters.running import Running

pytestmark = pytest.mark.servers
SENT = [case for case in CASES if case.facts.get("queue_length", 0) < 1_000]  # no queue is that long here
CHANCE = {"one_in_three", "one_in_two"}  # fire by the identifier of the message, which the gateway makes
BY_NAME = {"out1.partner.example": "192.0.2.11", "mx.supplier.example": "192.0.2.12", "mx.bad.example": "192.0.2.16"}
BY_SCORE = {-7.5: "192.0.2.13", 5.0: "192.0.2.14"}
LISTED = "192.0.2.15"
ZONE = {
    **{(".".join([*reversed(address.split(".")), "in-addr.arpa"]), "PTR"): (name,) for name, address in BY_NAME.items()},
    **{(name, "A"): (address,) for name, address in BY_NAME.items()},
    ("13.2.0.192.bad.lists.example", "A"): ("127.0.0.2",),
    ("14.2.0.192.good.lists.example", "A"): ("127.0.0.2",),
    ("15.2.0.192.block.lists.example", "A"): ("127.0.0.2",),
}
MEMBERS = {"ann@example.org": "Management", "director@example.net": "Board"}
PERSON = """
dn: mail={address},ou=people,{base}
objectClass: inetOrgPerson
cn: {address}
sn: {address}
mail: {address}
departmentNumber: {group}
"""
TABLES = """
[[bounce_profile]]
name = "short"
max_time_in_queue = "2 h"
[[bounce_profile]]
name = "never"
send_hard_bounces = false
[[listener]]
name = "OutboundMail"
interface = "Data 2"
port = {port}
xclient_from = ["127.0.0.0/8"]
[filters]
files = ["office.filters"]
texts = ["texts/*.txt"]
[scan]
dictionaries = ["dictionaries"]
[mail_policy]
suspect_above = 100.0
positive_above = 100.0
[reputation]
learn = false
[dns]
servers = ["{dns}"]
[[dns_list]]
zone = "bad.lists.example"
weight = -7.5
[[dns_list]]
zone = "good.lists.example"
weight = 5.0
[[sender_group]]
name = "RELAYLIST"
policy = "RELAYED"
senders = ["203.0.113.1"]
[[sender_group]]
name = "SUSPECTLIST"
policy = "ACCEPTED"
senders = ["SBRS[-3.0:-1.0]"]
[[group_ldap]]
name = "people"
servers = ["{ldap}"]
tls = "off"
base = "{base}"
filter = "(&(mail={{a}})(departmentNumber={{g}}))"
"""


@dataclass
class Facts:
    """What one message is sent with, and what is known of it beside its content."""

    address: str = "192.0.2.1"
    listener: str = "InboundMail"
    user: str = ""
    sender: str = "ann@example.org"
    recipients: tuple[str, ...] = ("bob@example.net",)
    known: dict[str, Any] = field(default_factory=dict)


def facts_of(case: Case) -> Facts:
    """The facts of a case as they are in this gateway."""
    given = case.facts
    one = Facts(given.get("client_address", "192.0.2.1"), given.get("listener", "InboundMail"), given.get("user", ""))
    local_part, at, domain = given.get("sender", one.sender).partition("@")
    one.sender = local_part + at + domain.lower()  # as the listener reads it
    one.recipients = given.get("recipients", one.recipients)
    one.known = {
        "dns_lists": frozenset(),
        "queue_length": 1,
        "interface": "Data 1",
        "received_at": time.time(),
        "hostname": "mx.example.org",
    }
    if given.get("interface") == "Data 2":
        one.listener = "OutboundMail"
        one.known["interface"] = "Data 2"
    if "remote_host" in given:
        one.address, one.known["remote_host"] = BY_NAME[given["remote_host"].lower()], given["remote_host"]
    if "reputation" in given:
        one.address, one.known["reputation"] = BY_SCORE[given["reputation"]], given["reputation"]
    if given.get("dns_lists"):
        one.address, one.known["dns_lists"] = LISTED, given["dns_lists"]
    if one.user:
        one.address = "203.0.113.7"
    if case.fires == "to_the_board":
        one.recipients = ("director@example.net",)
    if case.fires == "from_the_board":
        one.sender = "director@example.net"
    if case.fires == "to_everybody" and not given["groups"]:
        one.sender = "carl@example.org"
    one.known["groups"] = {address: frozenset({MEMBERS[address]}) for address in (one.sender, *one.recipients) if address in MEMBERS}
    one.known["sender_group"] = "ALL"
    return one


@dataclass
class Sent:
    """What became of one message."""

    case: Case
    facts: Facts
    code: int
    text: str
    outcome: Outcome  # in this process
    again: list[Outcome]  # of its copies that are scanned
    tracked: Tracked | None = None

    @property
    def id(self) -> str:
        return self.text.split()[-1].strip("()")

    @property
    def steps(self) -> list[str]:
        assert self.tracked is not None
        told = [event.fields for event in self.tracked.events if event.name == "filters.matched"]
        return [step for fields in told for step in _texts(fields, "steps") if step.partition(":")[0] not in CHANCE]

    @property
    def destinations(self) -> Sequence[str]:
        return self.outcome.recipients or self.facts.recipients

    @property
    def is_delivered(self) -> bool:
        ended = self.outcome.final in (Final.DROP, Final.BOUNCE, Final.REFUSE, Final.ENCRYPT)
        return not (ended or self.outcome.quarantines or self.outcome.encrypts)


class Sink:
    """A next hop that keeps what it gets."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], bytes]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.taken.append((envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 taken"


@dataclass
class Office:
    gateway: Gateway
    sink: Sink
    sent: list[Sent]
    files: list[bytes]

    def files_of(self, one: Sent, address: str) -> list[bytes]:
        """What arrived for an address because of a message, its copies and notices too."""
        wanted = f"Delivered-To: {address}\r\n".encode()
        return [content for content in self.files if wanted in content and one.id.encode() in content]


def send(ports: dict[str, int], case: Case, facts: Facts) -> tuple[int, str]:
    with smtplib.SMTP("127.0.0.1", ports[facts.listener], timeout=60) as client:
        client.ehlo("client.example.net")
        code, text = client.docmd("XCLIENT", f"ADDR={facts.address}" + (f" LOGIN={facts.user}" if facts.user else ""))
        assert code == 220, text
        client.ehlo("client.example.net")
        client.mail(facts.sender)
        for recipient in facts.recipients:
            assert client.rcpt(recipient)[0] == 250
        code, text = client.data(case.raw)
        return code, text.decode()


def until(fact: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, server_program: Callable[[str], str]) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    (folder / "dictionaries").mkdir()
    (folder / "texts").mkdir()
    for dictionary in DICTIONARIES:
        (folder / "dictionaries" / f"{dictionary.name}.txt").write_text(dictionary.to_text())
    for name, text in RESOURCES.items():
        (folder / "texts" / f"{name}.txt").write_text(text)
    sink = Sink()
    hop = Controller(sink, "127.0.0.1", unused_port())
    text = TEXT
    for host in ("billing", "holiday", "archive"):
        text = text.replace(f'"{host}.example.org"', f'"127.0.0.1:{hop.port}"')
    today = datetime.now()
    text = text.replace("12/24/2026 12:00:00", f"{today - timedelta(days=1):%m/%d/%Y}").replace(
        "01/02/2027", f"{today + timedelta(days=2):%m/%d/%Y}"
    )
    (folder / "office.filters").write_text(text)
    people = "".join(PERSON.format(address=address, base=BASE, group=group) for address, group in MEMBERS.items())
    names = frozenset(one.name for one in DICTIONARIES)
    here = Running(text, *DICTIONARIES, scope=Scope(dictionaries=names, texts=RESOURCES))
    hop.start()
    with name_server_beside(ZONE) as dns, slapd_running(server_program("slapd"), folder / "slapd", [], more=people) as slapd:
        outbound = unused_port()
        more = TABLES.format(port=outbound, dns=dns.address, ldap=slapd.url, base=BASE)
        listener = 'name = "InboundMail"\ninterface = "Data 1"\nxclient_from = ["127.0.0.0/8"]\n'
        gateway = Gateway(folder, workers=1, more=more, listener=listener)
        gateway.start()
        try:
            found = []
            for case in SENT:
                facts = facts_of(case)
                code, said = send({"InboundMail": gateway.port, "OutboundMail": outbound}, case, facts)
                view = here.view(
                    case.raw,
                    sender=facts.sender,
                    recipients=facts.recipients,
                    client_address=facts.address,
                    listener=facts.listener,
                    user=facts.user,
                    **facts.known,
                )
                outcome = here.plan.run(view)
                again = [of_copy(here, case, facts, outcome, copy) for copy in outcome.blind_copies if copy.is_scanned]
                found.append(Sent(case, facts, code, said, outcome, again))
            yield Office(gateway, sink, found, settled(gateway, sink, found))
        finally:
            gateway.end()
            hop.stop()
    shutil.rmtree(folder)


def of_copy(here: Running, case: Case, facts: Facts, outcome: Outcome, copy: BlindCopy) -> Outcome:
    """What filters do with a copy that is scanned again, a message of its own."""
    edits: list[Edit] = list(outcome.edits)
    if copy.subject:
        edits += [StripHeader("Subject"), InsertHeader("Subject", copy.subject)]
    sender = copy.return_path or facts.sender
    known = {**facts.known, "groups": {address: frozenset({MEMBERS[address]}) for address in (sender,) if address in MEMBERS}}
    return here.plan.run(
        here.view(
            apply(case.raw, edits),
            sender=sender,
            recipients=copy.addresses,
            client_address=facts.address,
            listener=facts.listener,
            user=facts.user,
            **known,
        )
    )


def settled(gateway: Gateway, sink: Sink, sent: list[Sent]) -> list[bytes]:
    """Wait until nothing is on its way; what has arrived."""

    def told() -> bool:
        view = TrackingView.open(gateway.state)
        if view is None:
            return False
        known = {one.id: one for one in view.search(limit=1_000)}
        view.close()
        for one in sent:
            one.tracked = known.get(one.id)
        return all(one.tracked is not None and all(who.status != "queued" for who in one.tracked.recipients) for one in sent)

    until(told, "some message has not come to its end")
    copies = sum(len(copy.addresses) for one in sent for copy in one.outcome.blind_copies if not copy.is_scanned)
    copies += sum(len(notice.addresses) for one in sent for notice in one.outcome.notices)
    until(lambda: sum(b"\r\nDelivered-To: " in path.read_bytes() for path in gateway.maildir()) >= copies, "copies are missing")
    return [path.read_bytes() for path in gateway.maildir()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "number" in metafunc.fixturenames:
        metafunc.parametrize("number", range(len(SENT)), ids=[f"{number}-{case.fires}" for number, case in enumerate(SENT)])


def test_each_filter_fires_for_its_message_and_the_gateway_decides_as_this_process_does(office: Office, number: int) -> None:
    one = office.sent[number]
    expected = [f"{step.filter}: {step.action}" for step in one.outcome.trail if step.filter not in CHANCE]
    assert one.steps == expected
    if one.case.fires not in CHANCE:
        assert one.case.fires in {step.partition(":")[0] for step in one.steps}


def test_every_filter_fires_and_every_filter_lets_some_message_pass(office: Office) -> None:
    fired = []
    for one in office.sent:
        assert one.tracked is not None
        fired.append({step.partition(":")[0] for event in one.tracked.events for step in _texts(event.fields, "steps")})
    names = {one.name for one in FILTERS if one.is_active}
    assert names - set().union(*fired) == WAITING
    assert set.intersection(*fired) == set()


def test_the_reply_is_what_was_decided(office: Office, number: int) -> None:
    one = office.sent[number]
    if one.outcome.final in (Final.BOUNCE, Final.REFUSE):
        status, words = refusal_of(one.outcome.refusal)
        assert (one.code, one.text) == (550, f"{status} {words} ({one.id})")
    else:
        assert (one.code, one.text) == (250, f"2.0.0 accepted as {one.id}")


def test_recipients_get_the_message_as_it_was_edited_and_nobody_else_does(office: Office, number: int) -> None:
    one = office.sent[number]
    expected = apply(one.case.raw, one.outcome.edits)
    for address in one.facts.recipients if not one.is_delivered else one.destinations:
        got = [content for content in office.files_of(one, address) if content.endswith(expected)]
        at_the_hop = [content for who, content in office.sink.taken if address in who and one.id.encode() in content]
        if not one.is_delivered:
            assert (got, at_the_hop) == ([], [])
        elif one.outcome.mailhost:
            assert got == []
            assert any(content.endswith(expected) for content in at_the_hop)
        else:
            assert len(got) == 1
            assert at_the_hop == []
    if one.outcome.recipients:
        assert not [address for address in one.facts.recipients if office.files_of(one, address)]


def test_quarantines_hold_what_filters_hold(office: Office, number: int) -> None:
    one = office.sent[number]
    view = QuarantineView.open(office.gateway.state)
    assert view is not None
    held = [item for item in view.items() if item.message.startswith(one.id)]
    contents = [view.content(item) for item in held]
    view.close()
    expected: list[tuple[str, ...]] = [(name,) for name in one.outcome.duplicate_quarantines]
    must_encrypt = one.outcome.encrypts or one.outcome.final is Final.ENCRYPT
    if (one.outcome.quarantines or must_encrypt) and one.outcome.final not in (Final.DROP, Final.BOUNCE, Final.REFUSE):
        expected.append((*one.outcome.quarantines, *(["Encryption"] if must_encrypt else [])))
    assert sorted(item.quarantines for item in held) == sorted(expected)
    assert all(content.endswith(apply(one.case.raw, one.outcome.edits)) for content in contents)


def test_archives_have_one_copy_for_each_message_that_is_archived(office: Office) -> None:
    expected = [(name, one.id) for one in office.sent for name in one.outcome.archives]
    assert expected
    for name in {name for name, _ in expected}:
        box = mailbox.mbox(office.gateway.state / "archives" / f"{name}.mbox")
        text = [bytes(message) for message in box]
        box.close()
        for _, identifier in [one for one in expected if one[0] == name]:
            assert sum(identifier.encode() in message for message in text) == 1


def test_copies_and_notices_arrive(office: Office, number: int) -> None:
    one = office.sent[number]
    for copy in [copy for copy in one.outcome.blind_copies if not copy.is_scanned]:
        edits: list[Edit] = list(one.outcome.edits)
        if copy.subject:
            edits += [StripHeader("Subject"), InsertHeader("Subject", copy.subject)]
        for address in copy.addresses:
            at_the_hop = [content for who, content in office.sink.taken if address in who]
            contents = (
                at_the_hop if copy.mailhost else [content for content in office.files if f"Delivered-To: {address}\r\n".encode() in content]
            )
            assert any(content.endswith(apply(one.case.raw, edits)) for content in contents), contents
    for notice in one.outcome.notices:
        for address in notice.addresses:
            [content] = [content for content in office.files_of(one, address) if f"\r\nMessage-ID: <{one.id}".encode() in content]
            assert b"\r\nAuto-Submitted: auto-replied\r\n" in content
            assert f"\r\nSubject: {notice.subject}\r\n".encode() in content
            assert (one.case.raw in content) == notice.with_copy


def test_copies_that_are_scanned_again_are_decided_about_as_messages_of_their_own(office: Office) -> None:
    view = TrackingView.open(office.gateway.state)
    assert view is not None
    known = view.search(limit=1_000)
    view.close()
    copied = [one for one in office.sent if one.again]
    assert {one.case.fires for one in copied} >= {"from_the_board", "skip_on_request"}
    for one in copied:
        copies = [found for found in known if any(event.fields.get("copy_of") == one.id for event in found.events)]
        steps = [
            [step for event in copy.events for step in _texts(event.fields, "steps") if step.partition(":")[0] not in CHANCE]
            for copy in copies
        ]
        assert steps == [[f"{step.filter}: {step.action}" for step in outcome.trail if step.filter not in CHANCE] for outcome in one.again]


def test_tags_and_log_entries_stand_in_tracking_and_log(office: Office, number: int) -> None:
    one = office.sent[number]
    assert one.tracked is not None
    filtered = [event.fields for event in one.tracked.events if event.name == "filters.matched"]
    assert [tag for fields in filtered for tag in _texts(fields, "tags")] == one.outcome.tags
    logged = [entry for fields in filtered for entry in _texts(fields, "log")]
    assert logged == one.outcome.log_entries
    lines = [line for line in office.gateway.log.read_text().splitlines() if "event=filter.log" in line and one.id in line]
    assert len(lines) == len(logged)


def _texts(fields: Mapping[str, object], key: str) -> list[str]:
    found = fields.get(key, [])
    assert isinstance(found, list)
    return found


def test_what_waits_is_told_and_nothing_else_is(office: Office) -> None:
    told = office.gateway.command("filters", "check", "--json", check=False)
    assert {name for one in FILTERS if f'"{(name := one.name)}"' in told} >= WAITING | {"urls_replaced"}


def test_the_state_folder_has_no_message_that_nobody_owns(office: Office) -> None:
    assert list((office.gateway.state / "spool" / "receive-0" / "incoming").iterdir()) == []
    assert not [
        line
        for line in office.gateway.log.read_text().splitlines()
        if "error" in line.lower() and "event=" in line and "scan.failed" in line
    ]
    assert Path(office.gateway.state / "archives").is_dir()
