"""The Subject of a message as one line for lists: tracking and quarantine.

Promises: decoded (RFC 2047), at most SUBJECT_LENGTH characters, no control character, no line break; nothing that an author writes raises.
It costs a search in the header and, only where something is encoded or odd, a call of the core.
"""

from __future__ import annotations

import mmap
import re

SUBJECT_LENGTH = 200  # characters kept: a line of a list; what a person knows a message by stands at the beginning
_VALUE_LIMIT = 4096  # octets of the field looked at: SUBJECT_LENGTH characters of four octets each, encoded twice over
_LINE = b"\nsubject"
_COLON = re.compile(rb"[ \t]*:")
_FIELD_END = re.compile(rb"\n(?![ \t])")


def subject_of(content: bytes | mmap.mmap, head: bytes) -> str:
    """The first Subject field in the header `head`, which is the content's beginning in lower case; empty where there is none."""
    start = _body_of_field(head)
    if start < 0:
        return ""
    value = _FIELD_END.split(content[start : min(start + _VALUE_LIMIT, len(head))], 1)[0]
    if value.isascii() and b"=?" not in value:
        text = value.decode("ascii")
    else:
        from esa_core import parse  # late: most subjects need no core

        text = parse(b"Subject:" + value + b"\r\n\r\n").subject
    text = " ".join(text.split())[:SUBJECT_LENGTH]
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _body_of_field(header: bytes) -> int:
    """Offset behind the colon of the first Subject field of a header in lower case; -1 where there is none."""
    found = 0 if header.startswith(_LINE[1:]) else header.find(_LINE) + 1 or -1
    while found >= 0:
        if colon := _COLON.match(header, found + len(_LINE) - 1):
            return colon.end()
        found = header.find(_LINE, found) + 1 or -1
    return -1
