"""Bounces as the deliver process makes them: real spools and queues, next hops that defer and refuse, notifications read with the standard library."""

from __future__ import annotations

import asyncio
import email
import email.policy
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from email.message import EmailMessage, Message
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.gateway.bounces import bouncer as bouncing
from esa.gateway.bounces.bouncer import Bouncer
from esa.gateway.bounces.profiles import BounceSettings
from esa.gateway.delivery.deliver import DeliverSettings
from esa.message.envelope import Envelope, Options, RecipientOptions
from esa.policy.bounce_profile import BounceProfile, RetrySchedule
from esa.policy.destination_controls import DestinationControl
from esa.policy.smtp_routes import TO_MAILDIR, SmtpRoute, parse_route
from esa.store import debts
from esa.store.entry import Entry
from esa.store.queue import Queue
from esa.store.queue_view import QueueView
from esa.store.record import Event, EventName, Record, Splinter
from esa.store.segments import SpoolReader
from esa.store.selection import EVERYTHING
from tests.gateway.deliverer import running_deliverer
from tests.gateway.scripted import EXTENSIONS, ScriptedServer
from tests.store.messages import fill, make_record, read_state

PATIENCE = 20.0
QUICK = RetrySchedule(0.05, 0.1, 60.0)
NO = b"550 5.1.1 no such user\r\n"
LATER = b"451 4.3.0 later\r\n"
ROUTES: Sequence[tuple[str, str]] = (("dead.example", "127.0.0.1:9"),)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debts, "GATHERING", 0.1)
    monkeypatch.setattr(bouncing, "LOOK", 0.02)
    monkeypatch.setattr(bouncing, "PUT_OFF", 0.2)


@asynccontextmanager
async def delivering(
    state: Path,
    *servers: tuple[str, ScriptedServer],
    profile: BounceProfile | None = None,
    bounces: BounceSettings | None = None,
    controls: Sequence[tuple[str, DestinationControl]] = (),
) -> AsyncIterator[None]:
    """The deliver process, in this one: mail for each domain goes to its server, all other mail to the Maildir."""
    routes: list[tuple[str, SmtpRoute]] = [(domain, parse_route([f"127.0.0.1:{server.port}"])) for domain, server in servers]
    given = bounces or BounceSettings({"Default": profile or BounceProfile(schedule=QUICK)})
    settings = DeliverSettings(
        state, "mx.example.net", TO_MAILDIR, tuple(routes), controls=tuple(controls), bounces=given, retry_initial=0.05
    )
    async with running_deliverer(settings):
        yield


def entries(state: Path) -> list[Entry]:
    view = QueueView.open(state)
    if view is None:
        return []
    found = view.entries()
    view.close()
    return found


def events(state: Path, *names: EventName) -> list[tuple[str, Event]]:
    view = QueueView.open(state)
    assert view is not None
    found = [(message, event) for _, _, message, event in view.outbox(0) if event.name in names]
    view.close()
    return found


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.01)


def told(state: Path) -> list[EmailMessage]:
    """Notifications that have arrived in the Maildir."""
    folder = state / "Maildir/new"
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        assert isinstance(message, EmailMessage) and not message.defects
        found.append(message)
    return found


def taken_by(server: ScriptedServer) -> list[list[str]]:
    """Recipients of messages that were taken for any."""
    return [one.recipients for one in server.taken if one.recipients]


def recipients_of(message: EmailMessage) -> list[Message]:
    """Groups of fields of a report's recipients."""
    _, status, *_ = message.iter_parts()
    found = status.get_payload()
    assert isinstance(found, list)
    return [block for block in found[1:] if isinstance(block, Message) and block.keys()]


def mail(
    *recipients: str,
    options: Options | None = None,
    splinter: Splinter | None = None,
    reverse_path: str = "author@example.net",
    content: bytes = b"From: author@example.net\r\nSubject: hello\r\n\r\ntext\r\n",
    listener: str = "inbound",
    smtputf8: bool = False,
) -> Record:
    record = make_record(content, recipients=recipients, reverse_path=reverse_path, smtputf8=smtputf8)
    envelope = replace(record.envelope, options=options)
    splinters = ((splinter or Splinter((), "deliver", is_outgoing=True))._replace(recipients=recipients),)
    return replace(record, envelope=envelope, splinters=splinters, session=replace(record.session, listener=listener))


