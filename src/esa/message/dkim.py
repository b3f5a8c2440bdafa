"""DKIM signatures (RFC 6376), with RSA as RFC 8301 asks and Ed25519 (RFC 8463): what is signed, and the field that says so.

Called for mail that leaves. Pure: keys are functions that sign octets. Content is signed as it goes over the wire: a bare CR or LF counts as the CRLF that the
client makes of it. `BodyDigest` takes a body in pieces of any size, in linear time.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Canonical = Literal["relaxed", "simple"]
Algorithm = Literal["rsa-sha256", "ed25519-sha256"]

# Signed where they stand, and signed as absent beyond that, so that nobody adds another of them (RFC 6376 section 8.15).
SEALED = ("from", "reply-to", "subject", "date", "to", "cc", "message-id", "mime-version", "content-type", "content-transfer-encoding")
# Signed where they stand (RFC 6376 section 5.4.1); what mailing lists and relays add later does no harm.
SIGNED = (
    "sender",
    "in-reply-to",
    "references",
    "auto-submitted",
    *(f"list-{word}" for word in ("id", "unsubscribe", "unsubscribe-post", "subscribe", "post", "owner", "archive", "help")),
)
MOST_OF_A_NAME = 20  # fields of one name that are signed, from the bottom; honest mail has one, or a few, and the signature names each
LINE_WIDTH = 76  # octets without CRLF, RFC 5322 section 2.1.1
_LINE_END = re.compile(rb"\r\n|\r|\n")
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_BLANKS = re.compile(rb"[ \t]+")
_BLANK = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key and where its public half is published: `selector`._domainkey.`domain`. `sign` gives the signature of octets."""

    domain: str
    selector: str
    algorithm: Algorithm
    sign: Callable[[bytes], bytes]
    lifetime: float = 0.0  # seconds after which a signature says that it is void; 0: never


class BodyDigest:
    """The digest of a body (RFC 6376 section 3.4.3 and 3.4.4), fed in pieces."""

    def __init__(self, canonical: Canonical = "relaxed") -> None:
        self._is_relaxed = canonical == "relaxed"
        self._digest = hashlib.sha256()
        self._held = b""  # white space and line ends at the end of what came: they may be the end of the body, or not
        self._is_empty = True

    def feed(self, chunk: bytes) -> None:
        data = self._held + chunk if self._held else chunk
        core = data.rstrip(_BLANK)
        self._held = data[len(core) :]
        if core:
            self._digest.update(self._canonical(core))
            self._is_empty = False

    def _canonical(self, data: bytes) -> bytes:
        if data.count(b"\n") != data.count(b"\r\n") or data.count(b"\r") != data.count(b"\r\n"):
            data = _LINE_END.sub(b"\r\n", data)
        if self._is_relaxed:  # in two steps: one expression for both would try each run of blanks at each of its octets
            data = _BLANKS.sub(b" ", data).replace(b" \r\n", b"\r\n")
        return data

    def digest(self) -> bytes:
        """SHA-256 of the body as canonicalised, if it ends here."""
        whole = self._digest.copy()
        end = b"" if self._is_relaxed else self._canonical(self._held).rstrip(b"\r\n")
        if not self._is_relaxed or not self._is_empty:  # an empty body is one CRLF when simple, and nothing when relaxed
            end += b"\r\n"
        whole.update(end)
        return whole.digest()


def fields_of(header: bytes) -> list[tuple[str, bytes]]:
    """(name in lower case, the field without its CRLF) from the top, of a header with or without the empty line behind it."""
    found: list[tuple[str, bytes]] = []
    for field in _FIELD_END.split(_LINE_END.sub(b"\r\n", header)):
        name, colon, _ = field.partition(b":")
        if colon:
            found.append((name.rstrip(b" \t").decode("latin-1").lower(), field))
    return found


def canonical_field(field: bytes, canonical: Canonical) -> bytes:
    """A field without its CRLF in the form that is signed (RFC 6376 section 3.4.1 and 3.4.2), without CRLF too."""
    if canonical == "simple":
        return field
    name, _, value = field.partition(b":")
    return name.rstrip(b" \t").lower() + b":" + _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")


def signature_fields(
    header: bytes,
    body_digest: bytes,
    keys: Sequence[SigningKey],
    *,
    now: float,
    canonical: tuple[Canonical, Canonical] = ("relaxed", "relaxed"),
) -> bytes:
    """A DKIM-Signature field for each key, with CRLF, to be put on top of the message.

    `header`: of the message, with its own line ends; `body_digest`: of `BodyDigest` in the second of `canonical`. `now`: Unix seconds. Where there is
    no From there is nothing to sign: b"".
    """
    by_name: dict[str, list[bytes]] = {}
    for name, field in fields_of(header):
        by_name.setdefault(name, []).append(field)
    if "from" not in by_name:
        return b""
    names, signed = [], b""
    for name in (*SEALED, *SIGNED):
        there = by_name.get(name, ())
        fields = there[-MOST_OF_A_NAME:]
        names += [name] * (len(fields) + (name in SEALED and len(fields) == len(there)))
        for field in reversed(fields):  # a name that stands in h= again means the one above (section 5.4.2)
            signed += canonical_field(field, canonical[0]) + b"\r\n"
    return b"".join(_signature_field(key, names, signed, body_digest, int(now), canonical) for key in keys)


def _signature_field(
    key: SigningKey,
    names: Sequence[str],
    signed: bytes,
    body_digest: bytes,
    now: int,
    canonical: tuple[Canonical, Canonical],
) -> bytes:
    tags = [f"a={key.algorithm};", f"c={'/'.join(canonical)};", f"d={key.domain};", f"s={key.selector};", f"t={now};"]
    if key.lifetime:
        tags.append(f"x={now + int(key.lifetime)};")
    *first, last = names
    tags += [f"h={first[0]}:" if first else "h=", *[f"{name}:" for name in first[1:]], f"{last};"]
    tags.append(f"bh={base64.b64encode(body_digest).decode('ascii')};")
    field = "\r\n\t".join(_lines("DKIM-Signature: v=1;", tags)) + "\r\n\tb="
    unsigned = field.encode("ascii")
    signature = base64.b64encode(key.sign(signed + canonical_field(unsigned, canonical[0]))).decode("ascii")
    width = LINE_WIDTH - 4
    pieces = [signature[at : at + width] for at in range(0, len(signature), width)]
    return unsigned + "\r\n\t ".join(pieces).encode("ascii") + b"\r\n"


def _lines(start: str, tags: Sequence[str]) -> Iterator[str]:
    line = start
    for tag in tags:
        joint = "" if line.endswith(":") else " "
        if len(line) + len(joint) + len(tag) > LINE_WIDTH:
            yield line
            line = tag
        else:
            line += joint + tag
    yield line


def tags_of(record: str) -> dict[str, str]:
    """The tags of a key record (RFC 6376 section 3.2), white space taken out of their values; of a tag that stands twice the first."""
    found: dict[str, str] = {}
    for tag in record.split(";"):
        name, equals, value = tag.partition("=")
        if equals:
            found.setdefault(name.strip(), "".join(value.split()))
    return found


def record_of(algorithm: Algorithm, public_key: bytes) -> str:
    """The text of the TXT record to publish (RFC 6376 section 3.6.1). `public_key`: SubjectPublicKeyInfo of RSA in DER, the 32 octets of Ed25519."""
    return f"v=DKIM1; k={algorithm.partition('-')[0]}; p={base64.b64encode(public_key).decode('ascii')}"
