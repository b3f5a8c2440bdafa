"""DANE for mail (RFC 7672): whether TLSA records fit the chain that a server showed. Pure but for the questions; `domain` calls it.

No authority is trusted. Usage 3 (DANE-EE) is the server's own key or certificate: neither name nor times count. Usage 2 (DANE-TA) is an authority
in the chain: signatures, times and name count. Usages 0 and 1 are not for mail.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from esa.engine.resolver import Outcome
from esa.gateway.certificates.facts import digest_text, is_authority, name_text
from esa.gateway.certificates.files import UNREADABLE, extension, public_octets
from esa.gateway.certificates.findings import has_signed, is_forgeable
from esa.gateway.certificates.names import matching_name
from esa.gateway.peers.answers import Answer, PeerResolver, Tlsa
from esa.policy.tls_modes import Dane

AUTHORITY, SERVER = 2, 3
_FOR_SERVERS: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
_LOOKED_INTO: Final = (
    *(x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName),
    *(x509.AuthorityKeyIdentifier, x509.SubjectKeyIdentifier, x509.CertificatePolicies),
)
Verdict = tuple[Dane, str]


class Promise(NamedTuple):
    """What TLSA records promise of a server: those of use, and the name they stand under; or `state`, what is known without any, and why."""

    state: Dane | None
    reason: str = ""
    records: tuple[Tlsa, ...] = ()
    base: str = ""


async def ask(resolver: PeerResolver, host: str, port: int, *, is_host_sure: bool) -> Promise:
    """The usable TLSA records of a server: under the name that its aliases lead to, else under its own (RFC 7672 section 2.2.2).

    `is_host_sure`: the name of the server comes from a validated answer, or from an administrator.
    """
    if not is_host_sure:
        return Promise(Dane.ABSENT, "the MX records are not signed (DNSSEC), so they may be forged")
    addresses = await resolver.addresses(host)
    if addresses.outcome is Outcome.FAILED:
        return Promise(Dane.UNKNOWN, f"the name servers do not answer for the addresses of {host}")
    if not addresses.is_validated:
        return Promise(Dane.ABSENT, f"the zone of {host} is not signed (DNSSEC)")
    found = Promise(Dane.ABSENT)
    for base in filter(None, (addresses.canonical, host)):
        found = _promise(await resolver.tlsa(f"_{port}._tcp.{base}"), base)
        if found.state is not Dane.ABSENT:
            break
    return found


def _promise(answer: Answer[Tlsa], base: str) -> Promise:
    if answer.outcome is Outcome.FAILED:
        return Promise(Dane.UNKNOWN, f"the name servers do not answer for the TLSA records of {base}")
    if not answer.is_validated:
        return Promise(Dane.ABSENT, f"the TLSA records of {base} are not signed (DNSSEC)")
    if answer.outcome is Outcome.NOTHING:
        return Promise(Dane.ABSENT, "there are no TLSA records")
    usable = tuple(
        one for one in answer.values if one.usage in (AUTHORITY, SERVER) and one.selector in (0, 1) and one.matching in (0, 1, 2)
    )
    if not usable:
        return Promise(Dane.UNUSABLE, "no TLSA record is of a kind that mail takes (2 or 3)")
    return Promise(None, "", usable, base)


def match(records: Sequence[Tlsa], chain: Sequence[x509.Certificate], *, names: Sequence[str], now: datetime) -> Verdict:
    """Whether one of the records fits. `names`: the server's and the domain's, of which an authority's certificate must stand for one."""
    if not chain:
        return Dane.MISMATCHED, "the server showed no certificate"
    reasons = []
    for record in records:
        if record.usage == SERVER:
            if fits(record, chain[0]):
                return Dane.MATCHED, f"TLSA {record} is the server's"
            continue
        for place, one in enumerate(chain[1:], 1):
            if fits(record, one):
                reason = _refusal(chain, place, names, now)
                if not reason:
                    return Dane.MATCHED, f"TLSA {record} is its authority, {name_text(one.subject)}"
                reasons.append(reason)
    return Dane.MISMATCHED, reasons[0] if reasons else f"none of {len(records)} TLSA records fits the certificate"


def fits(record: Tlsa, certificate: x509.Certificate) -> bool:
    """Whether a record is that of a certificate (RFC 6698 section 2.1)."""
    try:
        octets = public_octets(certificate.public_key()) if record.selector == 1 else certificate.public_bytes(Encoding.DER)
    except (ValueError, UnsupportedAlgorithm):
        return False
    match record.matching:
        case 0:
            return hmac.compare_digest(octets, record.data)
        case 1:
            return hmac.compare_digest(hashlib.sha256(octets).digest(), record.data)
        case 2:
            return hmac.compare_digest(hashlib.sha512(octets).digest(), record.data)
        case _:
            return False


def _refusal(chain: Sequence[x509.Certificate], anchor: int, names: Sequence[str], now: datetime) -> str:
    """Why the server's certificate is not that of the authority at place `anchor`; empty if it is."""
    if not any(matching_name(chain[0], name) for name in names):
        return "the certificate stands for another name"
    path = [chain[0]]
    while path[-1] is not chain[anchor]:
        above = next((one for one in chain if one not in path and has_signed(one, path[-1])), None)
        if above is None:
            return f"the chain does not lead to {name_text(chain[anchor].subject)}"
        path.append(above)
    for below, one in enumerate(path):
        who = name_text(one.subject)
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            return f"{who} is not valid at this time"
        if is_forgeable(one) and one is not chain[anchor]:
            return f"{who} is signed with {digest_text(one)}"
        if below and not is_authority(one):
            return f"{who} is no authority"
        if below and (limit := _path_length(one)) is not None and below - 1 > limit:
            return f"{who} may have no further authorities below it"
        if oddity := _oddity(one, is_signer=below > 0):
            return f"{who} {oddity}"
    return ""


def _path_length(certificate: x509.Certificate) -> int | None:
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints.path_length if constraints is not None else 0


def _oddity(certificate: x509.Certificate, *, is_signer: bool) -> str:
    """What its extensions say against it, or that they are not looked into here; empty if nothing does (RFC 5280 section 4.2)."""
    try:
        extensions = list(certificate.extensions)
    except UNREADABLE:
        return "has extensions that cannot be read"
    for one in extensions:
        if isinstance(one.value, x509.NameConstraints) or (one.critical and not isinstance(one.value, _LOOKED_INTO)):
            return f"has an extension that is not looked into here ({one.oid.dotted_string})"
        if is_signer and isinstance(one.value, x509.KeyUsage) and not one.value.key_cert_sign:
            return "may not sign others"
        if not is_signer and isinstance(one.value, x509.ExtendedKeyUsage) and not _FOR_SERVERS & set(one.value):
            return "is not for servers"
    return ""
