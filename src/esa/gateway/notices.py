"""Messages that filters let the gateway write: notices.

`copies` makes records of them. Promises: their reverse-path is null, so that nothing ever answers them with a bounce (RFC 5321 section 4.5.5); they say
that a machine wrote them (RFC 3834); nothing that an author wrote reaches a header of theirs but cleaned and encoded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.header import Header
from email.utils import formatdate

_BOUNDARY = "esa-{identifier}"  # of our own making: the identifier cannot be foreseen


def notice(addresses: Sequence[str], subject: str, text: str, *, hostname: str, identifier: str, original: bytes | None = None) -> bytes:
    """A notice of a filter. `original`: the message, attached (RFC 2046 section 5.2.1)."""
    fields = _fields(", ".join(addresses), subject or "Message notification", hostname, identifier)
    body = _body(text)
    if original is None:
        return _message(fields, "text/plain; charset=utf-8", body)
    boundary = _BOUNDARY.format(identifier=identifier)
    parts = (_part("text/plain; charset=utf-8", body), _part("message/rfc822", original))
    return _message(fields, f'multipart/mixed; boundary="{boundary}"', _multipart(boundary, parts))


def _fields(to: str, subject: str, hostname: str, identifier: str) -> list[str]:
    encoded = subject if subject.isascii() else Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")
    return [
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: {to}",
        f"Subject: {encoded}",
        f"Date: {formatdate(time.time())}",
        f"Message-ID: <{identifier}@{hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
    ]


def _message(fields: Sequence[str], content_type: str, body: bytes) -> bytes:
    head = "\r\n".join([*fields, f"Content-Type: {content_type}", "Content-Transfer-Encoding: 8bit"])
    return head.encode() + b"\r\n\r\n" + body


def _body(text: str) -> bytes:
    return "\r\n".join([*text.rstrip("\n").splitlines(), ""]).encode("utf-8", "replace")


def _part(content_type: str, content: bytes) -> bytes:
    return f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode() + content


def _multipart(boundary: str, parts: Sequence[bytes]) -> bytes:
    line = f"\r\n--{boundary}".encode()
    return b"".join(line + b"\r\n" + part for part in parts) + line + b"--\r\n"
