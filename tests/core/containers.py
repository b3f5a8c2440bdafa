"""Containers for tests, written by the letter of their specifications: TNEF (MS-OXTNEF), compressed rich text (MS-OXRTFCP), CMS (RFC 5652).

The plain twins of what the core opens: these write, the core reads.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
COMPRESSED_DATA = bytes.fromhex("2a864886f70d0109100109")
ZLIB_COMPRESS = bytes.fromhex("2a864886f70d0109100308")
ENVELOPED_DATA = bytes.fromhex("2a864886f70d010703")
DATA = bytes.fromhex("2a864886f70d010701")


# ---- TNEF ----


def attribute(level: int, identifier: int, data: bytes) -> bytes:
    """One attribute with its checksum (the sum of its octets)."""
    return struct.pack("<BII", level, identifier, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def variable(kind: int, identifier: int, *values: bytes) -> bytes:
    """A property of variable length: string8 0x1E, unicode 0x1F, object 0x0D, binary 0x102."""
    return struct.pack("<HHI", kind, identifier, len(values)) + b"".join(struct.pack("<I", len(one)) + padded(one) for one in values)


def fixed(kind: int, identifier: int, value: bytes) -> bytes:
    return struct.pack("<HH", kind, identifier) + padded(value)


def named(kind: int, identifier: int, name: str, value: bytes) -> bytes:
    """A named property of variable length."""
    written = name.encode("utf-16-le") + b"\0\0"
    head = struct.pack("<HH", kind, identifier) + bytes(16) + struct.pack("<II", 1, len(written)) + padded(written)
    return head + struct.pack("<II", 1, len(value)) + padded(value)


def properties(*written: bytes) -> bytes:
    return struct.pack("<I", len(written)) + b"".join(written)


def tnef(*attributes: bytes, page: int = 1252) -> bytes:
    return struct.pack("<IH", 0x223E9F78, 1) + attribute(1, 0x00069007, struct.pack("<II", page, 0)) + b"".join(attributes)


def attachment(content: bytes, *, title: bytes = b"", long_name: str = "") -> bytes:
    written = attribute(2, 0x00069002, bytes(14))
    if title:
        written += attribute(2, 0x00018010, title + b"\0")
    written += attribute(2, 0x0006800F, content)
    if long_name:
        written += attribute(2, 0x00069005, properties(variable(0x1F, 0x3707, long_name.encode("utf-16-le") + b"\0\0")))
    return written


def attached_message(inner: bytes) -> bytes:
    """An attachment that is a message: an object of interface IMessage."""
    interface = bytes.fromhex("0703020000000000c000000000000046")
    return attribute(2, 0x00069002, bytes(14)) + attribute(2, 0x00069005, properties(variable(0x0D, 0x3701, interface + inner)))


def message_properties(*written: bytes) -> bytes:
    return attribute(1, 0x00069003, properties(*written))


# ---- rich text ----

DICTIONARY = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans SerifSymbolArial"
    rb"Times New RomanCourier{\colortbl\red0\green0\blue0" + b"\r\n" + rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)


def packed(rich: bytes) -> bytes:
    """Compressed rich text: references into the dictionary wherever four octets or more repeat."""
    window = bytearray(DICTIONARY)
    tokens: list[tuple[int, bytes]] = []
    at = 0
    while at < len(rich):
        for length in range(min(17, len(rich) - at), 3, -1):
            found = bytes(window).rfind(rich[at : at + length])
            if found >= 0 and len(window) - found < 4000 and found + length <= len(window):
                offset = found % 4096
                tokens.append((1, struct.pack(">H", offset << 4 | (length - 2))))
                window += rich[at : at + length]
                at += length
                break
        else:
            tokens.append((0, rich[at : at + 1]))
            window += rich[at : at + 1]
            at += 1
    tokens.append((1, struct.pack(">H", (len(window) % 4096) << 4)))
    body = b""
    for start in range(0, len(tokens), 8):
        group = tokens[start : start + 8]
        body += bytes([sum(bit << place for place, (bit, _) in enumerate(group))]) + b"".join(token for _, token in group)
    return struct.pack("<III", len(body) + 12, len(rich), 0x75465A4C) + struct.pack("<I", 0) + body


# ---- CMS ----


def element(tag: int, content: bytes, *, indefinite: bool = False) -> bytes:
    if indefinite:
        return bytes([tag, 0x80]) + content + b"\0\0"
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def encapsulated(content: bytes | None, *, indefinite: bool, pieces: Iterable[int], nested: bool) -> bytes:
    """EncapsulatedContentInfo. `pieces`: lengths of the octet strings that the content is cut into; `nested` puts each into one more string."""
    inner = element(0x06, DATA)
    if content is not None:
        cut, at = [], 0
        for length in pieces:
            cut.append(content[at : at + length])
            at += length
        if cut:
            cut.append(content[at:])
            strings = [element(0x04, piece) for piece in cut]
            if nested:
                strings = [element(0x24, string, indefinite=indefinite) for string in strings]
            text = element(0x24, b"".join(strings), indefinite=indefinite)
        else:
            text = element(0x04, content)
        inner += element(0xA0, text, indefinite=indefinite)
    return element(0x30, inner, indefinite=indefinite)


def content_info(kind: bytes, body: bytes, *, indefinite: bool) -> bytes:
    inner = element(0xA0, element(0x30, body, indefinite=indefinite), indefinite=indefinite)
    return element(0x30, element(0x06, kind) + inner, indefinite=indefinite)


def signed(content: bytes | None, *, indefinite: bool = False, pieces: Iterable[int] = (), nested: bool = False) -> bytes:
    """Signed-data without signers (RFC 5652 5.1 allows none), around `content`, or detached."""
    algorithms = element(0x31, element(0x30, element(0x06, bytes.fromhex("608648016503040201"))))
    inside = encapsulated(content, indefinite=indefinite, pieces=pieces, nested=nested)
    return content_info(SIGNED_DATA, element(0x02, b"\1") + algorithms + inside + element(0x31, b""), indefinite=indefinite)


def compressed(packed: bytes | None, *, indefinite: bool = False, pieces: Iterable[int] = (), nested: bool = False) -> bytes:
    """Compressed-data (RFC 3274 1.1) around a zlib stream."""
    inside = encapsulated(packed, indefinite=indefinite, pieces=pieces, nested=nested)
    return content_info(COMPRESSED_DATA, element(0x02, b"\0") + element(0x30, element(0x06, ZLIB_COMPRESS)) + inside, indefinite=indefinite)
