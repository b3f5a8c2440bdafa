"""Delivery status notifications as octets, read with the standard library's parser as the oracle."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage, Message
from types import MappingProxyType

import pytest

from esa.gateway.bounces.notification import Composed, Notification, Reported, compose, envelope_of
from esa.gateway.bounces.words import REPLY_LIMIT, clean, decoded_xtext, mta_name, original_recipient, status_of, typed_address
from esa.policy.bounce_profile import BounceProfile, Kind, Letter

ORIGINAL = (
    b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: minutes\r\nMessage-ID: <1@example.com>\r\n\r\nHello Bob,\r\n.\r\n"
)
FAILED = Reported("bob@example.org", "failed", "5.1.1", "550 5.1.1 no such user", "mx.example.org:25", 1_800_000_000.0)
DSN = "01JDSN"


def notification(*recipients: Reported, kind: Kind = "failed", **given: object) -> Notification:
    values: dict[str, object] = {"original": ORIGINAL, "arrived_at": 1_799_999_000.0} | given
    return Notification(kind, recipients or (FAILED,), "anna@example.com", "mx.example.net", DSN, **values)  # type: ignore[arg-type]


def parsed(composed: Composed) -> EmailMessage:
    message = email.message_from_bytes(composed.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not list(message.defects) and all(not part.defects for part in message.walk())
    return message


def parts(composed: Composed) -> list[Message]:
    return list(parsed(composed).iter_parts())


def blocks(composed: Composed) -> list[Message]:
    """The groups of fields of the machine's part: of the message, then of each recipient."""
    found = parts(composed)[1].get_payload()
    assert isinstance(found, list)
    return [one for one in found if isinstance(one, Message) and one.keys()]


def test_it_is_a_report_of_three_parts_that_a_machine_wrote() -> None:
    message = parsed(compose(notification()))
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mx.example.net>"
    assert message["To"] == "<anna@example.com>" or message["To"] == "anna@example.com"
    assert message["Subject"] == "Delivery Status Notification (Failure)"
    assert message["Message-ID"] == f"<{DSN}@mx.example.net>"
    assert message["In-Reply-To"] == message["References"] == "<1@example.com>"


def test_fields_of_each_recipient_are_those_of_rfc_3464() -> None:
    given = notification(
        Reported("b@x.org", "failed", "5.1.1", "550 5.1.1 no such user", "mx.x.org:25", 1_800_000_000.0, "rfc822;Bob+2Bx@x.org"),
        Reported("c@y.org", "failed", "5.4.7", "no connection to [192.0.2.1]:25: refused"),
        envelope_id="QQ+2B314",
    )
    message, first, second = blocks(compose(given))
    assert message["Reporting-MTA"] == "dns; mx.example.net"
    assert message["Original-Envelope-Id"] == "QQ+314"
    assert message["Arrival-Date"] is not None
    assert list(first.items()) == [
        ("Original-Recipient", "rfc822; Bob+x@x.org"),
        ("Final-Recipient", "rfc822; b@x.org"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Remote-MTA", "dns; mx.x.org"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 no such user"),
        ("Last-Attempt-Date", first["Last-Attempt-Date"]),
    ]
    assert (second["Remote-MTA"], second["Diagnostic-Code"]) == (None, "X-Esa; no connection to [192.0.2.1]:25: refused")


def test_people_are_told_who_and_why() -> None:
    text = parts(compose(notification()))[0].get_payload()
    assert "could not be delivered" in text and "<bob@example.org>" in text and "550 5.1.1 no such user" in text


def test_a_delay_says_that_nothing_is_lost_and_until_when_it_is_tried() -> None:
    delayed = Reported("bob@example.org", "delayed", "4.4.1", "time-out", retry_until=1_800_100_000.0)
    composed = compose(notification(delayed, kind="delayed"))
    text = parts(composed)[0].get_payload()
    assert "WARNING ONLY" in text and "2027" in text
    assert (blocks(composed)[1]["Action"], blocks(composed)[1]["Will-Retry-Until"]) == ("delayed", "Sat, 16 Jan 2027 11:46:40 -0000")
    assert parsed(composed)["Subject"] == "Delivery Status Notification (Delay)"