# --- failures -------------------------------------------------------------------------------------------------------------------------------


async def test_a_refused_recipient_is_told_to_the_sender_and_the_entry_goes(tmp_path: Path) -> None:
    record = mail("b@x.example")
    fill(tmp_path, [record])
    async with ScriptedServer(replies={"RCPT": NO}) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: len(told(tmp_path)) == 1 and not entries(tmp_path))
    [message] = told(tmp_path)
    assert (message["Return-Path"], message["Delivered-To"], message["To"]) == ("<>", "author@example.net", "author@example.net")
    [recipient] = recipients_of(message)
    assert (recipient["Final-Recipient"], recipient["Action"], recipient["Status"]) == ("rfc822; b@x.example", "failed", "5.1.1")
    assert (recipient["Remote-MTA"], recipient["Diagnostic-Code"]) == ("dns; [127.0.0.1]", "smtp; 550 5.1.1 no such user")
    [(about, event)] = events(tmp_path, EventName.BOUNCED)
    assert about == record.id
    assert event.fields["recipients"] == ["b@x.example"] and event.fields["to"] == "author@example.net"
    assert f"<{event.fields['notification']}@mx.example.net>" == message["Message-ID"]


async def test_what_is_returned_has_no_field_that_is_not_for_strangers(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example")])
    async with ScriptedServer(replies={"RCPT": NO}) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: len(told(tmp_path)) == 1)
    assert "X-Esa-Verdict" not in told(tmp_path)[0].as_string() and "Subject: hello" in told(tmp_path)[0].as_string()


async def test_recipients_of_several_destinations_that_fail_together_stand_in_one_notification(tmp_path: Path) -> None:
    fill(tmp_path, [mail("a@x.example", "b@y.example", "c@x.example", "d@home.example")])
    async with (
        ScriptedServer(replies={"RCPT": NO}) as first,
        ScriptedServer(replies={"DATA": b"554 5.7.1 no mail\r\n"}) as second,
        delivering(tmp_path, ("x.example", first), ("y.example", second)),
    ):
        await until(lambda: len(told(tmp_path)) == 2 and not entries(tmp_path))
    [message] = [one for one in told(tmp_path) if one["Return-Path"] == "<>"]
    found = {one["Final-Recipient"]: one["Status"] for one in recipients_of(message)}
    assert found == {"rfc822; a@x.example": "5.1.1", "rfc822; b@y.example": "5.7.1", "rfc822; c@x.example": "5.1.1"}


async def test_mail_that_is_given_up_is_told_with_the_last_reply(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example")])
    profile = BounceProfile(schedule=RetrySchedule(0.05, 0.05, 60.0, retries=2))
    async with ScriptedServer(replies={"RCPT": LATER}) as server, delivering(tmp_path, ("x.example", server), profile=profile):
        await until(lambda: len(told(tmp_path)) == 1 and not entries(tmp_path))
        assert sum(command.startswith("RCPT") for command in server.commands) == 3
    [recipient] = recipients_of(told(tmp_path)[0])
    assert (recipient["Action"], recipient["Status"], recipient["Diagnostic-Code"]) == ("failed", "5.4.7", "smtp; 451 4.3.0 later")


async def test_one_that_fails_and_one_that_waits_are_told_apart(tmp_path: Path) -> None:
    fill(tmp_path, [mail("a@x.example", "b@x.example")])
    replies: dict[str, bytes | list[bytes]] = {
        "RCPT a@x.example": NO,
        "RCPT b@x.example": [LATER, LATER, LATER, LATER, LATER, LATER, LATER, LATER, b"250 ok\r\n"],
    }
    async with ScriptedServer(replies=replies) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: len(told(tmp_path)) == 1)
        await until(lambda: not entries(tmp_path))
        assert server.taken[-1].recipients == ["b@x.example"]
    assert [one["Final-Recipient"] for one in recipients_of(told(tmp_path)[0])] == ["rfc822; a@x.example"]
    assert len(events(tmp_path, EventName.BOUNCED)) == 1


