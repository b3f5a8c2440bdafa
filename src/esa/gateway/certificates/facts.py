"""What one certificate says, as values for people and machines. `esa cert show` prints them, `findings` and the look at peers read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from esa.gateway.certificates.files import extension, public_octets
from esa.gateway.certificates.names import names_of

DAY = 86_400
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
LONGEST = 256  # characters of a name that are shown: a hostile one has no end


@dataclass(frozen=True, slots=True)
class Facts:
    """Names as RFC 4514 writes them, times in ISO 8601, digests in hexadecimal. `days_left` is negative past the end."""

    subject: str
    issuer: str
    names: tuple[str, ...]  # DNS names and addresses it stands for
    serial: str
    not_before: str
    not_after: str
    days_left: int
    key: str  # "RSA 2048", "ECDSA P-256", "Ed25519"
    digest: str  # that was signed: "SHA-256"; "none" where the algorithm of the signature brings its own
    fingerprint: str  # SHA-256 of the certificate
    public_key: str  # SHA-256 of SubjectPublicKeyInfo: what a TLSA record 3 1 1 holds
    is_authority: bool


def facts_of(certificate: x509.Certificate, now: datetime) -> Facts:
    """Everything there is to say of a certificate; what cannot be read is said to be so."""
    names = names_of(certificate)
    return Facts(
        subject=name_text(certificate.subject),
        issuer=name_text(certificate.issuer),
        names=(*names.dns, *names.addresses),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        not_after=certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        days_left=days_left(certificate, now),
        key=key_text(certificate),
        digest=digest_text(certificate),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        public_key=public_key_digest(certificate),
        is_authority=is_authority(certificate),
    )


def days_left(certificate: x509.Certificate, now: datetime) -> int:
    """Whole days until the certificate ends, rounded down: 0 on the last day, negative past the end."""
    return int((certificate.not_valid_after_utc - now).total_seconds() // DAY)


def openssl_time(when: datetime) -> str:
    """As `openssl x509 -enddate` writes a time: `May 20 22:00:00 2019 GMT`. The month is English whatever the locale."""
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[when.month - 1]
    return f"{month} {when.day:2} {when.astimezone(UTC):%H:%M:%S %Y} GMT"


def name_text(name: x509.Name) -> str:
    """A subject or issuer (RFC 4514), or `(empty)`."""
    return name.rfc4514_string()[:LONGEST] or "(empty)"


def key_text(certificate: x509.Certificate) -> str:
    """Kind and size of the public key."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return f"unknown ({certificate.public_key_algorithm_oid.dotted_string})"
    match key:
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ec.EllipticCurvePublicKey():
            return f"ECDSA {_CURVES.get(key.curve.name, key.curve.name)}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case dsa.DSAPublicKey():
            return f"DSA {key.key_size}"
        case _:
            return type(key).__name__.removesuffix("PublicKey")


def digest_text(certificate: x509.Certificate) -> str:
    """The digest that was signed."""
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return f"unknown ({certificate.signature_algorithm_oid.dotted_string})"
    if digest is None:
        return "none"
    return {"sha1": "SHA-1", "sha224": "SHA-224", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512", "md5": "MD5"}.get(
        digest.name, digest.name
    )


def public_key_digest(certificate: x509.Certificate) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, hexadecimal; empty if the key is of an unknown kind."""
    try:
        octets = public_octets(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return ""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(octets)
    return digest.finalize().hex()


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign others (basicConstraints, RFC 5280 section 4.2.1.9)."""
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def issuer_address(certificate: x509.Certificate) -> str:
    """Where the authority publishes the issuer's certificate (caIssuers, RFC 5280 section 4.2.2.1); empty if it does not say."""
    for one in extension(certificate, x509.AuthorityInformationAccess) or ():
        if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS and isinstance(
            one.access_location, x509.UniformResourceIdentifier
        ):
            return one.access_location.value[:LONGEST]
    return ""