def test_the_message_is_returned_if_it_was_asked_for_and_is_short_and_else_its_header() -> None:
    whole = parts(compose(notification(returns_body=True)))[2]
    assert whole.get_content_type() == "message/rfc822"
    inner = whole.get_payload(0)
    assert isinstance(inner, Message) and inner["Subject"] == "minutes"
    assert ORIGINAL in compose(notification(returns_body=True)).content
    long = ORIGINAL + b"x" * 20_000
    header = parts(compose(notification(returns_body=True, original=long)))[2]
    assert header.get_content_type() == "text/rfc822-headers"
    assert b"Hello Bob" not in compose(notification(returns_body=True, original=long)).content
    delayed = Reported("bob@example.org", "delayed", "4.4.1", "time-out")
    assert b"Hello Bob" not in compose(notification(delayed, kind="delayed", returns_body=True)).content


def test_a_long_header_is_returned_in_whole_lines_up_to_the_limit() -> None:
    header = b"".join(b"X-Filler-%d: %s\r\n" % (number, b"y" * 70) for number in range(1_000))
    content = compose(notification(original=header + b"\r\nbody")).content
    returned = content.partition(b"text/rfc822-headers")[2].partition(b"\r\n\r\n")[2].rpartition(b"\r\n--esa-")[0]
    assert header.startswith(returned) and returned.endswith(b"y\r\n") and 9_000 < len(returned) <= 10 << 10


def test_what_is_lost_of_the_message_is_not_returned() -> None:
    assert len(parts(compose(notification(original=b"")))) == 2


def test_a_profile_gives_it_a_sender_and_words_with_variables() -> None:
    letters: dict[Kind, Letter] = {"failed": Letter("Nicht zustellbar: $Subject", "An $Recipients\nvon $EnvelopeSender, Straße")}
    profile = BounceProfile(sender="Poststelle <post@example.net>", letters=MappingProxyType(letters))
    message = parsed(compose(notification(profile=profile)))
    assert (message["From"], message["Subject"]) == ("Poststelle <post@example.net>", "Nicht zustellbar: minutes")
    text = next(message.iter_parts()).get_content()
    assert "<bob@example.org>" in text and "von anna@example.com, Straße" in text


def test_plain_text_where_a_profile_wants_no_report() -> None:
    message = parsed(compose(notification(profile=BounceProfile(is_dsn=False))))
    assert message.get_content_type() == "text/plain"
    assert "no such user" in message.get_content() and "Subject: minutes" in message.get_content()


# --- addresses of all the world -------------------------------------------------------------------------------------------------------------


def test_addresses_of_all_the_world_make_a_global_report() -> None:
    original = "From: jürgen@example.com\r\nSubject: grüße\r\n\r\nhallo\r\n".encode()
    recipient = Reported(
        "bøb@example.org", "failed", "5.1.1", "550 5.1.1 kein Benutzer bøb", "mx.example.org:25", 1.0, r"utf-8;b\x{F8}b@example.org"
    )
    composed = compose(notification(recipient, original=original, smtputf8=True))
    content = parts(composed)
    assert [part.get_content_type() for part in content] == ["text/plain", "message/global-delivery-status", "message/global-headers"]
    assert "Final-Recipient: utf-8; bøb@example.org\r\n".encode() in composed.content
    assert "Original-Recipient: utf-8; bøb@example.org\r\n".encode() in composed.content
    assert "Diagnostic-Code: smtp; 550 5.1.1 kein Benutzer bøb\r\n".encode() in composed.content
    assert not composed.smtputf8  # its own header is ASCII, so that it may go anywhere that takes 8 bits


def test_such_an_address_in_a_message_that_did_not_need_it_is_escaped() -> None:
    recipient = Reported("bøb@example.org", "failed", "5.1.1", "550 kein bøb")
    composed = compose(notification(recipient))
    assert rb"Final-Recipient: utf-8; b\x{F8}b@example.org" in composed.content
    assert blocks(composed)[1]["Diagnostic-Code"] == "smtp; 550 kein b?b"


def test_a_sender_of_all_the_world_needs_smtputf8() -> None:
    given = Notification("failed", (FAILED,), "jürgen@example.com", "mx.example.net", DSN, 0.0, original=ORIGINAL, smtputf8=True)
    composed = compose(given)
    assert composed.smtputf8 and envelope_of("jürgen@example.com", composed).smtputf8
    assert "To: <jürgen@example.com>\r\n".encode() in composed.content


def test_its_envelope_is_never_answered() -> None:
    envelope = envelope_of("anna@example.com", compose(notification()))
    assert envelope.is_null and envelope.recipients == ("anna@example.com",)
    assert envelope.options is not None and envelope.options.recipients[0].notify == "NEVER"


