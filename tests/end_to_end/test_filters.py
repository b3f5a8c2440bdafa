"""Real gateways with message filters and content filters: what they do to mail, who is told, and what tracking knows of it."""

from __future__ import annotations

import email
import email.policy
import json
import mailbox
import shutil
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from esa.store.quarantine import QuarantineView
from tests.end_to_end.running import Gateway, running
from tests.end_to_end.test_mail_policies import tracked
from tests.gateway.certificates import Authority

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MAIL = b"From: Anna <a@example.net>\r\nTo: b@example.org\r\nSubject: minutes\r\n\r\nDear Ben,\r\nthe minutes.\r\n"
UNSCORED = "[scan]\nanti_spam = false\n"  # what these tests send is no mail that a model has to like
FILTERS = """
copied: if (subject == 'minutes') { bcc('audit@example.org', 'copy of $Subject'); archive('minutes'); tag-message('seen'); }
told: if (header('X-Tell')) { notify('admin@example.org', 'told by $FilterName'); insert-header('X-Told', 'yes'); }
held: if (header('X-Hold')) { quarantine('Legal'); duplicate-quarantine('Second'); }
thrown: if (header('X-Drop')) { archive('thrown'); drop(); }
returned: if (header('X-Bounce')) { notify('admin@example.org'); bounce(); }
secret: if (header('X-Secret')) { encrypt(); }
body: if (body-contains('confidential')) { insert-header('X-Confidential', '$MatchedContent'); log-entry('seen by $FilterName'); }
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "mail.filters").write_text(FILTERS)
    yield from running(folder, workers=1, more='[filters]\nfiles = ["mail.filters"]\n' + UNSCORED)


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> None:
    """Each test has an empty Maildir of the gateway that all share."""
    if "gateway" in request.fixturenames:
        for path in request.getfixturevalue("gateway").maildir():
            path.unlink()


def to(contents: list[bytes], address: str) -> bytes:
    [content] = [one for one in contents if f"Delivered-To: {address}\r\n".encode() in one]
    return content


def events_of(message: dict[str, object], name: str) -> list[dict[str, object]]:
    return [event for event in message["events"] if event["name"] == name]  # type: ignore[attr-defined]


def test_copies_go_beside_the_mail_and_tracking_says_so(gateway: Gateway) -> None:
    code, text = gateway.send(MAIL)
    assert code == 250
    contents = gateway.arrived(2)
    assert to(contents, "b@example.org").endswith(MAIL)
    copy = to(contents, "audit@example.org")
    assert b"\r\nSubject: copy of minutes\r\n" in copy
    assert b"Subject: minutes" not in copy
    assert b"for <b@example.org>" not in copy
    message = tracked(gateway, text.split()[-1], 1)
    assert {one["address"]: one["status"] for one in message["recipients"]}["b@example.org"] == "delivered"  # type: ignore[attr-defined]
    [filtered] = events_of(message, "filters.matched")
    assert filtered["steps"] == ["copied: bcc", "copied: archive", "copied: tag-message"]
    assert filtered["tags"] == ["seen"]
    assert [event["kind"] for event in events_of(message, "message.copied")] == ["archive", "blind copy"]
    box = mailbox.mbox(gateway.state / "archives" / "minutes.mbox")
    assert [one["Subject"] for one in box] == ["minutes"]
    box.close()


def test_a_notice_is_a_message_of_ours_that_nothing_bounces(gateway: Gateway) -> None:
    assert gateway.send(MAIL.replace(b"Subject: minutes", b"X-Tell: x\r\nSubject: hello"))[0] == 250
    contents = gateway.arrived(2)
    assert b"X-Told: yes\r\n" in to(contents, "b@example.org")
    notice = email.message_from_bytes(to(contents, "admin@example.org"), policy=email.policy.default)
    assert notice["Return-Path"] == "<>"
    assert (notice["Subject"], notice["Auto-Submitted"]) == ("told by told", "auto-replied")


def test_a_body_condition_is_heard_through_the_one_program(gateway: Gateway) -> None:
    assert gateway.send(MAIL.replace(b"minutes", b"confidential"))[0] == 250
    [content] = gateway.arrived(1)
    assert b"X-Confidential: confidential\r\n" in content
    assert "event=filter.log" in gateway.log.read_text()
    assert 'entry="seen by body"' in gateway.log.read_text()


def test_a_quarantine_holds_in_all_that_were_named_and_a_copy_is_an_item_of_its_own(gateway: Gateway) -> None:
    code, text = gateway.send(MAIL.replace(b"Subject: minutes", b"X-Hold: x\r\nSubject: hold this"))
    assert code == 250
    identifier = text.split()[-1]
    tracked(gateway, identifier, 1)
    lines = gateway.command("quarantine", "list", "--json").splitlines()
    held = {tuple(one["quarantines"]): one["id"] for one in map(json.loads, lines) if one["id"].startswith(identifier)}
    assert set(held) == {("Legal",), ("Second",)}
    gateway.command("quarantine", "release", held[("Legal",)])
    assert to(gateway.arrived(1), "b@example.org").endswith(b"the minutes.\r\n")


def test_dropped_mail_is_archived_and_reaches_nobody(gateway: Gateway) -> None:
    code, text = gateway.send(MAIL.replace(b"Subject: minutes", b"X-Drop: x\r\nSubject: away"))
    assert code == 250
    message = tracked(gateway, text.split()[-1], 1)
    assert [(one["status"], one["reply"]) for one in message["recipients"]] == [("dropped", "message filter thrown")]  # type: ignore[attr-defined]
    assert "Subject: away" in (gateway.state / "archives" / "thrown.mbox").read_text()
    assert gateway.maildir() == []


def test_what_a_filter_bounces_is_refused_before_it_is_accepted_and_its_notice_is_sent(gateway: Gateway) -> None:
    code, text = gateway.send(MAIL.replace(b"Subject: minutes", b"X-Bounce: x\r\nSubject: back"))
    assert (code, text.partition(" ")[0]) == (550, "5.7.1")
    to(gateway.arrived(1), "admin@example.org")


def test_what_must_be_encrypted_is_held_and_cannot_be_released(gateway: Gateway) -> None:
    code, text = gateway.send(MAIL.replace(b"Subject: minutes", b"X-Secret: x\r\nSubject: secret"))
    assert code == 250
    identifier = text.split()[-1]
    tracked(gateway, identifier, 1)
    gateway.command("quarantine", "release", identifier, check=False)
    time.sleep(0.5)
    assert gateway.maildir() == []
    held = [json.loads(line) for line in gateway.command("quarantine", "list", "--json").splitlines()]
    assert [one["quarantines"] for one in held if one["id"] == identifier] == [["Encryption"]]


# --- docs/examples/ex-employees.toml ------------------------------------------------------------------------------------------------------


MOVED = """
[[content_filter]]
name = "moved"
conditions = ['rcpt-to == "^moved@"', 'subject == "minutes"']
actions = ['refuse("5.1.6 $EnvelopeRecipients has moved: $Subject")']
"""  # which needs the message


@pytest.fixture(scope="module")
def leavers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("leavers")
    shutil.copy(EXAMPLES / "ex-employees.txt", folder)
    Authority(folder).certificate("mx.example.org")
    (folder / "users").write_text(f"anna@example.org:{PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash('a secret')}\n")
    example = (EXAMPLES / "ex-employees.toml").read_text().replace('content_filters = ["left"]', 'content_filters = ["left", "moved"]')
    more = example + MOVED + '[[certificate]]\nchain = "1.pem"\nkey = "1.key"\n[authentication]\nusers = "users"\n'
    yield from running(folder, workers=1, more=more, listener='authentication = "offered"\n')


def test_who_has_left_is_refused_at_rcpt_with_the_text_and_the_others_get_their_mail(leavers: Gateway) -> None:
    with smtplib.SMTP("127.0.0.1", leavers.port, timeout=30) as client:
        client.ehlo("client.example.net")
        client.mail("a@example.net")
        assert client.rcpt("b@example.org")[0] == 250
        assert client.rcpt("Bob@example.org") == (550, b"5.1.6 Bob@example.org has left, write to office@example.org")
        assert client.rcpt("c@example.org")[0] == 250
        code, text = client.data(MAIL)
    assert code == 250
    contents = leavers.arrived(1)
    assert contents[0].endswith(MAIL)
    assert b"Delivered-To: b@example.org\r\nDelivered-To: c@example.org\r\n" in contents[0]
    message = tracked(leavers, text.decode().split()[-1], 3)
    refused = {one["address"]: (one["status"], one["reply"]) for one in message["recipients"]}["Bob@example.org"]  # type: ignore[attr-defined]
    assert refused == ("refused", "550 5.1.6 Bob@example.org has left, write to office@example.org")
    [event] = events_of(message, "recipient.refused")
    assert (event["because"], event["dictionary_terms"]) == ("content filter left", {"ex-employees": {"bob@example.org": 1}})


def test_what_needs_the_message_is_refused_behind_it_with_the_text_where_that_serves_everyone(leavers: Gateway) -> None:
    code, text = leavers.send(MAIL, "moved@example.org")
    assert code == 550
    assert text.startswith("5.1.6 moved@example.org has moved: minutes (")


def test_of_three_recipients_the_one_that_the_message_is_refused_for_is_held_and_the_others_get_it(leavers: Gateway) -> None:
    for path in leavers.maildir():
        path.unlink()
    code, text = leavers.send(MAIL, "b@example.org", "moved@example.org", "c@example.org")
    assert code == 250
    contents = leavers.arrived(1)
    assert contents[0].endswith(MAIL)
    assert b"Delivered-To: b@example.org\r\nDelivered-To: c@example.org\r\n" in contents[0]
    message = tracked(leavers, text.split()[-1], 3)
    assert {one["address"]: (one["status"], one["reply"]) for one in message["recipients"]}["moved@example.org"] == (  # type: ignore[attr-defined]
        "quarantined",
        "content filter moved (refused for policy DEFAULT, answered 250 for the others)",
    )


def test_a_sender_who_has_authenticated_is_told_by_a_delivery_status_notification(leavers: Gateway) -> None:
    for path in leavers.maildir():
        path.unlink()
    with smtplib.SMTP("127.0.0.1", leavers.port, timeout=30) as client:
        client.starttls()
        client.user, client.password = "anna@example.org", "a secret"
        client.ehlo()
        client.auth("PLAIN", client.auth_plain)
        client.sendmail("anna@example.org", ["b@example.org", "moved@example.org"], MAIL)
    told = email.message_from_bytes(to(leavers.arrived(2), "anna@example.org"), policy=email.policy.default)
    assert (told["Return-Path"], told["Auto-Submitted"], told.get_content_type()) == ("<>", "auto-replied", "multipart/report")
    text, status, header = told.iter_parts()
    assert "moved@example.org has moved: minutes" in text.get_content()
    blocks = status.get_payload()
    assert isinstance(blocks, list)
    assert [(part["Final-Recipient"], part["Action"], part["Status"]) for part in blocks[1:]] == [  # type: ignore[index]
        ("rfc822; moved@example.org", "failed", "5.1.6")
    ]
    assert "Subject: minutes" in header.get_content()


# --- copies that are scanned again ----------------------------------------------------------------------------------------------------------

SCANNED_COPIES = """
watched: if (subject == 'watched' and not rcpt-to == '^watcher@') { insert-header('X-Watched', 'yes'); bcc-scan('watcher@example.org', '[copy] $Subject'); }
seen: if (rcpt-to == '^watcher@') { insert-header('X-Seen', '$Header["X-Watched"] $Subject'); bcc-scan('again@example.org'); bcc('third@example.org'); }
round: if (subject == 'round') { bcc-scan('round@example.org'); bcc-scan('held@example.org'); bcc-scan('refused@example.org'); }
held: if (rcpt-to == '^held@') { quarantine('Copies'); }
refused: if (rcpt-to == '^refused@') { refuse(); }
back: if (subject == 'back') { bcc-scan('round@example.org'); bounce(); }
"""


COPYING = """
[filters]
files = ["mail.filters"]
[[mail_policy]]
name = "tagged"
recipients = ["watcher@"]
suspect_above = 0.0
positive_above = 0.0
positive = { action = "deliver", header = "X-Policy: of the watcher" }
[[mail_policy]]
name = "DEFAULT"
suspect_above = 100.0
positive_above = 100.0
"""


@pytest.fixture(scope="module")
def copying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("copying")
    (folder / "mail.filters").write_text(SCANNED_COPIES)
    yield from running(folder, workers=1, more=COPYING)


@pytest.mark.parametrize("size", [0, 3 << 20])
def test_a_copy_that_is_scanned_goes_through_filters_and_policies_as_a_message_of_its_own(copying: Gateway, size: int) -> None:
    for path in copying.maildir():
        path.unlink()
    mail = MAIL.replace(b"Subject: minutes", b"Subject: watched") + b"x" * 70 + (b"\r\n" + b"y" * 70) * (size // 72)
    code, text = copying.send(mail)
    assert code == 250
    contents = copying.arrived(3)
    assert b"\r\nX-Watched: yes\r\n" in to(contents, "b@example.org")
    copy = to(contents, "watcher@example.org")
    assert b"\r\nSubject: [copy] watched\r\n" in copy
    assert b"\r\nX-Seen: yes [copy] watched\r\nX-Policy: of the watcher\r\n" in copy
    assert b"X-Seen" in to(contents, "third@example.org")  # a blind copy of the copy, and no further copy that is scanned
    original = tracked(copying, text.split()[-1], 1)
    assert [one["address"] for one in original["recipients"]] == ["b@example.org"]  # type: ignore[attr-defined]
    [found] = [
        json.loads(line) for line in copying.command("track", "--json", "--recipient", "watcher@example.org", "--limit", "1").splitlines()
    ]
    of_copy = tracked(copying, found["id"], 1)
    [accepted] = events_of(of_copy, "message.accepted")
    assert accepted["copy_of"] == original["id"]
    assert [event["steps"] for event in events_of(of_copy, "filters.matched")] == [["seen: insert-header", "seen: bcc-scan", "seen: bcc"]]


def test_copies_are_held_or_refused_by_themselves_and_none_goes_round(copying: Gateway) -> None:
    for path in copying.maildir():
        path.unlink()
    code, text = copying.send(MAIL.replace(b"Subject: minutes", b"Subject: round"))
    assert code == 250
    tracked(copying, text.split()[-1], 1)
    contents = copying.arrived(2)
    assert {b"Delivered-To: b@example.org\r\n" in content for content in contents} == {True, False}
    held = [json.loads(line) for line in copying.command("quarantine", "list", "--json").splitlines()]
    assert [(one["recipients"], one["quarantines"]) for one in held] == [(["held@example.org"], ["Copies"])]
    [refused] = [json.loads(line) for line in copying.command("track", "--json", "--recipient", "refused@example.org").splitlines()]
    assert [(one["address"], one["status"]) for one in refused["recipients"]] == [("refused@example.org", "refused")]


def test_a_message_that_is_refused_has_its_copies_scanned_all_the_same(copying: Gateway) -> None:
    for path in copying.maildir():
        path.unlink()
    assert copying.send(MAIL.replace(b"Subject: minutes", b"Subject: back"))[0] == 550
    copying.arrived(0)
    time.sleep(1.5)
    contents = [path.read_bytes() for path in copying.maildir()]
    assert contents == []  # the copy has the subject of what is bounced, and is refused too
    [found] = [
        json.loads(line) for line in copying.command("track", "--json", "--recipient", "round@example.org", "--limit", "1").splitlines()
    ]
    assert [one["status"] for one in found["recipients"]] == ["refused"]


@pytest.mark.parametrize("field", [b"X-Hold", b"X-Drop", b"X-Bounce", b"X-Nothing"])
def test_a_long_message_that_is_edited_is_whole_wherever_it_goes_and_leaves_no_file_behind(gateway: Gateway, field: bytes) -> None:
    long = MAIL.replace(b"Subject: minutes", b"X-Tell: x\r\n" + field + b": x\r\nSubject: long") + (b"y" * 70 + b"\r\n") * 45_000
    edited = long.replace(b"Subject: long\r\n", b"Subject: long\r\nX-Told: yes\r\n")
    code, text = gateway.send(long)
    assert code == (550 if field == b"X-Bounce" else 250)
    identifier = text.split()[-1].strip("()")
    tracked(gateway, identifier, 1)
    gateway.arrived(1 + (field == b"X-Nothing") + (field == b"X-Bounce"))  # what is told, and to whom it goes
    if field == b"X-Nothing":
        assert to([path.read_bytes() for path in gateway.maildir()], "b@example.org").endswith(edited)
    if field == b"X-Hold":
        view = QuarantineView.open(gateway.state)
        assert view is not None
        held = {item.quarantines: (item.size, view.content(item)) for item in view.items() if item.message.startswith(identifier)}
        view.close()
        assert set(held) == {("Legal",), ("Second",)}
        for size, content in held.values():
            assert content.endswith(edited)
            assert size == len(content)
    assert list((gateway.state / "spool" / "receive-0" / "incoming").iterdir()) == []
