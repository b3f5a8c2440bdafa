"""DKIM: what is signed, and the field that says so. Verified by a reader of its own, of RFC 6376, and against messages that other programs signed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from esa.gateway.delivery.signing import algorithm_of, make_key, signer_of
from esa.message.dkim import (
    SEALED,
    BodyDigest,
    Canonical,
    SigningKey,
    canonical_field,
    fields_of,
    record_of,
    signature_fields,
)

CANONICALS: list[Canonical] = ["relaxed", "simple"]
# The message and the Ed25519 key of RFC 8463 appendix A.
JOE = (
    b"From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n"
    b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
)
JOES_SIGNATURE = (
    b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n"
    b" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n"
    b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
    b" Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
)
JOES_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))
RSA = make_key("rsa-sha256")


def signing_key(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = JOES_KEY, *, lifetime: float = 0.0) -> SigningKey:
    return SigningKey("football.example.com", "brisbane", algorithm_of(key), signer_of(key), lifetime)


def split(content: bytes) -> tuple[bytes, bytes]:
    header, _, body = content.partition(b"\r\n\r\n")
    return header + b"\r\n", body


def digest_of(body: bytes, canonical: Canonical = "relaxed") -> bytes:
    digest = BodyDigest(canonical)
    digest.feed(body)
    return digest.digest()


def sign(content: bytes, *keys: SigningKey, canonical: tuple[Canonical, Canonical] = ("relaxed", "relaxed")) -> bytes:
    """The message with its signatures on top."""
    header, body = split(content)
    return signature_fields(header, digest_of(body, canonical[1]), keys, now=1528637909, canonical=canonical) + content


def verifies(content: bytes, key: object, which: int = 0) -> bool:
    """Whether the signature field number `which` from the top holds: RFC 6376 section 6.1.3, with nothing of the signer but the canonical forms."""
    header, body = split(content)
    fields = fields_of(header)
    place = [number for number, (name, _) in enumerate(fields) if name == "dkim-signature"][which]
    field = fields[place][1]
    tags = {
        name.strip(): value.strip()
        for name, _, value in (tag.partition("=") for tag in field.partition(b":")[2].decode().split(";") if tag.strip())
    }
    forms = cast("list[Canonical]", [*tags.get("c", "simple/simple").split("/"), "simple"][:2])
    if base64.b64encode(digest_of(body, forms[1])).decode() != re.sub(r"\s", "", tags["bh"]):
        return False
    left = [one for number, one in enumerate(fields) if number != place]
    signed = b""
    for name in tags["h"].split(":"):
        found = next((number for number in range(len(left) - 1, -1, -1) if left[number][0] == name.strip().lower()), None)
        if found is not None:
            signed += canonical_field(left.pop(found)[1], forms[0]) + b"\r\n"
    bare = re.sub(rb"([;:]\s*b=)[^;]*", rb"\1", field)
    signed += canonical_field(bare, forms[0])
    signature = base64.b64decode(re.sub(r"\s", "", tags["b"]))
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            cast("ed25519.Ed25519PublicKey", key).verify(signature, hashlib.sha256(signed).digest())
    except InvalidSignature:
        return False
    return True


def test_the_signature_of_the_standard_holds_in_our_canonical_forms() -> None:
    assert verifies(JOES_SIGNATURE + JOE, JOES_KEY.public_key())
    assert not verifies(JOES_SIGNATURE + JOE.replace(b"hungry", b"thirsty"), JOES_KEY.public_key())
    assert not verifies(JOES_SIGNATURE + JOE.replace(b"dinner", b"supper"), JOES_KEY.public_key())


def test_every_message_of_the_pack_that_should_pass_does(pack: Callable[[str], Path]) -> None:
    folder = pack("dkim-generated")
    records: Mapping[str, str] = {
        name: text for name, text in json.loads((folder / "dns.json").read_text()).items() if isinstance(text, str)
    }
    seen = 0
    for case in json.loads((folder / "cases.json").read_text()):
        content = (folder / case["file"]).read_bytes()
        found = re.search(rb"(?im)^dkim-signature:(?:[^\n]|\n[ \t])*", content)
        if case["expect"] != "pass" or found is None:
            continue
        if b"l=" in re.sub(rb"\b(bh|b)=[^;]*", b"", found[0]):
            continue  # a signature of a part of the body: ours never are
        domain, selector = re.search(rb"[:;]\s*d=([^;\s]+)", found[0]), re.search(rb"[:;]\s*s=([^;\s]+)", found[0])
        assert domain is not None
        assert selector is not None
        record = records[f"{selector[1].decode()}._domainkey.{domain[1].decode()}"]
        published = re.search(r"(?:^|;)\s*p\s*=([^;]*)", record)
        assert published is not None
        octets = base64.b64decode(re.sub(r"\s", "", published[1]))
        public = ed25519.Ed25519PublicKey.from_public_bytes(octets) if len(octets) == 32 else serialization.load_der_public_key(octets)
        assert verifies(content, public), case["file"]
        seen += 1
    assert seen >= 20


@pytest.mark.parametrize("header", CANONICALS)
@pytest.mark.parametrize("body", CANONICALS)
@pytest.mark.parametrize("key", [JOES_KEY, RSA], ids=["ed25519", "rsa"])
def test_what_is_signed_holds_in_all_canonical_forms(header: Canonical, body: Canonical, key: rsa.RSAPrivateKey) -> None:
    content = sign(JOE, signing_key(key), canonical=(header, body))
    assert verifies(content, key.public_key())
    assert not verifies(content + b"PS", key.public_key())
    assert not verifies(content.replace(b"To: Suzie", b"To: Susie"), key.public_key())


def test_two_keys_sign_beside_each_other() -> None:
    content = sign(JOE, signing_key(RSA), signing_key())
    assert verifies(content, RSA.public_key(), 0)
    assert verifies(content, JOES_KEY.public_key(), 1)


@pytest.mark.parametrize("name", SEALED)
def test_nobody_adds_a_second_field_of_those_that_readers_look_at(name: str) -> None:
    content = sign(JOE, signing_key())
    signatures, rest = content[: -len(JOE)], content[-len(JOE) :]
    forged = name.encode() + b": x@evil.example\r\n"
    assert not verifies(signatures + forged + rest, JOES_KEY.public_key())
    header, body = split(content)
    assert not verifies(header + forged + b"\r\n" + body, JOES_KEY.public_key())


def test_fields_of_relays_and_lists_may_come_on_top() -> None:
    content = sign(JOE, signing_key())
    assert verifies(b"Received: by mx.example\r\nX-Esa-Id: 1\r\nList-Id: <l.example>\r\n" + content, JOES_KEY.public_key())


def test_lines_are_short_and_ascii_and_the_fields_end_in_crlf() -> None:
    fields = sign(JOE, signing_key(RSA, lifetime=86400))[: -len(JOE)]
    assert fields.isascii()
    assert fields.endswith(b"\r\n")
    assert max(map(len, fields.split(b"\r\n"))) <= 78
    assert b"t=1528637909; x=1528724309;" in re.sub(rb"\s+", b" ", fields)


def test_without_an_author_there_is_no_signature() -> None:
    assert signature_fields(b"Subject: x\r\n", digest_of(b""), [signing_key()], now=0) == b""


def test_a_thousand_fields_of_one_name_make_no_endless_signature() -> None:
    content = b"To: a@example.com\r\n" * 1000 + JOE
    signed = sign(content, signing_key())
    assert len(signed) - len(content) < 2000
    assert verifies(signed, JOES_KEY.public_key())


def test_bare_line_ends_are_signed_as_the_crlf_that_they_leave_as() -> None:
    assert digest_of(b"a\nb\rc \r\r\n\n") == digest_of(b"a\r\nb\r\nc\r\n")
    assert [name for name, _ in fields_of(b"From: a\nTo: b\rCc: c\r\n d\r\n")] == ["from", "to", "cc"]


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n\r\n", b"\r\n", b""),
        (b"a", b"a\r\n", b"a\r\n"),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),  # RFC 6376 section 3.4.5
        (b"a \r\n \r\n", b"a \r\n \r\n", b"a\r\n"),
        (b"a \r\n \r\n\r\n", b"a \r\n \r\n", b"a\r\n"),
    ],
)
def test_bodies_take_the_forms_of_the_standard(body: bytes, simple: bytes, relaxed: bytes) -> None:
    assert digest_of(body, "simple") == hashlib.sha256(simple).digest()
    assert digest_of(body, "relaxed") == hashlib.sha256(relaxed).digest()


@given(st.lists(st.text("ab \t\r\n", max_size=12).map(str.encode), max_size=12), st.sampled_from(CANONICALS))
def test_pieces_of_a_body_give_what_the_whole_gives(pieces: list[bytes], canonical: Canonical) -> None:
    digest = BodyDigest(canonical)
    for piece in pieces:
        digest.feed(piece)
    assert digest.digest() == digest_of(b"".join(pieces), canonical)


def test_a_record_says_kind_and_key() -> None:
    public = JOES_KEY.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    assert record_of("ed25519-sha256", public) == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
