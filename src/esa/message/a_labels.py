"""International domain names in ASCII (RFC 5890), by IDNA 2008: Python's own codec makes another domain of some letters. Needs the extra `gateway`."""

from __future__ import annotations

import idna


def as_a_labels(name: str) -> str:
    """A domain name in lower case, without the last dot, in A-labels where it is international. What cannot be one stays as it is."""
    name = name.strip().rstrip(".").lower()
    if name.isascii():
        return name
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        return name
