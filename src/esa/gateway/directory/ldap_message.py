"""LDAP on the wire, as far as a search needs it: RFC 4511 in the encoding of X.690. No I/O; written for servers that lie.

A message is a sequence of a number, an operation and controls, which are not looked at. `read_element` takes apart, `element` puts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LIMIT: Final = 1 << 20  # octets of a message; an answer to a search that asks for no attributes has a few hundred
INTEGER, OCTETS, BOOLEAN, ENUMERATED, SEQUENCE = 0x02, 0x04, 0x01, 0x0A, 0x30
BIND, BIND_ANSWER, UNBIND = 0x60, 0x61, 0x42
SEARCH, ENTRY, REFERENCE, DONE = 0x63, 0x64, 0x73, 0x65
ABANDON, EXTENDED, EXTENDED_ANSWER = 0x50, 0x77, 0x78
START_TLS: Final = b"1.3.6.1.4.1.1466.20037"  # RFC 4511 section 4.14
NO_ATTRIBUTES: Final = b"1.1"  # RFC 4511 section 4.5.1.8
SUCCESS, TIME_LIMIT, SIZE_LIMIT = 0, 3, 4
REFUSALS: Final = frozenset((19, 32, 34, 48, 49, 50, 53))  # of a bind: of who binds, and not because the server is not well
_RESULTS: Final = {
    1: "operations error",
    2: "protocol error",
    3: "time limit exceeded",
    7: "authentication method not supported",
    8: "stronger authentication required",
    10: "referral",
    13: "confidentiality required",
    19: "constraint violation",
    32: "no such object",
    34: "invalid DN syntax",
    48: "inappropriate authentication",
    49: "invalid credentials",
    50: "insufficient access rights",
    51: "busy",
    52: "unavailable",
    53: "unwilling to perform",
}


class MessageFault(Exception):
    """What came is no LDAP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A message from the server: its number, operation (a tag), and what is in it."""

    number: int
    operation: int
    content: bytes


def element(tag: int, *contents: bytes) -> bytes:
    """One element, definite length, shortest form."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A number ≥ 0."""
    return element(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def head_length(first: bytes) -> int:
    """How many octets more the head of an element has behind its first two. Raises MessageFault."""
    count = first[1] & 0x7F if first[1] & 0x80 else 0
    if first[1] == 0x80 or count > 4:
        raise MessageFault("a length that LDAP does not have")
    return count


def read_element(octets: bytes, place: int = 0) -> tuple[int, bytes, int]:
    """Tag and content of the element at `place`, and where the next one begins. Raises MessageFault."""
    if place + 2 > len(octets):
        raise MessageFault("an element is cut short")
    more = head_length(octets[place : place + 2])
    begin = place + 2 + more
    size = int.from_bytes(octets[place + 2 : begin], "big") if more else octets[place + 1]
    if begin + size > len(octets):
        raise MessageFault("an element is cut short")
    return octets[place], octets[begin : begin + size], begin + size


def read_integer(content: bytes) -> int:
    if not 1 <= len(content) <= 5 or content[0] & 0x80:
        raise MessageFault("a number out of range")
    return int.from_bytes(content, "big")


def request(number: int, operation: bytes) -> bytes:
    return element(SEQUENCE, integer(number), operation)


def read_answer(octets: bytes) -> Answer:
    """Read a whole message. Raises MessageFault."""
    tag, content, _ = read_element(octets)
    if tag != SEQUENCE:
        raise MessageFault("this is no LDAP message")
    tag, number, place = read_element(content)
    if tag != INTEGER:
        raise MessageFault("a message without a number")
    operation, inner, _ = read_element(content, place)
    return Answer(read_integer(number), operation, inner)


def read_result(content: bytes) -> tuple[int, str]:
    """Code and words of a result (RFC 4511 section 4.1.9), for the log. Raises MessageFault."""
    tag, code, place = read_element(content)
    if tag != ENUMERATED:
        raise MessageFault("a result without a code")
    _, _, place = read_element(content, place)
    _, words, _ = read_element(content, place)
    value = read_integer(code)
    text = words.decode("utf-8", "replace").strip()
    return value, f"{_RESULTS.get(value, f'result {value}')}{f': {text[:200]}' if text else ''}"


def entry_name(content: bytes) -> str:
    """The name of an entry that a search found (RFC 4511 section 4.5.2). Raises MessageFault."""
    tag, name, _ = read_element(content)
    if tag != OCTETS:
        raise MessageFault("an entry without a name")
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise MessageFault("the name of an entry is no UTF-8") from wrong


def bind_request(name: str, password: bytes) -> bytes:
    """A simple bind (RFC 4513 section 5.1). A name without a password would be taken for anonymous: that is never sent."""
    if name and not password:
        raise ValueError("a name without a password proves nothing")
    return element(BIND, integer(3), element(OCTETS, name.encode()), element(0x80, password))


def search_request(base: str, scope: int, condition: bytes, *, size_limit: int, time_limit: int, attributes: Sequence[bytes] = ()) -> bytes:
    """A search (RFC 4511 section 4.5.1). `scope` 0: the object, 1: one level, 2: the subtree; aliases are not followed.

    Limits in entries and seconds. Without attributes only the names of entries come back.
    """
    wanted = [element(OCTETS, attribute) for attribute in attributes or (NO_ATTRIBUTES,)]
    return element(
        SEARCH,
        element(OCTETS, base.encode()),
        integer(scope, ENUMERATED),
        integer(0, ENUMERATED),
        integer(size_limit),
        integer(time_limit),
        element(BOOLEAN, b"\0"),
        condition,
        element(SEQUENCE, *wanted),
    )


def start_tls_request() -> bytes:
    return element(EXTENDED, element(0x80, START_TLS))


def abandon_request(number: int) -> bytes:
    return integer(number, ABANDON)


def unbind_request() -> bytes:
    return element(UNBIND)
