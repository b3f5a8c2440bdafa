"""Search filters of LDAP with places for what is looked for: RFC 4515, read once, encoded anew for each search.

    (|(mail={a})(proxyAddresses=smtp:{a}))        {a} address, {u} local part, {d} domain, as AsyncOS writes them

A value goes into the encoded filter as octets with their length before them, and never through text. Nothing that a client says can
therefore change what the filter asks, and nothing has to be escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from esa.errors import SyntaxFault
from esa.gateway.directory.ldap_message import OCTETS, SEQUENCE, element

DEPTH = 30  # of brackets
_PLACES = {"{a}": "address", "{u}": "local_part", "{d}": "domain"}
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*(?:;[A-Za-z0-9-]+)*|\d+(?:\.\d+)+")
_RULE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+")
_PIECE = re.compile(r"\{[a-z]*\}|\\[0-9A-Fa-f]{2}|[^\\*(){}\0]+")
_KINDS = {"=": 0xA3, ">=": 0xA5, "<=": 0xA6, "~=": 0xA8}
Value = tuple[bytes | str, ...]  # octets as they are, and names of places


@dataclass(frozen=True, slots=True)
class _Node:
    """`tag` of RFC 4511 section 4.5.1.7; nodes below it, or an attribute and its values with their tags."""

    tag: int
    below: tuple[_Node, ...] = ()
    attribute: bytes = b""
    values: tuple[tuple[int, Value], ...] = ()


class Filter:
    """A filter as written. Raises SyntaxFault, with the place."""

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._place = 0
        self._root = self._read(0)
        if self._place != len(self._text):
            raise self._fault("something stands behind the filter")

    def encode(self, values: Mapping[str, str]) -> bytes:
        """The filter with `address`, `local_part` and `domain` put in."""
        return _encode(self._root, {name: value.encode() for name, value in values.items()})

    @property
    def has_places(self) -> bool:
        """Whether it asks for the recipient at all."""
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            waiting += node.below
            if any(isinstance(piece, str) for _, value in node.values for piece in value):
                return True
        return False

    # --- reading

    def _fault(self, what: str) -> SyntaxFault:
        return SyntaxFault(f"{what}, at {self._text[self._place : self._place + 20]!r}", mend="write a filter as (mail={a}), RFC 4515")

    def _take(self, word: str) -> bool:
        found = self._text.startswith(word, self._place)
        self._place += len(word) if found else 0
        return found

    def _read(self, depth: int) -> _Node:
        if depth > DEPTH:
            raise self._fault("too many brackets")
        if not self._take("("):
            raise self._fault("a filter begins with (")
        if self._take("!"):
            node = _Node(0xA2, (self._read(depth + 1),))
        elif (is_and := self._take("&")) or self._take("|"):
            below = []
            while self._text.startswith("(", self._place):
                below.append(self._read(depth + 1))
            if not below:
                raise self._fault("nothing to join")
            node = _Node(0xA0 if is_and else 0xA1, tuple(below))
        else:
            node = self._item()
        if not self._take(")"):
            raise self._fault("a ) is missing")
        return node

    def _item(self) -> _Node:
        match = _ATTRIBUTE.match(self._text, self._place)
        self._place = match.end() if match else self._place
        attribute = match.group().encode() if match else b""
        if self._text.startswith(":", self._place):
            return self._extensible(attribute)
        if not attribute:
            raise self._fault("an attribute is missing")
        sign = next((sign for sign in (">=", "<=", "~=", "=") if self._take(sign)), None)
        if sign is None:
            raise self._fault("one of = >= <= ~= is missing")
        parts: list[Value] = [self._value()]
        while sign == "=" and self._take("*"):
            parts.append(self._value())
        if len(parts) == 1:
            return _Node(_KINDS[sign], (), attribute, ((OCTETS, parts[0]),))
        if parts == [(), ()]:
            return _Node(0x87, (), attribute)
        tags = [0x80, *[0x81] * (len(parts) - 2), 0x82]
        return _Node(0xA4, (), attribute, tuple((tag, part) for tag, part in zip(tags, parts, strict=True) if part))

    def _extensible(self, attribute: bytes) -> _Node:
        """`attribute:dn:rule:=value`, as the bit rules of Active Directory."""
        values: list[tuple[int, Value]] = []
        has_dn = self._take(":dn")
        if not self._text.startswith(":=", self._place) and self._take(":"):
            match = _RULE.match(self._text, self._place)
            if match is None:
                raise self._fault("a matching rule is missing")
            self._place = match.end()
            values.append((0x81, (match.group().encode(),)))
        if not self._take(":=") or not (attribute or values):
            raise self._fault("a := is missing")
        if attribute:
            values.append((0x82, (attribute,)))
        values.append((0x83, self._value()))
        if has_dn:
            values.append((0x84, (b"\xff",)))
        return _Node(0xA9, (), b"", tuple(values))

    def _value(self) -> Value:
        pieces: list[bytes | str] = []
        while match := _PIECE.match(self._text, self._place):
            piece = match.group()
            if piece.startswith("{"):
                if piece not in _PLACES:
                    raise self._fault("there are only {a}, {u} and {d}")
                pieces.append(_PLACES[piece])
            else:
                pieces.append(bytes.fromhex(piece[1:]) if piece.startswith("\\") else piece.encode())
            self._place = match.end()
        return tuple(pieces)


def _encode(node: _Node, values: Mapping[str, bytes]) -> bytes:
    if node.below:
        return element(node.tag, *[_encode(one, values) for one in node.below])
    if node.tag == 0x87:
        return element(node.tag, node.attribute)
    encoded = [
        element(tag, b"".join(piece if isinstance(piece, bytes) else values[piece] for piece in value)) for tag, value in node.values
    ]
    if node.tag == 0xA4:
        return element(node.tag, element(OCTETS, node.attribute), element(SEQUENCE, *encoded))
    return element(node.tag, *([element(OCTETS, node.attribute)] if node.attribute else []), *encoded)
