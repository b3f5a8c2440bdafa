"""The trace fields esa puts on top of a message, and the removal of forged ones (RFC 5321 section 4.4, RFC 5322 section 2.2.3).

The receive route calls it for every message it keeps. What the client chose (HELO, addresses) never reaches a field unchecked: what is no
domain or address literal is shown cleaned in a comment. Only the message's own header is touched, never that of an attached message.
"""

from __future__ import annotations

import functools
import ipaddress
import mmap
import re
import time
from collections.abc import Iterator, Sequence
from email.utils import formatdate

from esa.errors import SyntaxFault
from esa.message.address import parse_domain
from esa.message.envelope import Envelope, Session
from esa_core._header_lines import header_end

FIELD_PREFIX = b"x-esa-"  # every field of ours begins so; one that comes in is forged
LINE_WIDTH = 78  # octets without CRLF, RFC 5322 section 2.1.1
REASONS_SHOWN = 5
_COMMENT_LIMIT = 64  # octets of a HELO that is no domain, shown in a comment
_UNSAFE_IN_COMMENT = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_UNSAFE_IN_REASON = re.compile(r"[^A-Za-z0-9._:+-]")
_CHUNK = 1 << 20  # octets looked at in one step, so that a big mapped header is never copied whole
_PROTOCOL = re.compile(r"[A-Z0-9]{2,16}\Z")

Content = bytes | bytearray | mmap.mmap


def received_field(session: Session, envelope: Envelope, *, hostname: str, message_id: str) -> bytes:
    """The Received field of this hop, folded, with its CRLF, in ASCII.

    `for` stands only where there is a single recipient, so that no recipient learns of another (RFC 5321 section 7.2).
    """
    protocol = session.protocol if _PROTOCOL.match(session.protocol) else "ESMTP"
    lines = [f"Received: from {_from_clause(session)}", f"\tby {hostname} with {protocol} id {message_id}"]
    if session.tls_version:
        lines.append(f"\t({_UNSAFE_IN_COMMENT.sub('?', session.tls_version)} {_UNSAFE_IN_COMMENT.sub('?', session.tls_cipher)})")
    if len(envelope.recipients) == 1 and _is_plain_path(envelope.recipients[0]):
        lines.append(f"\tfor <{envelope.recipients[0]}>")
    lines[-1] += ";"
    lines.append(f"\t{_date(int(session.received_at or time.time()))}")
    return ("\r\n".join(lines) + "\r\n").encode("ascii", "replace")


def result_fields(message_id: str, verdict: str, score: float, reasons: Sequence[tuple[str, float]]) -> bytes:
    """`X-Esa-Id`, `X-Esa-Verdict`, `X-Esa-Score` and `X-Esa-Reasons` (the five heaviest, as `name=+1.2`), each with its CRLF, in ASCII.

    `reasons` are (name, contribution in log-odds) by falling absolute contribution; without any, X-Esa-Reasons is left out.
    """
    fields = [f"X-Esa-Id: {message_id}", f"X-Esa-Verdict: {verdict}", f"X-Esa-Score: {score:.1f}"]
    if reasons:
        shown = [f"{_shown_reason(reason)}={contribution:+.1f}" for reason, contribution in reasons[:REASONS_SHOWN]]
        fields.append(fold("X-Esa-Reasons", shown))
    return ("\r\n".join(fields) + "\r\n").encode("ascii", "replace")


@functools.lru_cache(maxsize=4096)
def _shown_reason(name: str) -> str:
    """The name of a reason; a model has some hundred of them."""
    return _UNSAFE_IN_REASON.sub("_", name)[:64]


def fold(name: str, words: Sequence[str]) -> str:
    """`name: word, word, …` with a line break before each word that would pass LINE_WIDTH; no CRLF at the end."""
    lines = [f"{name}:"]
    for position, word in enumerate(words):
        text = f" {word}," if position + 1 < len(words) else f" {word}"
        if len(lines[-1]) + len(text) > LINE_WIDTH and not lines[-1].endswith(":"):
            lines.append("")
        lines[-1] += text
    return "\r\n".join(lines)


def strip_result_fields(content: bytes, end: int | None = None) -> bytes:
    """The content without the X-Esa-* fields of its own header; the same object where there is none. `end`: `header_end`, if known."""
    forged = list(result_field_ranges(content, end))
    if not forged:
        return content
    edges = [0, *(edge for pair in forged for edge in pair), len(content)]
    return b"".join([content[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)])


def result_field_ranges(content: Content, end: int | None = None) -> Iterator[tuple[int, int]]:
    """The ranges [start, end) of the X-Esa-* fields in the message's own header, ascending and apart: what must go, as it is forged.

    Works on a mapped file: looks at the header only, in steps of 1 MiB, and copies nothing else. The header ends at the first empty line
    (in the longest reading: ended by CRLF or LF); a field name is recognised in any case and with white space before its colon.
    """
    end = header_end(content) if end is None else end
    behind = 0
    pending: tuple[int, int] | None = None
    for start in _forged_fields(content, end):
        if start < behind:
            continue
        behind = _field_end(content, start, end)
        if pending is not None and pending[1] == start:
            pending = (pending[0], behind)
            continue
        if pending is not None:
            yield pending
        pending = (start, behind)
    if pending is not None:
        yield pending


def _forged_fields(content: Content, end: int) -> Iterator[int]:
    """Starts of the lines in content[:end] that begin an X-Esa-* field."""
    position = 0
    overlap = len(FIELD_PREFIX)
    while position < end:
        piece = content[position : min(position + _CHUNK + overlap, end)].lower()
        found = piece.find(FIELD_PREFIX)
        while 0 <= found < _CHUNK:
            start = position + found
            if start == 0 or content[start - 1 : start] in (b"\n", b"\r"):
                yield start
            found = piece.find(FIELD_PREFIX, found + 1)
        position += _CHUNK


def _field_end(content: Content, start: int, end: int) -> int:
    """Offset behind the field that begins at `start`: its line and the continuation lines, which begin with white space."""
    position = start
    while position < end:
        line_end = content.find(b"\n", position, end)
        if line_end < 0:
            return end
        position = line_end + 1
        if content[position : position + 1] not in (b" ", b"\t"):
            break
    return position


@functools.lru_cache(maxsize=1024)
def _from_parts(helo: str, client_address: str) -> str:
    literal = _address_literal(client_address)
    try:
        domain = parse_domain(helo)
    except SyntaxFault:
        domain = ""
    if domain and domain.isascii():
        return f"{domain} ({literal})" if literal else domain
    comment = _UNSAFE_IN_COMMENT.sub("?", helo[:_COMMENT_LIMIT]).encode("ascii", "replace").decode()
    shown = literal or "unknown"
    return f"{shown} (helo={comment})" if comment else shown


def _from_clause(session: Session) -> str:
    return _from_parts(session.helo, session.client_address)


def _address_literal(address: str) -> str:
    """The client's IP address as RFC 5321 section 4.1.3 writes it; empty where it is none."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    return f"[IPv6:{parsed}]" if parsed.version == 6 else f"[{parsed}]"


def _is_plain_path(path: str) -> bool:
    """Whether a forward-path can stand in the field as it is: printable ASCII that fits in one line."""
    return path.isascii() and path.isprintable() and len(path) <= 256 and not any(character in path for character in "<>()\\ ")


@functools.lru_cache(maxsize=4)
def _date(second: int) -> str:
    """RFC 5322 date in local time; made once a second."""
    return formatdate(second, localtime=True)
