"""Keys, requests for certificates (RFC 2986) and certificates that sign themselves. `esa cert csr` and `esa cert self-signed` call it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from esa.gateway.certificates.files import CertificateError, read
from esa.message.a_labels import as_a_labels

KeyType = Literal["ecdsa", "rsa", "ed25519"]
RSA_BITS: Final = 3072  # as strong as P-256 (NIST SP 800-57); 2048 is the least that is taken
LONGEST_COMMON_NAME = 64  # characters (RFC 5280 appendix A)


def make_key(kind: KeyType) -> CertificateIssuerPrivateKeyTypes:
    """A new key: ECDSA P-256, RSA of 3,072 bits, or Ed25519, which no public authority signs yet."""
    match kind:
        case "ecdsa":
            return ec.generate_private_key(ec.SECP256R1())
        case "rsa":
            return rsa.generate_private_key(65537, RSA_BITS)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()


def read_key(path: Path, *, password: bytes | None = None) -> CertificateIssuerPrivateKeyTypes:
    """A key to sign with, from a file. Raises CertificateError."""
    key = read(path, password=password).key
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        return key
    what = "there is no key in the file" if key is None else "a key of this kind is for no certificate of a server"
    raise CertificateError(
        what, where=str(path), mend="name a file with an ECDSA, RSA or Ed25519 key in PEM, or leave it out for a new one"
    )


def request(key: CertificateIssuerPrivateKeyTypes, names: Sequence[str]) -> bytes:
    """A certificate signing request in PEM for these host names or addresses; the first is the common name too. Raises CertificateError."""
    builder = x509.CertificateSigningRequestBuilder(_subject(names)).add_extension(_alternative(names), critical=False)
    return builder.sign(key, _digest(key)).public_bytes(Encoding.PEM)


def self_signed(key: CertificateIssuerPrivateKeyTypes, names: Sequence[str], *, now: datetime, days: int) -> bytes:
    """A certificate in PEM that signs itself, for a server of these names. Raises CertificateError."""
    subject = _subject(names)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), now - timedelta(minutes=5), now + timedelta(days=days)
    )
    builder = builder.add_extension(_alternative(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(key, _digest(key)).public_bytes(Encoding.PEM)


def write(path: Path, data: bytes, *, is_secret: bool, replace: bool) -> None:
    """Write a new file, mode 0600 if it is secret. Raises CertificateError, also if it is there and not to be replaced."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if replace else os.O_EXCL)
    try:
        descriptor = os.open(path, flags, 0o600 if is_secret else 0o644)
        with open(descriptor, "wb") as file:  # noqa: PTH123
            if is_secret:
                os.fchmod(descriptor, 0o600)  # a file that was there before may have been open to others
            file.write(data)
    except FileExistsError as error:
        raise CertificateError(
            "there is such a file already", where=str(path), mend="name another, or overwrite it with --force"
        ) from error
    except OSError as error:
        raise CertificateError(
            f"the file cannot be written ({error.strerror})", where=str(path), mend="check its folder and mode"
        ) from error


def key_octets(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """PEM (PKCS#8), not encrypted: a server that starts by itself cannot ask for a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _digest(key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _subject(names: Sequence[str]) -> x509.Name:
    first = as_a_labels(names[0])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, first)] if len(first) <= LONGEST_COMMON_NAME else [])


def _alternative(names: Sequence[str]) -> x509.SubjectAlternativeName:
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
            continue
        except ValueError:
            pass
        label = as_a_labels(name)
        if not _is_host_name(label):
            raise CertificateError(f"{name!r} is no host name or address", where="--name", mend="give names as mx.example.org")
        found.append(x509.DNSName(label))
    return x509.SubjectAlternativeName(found)


def _is_host_name(name: str) -> bool:
    labels = name.removeprefix("*.").split(".")
    return (
        name.isascii()
        and len(name) <= 253
        and all(0 < len(label) <= 63 and label.replace("-", "").replace("_", "").isalnum() for label in labels)
    )
