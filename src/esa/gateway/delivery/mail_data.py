"""A message as the delivery client takes it. No I/O; `client` writes what comes of it, encoded by esa_core._mail_data.DataEncoder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

HEADER_LIMIT = 1 << 20  # octets looked at for the end of the header section
_TLS_REQUIRED = re.compile(rb"^TLS-Required[ \t]*:\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE)


class Sendable(Protocol):
    """The octets of a message: `size` in all, `chunks()` anew each time."""

    @property
    def size(self) -> int: ...

    def chunks(self) -> Iterator[bytes]: ...


def header_section(message: Sendable) -> bytes:
    """The header section of a message, or what of it lies within HEADER_LIMIT."""
    seen = b""
    for chunk in message.chunks():
        seen += chunk
        head, blank, _ = seen.partition(b"\r\n\r\n")
        if blank or len(seen) > HEADER_LIMIT:
            return head
    return seen


def has_ascii_header(message: Sendable) -> bool:
    """Whether the header section of a message holds nothing but ASCII."""
    return header_section(message).isascii()


def needs_no_tls(message: Sendable) -> bool:
    """Whether the header has the one field `TLS-Required: No` (RFC 8689 section 3)."""
    return [value.lower() for value in _TLS_REQUIRED.findall(header_section(message))] == [b"no"]
