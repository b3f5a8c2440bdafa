"""Finding fields of a message's header by name, without reading the rest: for the few that the gateway itself looks at.

`head` is the header in lower case, as far as somebody cared to make it so; offsets in it are offsets in the content.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator

_COLON = re.compile(rb"[ \t]*:")
_END = re.compile(rb"\n(?![ \t])")


def values_of(content: bytes | mmap.mmap, head: bytes, name: str, *, limit: int) -> Iterator[bytes]:
    """The values of the fields called `name` (lower case), from the top, folded as they stand, each `limit` octets at most."""
    line = b"\n" + name.encode("ascii")
    found = 0 if head.startswith(line[1:]) else head.find(line) + 1 or -1
    while found >= 0:
        if colon := _COLON.match(head, found + len(line) - 1):
            start = colon.end()
            yield _END.split(content[start : min(start + limit, len(head))], maxsplit=1)[0]
        found = head.find(line, found) + 1 or -1
