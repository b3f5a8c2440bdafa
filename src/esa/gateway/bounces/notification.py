"""Delivery status notifications: what is said about some recipients of one message, as a message (RFC 3464, RFC 6522, RFC 6533).

The receive route makes them of what filters return, the deliver process of what it could not deliver, and of what it was asked to tell. Pure.
Promises: a machine wrote them, and says so (RFC 3834); what others wrote in addresses, replies and parameters stays in its field (words.py); of
the message no more is returned than its sender asked for and the limit lets pass.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.header import Header
from email.utils import formatdate
from typing import Final, Literal

from esa.gateway.bounces.words import ADDRESS_LIMIT, clean, decoded_xtext, diagnosis_of, mta_name, original_recipient, typed_address
from esa.message.envelope import Envelope, Options, RecipientOptions
from esa.message.subject import subject_of
from esa.policy.bounce_profile import USUAL, BounceProfile, Kind, Letter
from esa_core._header_lines import header_end

Action = Literal["failed", "delayed", "delivered", "relayed"]
NAMED: Final = 50  # recipients that the words for people name; the report names all of them
LINE: Final = 76  # characters of a line of a report before it is folded
_MESSAGE_ID: Final = re.compile(rb"^message-id:\s*(<[!-~]{1,250}>)\s*$", re.IGNORECASE | re.MULTILINE)
_SHIPPED: Final[Mapping[Kind, Letter]] = {
    "failed": Letter(
        "Delivery Status Notification (Failure)",
        "This is the mail system at $Hostname.\n\nYour message could not be delivered to:\n\n$Recipients\n\nIt will not be tried again.\n",
    ),
    "delayed": Letter(
        "Delivery Status Notification (Delay)",
        "This is the mail system at $Hostname.\n\nTHIS IS A WARNING ONLY. YOU DO NOT NEED TO SEND YOUR MESSAGE AGAIN.\n\n"
        "Your message could not be delivered yet to:\n\n$Recipients\n\nIt is tried again until $RetryUntil.\n",
    ),
    "success": Letter(
        "Delivery Status Notification (Success)",
        "This is the mail system at $Hostname.\n\nAs you have asked to be told: your message was taken for\n\n$Recipients\n",
    ),
}


@dataclass(frozen=True, slots=True)
class Reported:
    """What is said about one recipient. Times are Unix seconds, 0 where there is none."""

    address: str
    action: Action
    status: str  # RFC 3463, of the class of the action
    reply: str = ""  # of the next hop, or our own words; empty: nothing to tell
    place: str = ""  # host:port that said it
    at: float = 0.0  # of the last attempt
    original: str = ""  # ORCPT as it came
    retry_until: float = 0.0  # of a delay


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification before it has words. `original`: the octets of the message, of which its header at least; empty where they are lost."""

    kind: Kind
    recipients: Sequence[Reported]
    to: str  # who is told
    hostname: str
    identifier: str
    arrived_at: float
    original: bytes = b""
    returns_body: bool = False  # as far as the profile lets it
    envelope_id: str = ""  # ENVID as it came
    smtputf8: bool = False  # the message came so
    profile: BounceProfile = USUAL
    now: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Composed:
    """A notification as octets, and whether its own header needs SMTPUTF8."""

    content: bytes
    smtputf8: bool


def compose(report: Notification) -> Composed:
    """Put it into words. Raises nothing for what is in it."""
    end = header_end(report.original)
    header = report.original[:end]
    is_global = report.smtputf8 and not (
        report.to.isascii() and all(one.address.isascii() for one in report.recipients) and header.isascii()
    )
    texts = _texts(report, header)
    fields = _fields(report, header, texts[0])
    words = _text_part(texts[1])
    returned = _returned(report, header, is_global=is_global)
    if not report.profile.is_dsn:
        body = words.content + (b"\r\n--- The header of your message ---\r\n\r\n" + returned.content if returned is not None else b"")
        parts = _Part("text/plain; charset=utf-8", body)
        return Composed(_head(fields, parts.kind, parts.encoding) + parts.content, not fields.isascii())
    kind = "message/global-delivery-status" if is_global else "message/delivery-status"
    status = _Part(kind, _status(report, is_global=is_global).encode("utf-8", "replace"))
    boundary = f"esa-{report.identifier}"  # of our own making: the identifier cannot be foreseen
    pieces = [words, status] if returned is None else [words, status, returned]
    content = b"".join(b"\r\n--%b\r\n%b" % (boundary.encode(), piece.whole) for piece in pieces) + b"\r\n--%b--\r\n" % boundary.encode()
    encoding = "7bit" if all(piece.encoding == "7bit" for piece in pieces) else "8bit"
    top = f'multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"'
    return Composed(_head(fields, top, encoding) + content, not fields.isascii())


def envelope_of(to: str, composed: Composed, number: int = 0, *, requiretls: bool = False) -> Envelope:
    """Its return path is null, so that nothing answers it with another (RFC 5321 section 4.5.5, RFC 3461 section 6.1)."""
    options = Options(requiretls=requiretls, recipients=(RecipientOptions(to, "NEVER"),))
    smtputf8 = composed.smtputf8 or not to.isascii()
    return Envelope("", (to,), len(composed.content), "8BITMIME", smtputf8, options, number)


def original_recipient_of(options: Options | None, address: str) -> str:
    """ORCPT of a recipient as it came; empty: none did."""
    found = options.recipients if options is not None else ()
    return next((one.original_recipient for one in found if one.forward_path == address), "")