async def test_a_message_that_is_damaged_on_our_disk_is_told_without_its_header(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example")])
    [segment] = (tmp_path / "spool/receive-0/segments").iterdir()
    async with ScriptedServer(replies={"RCPT": LATER}) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: bool(entries(tmp_path)))
        octets = segment.read_bytes()
        segment.write_bytes(octets.replace(b"text\r\n", b"tEXT\r\n"))
        await until(lambda: len(told(tmp_path)) == 1 and not entries(tmp_path))
    [message] = told(tmp_path)
    assert len(list(message.iter_parts())) == 2
    assert "cannot be read" in recipients_of(message)[0]["Diagnostic-Code"]


# --- whom nobody tells ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (mail("b@x.example", reverse_path=""), "double bounce"),
        (mail("b@x.example", splinter=Splinter((), "deliver", is_silent=True)), "may be forged"),
        (mail("b@x.example", options=Options(recipients=(RecipientOptions("b@x.example", "NEVER"),))), "does not want to be told"),
        (mail("b@x.example", options=Options(recipients=(RecipientOptions("b@x.example", "SUCCESS,DELAY"),))), "does not want to be told"),
    ],
)
async def test_nobody_is_told_of_these_and_tracking_says_why(tmp_path: Path, record: Record, reason: str) -> None:
    fill(tmp_path, [record])
    async with ScriptedServer(replies={"RCPT": NO}) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: bool(events(tmp_path, EventName.UNBOUNCED)) and not entries(tmp_path))
    assert told(tmp_path) == []
    [(_, event)] = events(tmp_path, EventName.UNBOUNCED)
    assert reason in str(event.fields["reason"]) and event.fields["recipients"] == ["b@x.example"]


