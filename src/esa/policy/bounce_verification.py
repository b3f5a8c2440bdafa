"""Bounce address tag validation (draft-levine-smtp-batv-01): return paths that only we can have made, so that bounces to others are forged.

The deliver process tags the return path of mail that leaves, the receive workers look at recipients of mail with a null return path. Pure: who
asks gives the time and the keys.

    prvs=KDDDSSSSSS=local@domain     K    number of the key, one digit
                                     DDD  day it ends, days since 1970 modulo 1,000
                                     S    the first three octets of HMAC-SHA1 over K, DDD and the address, in hexadecimal

The address is taken in lower case, for mail systems on the way back may have done that.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from esa.message.address import LOCAL_PART_LIMIT, Address, parse_domain

LIFETIME: Final = 7  # days that a tag is good for: longer than other systems try
KEYS: Final = 10  # that there can be at a time: K is one digit
DAY: Final = 86_400
_CYCLE: Final = 1_000
_TAG: Final = re.compile(r"prvs=(\d)(\d{3})([0-9a-f]{6})=(.+)\Z", re.IGNORECASE | re.ASCII)
_TAG_LENGTH: Final = len("prvs=KDDDSSSSSS=")
_POSTMASTER: Final = "postmaster"  # mail to whom is taken without conditions (RFC 5321 section 4.5.1)


@dataclass(frozen=True, slots=True)
class Key:
    """A secret and its number. `retired_at`: Unix seconds when a newer one took its place; None: it makes the tags."""

    number: int
    secret: bytes
    made_at: float
    retired_at: float | None = None

    def is_accepted(self, now: float) -> bool:
        """Whether tags that it made may still come back."""
        return self.retired_at is None or now - self.retired_at < (LIFETIME + 1) * DAY


class Finding(Enum):
    """What a recipient of a message with a null return path is."""

    VALID = "valid"  # a tag of ours, in time
    UNTAGGED = "untagged"
    EXPIRED = "expired"
    FORGED = "forged"  # a tag that none of our keys made
    EXEMPT = "exempt"  # no tag is asked for


class Checked(NamedTuple):
    """`address` without its tag."""

    finding: Finding
    address: str

    @property
    def is_good(self) -> bool:
        return self.finding in (Finding.VALID, Finding.EXEMPT)


def parse_exception(text: str) -> str:
    """An exception in lower case. Raises SyntaxFault."""
    if "@" in text:
        return str(Address.parse(text)).lower()
    return f".{parse_domain(text[1:])}" if text.startswith(".") else parse_domain(text)


class Exceptions:
    """Addresses that are neither tagged nor asked for a tag."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._entries = frozenset(entries)

    def __contains__(self, address: str) -> bool:
        """Whether an entry names it, or it cannot be tagged: it is the postmaster's, quoted, or too long for a tag beside it."""
        local_part, at, domain = address.rpartition("@")
        if not at or local_part.lower() == _POSTMASTER or local_part.startswith('"'):
            return True
        if len(local_part.encode("utf-8", "surrogateescape")) + _TAG_LENGTH > LOCAL_PART_LIMIT:
            return True
        if not self._entries:
            return False
        address, domain = address.lower(), domain.lower()
        if address in self._entries or domain in self._entries:
            return True
        while "." in domain:
            domain = domain.partition(".")[2]
            if f".{domain}" in self._entries:
                return True
        return False


NO_EXCEPTIONS: Final = Exceptions()


def _day(now: float) -> int:
    return int(now // DAY)


def _signature(key: Key, day: str, address: str) -> str:
    signed = f"{key.number}{day}{address.lower()}".encode("utf-8", "surrogateescape")
    return hmac.new(key.secret, signed, hashlib.sha1).digest()[:3].hex()


def tagged(address: str, keys: Sequence[Key], now: float, exceptions: Exceptions = NO_EXCEPTIONS) -> str:
    """The return path with a tag; the same where there is no key, where it is exempt, and where it has a tag already."""
    key = next((one for one in keys if one.retired_at is None), None)
    local_part, at, domain = address.rpartition("@")
    if key is None or not at or _TAG.match(local_part) or address in exceptions:
        return address
    day = f"{(_day(now) + LIFETIME) % _CYCLE:03d}"
    return f"prvs={key.number}{day}{_signature(key, day, address)}={local_part}@{domain}"


def untagged(address: str) -> str:
    """The address without its tag, whoever made it."""
    local_part, at, domain = address.rpartition("@")
    found = _TAG.match(local_part) if at else None
    return f"{found[4]}@{domain}" if found else address


def check(recipient: str, keys: Sequence[Key], now: float, exceptions: Exceptions = NO_EXCEPTIONS) -> Checked:
    """Look at a recipient of a message with a null return path."""
    local_part, _, domain = recipient.rpartition("@")
    found = _TAG.match(local_part)
    if found is None:
        return Checked(Finding.EXEMPT if recipient in exceptions else Finding.UNTAGGED, recipient)
    number, day, signature = int(found[1]), found[2], found[3].lower()
    address = f"{found[4]}@{domain}"
    made_it = [
        key
        for key in keys
        if key.number == number and key.is_accepted(now) and hmac.compare_digest(_signature(key, day, address), signature)
    ]
    if not made_it:
        return Checked(Finding.EXEMPT if address in exceptions else Finding.FORGED, address)
    left = (int(day) - _day(now)) % _CYCLE
    return Checked(Finding.VALID if left <= LIFETIME else Finding.EXPIRED, address)
