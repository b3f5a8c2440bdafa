"""The mailbox that a From or Reply-To field names, for policies that ask who an author is.

Nearly all fields have the plain form `Name <local@domain>` or `local@domain`, which is read here; whatever else there is, the core reads. Both give the same answer.
"""

from __future__ import annotations

import mmap
import re
from itertools import islice

from esa.message.field import values_of

_ADDRESS = rb"([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)"
_PLAIN = re.compile(rb'[ \t]*(?:(?:[A-Za-z0-9 _-]*|"[A-Za-z0-9 _.,\'&()/-]*"[ \t]*)<' + _ADDRESS + rb">|" + _ADDRESS + rb")[ \t]*\r?")
_LIMIT = 400  # octets of a field that is plain


def mailbox_of(content: bytes | mmap.mmap, head: bytes, name: str) -> str:
    """The address in the field `from` or `reply-to`, in lower case; empty where there is none. `head`: the header in lower case."""
    found = list(islice(values_of(content, head, name, limit=_LIMIT + 1), 2))
    if not found:
        return ""
    plain = _PLAIN.fullmatch(found[0]) if len(found) == 1 else None
    if plain is not None:
        return (plain[1] or plain[2]).decode("ascii").lower()
    from esa_core import parse  # late: few messages need it

    parsed = parse(bytes(content[: len(head)]))
    return parsed.from_address if name == "from" else parsed.reply_to_address
