"""Bounces of a whole gateway: from a refusal of the next hop to the sender's mailbox, and bounces that come back to addresses with a tag."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import json
import os
import signal
import smtplib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage, Message
from pathlib import Path

import pytest

from esa.policy.bounce_verification import tagged
from esa.store.bounce_keys import read_keys
from tests.end_to_end.running import Gateway, unused_port
from tests.gateway.scripted import ScriptedServer
from tests.gateway.test_client import sink

MAIL = b"From: anna@example.org\r\nTo: b@far.example\r\nSubject: minutes\r\n\r\nHello Bob.\r\n"
PATIENCE = 90.0
TABLES = """
[[listener]]
name = "outside"
port = {outside}
accept_domains = ["example.org"]
[[sender_group]]
name = "HOUSE"
policy = "RELAYED"
senders = ["127.0.0.1"]
listeners = ["mail"]
[[sender_group]]
name = "UNKNOWNLIST"
policy = "ACCEPTED"
senders = ["127.0.0.1"]
listeners = ["outside"]
[[smtp_route]]
domains = ["far.example"]
hosts = ["127.0.0.1:{port}"]
[[bounce_profile]]
name = "Quick"
initial_retry = "1 s"
max_retry = "1 s"
max_retries = 1
[[destination]]
domains = ["far.example"]
bounce_verification = true
{more}
"""
INSIDE = 'accept_domains = ["example.org"]\n'


@contextmanager
def served(server: ScriptedServer) -> Iterator[ScriptedServer]:
    """A next hop on a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def offer(port: int, reverse_path: str, *recipients: str, content: bytes = MAIL) -> list[tuple[int, bytes]]:
    """The replies to RCPT, and to the mail data if there was any."""
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.ehlo("client.example.net")
        client.mail(reverse_path)
        replies = [client.rcpt(recipient) for recipient in recipients]
        return replies if all(code >= 300 for code, _ in replies) else [*replies, client.data(content)]


def arrived(gateway: Gateway) -> list[EmailMessage]:
    found = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in gateway.maildir()]
    return [one for one in found if isinstance(one, EmailMessage)]


def failed_recipients(message: EmailMessage) -> list[Message]:
    _, status, *_ = message.iter_parts()
    blocks = status.get_payload()
    assert isinstance(blocks, list)
    return [block for block in blocks[1:] if isinstance(block, Message) and block.keys()]


def tracked(gateway: Gateway, status: str) -> dict[str, object]:
    """The message of which a recipient has this status."""
    found: list[dict[str, object]] = []

    def look() -> bool:
        lines = gateway.command("track", "--sender", "anna@example.org", "--json").splitlines()
        found[:] = [one for one in map(json.loads, lines) if status in {recipient["status"] for recipient in one["recipients"]}]
        return bool(found)

    until(look)
    return found[0]


@contextmanager
def refusing(folder: Path, program: str, option: str, more: str = "") -> Iterator[Gateway]:
    """A gateway with an smtp-sink for far.example that refuses, or puts off, every recipient."""
    port = unused_port()
    with sink(program, port, option, "RCPT"):
        gateway = Gateway(folder, workers=1, more=TABLES.format(port=port, outside=unused_port(), more=more), listener=INSIDE)
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.end()


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory, server_program: Callable[[str], str]) -> Iterator[Gateway]:
    with refusing(tmp_path_factory.mktemp("refused"), server_program("smtp-sink"), "-f") as gateway:
        yield gateway


