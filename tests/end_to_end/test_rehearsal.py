"""What a rehearsal says of a message is what a real gateway does with it: reply, fates, and every word of tracking."""

from __future__ import annotations

import json
import smtplib
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from esa.cli.serve import GTUBE
from esa.config.load import load
from esa.config.places import Places
from esa.gateway.rehearsal.judgement import Judgement, Mail, Step
from esa.gateway.rehearsal.rehearsal import Rehearsal
from esa.message.envelope import Envelope, Session
from tests.cli.command import esa
from tests.end_to_end.running import Gateway
from tests.gateway.certificates import Authority

FILTERS = """
# outside mail that claims to be ours
spoof:
if (sendergroup != "PARTNERS" and mail-from == "@example\\\\.org$") {
    log-entry("spoofed: $EnvelopeFrom");
    drop();
}
invoices:
if (subject == "(?i)invoice" or body-contains("wire transfer")) {
    insert-header("X-Seen", "$MatchedContent");
    if (rcpt-count > 1) {
        quarantine("Legal");
    }
}
bulk: if (header("X-Bulk")) { skip-spamcheck(); strip-header("X-Bulk"); }
off!  if (true) { drop(); }
chance: if (random(100) < 30) { tag-message("chosen"); }
back: if (header("X-Bounce")) { bounce(); }
"""
MORE = """
[[certificate]]
chain = "1.pem"
key = "1.key"
[authentication]
users = "users"
[reputation]
learn = false
[[sender_group]]
name = "BLACKLIST"
policy = "BLOCKED"
senders = ["192.0.2.66", "198.51.100.0/24"]
[[sender_group]]
name = "PARTNERS"
policy = "TRUSTED"
senders = ["192.0.2.5"]
[[sender_group]]
name = "RELAYLIST"
policy = "RELAYED"
senders = ["192.0.2.7"]
[[sender_group]]
name = "SMALL"
policy = "SMALL"
senders = ["192.0.2.8"]
[[sender_group]]
name = "UNKNOWNLIST"
senders = ["SBRS[none]", "SBRS[-1.0:10.0]"]
[mail_flow_policy.SMALL]
max_message_size = "2 KiB"
max_rcpts_per_msg = 2
tls_mandatory_for = ["@secret.example"]
[[recipient_access]]
recipients = ["gone@example.org"]
access = "REJECT"
text = "5.1.6 We have moved"
[[recipient_file]]
file = "people.txt"
[[mail_policy]]
name = "sales"
recipients = ["sales@example.org", "leaver@"]
positive = { action = "deliver", subject_tag = "[SPAM] ", recipients = ["abuse@example.org"] }
content_filters = ["left", "seal"]
[[mail_policy]]
name = "known-senders"
senders = ["@partner.example"]
positive = "drop"
suspect_above = 90
positive_above = 95
[[mail_policy]]
name = "outside"
table = "outgoing"
senders = ["@example.org"]
content_filters = ["seal"]
[[content_filter]]
name = "left"
conditions = ['rcpt-to == "^leaver@"']
actions = ['bounce()']
[[content_filter]]
name = "seal"
conditions = ['subject == "minutes"']
actions = ['insert-header("X-Sealed", "yes")', 'alt-rcpt-to("archive@example.org")']
"""
PEOPLE = "sales@example.org\nanna@example.org\nbob@example.org\nleaver@example.org\narchive@example.org\nabuse@example.org\n"
PLAIN = b"From: Ann <ann@client.example>\r\nTo: anna@example.org\r\nSubject: minutes\r\n\r\nThese are the minutes of our meeting.\r\n"
SPAM = b"From: a@client.example\r\nSubject: hello\r\n\r\n" + GTUBE.encode() + b"\r\n"


@dataclass(frozen=True)
class Sent:
    """A message as a client offers it."""

    content: bytes
    recipients: tuple[str, ...] = ("anna@example.org",)
    client: str = "203.0.113.9"
    reverse_path: str = "ann@client.example"
    is_secured: bool = False
    user: str = ""


