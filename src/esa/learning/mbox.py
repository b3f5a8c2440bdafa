"""Where the messages of an mbox begin and end, also where its From_ lines are broken (RFC 4155; the mboxo, mboxrd and mboxcl families).

Called by `corpora`. A From_ line begins a message if it has a date as RFC 4155 wants it, or if it stands behind an empty line and
well-known header fields follow; so neither a lost date nor a lost empty line joins two messages, and a sentence that begins with "From "
does not split one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_DATED = re.compile(
    rb"From [^\r\n]*\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +"
    rb"(?:(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2}|\d{1,2} +[A-Z][a-z][a-z])\b[^\r\n]*\r?\n"
)
_KNOWN_FIELD = re.compile(
    rb"(?:Return-Path|Received|Delivered-To|From|To|Cc|Subject|Date|Message-ID|Reply-To|Sender|MIME-Version|Content-[A-Za-z-]+|Status"
    rb"|Envelope-to|List-[A-Za-z-]+|X-[A-Za-z0-9-]+):",
    re.IGNORECASE,
)
_ANY_FIELD = re.compile(rb"[!-9;-~]+:")
_CANDIDATE = re.compile(rb"^From ", re.MULTILINE)


def looks_like_mbox(content: bytes) -> bool:
    """Whether the first line is a From_ line. A single message that kept its own is an mbox of one."""
    return content.startswith(b"From ") and _begins_message(content, 0)


def split_mbox(content: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of each message, without its From_ line and the empty line that ends it. Quoted `>From ` lines stay as they are."""
    begins = [match.start() for match in _CANDIDATE.finditer(content) if _begins_message(content, match.start())]
    for begin, following in zip(begins, [*begins[1:], len(content)], strict=True):
        start = _line_end(content, begin)
        end = following
        if following < len(content) or content.endswith((b"\n\n", b"\r\n\r\n")):
            for blank in (b"\r\n\r\n", b"\n\n"):
                if content.endswith(blank, start, end):
                    end -= len(blank) // 2
                    break
        yield start, max(start, end)


def _line_end(content: bytes, start: int) -> int:
    end = content.find(b"\n", start)
    return len(content) if end < 0 else end + 1


def _begins_message(content: bytes, at: int) -> bool:
    after = _line_end(content, at)
    behind_blank = at == 0 or content.endswith((b"\n\n", b"\n\r\n"), max(0, at - 3), at)
    if _DATED.match(content, at):
        return behind_blank or _ANY_FIELD.match(content, after) is not None
    return behind_blank and _KNOWN_FIELD.match(content, after) is not None