@pytest.mark.servers
def test_what_the_next_hop_refuses_comes_back_to_the_sender_and_is_tracked(refused: Gateway) -> None:
    assert [code for code, _ in offer(refused.port, "anna@example.org", "b@far.example", "c@far.example", "d@example.org")] == [250] * 4
    until(lambda: len(refused.maildir()) == 2)
    [message] = [one for one in arrived(refused) if one["Return-Path"] == "<>"]
    assert (message["Delivered-To"], message["From"]) == ("anna@example.org", "Mail Delivery System <MAILER-DAEMON@mx.example.org>")
    assert [(one["Final-Recipient"], one["Action"], one["Status"][0]) for one in failed_recipients(message)] == [
        ("rfc822; b@far.example", "failed", "5"),
        ("rfc822; c@far.example", "failed", "5"),
    ]
    about = tracked(refused, "bounced")
    statuses = {one["address"]: one["status"] for one in about["recipients"]}  # type: ignore[attr-defined]
    assert statuses == {"b@far.example": "bounced", "c@far.example": "bounced", "d@example.org": "delivered"}
    assert all(one["reply"].startswith("5") for one in about["recipients"] if one["status"] == "bounced")  # type: ignore[attr-defined]
    audit = json.loads(refused.command("queue", "audit", "--json"))
    assert (audit["accepted"], audit["fates"]["delivered"], audit["fates"]["bounced or failed"]) == (3, 1, 2)
    [event] = [one for one in about["events"] if one["name"] == "delivery.bounced"]  # type: ignore[attr-defined]
    notification = event["notification"]
    assert notification in str(message["Message-ID"])
    until(lambda: json.loads(refused.command("track", notification, "--json"))["outcome"] == "generated")
    assert b"event=bounce.queued" in refused.log.read_bytes()
    assert refused.command("queue", "list", "--json") == ""


@pytest.mark.servers
def test_a_filter_chooses_the_profile_and_the_queue_shows_it(tmp_path: Path, server_program: Callable[[str], str]) -> None:
    (tmp_path / "quick.filters").write_text("quick: if (mail-from == '^quick@') { bounce-profile('Quick'); }\n")
    with refusing(tmp_path, server_program("smtp-sink"), "-r", '[filters]\nfiles = ["quick.filters"]\n') as gateway:
        offer(gateway.port, "anna@example.org", "b@far.example")
        offer(gateway.port, "quick@example.org", "b@far.example")
        until(lambda: len(gateway.maildir()) == 1)
        [message] = arrived(gateway)
        assert (message["Delivered-To"], failed_recipients(message)[0]["Status"]) == ("quick@example.org", "5.4.7")
        [left] = [json.loads(line) for line in gateway.command("queue", "list", "--json").splitlines()]
        assert (left["reverse_path"], left["state"], left["bounce_profile"]) == ("anna@example.org", "waiting", "Default")
        shown = gateway.command("queue", "show", str(left["id"]))
        assert "profile   Default" in shown and "given up" in shown


@pytest.mark.servers
def test_no_bounce_is_lost_where_deliver_is_killed_again_and_again(tmp_path: Path, server_program: Callable[[str], str]) -> None:
    count = 150
    with refusing(tmp_path, server_program("smtp-sink"), "-f", "[bounces]\nper_address_per_hour = 0\n") as gateway:
        for number in range(count):
            offer(gateway.port, "anna@example.org", f"r{number}@far.example")
            if number % 30 == 29:
                with contextlib.suppress(ProcessLookupError, KeyError):
                    os.kill(gateway.children()["deliver"], signal.SIGKILL)

        def told() -> set[str]:
            return {str(block["Final-Recipient"]) for one in arrived(gateway) for block in failed_recipients(one)}

        until(lambda: len(told()) == count)
        until(lambda: gateway.command("queue", "list", "--json") == "")
        identifiers = {str(one["Message-ID"]) for one in arrived(gateway)}
        assert len(identifiers) == count  # one that was delivered twice is still the same one


# --- bounce verification ----------------------------------------------------------------------------------------------------------------------

VERIFIED = '[bounce_verification]\nenabled = true\naction = "{action}"\nexempt = ["list@example.org"]\n'