# --- what others wrote ----------------------------------------------------------------------------------------------------------------------

HOSTILE = "550 5.1.1 x\r\nBcc: victim@example.com\r\n\r\n--esa-01JDSN\r\n\x00\x07\u202e\u2028\x85end"


@pytest.mark.parametrize("smtputf8", [False, True])
def test_odd_octets_of_a_reply_stay_in_their_field(smtputf8: bool) -> None:
    recipient = Reported("bøb@example.org" if smtputf8 else "bob@example.org", "failed", "5.1.1", HOSTILE, "x\r\nX-Evil: 1:25", 1.0)
    composed = compose(notification(recipient, smtputf8=smtputf8))
    found = blocks(composed)[-1]
    assert found["Bcc"] is None and found["X-Evil"] is None and parsed(composed)["Bcc"] is None
    assert len(parts(composed)) == 3
    for odd in ("\x00", "\x07", "\u202e", "\u2028", "\x85"):
        assert odd.encode() not in composed.content


@pytest.mark.parametrize("value", ["+0D+0AX-Evil:+201", "+0d", "plain", "+C3+A9", "+FF+0A"])
def test_line_breaks_in_envid_and_orcpt_stay_in_their_field(value: str) -> None:
    recipient = Reported("b@x.org", "failed", "5.1.1", "550 no", original=f"rfc822;{value}")
    message, found = blocks(compose(notification(recipient, envelope_id=value)))
    assert message["X-Evil"] is None and found["X-Evil"] is None
    assert found["Original-Recipient"].startswith("rfc822; ")


def test_a_reply_without_end_is_cut_and_long_ones_are_folded() -> None:
    recipient = Reported("b@x.org", "failed", "5.1.1", "550 " + "words and words " * 2_000)
    composed = compose(notification(recipient))
    assert len(blocks(composed)[1]["Diagnostic-Code"]) < REPLY_LIMIT + 100
    assert max(map(len, composed.content.split(b"\r\n"))) < 998


def test_every_line_ends_with_crlf_and_none_is_bare() -> None:
    content = compose(notification(returns_body=True)).content
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")


def test_many_recipients_are_all_in_the_report_and_few_in_the_words() -> None:
    composed = compose(notification(*(Reported(f"r{number}@x.org", "failed", "5.1.1", "550 no") for number in range(400))))
    assert len(blocks(composed)) == 401
    text = parts(composed)[0].get_payload()
    assert "r49@x.org" in text and "r50@x.org" not in text and "and 350 more" in text


@pytest.mark.parametrize(
    ("reply", "action", "status"),
    [
        ("550 5.1.1 no such user", "failed", "5.1.1"),
        ("550 no such user", "failed", "5.0.0"),
        ("550 4.1.1 confused", "failed", "5.0.0"),
        ("451 4.3.2 later", "delayed", "4.3.2"),
        ("time-out", "delayed", "4.4.1"),
        ("250 2.1.5 ok", "relayed", "2.1.5"),
        ("250 ok", "delivered", "2.0.0"),
    ],
)
def test_the_status_is_that_of_the_reply_if_it_fits_the_action(reply: str, action: str, status: str) -> None:
    assert status_of(reply, action) == status


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("mx.example.org:25", "dns; mx.example.org"),
        ("mx.example.org", "dns; mx.example.org"),
        ("192.0.2.1:25", "dns; [192.0.2.1]"),
        ("[2001:db8::1]:25", "dns; [2001:db8::1]"),
        ("/var/mail/Maildir", ""),
        ("", ""),
    ],
)
def test_the_remote_mta_is_a_name_or_an_address(place: str, name: str) -> None:
    assert mta_name(place) == name


def test_words() -> None:
    assert decoded_xtext("a+2Bb+20c") == "a+b c"
    assert original_recipient("x400;/C=DE+20/", is_global=False) == "x400; /C=DE /"
    assert original_recipient(r"utf-8;b\x{F8}b\x{110000}@x.org", is_global=True) == "utf-8; bøb?@x.org"
    assert typed_address("b+ø=\\@x.org", is_global=True) == r"utf-8; b\x{2B}ø\x{3D}\x{5C}@x.org"
    assert clean("a\r\n b\tc") == "a b c" and clean("ü", ascii_only=True) == "?"
    assert len(clean("x" * 2_000)) == REPLY_LIMIT
