"""Certificates as they come from files and from hostile servers: they are read, or refused at the door."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.gateway.certificates.facts import facts_of
from esa.gateway.certificates.files import parse
from esa.gateway.certificates.findings import examine
from esa.gateway.certificates.names import matching_name, names_of
from esa.gateway.peers import dane
from esa.gateway.peers.answers import Tlsa
from tests.gateway.chains import HOST, Chains, issue


@cache
def octets() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        chains = Chains(Path(folder))
        made = (chains.server(HOST, "192.0.2.1"), chains.server(key="ed25519"), chains.intermediate)
    return tuple(one.certificate.public_bytes(Encoding.DER) for one in made)


def look_at(certificate: x509.Certificate) -> None:
    """Everything that is ever asked of a certificate from outside."""
    now = datetime.now(UTC)
    other = parse(octets()[2])
    facts_of(certificate, now)
    matching_name(certificate, HOST)
    examine([certificate, other], now=now, names=[HOST])
    examine([parse(octets()[0]), certificate], now=now, authorities=[other])
    dane.match([Tlsa(2, 0, 0, octets()[2]), Tlsa(3, 1, 1, b"x"), Tlsa(2, 9, 9, b"")], [certificate, other], names=[HOST], now=now)


@settings(deadline=None)
@given(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=3))
def test_what_is_read_can_be_asked_everything(which: int, changes: list[tuple[int, int]]) -> None:
    altered = bytearray(octets()[which])
    for place, octet in changes:
        altered[place % len(altered)] = octet
    try:
        certificate = parse(bytes(altered))
    except ValueError:
        return
    look_at(certificate)


def test_a_name_that_is_no_text_is_refused_at_the_door() -> None:
    good = octets()[0]
    place = good.index(HOST.encode())
    with pytest.raises(ValueError, match="parsing asn1"):
        parse(good[:place] + b"\xff" + good[place + 1 :])


def test_alternative_names_of_a_kind_that_nobody_uses_stand_for_nothing() -> None:
    x400 = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x02\xa3\x00")
    certificate = parse(issue(HOST, by=None, extensions=[x400]).certificate.public_bytes(Encoding.DER))
    assert names_of(certificate).dns == ()
    look_at(certificate)