@contextmanager
def verifying(folder: Path, action: str = "reject", log_format: str = "text") -> Iterator[tuple[Gateway, int, ScriptedServer]]:
    """A gateway with a key, its port for the world outside, and the next hop of far.example."""
    outside = unused_port()
    with served(ScriptedServer()) as far:
        more = TABLES.format(port=far.port, outside=outside, more=VERIFIED.format(action=action))
        gateway = Gateway(folder, workers=1, more=more, listener=INSIDE)
        text = gateway.configuration.read_text().replace("[gateway]\n", f'[gateway]\nlog_format = "{log_format}"\n')
        gateway.configuration.write_text(text)
        gateway.command("bounce-verification", "new")
        try:
            gateway.start()
            yield gateway, outside, far
        finally:
            gateway.end()


def test_mail_leaves_with_a_tag_and_only_bounces_to_it_come_back(tmp_path: Path) -> None:
    with verifying(tmp_path) as (gateway, outside, far):
        offer(gateway.port, "anna@example.org", "b@far.example")
        until(lambda: far.taken)
        address = far.taken[0].mail.partition("<")[2].partition(">")[0]
        assert address.startswith("prvs=0") and address.endswith("=anna@example.org")
        refused = (550, b"5.7.1 This is a bounce of mail that we have not sent")
        assert offer(outside, "<>", "anna@example.org") == [refused]
        assert offer(outside, "<>", address[:9] + "000000" + address[15:]) == [refused]
        assert [code for code, _ in offer(outside, "<>", address)] == [250, 250]
        until(lambda: len(gateway.maildir()) == 1)
        assert arrived(gateway)[0]["Delivered-To"] == "anna@example.org"
        assert 'by="bounce verification"' in gateway.log.read_text()


def test_other_mail_to_a_tagged_address_and_bounces_to_who_is_exempt_are_taken(tmp_path: Path) -> None:
    with verifying(tmp_path) as (gateway, outside, _):
        address = tagged("anna@example.org", read_keys(gateway.state / "bounce-verification.keys"), time.time())
        for reverse_path, recipient in (
            ("friend@far.example", address),
            ("friend@far.example", "anna@example.org"),
            ("<>", "list@example.org"),
            ("<>", "postmaster@example.org"),
        ):
            assert [code for code, _ in offer(outside, reverse_path, recipient)] == [250, 250], recipient
        until(lambda: len(gateway.maildir()) == 4)
        assert sorted(str(one["Delivered-To"]) for one in arrived(gateway)) == [
            "anna@example.org",
            "anna@example.org",
            "list@example.org",
            "postmaster@example.org",
        ]


def test_what_is_no_bounce_of_ours_may_be_marked_in_the_place_of_refused(tmp_path: Path) -> None:
    with verifying(tmp_path, action="header") as (gateway, outside, _):
        good = tagged("anna@example.org", read_keys(gateway.state / "bounce-verification.keys"), time.time())
        large = MAIL + b"a line of a long message\r\n" * 80_000
        assert [code for code, _ in offer(outside, "<>", "anna@example.org")] == [250, 250]
        assert [code for code, _ in offer(outside, "<>", "anna@example.org", content=large)] == [250, 250]
        assert [code for code, _ in offer(outside, "<>", good)] == [250, 250]
        until(lambda: len(gateway.maildir()) == 3)
        marks = sorted(str(one["X-Bounce-Verification"]) for one in arrived(gateway))
        assert marks == ["None", "invalid", "invalid"]


def test_the_log_says_it_in_the_words_of_the_appliance(tmp_path: Path) -> None:
    with verifying(tmp_path, log_format="asyncos") as (gateway, outside, far):
        far.replies = {"RCPT": b"550 5.1.1 no such user\r\n"}
        offer(outside, "<>", "anna@example.org")
        offer(gateway.port, "anna@example.org", "b@far.example")
        until(lambda: len(gateway.maildir()) == 1)
        until(lambda: "was generated for bounce of MID" in gateway.log.read_text())
        text = gateway.log.read_text()
        assert "invalid bounce, rcpt address <anna@example.org> rejected by bounce verification." in text
        assert "to RID 0 - 5.1.1 - Bad destination email address ('550', ['no such user']) []" in text