async def test_a_profile_that_sends_no_bounces_keeps_what_fails_and_a_retry_delivers_it(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example")])
    profile = BounceProfile(schedule=QUICK, send_hard_bounces=False)
    async with ScriptedServer(replies={"RCPT": [NO, b"250 ok\r\n"]}) as server:
        async with delivering(tmp_path, ("x.example", server), profile=profile):
            await until(lambda: [one.state for one in entries(tmp_path)] == ["failed"])
        assert told(tmp_path) == []
        queue = Queue(tmp_path)
        assert queue.retry(EVERYTHING, time.time()) == 1
        queue.close()
        async with delivering(tmp_path, ("x.example", server), profile=profile):
            await until(lambda: not entries(tmp_path))
        assert taken_by(server) == [["b@x.example"]]


async def test_an_alternate_address_is_told_in_the_place_of_the_sender_even_of_double_bounces_and_never_in_a_circle(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example"), mail("c@x.example", reverse_path="")])
    profile = BounceProfile(schedule=QUICK, alternate_address="desk@x.example")
    replies: dict[str, bytes | list[bytes]] = {"RCPT": NO, "RCPT desk@x.example": [b"250 ok\r\n", NO]}
    async with ScriptedServer(replies=replies) as server, delivering(tmp_path, ("x.example", server), profile=profile):
        await until(lambda: bool(events(tmp_path, EventName.UNBOUNCED)) and not entries(tmp_path))
        assert taken_by(server) == [["desk@x.example"]]
    assert told(tmp_path) == []
    assert len(events(tmp_path, EventName.BOUNCED)) == 2


async def test_two_gateways_that_refuse_each_others_bounces_come_to_an_end(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example", reverse_path="author@x.example")])
    async with ScriptedServer(replies={"RCPT": NO}) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: bool(events(tmp_path, EventName.UNBOUNCED)) and not entries(tmp_path))
        assert sum(command.startswith("MAIL") for command in server.commands) == 2


# --- delays -----------------------------------------------------------------------------------------------------------------------------------


async def test_senders_of_mail_that_waits_are_warned_as_often_as_the_profile_says(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example")])
    profile = BounceProfile(schedule=QUICK, delay_warnings=True, delay_interval=0.4, delay_count=2)
    async with ScriptedServer(replies={"RCPT": LATER}) as server, delivering(tmp_path, ("x.example", server), profile=profile):
        await until(lambda: len(told(tmp_path)) == 2)
        await asyncio.sleep(1.0)
    assert len(told(tmp_path)) == 2
    for message in told(tmp_path):
        [recipient] = recipients_of(message)
        assert (recipient["Action"], recipient["Status"], recipient["Diagnostic-Code"]) == ("delayed", "4.3.0", "smtp; 451 4.3.0 later")
        assert recipient["Will-Retry-Until"] is not None
    [entry] = entries(tmp_path)
    assert (entry.warnings, entry.report_at) == (2, 0.0)
    assert [event.fields["action"] for _, event in events(tmp_path, EventName.NOTIFIED)] == ["delayed", "delayed"]


async def test_mail_whose_destination_cannot_be_reached_is_warned_of_though_it_was_never_tried(tmp_path: Path) -> None:
    fill(tmp_path, [mail(f"{number}@x.example") for number in range(3)])
    profile = BounceProfile(schedule=RetrySchedule(60.0, 60.0, 600.0), delay_warnings=True, delay_interval=0.3)
    server = ScriptedServer(port=9)
    async with delivering(tmp_path, ("x.example", server), profile=profile):
        await until(lambda: len(told(tmp_path)) == 3)


async def test_who_did_not_ask_for_delays_is_not_warned(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example", options=Options(recipients=(RecipientOptions("b@x.example", "FAILURE"),)))])
    profile = BounceProfile(schedule=QUICK, delay_warnings=True, delay_interval=0.2)
    async with ScriptedServer(replies={"RCPT": LATER}) as server, delivering(tmp_path, ("x.example", server), profile=profile):
        await until(lambda: [one.warnings for one in entries(tmp_path)] == [1])
    assert told(tmp_path) == [] and events(tmp_path, EventName.NOTIFIED, EventName.UNBOUNCED) == []


# --- what senders ask for ---------------------------------------------------------------------------------------------------------------------

SUCCESS = Options("HDRS", "QQ+2B1", recipients=(RecipientOptions("b@x.example", "SUCCESS,FAILURE", "rfc822;Bob@x.example"),))


async def test_a_success_that_the_next_hop_cannot_tell_is_told_as_relayed(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example", "c@x.example", options=SUCCESS)])
    async with ScriptedServer() as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: len(told(tmp_path)) == 1 and not entries(tmp_path))
    [message] = told(tmp_path)
    [recipient] = recipients_of(message)
    assert (recipient["Action"], recipient["Status"], recipient["Original-Recipient"]) == ("relayed", "2.0.0", "rfc822; Bob@x.example")
    assert "Original-Envelope-Id: QQ+1" in message.as_string()
    assert [event.fields["action"] for _, event in events(tmp_path, EventName.NOTIFIED)] == ["relayed"]


async def test_a_success_that_the_next_hop_tells_is_handed_on(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example", options=SUCCESS)])
    async with ScriptedServer(extensions=(*EXTENSIONS, "DSN")) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: len(server.taken) == 1 and not entries(tmp_path))
        assert any("NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@x.example" in command for command in server.commands)
    assert told(tmp_path) == []


async def test_a_success_in_the_maildir_is_told_as_delivered(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example", options=SUCCESS)])
    async with delivering(tmp_path):
        await until(lambda: len(told(tmp_path)) == 2 and not entries(tmp_path))
    [message] = [one for one in told(tmp_path) if one["Return-Path"] == "<>"]
    assert recipients_of(message)[0]["Action"] == "delivered"


@pytest.mark.parametrize(
    ("ret", "is_outgoing", "is_whole"), [("FULL", True, True), ("FULL", False, False), ("HDRS", True, False), ("", True, False)]
)
async def test_the_whole_message_goes_back_only_to_our_own_who_ask_for_it(
    tmp_path: Path, ret: str, is_outgoing: bool, is_whole: bool
) -> None:
    splinter = Splinter((), "deliver", is_outgoing=is_outgoing)
    fill(tmp_path, [mail("b@x.example", options=Options(ret), splinter=splinter)])
    async with ScriptedServer(replies={"RCPT": NO}) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: len(told(tmp_path)) == 1)
    kinds = [part.get_content_type() for part in told(tmp_path)[0].iter_parts()]
    assert kinds[2] == ("message/rfc822" if is_whole else "text/rfc822-headers")


# --- which profile ----------------------------------------------------------------------------------------------------------------------------


async def test_a_profile_is_that_of_the_filter_then_of_the_destination_then_of_the_listener(tmp_path: Path) -> None:
    names = ("Default", "filter", "destination", "listener")
    profiles = {name: BounceProfile(name, QUICK, sender=f"{name.lower()}@example.net") for name in names}
    by_filter = Splinter((), "deliver", bounce_profile="filter")
    fill(
        tmp_path,
        [
            mail("1@x.example", splinter=by_filter, listener="bulk"),
            mail("2@x.example", listener="bulk"),
            mail("3@y.example", listener="bulk"),
            mail("4@y.example"),
            mail("5@y.example", splinter=Splinter((), "deliver", bounce_profile="gone")),
        ],
    )
    async with ScriptedServer(replies={"RCPT": NO}) as server:
        settings = BounceSettings(profiles, {"bulk": "listener"})
        controls = [("x.example", DestinationControl(bounce_profile="destination"))]
        async with delivering(tmp_path, ("x.example", server), ("y.example", server), bounces=settings, controls=controls):
            await until(lambda: len(told(tmp_path)) == 5)
    found = {recipients_of(one)[0]["Final-Recipient"][8:9]: str(one["From"]).partition("@")[0] for one in told(tmp_path)}
    assert found == {"1": "filter", "2": "destination", "3": "listener", "4": "default", "5": "default"}


# --- storms -----------------------------------------------------------------------------------------------------------------------------------


async def test_past_the_limit_of_an_address_bounces_wait_and_others_go_on(tmp_path: Path) -> None:
    fill(tmp_path, [mail(f"{number}@x.example", reverse_path="storm@example.net") for number in range(30)])
    fill(tmp_path, [mail("b@x.example", reverse_path="calm@example.net")])
    settings = BounceSettings({"Default": BounceProfile(schedule=QUICK)}, per_address=4)
    async with ScriptedServer(replies={"RCPT": NO}) as server, delivering(tmp_path, ("x.example", server), bounces=settings):
        await until(lambda: len(told(tmp_path)) == 5 and [one.state for one in entries(tmp_path)] == ["reporting"] * 26)
        await asyncio.sleep(0.6)
    assert sorted(str(one["Delivered-To"]) for one in told(tmp_path)) == ["calm@example.net"] + ["storm@example.net"] * 4
    assert [one.state for one in entries(tmp_path)] == ["reporting"] * 26
    async with delivering(tmp_path):  # another hour
        await until(lambda: len(told(tmp_path)) == 31 and not entries(tmp_path))


async def test_what_has_waited_too_long_is_told_to_nobody_but_tracking(tmp_path: Path) -> None:
    fill(tmp_path, [mail(f"{number}@x.example") for number in range(5)])
    settings = BounceSettings({"Default": BounceProfile(schedule=QUICK)}, per_address=1, wait=0.5)
    async with ScriptedServer(replies={"RCPT": NO}) as server, delivering(tmp_path, ("x.example", server), bounces=settings):
        await until(lambda: not entries(tmp_path) and len(told(tmp_path)) == 1)
    assert [event.fields["reason"] for _, event in events(tmp_path, EventName.UNBOUNCED)] == ["it could not be told in time"] * 4


async def test_a_message_for_thousands_who_all_fail_makes_few_notifications_that_name_each_once(tmp_path: Path) -> None:
    names = [f"{number}@x.example" for number in range(1_250)]
    fill(tmp_path, [mail(*names)])
    async with ScriptedServer(replies={"RCPT": NO}) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: len(told(tmp_path)) >= 3 and not entries(tmp_path))
    found = [one["Final-Recipient"] for message in told(tmp_path) for one in recipients_of(message)]
    assert sorted(found) == sorted(f"rfc822; {name}" for name in names)


async def test_addresses_and_replies_of_all_the_world_make_a_global_report(tmp_path: Path) -> None:
    record = mail(
        "bøb@x.example", reverse_path="jürgen@example.net", smtputf8=True, content="From: jürgen@example.net\r\n\r\nx\r\n".encode()
    )
    fill(tmp_path, [record])
    replies = {"RCPT": "550 5.1.1 kein bøb\x07\r\n".encode()}
    async with ScriptedServer(replies=replies) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: len(told(tmp_path)) == 1)
    whole = next((tmp_path / "Maildir/new").iterdir()).read_bytes()
    assert "Final-Recipient: utf-8; bøb@x.example\r\n".encode() in whole and b"message/global-delivery-status" in whole
    assert "kein bøb?\r\n".encode() in whole


# --- crashes ----------------------------------------------------------------------------------------------------------------------------------


def opened(state: Path) -> tuple[Queue, Bouncer]:
    from esa.gateway.bounces.pace import Pace
    from esa.gateway.bounces.profiles import BounceProfiles
    from esa.policy.routing import Router

    profiles = BounceProfiles({"Default": BounceProfile(schedule=QUICK)}, {}, Router())
    queue = Queue(state, None, None, profiles)
    return queue, Bouncer(state, queue, profiles.of, Pace(0, 0), hostname="mx.example.net", wait=60.0)


async def failed(state: Path) -> None:
    """A queue with one entry that owes a bounce."""
    fill(state, [mail("b@x.example")])
    settings = BounceSettings({"Default": BounceProfile(schedule=QUICK)}, per_address=1, per_hour=1)
    async with ScriptedServer(replies={"RCPT": NO}) as server:
        fill(state, [mail("first@x.example", reverse_path="other@example.net")])
        async with delivering(state, ("x.example", server), bounces=settings):
            await until(lambda: len(told(state)) == 1 and [one.state for one in entries(state)] == ["reporting"])


async def test_a_crash_between_the_commit_and_the_payment_tells_once(tmp_path: Path) -> None:
    await failed(tmp_path)
    before = len(told(tmp_path))
    queue, bouncer = opened(tmp_path)
    bouncer.begin()
    bouncer.look()
    bouncer._write(bouncer._found, time.time())  # committed; and here the process dies
    assert [one.state for one in entries(tmp_path)] == ["reporting"]
    bouncer.close()
    queue.close()
    async with delivering(tmp_path):
        await until(lambda: not entries(tmp_path) and len(told(tmp_path)) == before + 1)
        await asyncio.sleep(0.5)
    assert len(told(tmp_path)) == before + 1
    assert len(events(tmp_path, EventName.BOUNCED)) == 2


async def test_a_crash_before_the_commit_tells_after_it(tmp_path: Path) -> None:
    await failed(tmp_path)
    before = len(told(tmp_path))
    async with delivering(tmp_path):
        await until(lambda: not entries(tmp_path) and len(told(tmp_path)) == before + 1)


async def test_a_notification_that_is_written_twice_has_the_same_identifier(tmp_path: Path) -> None:
    await failed(tmp_path)
    identifiers = []
    for _ in range(2):
        queue, bouncer = opened(tmp_path)
        bouncer.begin()
        bouncer.look()
        bouncer._write(bouncer._found, time.time())
        bouncer.close()
        queue.close()
        identifiers.append(read_state(tmp_path).stored[0].record.id)
        for path in (tmp_path / "spool/bounces/segments").iterdir():
            if path.stat().st_size:
                identifiers[-1] = [
                    s.record.id for s in SpoolReader(tmp_path / "spool").read(records=99).stored if s.location.writer == "bounces"
                ][-1]
    assert identifiers[0] == identifiers[1]


async def test_a_full_disk_pays_nothing_and_the_bounce_comes_when_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [mail("b@x.example")])
    from esa.store.spool import Spool

    append, faults = Spool.append, 2

    def failing(self: Spool, records: Sequence[Record]) -> None:
        nonlocal faults
        if self.writer == "bounces" and records and faults:
            faults -= 1
            raise StoreError("the disk is full", is_full=True)
        append(self, records)

    monkeypatch.setattr(Spool, "append", failing)
    monkeypatch.setattr("esa.gateway.delivery.deliver._FAULT_PAUSE", 0.1)
    async with ScriptedServer(replies={"RCPT": NO}) as server, delivering(tmp_path, ("x.example", server)):
        await until(lambda: len(told(tmp_path)) == 1 and not entries(tmp_path))
    assert faults == 0


async def test_a_bounce_leaves_by_smtp_with_a_null_return_path_and_asks_for_nothing(tmp_path: Path) -> None:
    fill(tmp_path, [mail("b@x.example", reverse_path="anna@y.example")])
    async with ScriptedServer(replies={"RCPT": NO}) as refusing, ScriptedServer(extensions=(*EXTENSIONS, "DSN")) as home:
        async with delivering(tmp_path, ("x.example", refusing), ("y.example", home)):
            await until(lambda: taken_by(home) == [["anna@y.example"]] and not entries(tmp_path))
        assert home.taken[0].mail.startswith("MAIL FROM:<>")
        assert any(command.endswith("<anna@y.example> NOTIFY=NEVER") for command in home.commands)
    assert Envelope("", ("anna@y.example",)).is_null
