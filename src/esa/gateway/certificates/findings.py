"""What is wrong with a certificate, its chain and its key, and how to mend it. `esa cert check`, `esa tlsverify` and the watch of expiry call it.

Pure: the time and the authorities are given. It looks for what administrators get wrong; whether a client would take a chain is asked of
OpenSSL (`trial` for files, the handshake for peers), and the two are said side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from esa.gateway.certificates.facts import days_left, digest_text, is_authority, issuer_address, key_text, name_text, openssl_time
from esa.gateway.certificates.files import belongs, extension
from esa.gateway.certificates.names import matching_name, names_of

WARNED_AT: Final = (60, 30, 14, 7, 1)  # days before the end; from 30 on somebody should act
ACT_AT = 30
RSA_LEAST, CURVE_LEAST = 2048, 256  # bits; less is refused by OpenSSL's default security level
_UNVERIFIED: Final = frozenset({"MD5", "SHA-1"})  # digests that can be forged, and that the library no longer verifies
Severity = Literal["fault", "warning", "note"]
Code = Literal[
    "no-certificate",
    "key-mismatch",
    "key-open",
    "wrong-order",
    "missing-intermediate",
    "unknown-authority",
    "self-signed",
    "stranger-in-chain",
    "root-in-chain",
    "expired",
    "not-yet-valid",
    "expires",
    "weak-key",
    "weak-digest",
    "no-names",
    "name-not-covered",
    "not-for-servers",
    "authority-as-server",
    "not-an-authority",
    "refused",
]


UNTRUSTED: Final = frozenset({"missing-intermediate", "unknown-authority", "self-signed"})  # codes that say why OpenSSL refuses a chain


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong. `fault`: clients will refuse it, or some will; `warning`: they will before long; `note`: nobody needs to act."""

    code: Code
    severity: Severity
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """The way from the server's certificate upwards: `links` in order, as places in the file from 0. `is_whole`: it ends at an authority."""

    links: tuple[int, ...]
    is_whole: bool


def examine(
    certificates: Sequence[x509.Certificate],
    key: PrivateKeyTypes | None = None,
    *,
    now: datetime,
    names: Sequence[str] = (),
    authorities: Sequence[x509.Certificate] = (),
) -> list[Finding]:
    """Everything wrong with a chain as a file or a server gives it; the worst that can be mended comes first.

    `names`: hosts that the first certificate must stand for. `authorities`: those that are trusted. The key, if given, must belong to it.
    """
    if not certificates:
        return [Finding("no-certificate", "fault", "there is no certificate", "write the server's first, the intermediate ones behind it")]
    found: list[Finding] = []
    first = _server(certificates, key)
    if key is not None and not any(belongs(key, one) for one in certificates):
        found.append(
            Finding(
                "key-mismatch",
                "fault",
                f"the key does not belong to the certificate: their public keys differ (the certificate's is {key_text(certificates[0])})",
                "use the key that the certificate was requested with, or request a new certificate: esa cert csr",
            )
        )
    path = path_of(certificates, first, authorities)
    found += _order(certificates, path)
    found += _completeness(certificates, path, authorities)
    for place in path.links:
        found += _times(certificates[place], now)
    for place in path.links:
        found += _strength(certificates[place])
    for place in path.links[1:]:
        if not is_authority(certificates[place]):
            what = f"{name_text(certificates[place].subject)} signed the one before it, but is no authority"
            found.append(Finding("not-an-authority", "fault", what, "have it signed by an authority"))
    found += _purpose(certificates[first], is_alone=len(certificates) == 1)
    found += coverage(certificates[first], names)
    return found


def _server(certificates: Sequence[x509.Certificate], key: PrivateKeyTypes | None) -> int:
    """Which one is the server's: that of the key, else the first that signed none of the others, else the first."""
    if key is not None:
        for place, one in enumerate(certificates):
            if belongs(key, one):
                return place
    for place, one in enumerate(certificates):
        if not any(has_signed(one, other) for other in certificates if other is not one) and not is_authority(one):
            return place
    return 0


