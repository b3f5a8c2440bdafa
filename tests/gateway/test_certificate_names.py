"""Whom a certificate stands for (RFC 9525)."""

from __future__ import annotations

import pytest

from esa.gateway.certificates.names import matching_name
from tests.gateway.chains import issue


@pytest.mark.parametrize(
    ("presented", "reference", "matches"),
    [
        ("mx.example.org", "mx.example.org", True),
        ("mx.example.org", "MX.Example.ORG.", True),
        ("mx.example.org", "mx.example.com", False),
        ("mx.example.org", "a.mx.example.org", False),
        ("*.example.org", "mx.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "a.mx.example.org", False),
        ("*.example.org", ".example.org", False),
        ("m*.example.org", "mx.example.org", False),
        ("*x.example.org", "mx.example.org", False),
        ("mx.*.org", "mx.example.org", False),
        ("*.*.example.org", "a.b.example.org", False),
        ("*.org", "example.org", False),
        ("*", "localhost", False),
        ("*", "*", False),
        ("*.example.org", "*.example.org", True),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("*.xn--bcher-kva.example", "mx.bücher.example", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "[2001:DB8:0::1]", True),
        ("2001:db8::1", "[IPv6:2001:db8::1]", True),
    ],
)
def test_a_name_matches_as_rfc_9525_says(presented: str, reference: str, matches: bool) -> None:
    certificate = issue("x", by=None, names=[presented]).certificate
    assert (matching_name(certificate, reference) is not None) == matches


def test_a_dns_name_is_no_address() -> None:
    certificate = issue("192.0.2.1", by=None, names=["mx.example.org"]).certificate
    assert matching_name(certificate, "192.0.2.1", common_name=True) is None


def test_the_common_name_counts_only_for_who_asks_and_without_dns_names() -> None:
    bare = issue("mx.example.org", by=None).certificate
    assert matching_name(bare, "mx.example.org") is None
    assert matching_name(bare, "mx.example.org", common_name=True) == "mx.example.org"
    named = issue("mx.example.org", by=None, names=["other.example.org"]).certificate
    assert matching_name(named, "mx.example.org", common_name=True) is None
