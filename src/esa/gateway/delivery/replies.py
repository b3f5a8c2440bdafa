"""What a next hop says: replies split from octets, and the errors they come to. No I/O; `client` feeds it, `transaction` judges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

REPLY_LINE_LIMIT = 4096  # octets; RFC 5321 allows 512, real servers write more
REPLY_LINES_LIMIT = 200
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ENHANCED_AT_START = re.compile(r"[245]\.\d{1,3}\.\d{1,3} ")


class RemoteError(Exception):
    """The next hop cannot be used just now. The text says why; `replies` are those that came before."""

    def __init__(self, reason: str, replies: Sequence[RemoteReply] = ()) -> None:
        super().__init__(reason)
        self.replies = tuple(replies)


TlsStep = Literal["offer", "reply", "injection", "handshake", "certificate"]


class TlsError(RemoteError):
    """The next hop cannot be spoken to in TLS. `step`: what it does not offer, refuses with a reply, has tampered with, or fails at."""

    def __init__(self, step: TlsStep, reason: str, replies: Sequence[RemoteReply] = ()) -> None:
        super().__init__(reason, replies)
        self.step = step


@dataclass(frozen=True, slots=True)
class RemoteReply:
    """What the next hop said: the texts of its lines, made printable."""

    code: int
    lines: tuple[str, ...]

    @property
    def status(self) -> Literal["delivered", "deferred", "failed"]:
        if 200 <= self.code < 300:
            return "delivered"
        return "failed" if self.code >= 500 else "deferred"

    def __str__(self) -> str:
        first, *rest = self.lines or ("",)
        if rest and (code := _ENHANCED_AT_START.match(first)):  # RFC 2034 repeats the enhanced code on each line: keep it once
            rest = [line.removeprefix(code.group()) for line in rest]
        return " ".join([str(self.code), *filter(None, (first, *rest))])


class ReplyReader:
    """Splits octets from the next hop into replies. Raises RemoteError for what is no SMTP."""

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[str] = []
        self.is_between_replies = True  # nothing has come that is not part of a whole reply

    def feed(self, data: bytes) -> list[RemoteReply]:
        """Return the replies that are whole now."""
        self.is_between_replies = False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > REPLY_LINE_LIMIT:
            raise RemoteError("the next hop sends a line without end")
        replies: list[RemoteReply] = []
        for line in lines:
            line = line.rstrip(b"\r")
            code, mark = line[:3], line[3:4]
            if len(code) != 3 or not code.isdigit() or mark not in (b" ", b"-", b"") or not 200 <= int(code) <= 599:
                raise RemoteError(f"the next hop does not speak SMTP: {_printable(line[:80])!r}", replies)
            self._lines.append(_printable(line[4:]))
            if len(self._lines) > REPLY_LINES_LIMIT:
                raise RemoteError("the next hop sends a reply without end", replies)
            if mark != b"-":
                replies.append(RemoteReply(int(code), tuple(self._lines)))
                self._lines = []
        self.is_between_replies = not self._buffer and not self._lines
        return replies


def _printable(data: bytes) -> str:
    return CONTROL.sub("?", data.decode("utf-8", "replace"))