def path_of(certificates: Sequence[x509.Certificate], first: int, authorities: Sequence[x509.Certificate]) -> Path:
    """Follow issuers from certificate `first` as far as they are there. It ends: each certificate stands in it once."""
    links = [first]
    by_subject: dict[bytes, list[x509.Certificate]] = {}
    for one in authorities:
        by_subject.setdefault(one.subject.public_bytes(), []).append(one)
    while True:
        top = certificates[links[-1]]
        if top.issuer == top.subject or any(has_signed(one, top) for one in by_subject.get(top.issuer.public_bytes(), ())):
            return Path(tuple(links), True)
        above = next((place for place, one in enumerate(certificates) if place not in links and has_signed(one, top)), None)
        if above is None:  # without any authority known, an intermediate certificate is taken to be all that is needed
            return Path(tuple(links), not authorities and len(links) > 1)
        links.append(above)


def has_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether `certificate` names `issuer` and bears its signature."""
    if issuer.subject != certificate.issuer:
        return False
    if is_forgeable(certificate):  # `_strength` finds it; the name has to do here, where nobody is trusted for it
        return True
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_forgeable(certificate: x509.Certificate) -> bool:
    """Whether its signature proves nothing: `has_signed` cannot verify it then."""
    return digest_text(certificate) in _UNVERIFIED


def _order(certificates: Sequence[x509.Certificate], path: Path) -> Iterator[Finding]:
    if list(path.links) != sorted(path.links) or path.links[0] != 0:
        order = ", ".join(str(place + 1) for place in path.links)
        subjects = " → ".join(name_text(certificates[place].subject) for place in path.links)
        yield Finding(
            "wrong-order",
            "fault",
            "the certificates stand in the wrong order: the server's comes first, each next one signs the one before",
            f"write them in the order {order}: {subjects}",
        )
    for place, one in enumerate(certificates):
        if place not in path.links and not any(has_signed(one, other) for other in certificates if other is not one):
            yield Finding(
                "stranger-in-chain",
                "warning",
                f"certificate {place + 1}, {name_text(one.subject)}, has no part in the chain",
                "take it out: every client is sent it for nothing",
            )
        elif place != path.links[0] and one.issuer == one.subject:
            what = f"the root {name_text(one.subject)} is sent along: clients that trust it have it"
            yield Finding("root-in-chain", "note", what, "take it out")


def _completeness(certificates: Sequence[x509.Certificate], path: Path, authorities: Sequence[x509.Certificate]) -> Iterator[Finding]:
    top = certificates[path.links[-1]]
    address = issuer_address(top)
    if not path.is_whole and len(path.links) == 1:
        yield Finding(
            "missing-intermediate",
            "fault",
            f"the intermediate certificate {name_text(top.issuer)} is missing: {name_text(top.subject)} is signed by it, "
            "and it is no authority that is trusted here",
            f"append it, in PEM; the authority publishes it at {address}"
            if address
            else "append it, in PEM, from where the certificate came from; if it is an authority of your own, name it with --authorities",
        )
    elif not path.is_whole or (len(path.links) > 1 and top.issuer == top.subject and authorities and top not in authorities):
        yield Finding(
            "unknown-authority",
            "warning",
            f"the chain leads to {name_text(top.issuer)}, which is no authority that is trusted here: who does not know it refuses the chain",
            "if it is an authority of your own, name it with --authorities; else an intermediate certificate is missing"
            + (f", see {address}" if address else ""),
        )
    elif len(path.links) == 1 and top.issuer == top.subject and top not in authorities:
        yield Finding(
            "self-signed",
            "warning",
            "the certificate is signed by itself: who verifies refuses it, who only encrypts takes it",
            "have it signed by an authority (esa cert csr), or publish it by DANE (TLSA 3 1 1)",
        )


def _times(certificate: x509.Certificate, now: datetime) -> Iterator[Finding]:
    who = name_text(certificate.subject)
    end, begin = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    left = days_left(certificate, now)
    if end < now:
        what = f"{who} has expired: notAfter={openssl_time(end)}, {-left} day{'' if left == -1 else 's'} ago"
        yield Finding("expired", "fault", what, "renew it, and have it read: kill -HUP the running esa serve")
    elif begin > now:
        what = f"{who} is not valid yet: notBefore={openssl_time(begin)}"
        yield Finding("not-yet-valid", "fault", what, "wait until then, or set the clock of this machine right")
    elif (step := warned_at(left, (end - begin).days)) is not None:
        what = f"{who} ends in {left} day{'' if left == 1 else 's'}: notAfter={openssl_time(end)}"
        yield Finding("expires", "warning" if step <= ACT_AT else "note", what, "renew it")


def warned_at(left: int, lifetime: int) -> int | None:
    """The step of WARNED_AT that a certificate with so many days left, of `lifetime` in all, has reached; None if there is none.

    Steps in the first half of its life are left out: one of 90 days is renewed with 30 left, and nobody needs to hear of it at 60.
    """
    return min((step for step in WARNED_AT if left <= step <= lifetime / 2), default=None)


def _strength(certificate: x509.Certificate) -> Iterator[Finding]:
    who = name_text(certificate.subject)
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        yield Finding("weak-key", "fault", f"{who} has a key of an unknown kind", "request one with an ECDSA P-256 or RSA 2048 key")
        return
    weak = (
        (isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_LEAST)
        or (isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < CURVE_LEAST)
        or isinstance(key, dsa.DSAPublicKey)
    )
    if weak:
        what = f"{who} has a weak key, {key_text(certificate)}: under RSA {RSA_LEAST} and ECDSA P-{CURVE_LEAST} clients refuse it"
        yield Finding("weak-key", "fault", what, "request a certificate for a new key: esa cert csr --key-type ecdsa")
    if certificate.issuer == certificate.subject:
        return  # nobody looks at the signature of a root
    if (digest := digest_text(certificate)) in _UNVERIFIED:
        what = f"{who} is signed with {digest}, which can be forged; clients refuse it"
        yield Finding("weak-digest", "fault", what, "have it issued again; every authority signs with SHA-256 or better")


def _purpose(certificate: x509.Certificate, *, is_alone: bool) -> Iterator[Finding]:
    if is_authority(certificate) and not (is_alone and certificate.issuer == certificate.subject):
        what = f"{name_text(certificate.subject)} is an authority's certificate, not a server's"
        yield Finding("authority-as-server", "fault", what, "put the server's certificate first")
    usages = extension(certificate, x509.ExtendedKeyUsage)
    if usages is not None and not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usages):
        yield Finding("not-for-servers", "fault", "the certificate is not for servers (extendedKeyUsage)", "request one for a TLS server")


def coverage(certificate: x509.Certificate, names: Sequence[str]) -> Iterator[Finding]:
    """Names that the certificate must stand for and does not."""
    has = names_of(certificate)
    if not has.dns and not has.addresses:
        common = f"; the common name {has.common} no longer counts (RFC 9525)" if has.common else ""
        yield Finding(
            "no-names", "fault", f"the certificate stands for no name: it has no subjectAltName{common}", "request it with its names"
        )
    for name in names:
        if matching_name(certificate, name) is None:
            mend = f"request a certificate with {name} among its names, or name the host as the certificate does"
            yield Finding("name-not-covered", "fault", f"the certificate does not stand for {name}, but for {has}", mend)


def names_missing(certificates: Sequence[x509.Certificate], names: Sequence[str]) -> set[str]:
    """Those of `names` that none of the certificates stands for."""
    return {name for name in names if all(matching_name(one, name) is None for one in certificates)}