MAILS = {
    "plain": Sent(PLAIN),
    "black": Sent(PLAIN, client="198.51.100.20"),
    "spoofed": Sent(PLAIN, reverse_path="boss@example.org"),
    "partner may say so": Sent(SPAM, client="192.0.2.5", reverse_path="boss@example.org"),
    "spam": Sent(SPAM),
    "spam for two": Sent(SPAM, ("anna@example.org", "sales@example.org")),
    "unknown and moved": Sent(PLAIN, ("nobody@example.org", "gone@example.org", "x@other.example", "bob@example.org")),
    "nobody is left": Sent(PLAIN, ("nobody@example.org", "x@other.example")),
    "invoice": Sent(PLAIN.replace(b"minutes\r\n\r\n", b"your INVOICE\r\n\r\n")),
    "invoice for two": Sent(PLAIN.replace(b"These", b"A wire transfer. These"), ("anna@example.org", "sales@example.org")),
    "bulk": Sent(b"X-Bulk: yes\r\n" + SPAM),
    "bounced": Sent(b"X-Bounce: yes\r\n" + PLAIN),
    "leaver among others": Sent(PLAIN, ("leaver@example.org", "sales@example.org", "anna@example.org")),
    "leaver alone": Sent(PLAIN, ("leaver@example.org",)),
    "sender binds": Sent(SPAM, reverse_path="x@partner.example"),
    "relayed": Sent(PLAIN, ("x@other.example", "y@other.example"), client="192.0.2.7", reverse_path="boss@example.org"),
    "too large": Sent(PLAIN + b"x" * 70 + b"\r\n" * 2000, client="192.0.2.8"),
    "too many": Sent(PLAIN, ("anna@example.org", "bob@example.org", "sales@example.org"), client="192.0.2.8"),
    "in the clear": Sent(PLAIN, client="192.0.2.8", reverse_path="x@secret.example"),
    "inside TLS": Sent(PLAIN, client="192.0.2.8", reverse_path="x@secret.example", is_secured=True),
    "authenticated": Sent(PLAIN, ("x@other.example",), user="scanner", is_secured=True),
    "authenticated spam": Sent(SPAM, ("x@other.example", "anna@example.org"), user="scanner", is_secured=True),
    "empty": Sent(b""),
    "circles": Sent(b"Received: by x\r\n" * 101 + PLAIN),
    "null reverse-path": Sent(PLAIN, reverse_path=""),
    "dots": Sent(b"Subject: minutes\r\n\r\n.\r\n..\r\n.x\r\n"),
    "hostile": Sent(b"Subject: =?utf-8?b?//8=?=\r\nContent-Type: multipart/mixed; boundary=\r\n\r\n--\r\n\xff\x00\x1b[31m\r\n"),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("rehearsed")
    (folder / "filters").mkdir()
    (folder / "filters" / "all.filters").write_text(FILTERS)
    (folder / "people.txt").write_text(PEOPLE)
    Authority(folder).certificate("mx.example.org")
    (folder / "users").write_text(f"scanner:{PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash('of the scanner')}\n")
    listener = 'name = "public"\nauthentication = "offered"\naccept_domains = ["example.org"]\nxclient_from = ["127.0.0.1"]\n'
    gateway = Gateway(folder, workers=1, more=MORE, listener=listener)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.end()


@dataclass
class Done:
    """What the gateway did: the replies in order, and the events of tracking."""

    sent: Sent
    replies: list[str]
    identifier: str = ""
    events: list[dict[str, object]] | None = None
    tls: tuple[str, str] = ("", "")  # version and cipher


@pytest.fixture(scope="module")
def done(gateway: Gateway) -> dict[str, Done]:
    """All mails sent, and tracked."""
    found = {name: offer(gateway, sent) for name, sent in MAILS.items()}
    awaited = {one.identifier: one for one in found.values() if one.identifier}
    deadline = time.monotonic() + 40
    while any(one.events is None for one in awaited.values()) and time.monotonic() < deadline:
        for line in gateway.command("track", "--json", "--limit", "1000").splitlines():
            message = json.loads(line)
            if message["id"] in awaited and any(event["name"].startswith("message.") for event in message["events"]):
                awaited[message["id"]].events = message["events"]
        time.sleep(0.2)
    return found


def offer(gateway: Gateway, sent: Sent) -> Done:
    replies = []
    tls = ("", "")
    with smtplib.SMTP(timeout=30) as client:
        client.connect("127.0.0.1", gateway.port)
        client.ehlo("mail.client.example")
        code, text = client.docmd(f"XCLIENT ADDR={sent.client} PORT=4321 NAME=[UNAVAILABLE]")
        replies.append(f"{code} {text.decode()}")
        if code < 400:
            client.ehlo("mail.client.example")
            if sent.is_secured:
                client._host = "mx.example.org"  # type: ignore[attr-defined]
                client.starttls(context=ssl._create_unverified_context())
                assert isinstance(client.sock, ssl.SSLSocket)
                cipher = client.sock.cipher()
                assert cipher is not None
                tls = (client.sock.version() or "", cipher[0])
                client.ehlo("mail.client.example")
            if sent.user:
                client.login(sent.user, "of the scanner")
            code, text = client.mail(sent.reverse_path, [f"size={len(sent.content)}"])
            replies.append(f"{code} {text.decode()}")
            accepted = 0
            for recipient in sent.recipients if code < 400 else ():
                code, text = client.rcpt(recipient)
                replies.append(f"{code} {text.decode()}")
                accepted += code < 400
            if accepted:
                code, text = client.data(sent.content) if sent.content else no_data(client)
                replies.append(f"{code} {text.decode()}")
    words = replies[-1].replace("(", " ").replace(")", " ").split()
    identifier = next((word for word in words if len(word) == 26), "")
    return Done(sent, replies, identifier, tls=tls)


def no_data(client: smtplib.SMTP) -> tuple[int, bytes]:
    """DATA without a line; the standard library would send one."""
    client.docmd("DATA")
    return client.docmd(".")


def mail_of(name: str, one: Done, at: float) -> Mail:
    session = Session(one.sent.client, 4321, "mail.client.example", "ESMTP", "public", at, *one.tls, user=one.sent.user)
    return Mail(one.identifier or "0" * 26, one.sent.content, session, Envelope(one.sent.reverse_path, one.sent.recipients), name)


@pytest.fixture(scope="module")
def judged(gateway: Gateway, done: dict[str, Done]) -> dict[str, Judgement]:
    places = Places.of(gateway.configuration)
    with Rehearsal(load(gateway.configuration), places=places) as rehearsal:
        return {name: rehearsal.judge(mail_of(name, one, time.time())) for name, one in done.items()}


@pytest.mark.parametrize("name", MAILS)
def test_it_gives_the_replies_of_the_gateway(name: str, done: dict[str, Done], judged: dict[str, Judgement]) -> None:
    judgement = judged[name]
    said = [stage.answer for stage in judgement.stages if stage.name in ("mail", "recipient")]
    assert judgement.reply == done[name].replies[-1]
    assert said[: len(done[name].replies) - 1] == done[name].replies[1:][: len(said)]


@pytest.mark.parametrize("name", MAILS)
def test_it_tells_what_tracking_tells(name: str, done: dict[str, Done], judged: dict[str, Judgement]) -> None:
    events = done[name].events
    if not done[name].identifier:
        assert judged[name].events == ()
        return
    assert events is not None, f"tracking knows nothing of {name}"
    told = {event.name.value for event in judged[name].events}
    assert [plain(event) for event in events if event["name"] in told] == [
        plain({"name": event.name.value, **event.fields}) for event in judged[name].events
    ]


def plain(event: dict[str, object]) -> dict[str, object]:
    """An event as JSON has it, without what two sessions never share: times, numbers in the log, ports of proxies."""
    left_out = ("at", "icid", "mid", "port")
    return {key: value for key, value in json.loads(json.dumps(event)).items() if key not in left_out}


def test_fates_are_those_that_tracking_has(gateway: Gateway, done: dict[str, Done], judged: dict[str, Judgement]) -> None:
    words = {"queued": "delivered"}
    compared = 0
    for name, one in done.items():
        if not one.identifier:
            continue
        [message] = [json.loads(line) for line in gateway.command("track", "--json", one.identifier).splitlines()]
        statuses = {recipient["address"]: words.get(recipient["status"], recipient["status"]) for recipient in message["recipients"]}
        for fate in judged[name].fates:
            status = statuses[fate.recipient]
            if status == "redirected":  # then what became of it stands where it went
                [status] = {statuses[destination] for destination in fate.destinations}
            refused = fate.where is Step.RECIPIENTS  # tracking says so of a 452 too
            assert status == ("refused" if refused else fate.outcome), f"{name}: {fate}"
            compared += 1
    assert compared > 25


def test_every_stage_names_what_decided_and_where_it_stands(gateway: Gateway, judged: dict[str, Judgement]) -> None:
    lines = gateway.configuration.read_text().splitlines()

    def line(place: str) -> str:
        return lines[int(place.rpartition(":")[2]) - 1]

    stages = {stage.name: stage for stage in judged["black"].stages}
    assert stages["connection"].rule == "sender group BLACKLIST, entry 198.51.100.0/24"
    assert "198.51.100.0/24" in line(stages["connection"].place)
    recipients = [stage for stage in judged["unknown and moved"].stages if stage.name == "recipient"]
    assert [stage.rule for stage in recipients] == [
        "recipient access, entry example.org (ACCEPT)",
        "recipient access, entry gone@example.org (REJECT)",
        "recipient access: no entry names it",
        "recipient access, entry example.org (ACCEPT)",
    ]
    assert recipients[0].reason == "source of recipients recipients: unknown"
    assert ["gone@" in line(recipients[1].place), "accept_domains" in line(recipients[3].place)] == [True, True]
    spoof = next(stage for stage in judged["spoofed"].stages if stage.subject == "spoof")
    assert spoof.place == f"{gateway.folder / 'filters' / 'all.filters'}:4"
    assert [(part.text, part.answer, part.detail) for part in spoof.parts if part.kind == "condition"] == [
        ('sendergroup != "PARTNERS"', "true", ""),
        ('mail-from == "@example\\\\.org$"', "true", "@example.org"),
    ]
    policies = [stage for stage in judged["leaver among others"].stages if stage.name == "mail policy"]
    assert [(stage.subject, stage.answer, stage.rule) for stage in policies] == [
        ("leaver@example.org, sales@example.org", "sales (incoming)", "entry recipient leaver@"),
        ("anna@example.org", "DEFAULT (incoming)", "no other policy names them"),
    ]
    [left] = [stage for stage in judged["leaver among others"].stages if stage.subject.startswith("left") and stage.acts]
    assert (left.name, left.subject) == ("content filter", "left for leaver@example.org")
    assert 'name = "left"' in lines[int(left.place.rpartition(":")[2])]


# --- esa trace of what has come


def test_a_message_that_is_held_is_traced_by_its_identifier(gateway: Gateway, done: dict[str, Done], judged: dict[str, Judgement]) -> None:
    name = "invoice for two"
    told = json.loads(gateway.command("trace", done[name].identifier, "--json"))
    fates = {one["address"]: (one["outcome"], one["reason"], one["policy"]) for one in told["recipients"]}
    assert fates == {fate.recipient: (fate.outcome, fate.reason, fate.policy) for fate in judged[name].fates}
    assert told["reply"] == done[name].replies[-1]
    assert told["client"] == "203.0.113.9"


def test_refused_recipients_are_traced_with_the_others(gateway: Gateway, done: dict[str, Done], tmp_path: Path) -> None:
    one = done["unknown and moved"]
    (tmp_path / "message").write_bytes(one.sent.content)
    told = json.loads(gateway.command("trace", str(tmp_path / "message"), "--as", one.identifier, "--json"))
    assert {fate["address"]: fate["outcome"] for fate in told["recipients"]} == {
        "nobody@example.org": "refused",
        "gone@example.org": "refused",
        "x@other.example": "refused",
        "bob@example.org": "delivered",
    }
    assert (told["id"], told["reverse_path"], told["client"]) == (one.identifier, "ann@client.example", "203.0.113.9")


def test_chance_falls_as_it_fell(gateway: Gateway, done: dict[str, Done], judged: dict[str, Judgement]) -> None:
    chosen = {name for name, one in judged.items() if one.plan is not None and one.plan.messages and "chosen" in one.plan.messages.tags}
    tagged = {
        name
        for name, one in done.items()
        for event in one.events or ()
        if event["name"] == "filters.matched" and "chosen" in event.get("tags", ())  # type: ignore[operator]
    }
    assert chosen == tagged
    assert 0 < len(chosen) < len(done)


def test_a_message_that_is_kept_nowhere_is_told_with_what_helps(gateway: Gateway, done: dict[str, Done]) -> None:
    refused = done["spam"].identifier
    code, err = failing(gateway, refused)
    assert (code, f"esa trace FILE --as {refused}" in err) == (3, True)
    code, err = failing(gateway, "01J9ZK00000000000000000000")
    assert (code, "no message 01J9ZK00000000000000000000 is known" in err) == (3, True)


def failing(gateway: Gateway, identifier: str) -> tuple[int, str]:
    found = esa("trace", identifier, "--config", gateway.configuration)
    return found.code, found.err
