"""Mailbox addresses of the envelope (RFC 5321 section 4.1.2), parsed once into a value that nothing needs to check again.

The native server has its own fast path for the common form; this is the whole grammar, for the rest, the configuration and tools.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from esa.errors import SyntaxFault

LOCAL_PART_LIMIT = 64  # octets, RFC 5321 section 4.5.3.1.1
DOMAIN_LIMIT = 255  # octets, RFC 5321 section 4.5.3.1.2
PATH_LIMIT = 256  # octets with the angle brackets, RFC 5321 section 4.5.3.1.3

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"  # RFC 6531 section 3.3 adds the non-ASCII characters
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*\Z")
_QUOTED_STRING = re.compile(r'"(?:[\x20-\x21\x23-\x5b\x5d-\x7e\u0080-\U0010ffff]|\\[\x20-\x7e])*"\Z')
_LABEL = re.compile(r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9_\u0080-\U0010ffff-]*[A-Za-z0-9\u0080-\U0010ffff])?\Z")
_IPV6_TAG = "ipv6:"


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox `local_part@domain`; the domain is lower case. `str()` gives the addr-spec without angle brackets."""

    local_part: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `local@domain` (no angle brackets, no source route). Raises SyntaxFault, which names the part at fault."""
        local_part, at, domain = text.rpartition("@")
        if not at:
            raise SyntaxFault("an address needs an @ and a domain", where=text[:80])
        if len(local_part.encode()) > LOCAL_PART_LIMIT:
            raise SyntaxFault(f"the local part may have {LOCAL_PART_LIMIT} octets", where=text[:80])
        if not (_DOT_STRING.match(local_part) or _QUOTED_STRING.match(local_part)):
            raise SyntaxFault("the local part is neither a dot-string nor a quoted string", where=text[:80])
        return cls(local_part, parse_domain(domain))

    @property
    def is_ascii(self) -> bool:
        return self.local_part.isascii() and self.domain.isascii()

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"


def parse_domain(text: str) -> str:
    """Return the domain or address literal in lower case, or raise SyntaxFault (RFC 5321 sections 4.1.2 and 4.1.3)."""
    if text.startswith("[") and text.endswith("]"):
        literal = text[1:-1]
        try:
            if literal[: len(_IPV6_TAG)].lower() == _IPV6_TAG:
                ipaddress.IPv6Address(literal[len(_IPV6_TAG) :])
            else:
                ipaddress.IPv4Address(literal)
        except ValueError:
            raise SyntaxFault("the address literal holds no IP address", where=text[:80]) from None
        return text.lower()
    if len(text.encode()) > DOMAIN_LIMIT:
        raise SyntaxFault(f"a domain may have {DOMAIN_LIMIT} octets", where=text[:80])
    if not text or not all(len(label) <= 63 and _LABEL.match(label) for label in text.split(".")):
        raise SyntaxFault("this is no domain name", where=text[:80] or "empty domain")
    return text.lower()


def parse_path(text: str) -> Address | None:
    """Read a reverse-path or forward-path with its angle brackets; `<>` gives None (the null reverse-path).

    A source route (`<@a,@b:user@c>`) is read and ignored, as RFC 5321 section 3.6.1 and appendix C ask.
    """
    if len(text.encode()) > PATH_LIMIT:
        raise SyntaxFault(f"a path may have {PATH_LIMIT} octets", where=text[:80])
    if not (text.startswith("<") and text.endswith(">")):
        raise SyntaxFault("a path stands in angle brackets", where=text[:80])
    inner = text[1:-1]
    if not inner:
        return None
    if inner.startswith("@"):
        route, colon, inner = inner.partition(":")
        if not colon:
            raise SyntaxFault("a source route ends with a colon", where=text[:80])
        for hop in route.split(","):
            parse_domain(hop.removeprefix("@"))
    return Address.parse(inner)
