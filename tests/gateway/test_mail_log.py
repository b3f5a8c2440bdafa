"""Lines as AsyncOS writes them, of single events; hostile text stays in its place."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.gateway import events
from esa.gateway.events import Event, FieldValue
from tests.gateway.test_events import restored_logging  # noqa: F401

STAMP = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d \d{4} ")
BIDI = "\u202egnp.exe\u2066\u200f\ufeff\u061c"
Told = Callable[[], list[str]]


@pytest.fixture
def told(restored_logging: None) -> Iterator[Told]:  # noqa: F811
    stream = io.StringIO()
    events.configure("receive-0", log_format="asyncos", stream=stream)
    yield lambda: [STAMP.sub("", line, count=1) for line in stream.getvalue().splitlines()]


def test_a_line_begins_with_time_and_level(restored_logging: None) -> None:  # noqa: F811
    stream = io.StringIO()
    events.configure("receive-0", log_format="asyncos", stream=stream)
    events.info(Event.PROCESS_STARTED, pid=7)
    events.warning(Event.SPACE_LOW, free_bytes=1)
    events.error(Event.SCAN_FAILED, reason="ill")
    lines = stream.getvalue().splitlines()
    assert all(STAMP.match(line) for line in lines)
    assert [STAMP.sub("", line) for line in lines] == [
        "Info: event=process.started pid=7",
        "Warning: event=space.low free_bytes=1",
        "Critical: event=scan.failed reason=ill",
    ]


def test_a_connection_is_told_with_its_group_and_its_reputation(told: Told) -> None:
    common: dict[str, FieldValue] = {"listener": "Management", "local": "10.1.1.1", "access": "ACCEPT", "policy": "ACCEPTED"}
    suspect: dict[str, FieldValue] = {"group": "SUSPECTLIST", "because": "SBRS[-3:-1]", "reputation": -1.3}
    events.step(Event.CONNECTION_OPENED, icid=3, client="192.0.2.9", names="mx.example.net other.example.net", **common, **suspect)
    events.step(Event.CONNECTION_OPENED, icid=4, client="10.1.1.209", group="UNKNOWNLIST", because="nx.domain", **common)
    events.step(Event.CONNECTION_OPENED, icid=5, client="2001:db8::1", group="ALL", because="ALL", **common)
    assert told() == [
        "Info: New SMTP ICID 3 interface Management (10.1.1.1) address 192.0.2.9 reverse dns host mx.example.net verified yes",
        "Info: ICID 3 ACCEPT SG SUSPECTLIST match sbrs[-3:-1] SBRS -1.3",
        "Info: New SMTP ICID 4 interface Management (10.1.1.1) address 10.1.1.209 reverse dns host unknown verified no",
        "Info: ICID 4 ACCEPT SG UNKNOWNLIST match nx.domain SBRS rfc1918",
        "Info: New SMTP ICID 5 interface Management (10.1.1.1) address 2001:db8::1 reverse dns host unknown verified no",
        "Info: ICID 5 ACCEPT SG None match ALL SBRS None",
    ]


def test_tls_and_users_are_told_under_their_connection(told: Told) -> None:
    events.step(Event.TLS_AGREED, icid=30, tls="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")
    events.info(Event.TLS_FAILED, icid=31, client="192.0.2.9", reason="NO_SHARED_CIPHER")
    events.step(Event.AUTHENTICATION_PROVEN, icid=30, user="anna", mechanism="LOGIN")
    events.warning(Event.AUTHENTICATION_FAILED, icid=32, user="bo\nb", mechanism="PLAIN", reason="credentials")
    assert told() == [
        "Info: ICID 30 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
        "Info: ICID 31 TLS failed: NO_SHARED_CIPHER",
        "Info: SMTP Auth: (ICID 30) succeeded for user: anna using AUTH mechanism: LOGIN",
        "Warning: SMTP Auth: (ICID 32) failed for user: bo\\x0ab using AUTH mechanism: PLAIN",
    ]


def test_deliveries_that_fail_or_wait_are_told_for_each_recipient(told: Told) -> None:
    events.warning(Event.DELIVERY_FAILED, mid=4, dcid=3, rids="0, 1", reply="550 <jane@yourdomain.com>... Relaying denied", finished=True)
    events.info(Event.DELIVERY_DEFERRED, mid=4, dcid=5, rids="0", reply="452 4.2.2 Mailbox temporarily full.")
    events.info(Event.DELIVERY_DEFERRED, mid=4, rids="0", reply="no connection to mx:25 within 30 s")
    events.warning(Event.DELIVERY_FAILED, reason="expired; nobody answers")
    events.warning(
        Event.DELIVERY_FAILED, mid=5, dcid=6, rids="1", reply="expired; the last reply was: 452 4.2.2 Mailbox full", finished=True
    )
    assert told() == [
        "Warning: Bounced: DCID 3 MID 4 to RID 0 - 5.1.0 - Unknown address error ('550', ['<jane@yourdomain.com>... Relaying denied']) []",
        "Warning: Bounced: DCID 3 MID 4 to RID 1 - 5.1.0 - Unknown address error ('550', ['<jane@yourdomain.com>... Relaying denied']) []",
        "Warning: Message finished MID 4 done",
        "Info: Delayed: DCID 5 MID 4 to RID 0 - 4.2.2 - Mailbox full ('452', ['Mailbox temporarily full.']) []",
        "Info: Delayed: DCID 0 MID 4 to RID 0 - 4.4.0 - Other network problem ('000', ['no connection to mx:25 within 30 s']) []",
        "Warning: Bounced: DCID 0 MID 0 to RID 0 - 5.4.7 - Delivery expired (message too old) ('000', ['nobody answers']) []",
        "Warning: Bounced: DCID 6 MID 5 to RID 1 - 5.4.7 - Delivery expired (message too old) ('452', ['Mailbox full']) []",
        "Warning: Message finished MID 5 done",
    ]


def test_a_client_that_goes_without_a_word_is_lost_and_one_that_says_quit_is_not(told: Told) -> None:
    events.step(Event.CONNECTION_CLOSED, icid=5, client="192.0.2.9", lost="yes")
    events.step(Event.CONNECTION_CLOSED, icid=6, client="192.0.2.9")
    assert told() == ["Info: ICID 5 lost", "Info: ICID 5 close", "Info: ICID 6 close"]


def test_connections_to_a_next_hop_are_told_from_begin_to_end_and_those_that_cannot_be_made(told: Told) -> None:
    events.step(Event.DELIVERY_CONNECTED, dcid=3, local="192.0.2.25", address="192.0.2.40", port=25, next_hop="mx:25")
    events.step(Event.DELIVERY_TLS_AGREED, dcid=3, tls="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", verification="verified: mx")
    events.info(Event.DELIVERY_TLS_FAILED, dcid=3, next_hop="mx:25", reason="in the clear: the handshake failed")
    events.step(Event.DELIVERY_STARTED, dcid=3, mid=9, rids="0, 1")
    events.warning(Event.DELIVERY_DUPLICATED, dcid=3, mid=9, rids="0, 1", reason="possible duplicate")
    events.step(Event.DELIVERY_DISCONNECTED, dcid=3, next_hop="mx:25")
    events.warning(Event.DELIVERY_UNREACHABLE, dcid=4, next_hop="mx:25", reason="no connection to mx:25: Connection refused")
    assert told() == [
        "Info: New SMTP DCID 3 interface 192.0.2.25 address 192.0.2.40 port 25",
        "Info: DCID 3 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
        "Info: DCID 3 TLS failed: in the clear: the handshake failed",
        "Info: Delivery start DCID 3 MID 9 to RID [0, 1]",
        "Warning: Possible Delivery: DCID 3 MID 9 to RID [0, 1]",
        "Info: DCID 3 close",
        "Warning: Connection Error: DCID 4 domain: mx:25 details: no connection to mx:25: Connection refused reason: network error",
    ]


def test_harvests_and_refused_connections_are_told(told: Told) -> None:
    fields: dict[str, FieldValue] = {"client": "192.168.10.1", "listener": "InboundMail", "group": "SUSPECTLIST", "limit": 4}
    events.warning(Event.HARVEST_DETECTED, network="192.168.10.1", invalid=4, **fields)
    refused: dict[str, FieldValue] = {"client": "192.0.2.9", "listener": "mail", "reply": "421", "icid": 7}
    events.info(Event.CONNECTION_REFUSED, **refused)  # by its group, which the line of the connection has told
    events.info(Event.CONNECTION_REFUSED, reason="max_concurrency", **refused)
    events.info(Event.CONNECTION_REFUSED, reason="early_talker", **refused)
    events.info(Event.RECIPIENT_REFUSED, mid=1, icid=7, recipient="<a@b>", reply="452/4.7.1", by="Receiving Control")
    assert told() == [
        "Warning: LDAP: Dropping connection due to potential Directory Harvest Attack from host=('192.168.10.1', None), dhap_limit=4,"
        " sender_group=SUSPECTLIST, listener=InboundMail",
        "Info: ICID 7 Receiving Failed: Connection limit exceeded",
        "Info: ICID 7 Receiving Failed: early_talker",
        "Info: MID 1 ICID 7 To: <a@b> Rejected by Receiving Control",
    ]


def test_quarantine_is_told_by_name(told: Told) -> None:
    events.info(Event.QUARANTINE_KEPT, mid=482, reason="spam:suspect")
    events.info(Event.QUARANTINE_RELEASED, mid=483)
    events.info(Event.QUARANTINE_EXPIRED, mid=484)
    assert told() == [
        'Info: MID 482 quarantined to "Spam" (spam:suspect)',
        'Info: MID 483 released from quarantine "Spam" (manual)',
        "Info: MID 483 released from all quarantines",
        'Info: MID 484 deleted from quarantine "Spam" (expired)',
        "Info: MID 484 deleted from all quarantines",
    ]


def test_hostile_text_forges_no_line_and_leaves_neither_brackets_nor_quotes(told: Told) -> None:
    events.step(Event.MESSAGE_STARTED, mid=1, icid=2, reverse_path='<"a> \r\nInfo: MID 1 ICID 2 RID 0 To: <b"@example.net>')
    events.step(Event.MESSAGE_READ, mid=1, message_id="<x'\x00\x1b[2J>", subject=f"it's {BIDI}", size=5, reverse_path="<>")
    assert told() == [
        "Info: Start MID 1 ICID 2",
        'Info: MID 1 ICID 2 From: <"a\\> \\x0d\\x0aInfo: MID 1 ICID 2 RID 0 To: \\<b"@example.net>',
        "Info: MID 1 Message-ID '<x\\'\\x00\\x1b[2J>'",
        "Info: MID 1 Subject 'it\\'s \\u202egnp.exe\\u2066\\u200f\\ufeff\\u061c'",
        "Info: MID 1 ready 5 bytes from <>",
    ]


def test_what_turns_text_round_is_escaped_in_every_form(restored_logging: None) -> None:  # noqa: F811
    forms: tuple[events.LogFormat, ...] = ("text", "json", "asyncos")
    for form in forms:
        stream = io.StringIO()
        events.configure("receive-0", log_format=form, stream=stream)
        events.info(Event.RECIPIENT_REFUSED, mid=1, icid=2, recipient=f"<{BIDI}\U000e0041\x85@example.org>", by="RAT")
        (line,) = stream.getvalue().split("\n")[:-1]
        assert line.isprintable(), form
        assert "\\u202e" in line


def test_the_subject_stands_in_asyncos_form_alone(restored_logging: None) -> None:  # noqa: F811
    forms: tuple[events.LogFormat, ...] = ("text", "json")
    for form in forms:
        stream = io.StringIO()
        events.configure("receive-0", log_format=form, steps=True, stream=stream)
        events.step(Event.MESSAGE_READ, mid=1, message_id="<x@y>", subject="secret", size=5)
        assert "secret" not in stream.getvalue()
        assert "<x@y>" in stream.getvalue()


@given(st.text(), st.sampled_from(sorted(Event)))
def test_whatever_a_field_holds_each_line_is_printable(value: str, event: Event) -> None:
    from esa.gateway.mail_log import MailLogFormatter

    names = ("listener", "local", "client", "names", "group", "because", "reason", "tls", "cipher", "user", "mechanism", "reverse_path")
    more = (
        "recipient",
        "by",
        "message_id",
        "subject",
        "access",
        "table",
        "disposition",
        "verdict",
        "address",
        "reply",
        "relay",
        "origin",
        "header",
        "entry",
        "policies",
    )
    fields: dict[str, FieldValue] = dict.fromkeys((*names, *more), value or "x")
    fields |= {"names": None, "access": "ACCEPT", "table": "inbound", "disposition": "deliver", "size": 1, "rid": 0, "port": 25}
    fields |= {"names": "mx.example.net", "limit": 25}
    lines = MailLogFormatter().format(events.EventRecord(20, event, fields)).split("\n")
    assert all(STAMP.match(line) and line.isprintable() for line in lines if line)


def test_splinters_name_their_policies_and_a_filters_entry_has_a_line_of_its_own(told: Told) -> None:
    events.info(Event.MESSAGE_KEPT, mid=7, policies="sales DEFAULT", table="inbound", disposition="deliver", spam_check=False)
    events.info(Event.FILTER_LOG, mid=7, entry="seen\nMID 8 forged")
    assert told() == [
        "Info: MID 7 matched some recipients for per-recipient policy sales in the inbound table",
        "Info: MID 7 matched some recipients for per-recipient policy DEFAULT in the inbound table",
        "Info: MID 7 queued for delivery",
        "Info: MID 7 Custom Log Entry: seen\\x0aMID 8 forged",
    ]


def test_a_bounce_is_a_message_of_its_own_and_one_that_is_not_ours_is_refused(told: Told) -> None:
    events.info(Event.BOUNCE_QUEUED, id="A", mid=4, to="<anna@example.org>", notification="B", notification_mid=9, size=1234, recipients=1)
    events.warning(Event.BOUNCE_DROPPED, id="A", mid=5, reverse_path="<>", recipients=1, reason="double bounce: the return path is null")
    events.info(Event.RECIPIENT_REFUSED, mid=26603, icid=125192, recipient="<bob@example.com>", by=events.BY_BOUNCE_VERIFICATION)
    assert told() == [
        "Info: Start MID 9 ICID 0",
        "Info: MID 9 was generated for bounce of MID 4",
        "Info: MID 9 ICID 0 From: <>",
        "Info: MID 9 ICID 0 RID 0 To: <anna@example.org>",
        "Info: MID 9 ready 1234 bytes from <>",
        "Info: MID 9 queued for delivery",
        "Warning: MID 5 no bounce is sent to <>: double bounce: the return path is null",
        "Info: MID 26603 ICID 125192 invalid bounce, rcpt address <bob@example.com> rejected by bounce verification.",
    ]
