"""Words that others chose, as they may stand in a notification of ours: replies of next hops, addresses, what a client put into ENVID and ORCPT.

Promise: whatever they are, they stay in their line and in their field (no control character, no line break, no character that turns others round),
and have a length that is fit for mail.
"""

from __future__ import annotations

import re
from typing import Final

REPLY_LIMIT: Final = 900  # characters of a reply that are told: some servers write pages
ADDRESS_LIMIT: Final = 512  # characters; a path has 256 octets, and its escaped form more
_HEX: Final = re.compile(r"\+([0-9A-F]{2})")
_EMBEDDED: Final = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_ESCAPED: Final = frozenset("+=\\")  # RFC 6533 section 3: what no QCHAR is
_STATUS: Final = re.compile(r"([245])\d\d(?: ([245])\.(\d{1,3}\.\d{1,3})(?= |\Z))?")
_PLACE: Final = re.compile(r"\[?([^\[\]]+?)\]?(?::\d+)?\Z")


def clean(text: str, limit: int = REPLY_LIMIT, *, ascii_only: bool = False) -> str:
    """One line of printable characters; what is not becomes a question mark."""
    line = " ".join(text.split())
    if not (line.isprintable() and (line.isascii() or not ascii_only)):
        line = "".join(one if one.isprintable() and (one.isascii() or not ascii_only) else "?" for one in line)
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def decoded_xtext(text: str) -> str:
    """What xtext (RFC 3461 section 4) stands for; not cleaned."""
    if "+" not in text:
        return text
    octets = _HEX.sub(lambda found: chr(int(found[1], 16)), text)
    try:
        return octets.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return octets


def original_recipient(text: str, *, is_global: bool) -> str:
    """Original-Recipient of an ORCPT parameter: `type; address` (RFC 3464 section 2.3.1)."""
    kind, _, address = text.partition(";")
    if kind.lower() == "utf-8":
        whole = _EMBEDDED.sub(lambda found: _character(found[1]), address)
        return typed_address(whole, is_global=is_global)
    return f"{clean(kind, 60, ascii_only=True)}; {clean(decoded_xtext(address), ADDRESS_LIMIT, ascii_only=True)}"


def _character(digits: str) -> str:
    code = int(digits, 16)
    return chr(code) if code < 0xD800 or 0xE000 <= code <= 0x10FFFF else "?"


def typed_address(address: str, *, is_global: bool) -> str:
    """`rfc822; address`, or `utf-8; address` in the form that the kind of report has (RFC 6533 section 3)."""
    if address.isascii():
        return f"rfc822; {clean(address, ADDRESS_LIMIT)}"
    escaped = "".join(
        f"\\x{{{ord(one):X}}}" if one in _ESCAPED or (not one.isascii() and not is_global) or not (one > " " and one.isprintable()) else one
        for one in address[:ADDRESS_LIMIT]
    )
    return f"utf-8; {escaped}"


def status_of(reply: str, action: str) -> str:
    """The status code (RFC 3463) that a reply says, of the class that the action has."""
    kind = {"failed": "5", "delayed": "4"}.get(action, "2")
    found = _STATUS.match(reply)
    if found is None:
        return {"5": "5.0.0", "4": "4.4.1"}.get(kind, "2.0.0")  # no reply at all: nobody answered
    return f"{kind}.{found[3]}" if found[3] and found[2] == kind else f"{kind}.0.0"


def diagnosis_of(reply: str, *, is_global: bool) -> str:
    """Diagnostic-Code: what was said over SMTP, or what we say ourselves."""
    kind = "smtp" if _STATUS.match(reply) else "X-Esa"
    return f"{kind}; {clean(reply, ascii_only=not is_global)}"


def mta_name(place: str) -> str:
    """Remote-MTA of the place that mail was offered to, host:port: its name, or its address in brackets."""
    found = _PLACE.match(clean(place, 255, ascii_only=True))
    host = found[1] if found else ""
    if not host or " " in host or "/" in host:
        return ""
    is_address = ":" in host or host.replace(".", "").isdecimal()
    return f"dns; [{host}]" if is_address else f"dns; {host}"
