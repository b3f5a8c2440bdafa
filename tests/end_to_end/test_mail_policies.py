"""A real gateway whose recipients are treated by different mail policies: one scan, one reply, several dispositions."""

from __future__ import annotations

import json
import mailbox
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esa.cli.serve import GTUBE
from tests.end_to_end.running import Gateway, running

POLICIES = """
[[mail_policy]]
name = "tagged"
recipients = ["tagged@"]
positive = { action = "deliver", subject_tag = "[SPAM] ", header = "X-Spam: yes", archive = "spam" }
[[mail_policy]]
name = "thrown"
recipients = ["thrown@"]
positive = "drop"
[[mail_policy]]
name = "elsewhere"
recipients = ["elsewhere@"]
positive = { action = "deliver", recipients = ["abuse@example.org"] }
[[mail_policy]]
name = "quiet"
recipients = ["quiet@"]
refused_among_others = "drop"
"""
SPAM = b"From: a@example.net\r\nSubject: hello\r\n\r\n" + GTUBE.encode() + b"\r\n"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    yield from running(tmp_path, workers=1, more=POLICIES)


def tracked(gateway: Gateway, identifier: str, statuses: int) -> dict[str, object]:
    """What tracking knows of a message once it knows of so many recipients that none of them waits."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = json.loads(gateway.command("track", "--json", identifier) or "[]")
        message: dict[str, object] = found[0] if isinstance(found, list) and found else found
        recipients = message.get("recipients", []) if message else []
        assert isinstance(recipients, list)
        if len(recipients) >= statuses and all(one["status"] != "queued" for one in recipients):
            return message
        time.sleep(0.1)
    raise AssertionError(gateway.log.read_text()[-3000:])


def test_each_recipient_is_treated_by_its_policy_and_tracking_says_why(gateway: Gateway) -> None:
    code, text = gateway.send(
        SPAM, "tagged@example.org", "thrown@example.org", "elsewhere@example.org", "other@example.org", "quiet@example.org"
    )
    assert code == 250
    arrived = gateway.arrived(2)
    [tagged] = [content for content in arrived if b"Delivered-To: tagged@" in content]
    [redirected] = [content for content in arrived if b"Delivered-To: abuse@" in content]
    assert b"Subject: [SPAM] hello\r\nX-Spam: yes\r\n\r\n" in tagged
    assert redirected.endswith(SPAM)
    assert b"X-Esa-Verdict: positive" in tagged

    message = tracked(gateway, text.split()[-1], 6)
    statuses = {one["address"]: (one["status"], one["reply"]) for one in message["recipients"]}  # type: ignore[attr-defined]
    assert {address.partition("@")[0]: status for address, (status, _) in statuses.items()} == {
        "tagged": "delivered",
        "thrown": "dropped",
        "elsewhere": "redirected",
        "abuse": "delivered",
        "other": "quarantined",
        "quiet": "dropped",
    }
    assert statuses["other@example.org"][1] == "spam:positive (refused for policy DEFAULT, answered 250 for the others)"
    assert statuses["elsewhere@example.org"][1] == "to abuse@example.org (spam:positive)"
    matched = {event["policy"]: event["recipients"] for event in message["events"] if event["name"] == "policy.matched"}  # type: ignore[attr-defined]
    assert matched["quiet"] == ["quiet@example.org"]
    held = json.loads(gateway.command("quarantine", "list", "--json"))
    assert (held["recipients"], held["quarantines"]) == (["other@example.org"], ["Policy"])
    archived = mailbox.mbox(gateway.state / "archives" / "spam.mbox")
    assert [one["Subject"] for one in archived] == ["[SPAM] hello"]
    archived.close()


def test_a_message_that_every_policy_refuses_is_refused(gateway: Gateway) -> None:
    code, text = gateway.send(SPAM, "other@example.org", "quiet@example.org")
    assert (code, text.partition(" ")[0]) == (550, "5.7.1")
    assert "policy" not in text
    assert gateway.maildir() == []


def test_a_message_longer_than_memory_is_tagged_too(gateway: Gateway) -> None:
    long = SPAM + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 30_000
    assert gateway.send(long, "tagged@example.org", "elsewhere@example.org")[0] == 250
    contents = sorted(gateway.arrived(2), key=len)
    assert contents[0].endswith(long)
    assert contents[1].endswith(long.replace(b"Subject: hello\r\n", b"Subject: [SPAM] hello\r\nX-Spam: yes\r\n"))
    assert [path.name for path in (gateway.state / "spool" / "receive-0" / "incoming").iterdir()] == []