@dataclass(frozen=True, slots=True)
class _Part:
    kind: str
    content: bytes

    @property
    def encoding(self) -> str:
        return "7bit" if self.content.isascii() else "8bit"

    @property
    def whole(self) -> bytes:
        return f"Content-Type: {self.kind}\r\nContent-Transfer-Encoding: {self.encoding}\r\n\r\n".encode() + self.content


def _head(fields: str, kind: str, encoding: str) -> bytes:
    head = f"{fields}\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode("utf-8", "replace")


def _fields(report: Notification, header: bytes, subject: str) -> str:
    encoded = subject if subject.isascii() else Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")
    sender = report.profile.sender or f"Mail Delivery System <MAILER-DAEMON@{report.hostname}>"
    lines = [
        f"From: {clean(sender, ADDRESS_LIMIT)}",
        f"To: <{clean(report.to, ADDRESS_LIMIT)}>",
        f"Subject: {encoded}",
        f"Date: {formatdate(report.now)}",
        f"Message-ID: <{report.identifier}@{report.hostname}>",
        "Auto-Submitted: auto-replied",
    ]
    if found := _MESSAGE_ID.search(header):
        lines += [f"In-Reply-To: {found[1].decode()}", f"References: {found[1].decode()}"]
    return "\r\n".join(lines)


def _texts(report: Notification, header: bytes) -> tuple[str, str]:
    """Subject and text for people, with their variables filled in."""
    given = report.profile.letters.get(report.kind, Letter())
    shipped = _SHIPPED[report.kind]
    until = max((one.retry_until for one in report.recipients), default=0.0)
    values = {
        "Hostname": report.hostname,
        "Recipients": "\n".join(_told(report.recipients)),
        "Subject": subject_of(header, header.lower()),
        "Date": formatdate(report.arrived_at),
        "RetryUntil": formatdate(until) if until else "",
        "EnvelopeSender": clean(report.to, ADDRESS_LIMIT),
        "MID": report.identifier,
    }

    def fill(text: str) -> str:
        return _VARIABLE.sub(lambda found: values.get(found[1], found[0]), text)

    return clean(fill(given.subject or shipped.subject), 200), fill(given.text or shipped.text)


VARIABLES: Final = ("Hostname", "Recipients", "Subject", "Date", "RetryUntil", "EnvelopeSender", "MID")
_VARIABLE: Final = re.compile(rf"\$({'|'.join(VARIABLES)})\b")


def _told(recipients: Sequence[Reported]) -> list[str]:
    lines = []
    for one in recipients[:NAMED]:
        lines.append(f"  <{clean(one.address, ADDRESS_LIMIT)}>")
        if one.action == "relayed":
            lines.append("    handed on to a system that tells no more")
        elif one.action == "delivered":
            lines.append("    delivered")
        elif one.reply:
            lines.append(f"    {clean(one.reply)}")
    if len(recipients) > NAMED:
        lines.append(f"  and {len(recipients) - NAMED} more")
    return lines


def _text_part(text: str) -> _Part:
    body = "\r\n".join([*text.rstrip("\n").splitlines(), ""]).encode("utf-8", "replace")
    return _Part("text/plain; charset=us-ascii" if body.isascii() else "text/plain; charset=utf-8", body)


def _status(report: Notification, *, is_global: bool) -> str:
    """The machine's part (RFC 3464 section 2)."""
    lines = [f"Reporting-MTA: dns; {report.hostname}"]
    if report.envelope_id:
        lines.insert(0, f"Original-Envelope-Id: {clean(decoded_xtext(report.envelope_id), 200, ascii_only=True)}")
    lines.append(f"Arrival-Date: {formatdate(report.arrived_at)}")
    for one in report.recipients:
        lines.append("")
        if one.original:
            lines.append(f"Original-Recipient: {original_recipient(one.original, is_global=is_global)}")
        lines += [
            f"Final-Recipient: {typed_address(one.address, is_global=is_global)}",
            f"Action: {one.action}",
            f"Status: {one.status}",
        ]
        if one.place and (name := mta_name(one.place)):
            lines.append(f"Remote-MTA: {name}")
        if one.reply and one.action in ("failed", "delayed"):
            lines.append(_folded(f"Diagnostic-Code: {diagnosis_of(one.reply, is_global=is_global)}"))
        if one.at:
            lines.append(f"Last-Attempt-Date: {formatdate(one.at)}")
        if one.retry_until:
            lines.append(f"Will-Retry-Until: {formatdate(one.retry_until)}")
    return "\r\n".join([*lines, ""])


def _folded(line: str) -> str:
    """With a line break before a word that would pass LINE; a word that is longer than that stays whole."""
    lines = [""]
    for word in line.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > LINE and not lines[-1].endswith(":"):
            lines.append(f" {word}")
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\r\n".join(lines)


def _returned(report: Notification, header: bytes, *, is_global: bool) -> _Part | None:
    """What is given back of the message: all of it, if it was asked for, may be and is short enough; else its header."""
    limit = report.profile.max_copy
    if not header:
        return None
    if report.returns_body and report.kind == "failed" and len(report.original) <= limit:
        return _Part("message/global" if is_global and not header.isascii() else "message/rfc822", report.original)
    if len(header) > limit:
        header = header[: header.rfind(b"\n", 0, limit) + 1]  # whole lines
    return _Part("message/global-headers" if is_global and not header.isascii() else "text/rfc822-headers", header)
