"""A message as the delivery client takes it. No I/O; `client` writes what comes of it, encoded by esa_core._mail_data.DataEncoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

HEADER_LIMIT = 1 << 20  # octets looked at for the end of the header section


class Sendable(Protocol):
    """The octets of a message: `size` in all, `chunks()` anew each time."""

    @property
    def size(self) -> int: ...

    def chunks(self) -> Iterator[bytes]: ...


def has_ascii_header(message: Sendable) -> bool:
    """Whether the header section of a message holds nothing but ASCII."""
    seen = b""
    for chunk in message.chunks():
        seen += chunk
        head, blank, _ = seen.partition(b"\r\n\r\n")
        if blank or len(seen) > HEADER_LIMIT:
            return head.isascii()
    return seen.isascii()
