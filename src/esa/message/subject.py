"""The Subject of a message as one line for lists: tracking and quarantine; and its Message-ID, for logs.

Promises: decoded (RFC 2047), at most SUBJECT_LENGTH characters, no control character, no line break; nothing that an author writes raises.
It costs a search in the header and, only where something is encoded or odd, a call of the core.
"""

from __future__ import annotations

import mmap

from esa.message.field import values_of

SUBJECT_LENGTH = 200  # characters kept: a line of a list; what a person knows a message by stands at the beginning
MESSAGE_ID_LENGTH = 1000  # characters kept; RFC 5322 allows no longer line
_VALUE_LIMIT = 4096  # octets of the field looked at: SUBJECT_LENGTH characters of four octets each, encoded twice over


def subject_of(content: bytes | mmap.mmap, head: bytes) -> str:
    """The first Subject field in the header `head`, which is the content's beginning in lower case; empty where there is none."""
    value = next(values_of(content, head, "subject", limit=_VALUE_LIMIT), b"")
    if value.isascii() and b"=?" not in value:
        text = value.decode("ascii")
    else:
        from esa_core import parse  # late: most subjects need no core

        text = parse(b"Subject:" + value + b"\r\n\r\n").subject
    text = " ".join(text.split())[:SUBJECT_LENGTH]
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def message_id_of(content: bytes | mmap.mmap, head: bytes) -> str:
    """The first Message-ID field as it stands, without white space; octets that are no ASCII become escapes. Empty where there is none."""
    value = next(values_of(content, head, "message-id", limit=_VALUE_LIMIT), b"")
    return "".join(value.decode("ascii", "backslashreplace").split())[:MESSAGE_ID_LENGTH]
