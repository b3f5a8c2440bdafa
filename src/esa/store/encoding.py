"""JSON as the store writes it: compact, as UTF-8, and in ASCII with escapes where a text is no Unicode (octets of mail that are no UTF-8).

Records, rows of the queue and events go through here, several times for each message: pydantic's own encoder takes a quarter of the time of the
standard library's, and its reader half. Both read what the other writes.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

_escaped = json.JSONEncoder(separators=(",", ":")).encode


def encode(values: object) -> bytes:
    """JSON of texts, numbers, lists, tuples and dictionaries of them. Raises ValueError or TypeError for what is no JSON."""
    try:
        return to_json(values)
    except PydanticSerializationError:  # lone surrogates
        return _escaped(values).encode("ascii")


def decode(octets: bytes | str) -> Any:
    """Undo `encode`. Raises ValueError for what is no JSON."""
    try:
        return from_json(octets)
    except ValueError:  # lone surrogates, or no JSON at all
        return json.loads(octets)
