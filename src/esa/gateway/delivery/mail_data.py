"""Mail data as it goes over the wire. No I/O; `client` writes what comes of it.

What leaves is CRLF-clean: bare CR and LF become CRLF, dots are stuffed, whatever the content holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from esa_core._line_census import line_census

HEADER_LIMIT = 1 << 20  # octets looked at for the end of the header section
_TLS_REQUIRED = re.compile(rb"^TLS-Required[ \t]*:\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE)
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Sendable(Protocol):
    """The octets of a message: `size` in all, `chunks()` anew each time."""

    @property
    def size(self) -> int: ...

    def chunks(self) -> Iterator[bytes]: ...


class DataEncoder:
    """Mail data as it goes over the wire: CRLF line ends only, dots stuffed, `CRLF.CRLF` at the end (RFC 5321 section 4.5.2).

    `stuffs=False`: for chunks (RFC 3030), whose length is told: no dots are stuffed, and the end is that of the last line.
    """

    def __init__(self, *, stuffs: bool = True) -> None:
        self._stuffs = stuffs
        self._held = b""  # a CR at the end of a chunk: the next one may begin with its LF
        self._at_line_start = True

    def encode(self, chunk: bytes) -> bytes:
        data = self._held + chunk if self._held else chunk
        self._held = b""
        if data.endswith(b"\r"):
            self._held = b"\r"
            data = data[:-1]
        if not data:
            return b""
        returns, line_feeds, pairs, dots = line_census(data)
        if not returns == line_feeds == pairs:
            data = _LINE_END.sub(b"\r\n", data)
            dots = data.count(b"\n.")
        starts_with_dot = self._at_line_start and data.startswith(b".")
        self._at_line_start = data.endswith(b"\n")
        if not self._stuffs:
            return data
        if dots:
            data = data.replace(b"\n.", b"\n..")
        return b"." + data if starts_with_dot else data

    def finish(self) -> bytes:
        end = b".\r\n" if self._stuffs else b""
        return b"\r\n" + end if self._held or not self._at_line_start else end


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
