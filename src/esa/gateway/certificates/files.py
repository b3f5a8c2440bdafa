"""Reading certificates and keys from files, whatever form they have: PEM, DER or PKCS#12. `esa cert` and the watch of expiry call it.

A file may hold certificates, a key, or both. Nothing is judged here; `findings` does.
"""

from __future__ import annotations

import re
import ssl
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key, load_pem_private_key, pkcs12
from cryptography.utils import CryptographyDeprecationWarning

from esa.errors import EsaError

FILE_LIMIT = 1 << 20  # octets; a chain has some thousands
AUTHORITIES_LIMIT = 16 << 20  # octets; the bundle of a system has some hundred thousand
CERTIFICATES = 100  # of one file that are looked at
NEIGHBOURS = 200  # files of a folder that are looked through for a key
Form = Literal["PEM", "DER", "PKCS#12"]
UNREADABLE: Final = (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class CertificateError(EsaError):
    """A file holds no certificate or key that can be read. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one file holds: certificates in the order of the file, and the key, if there is one."""

    path: Path
    form: Form
    certificates: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes | None = None


def read(path: Path, *, password: bytes | None = None) -> Bundle:
    """Read a file of certificates or a key. `password` opens an encrypted key or PKCS#12. Raises CertificateError."""
    data = _octets(path, FILE_LIMIT)
    if b"-----BEGIN " in data:
        return Bundle(path, "PEM", _pem_certificates(path, data), _pem_key(path, data, password))
    try:
        return Bundle(path, "DER", (parse(data),))
    except ValueError:
        pass
    try:
        return Bundle(path, "DER", (), load_der_private_key(data, password))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    return _pkcs12(path, data, password)


def read_authorities(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates of authorities in a PEM file. One that cannot be read is left out: old bundles have some. Raises CertificateError."""
    found = []
    for match in _BLOCK.finditer(_octets(path, AUTHORITIES_LIMIT)):
        if match[1] in (b"CERTIFICATE", b"X509 CERTIFICATE"):
            try:
                found.append(parse(match[0]))
            except ValueError:
                continue
    if not found:
        raise CertificateError("there is no certificate of an authority in PEM", where=str(path), mend="name another file")
    return tuple(found)


def system_authorities() -> tuple[x509.Certificate, ...]:
    """The authorities that this machine trusts; none if it has no file of them. Raises CertificateError."""
    file = ssl.get_default_verify_paths().cafile
    return read_authorities(Path(file)) if file else ()


def parse(octets: bytes) -> x509.Certificate:
    """A certificate in PEM or DER. Raises ValueError, also for one whose names cannot be read: the library reads them late, and nobody after
    this has to expect it. What it is odd in, as a serial number of 0, is told by nobody: old ones are trusted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        pem = octets.startswith(b"-----BEGIN ")
        try:
            found = x509.load_pem_x509_certificate(octets) if pem else x509.load_der_x509_certificate(octets)
        except (x509.InvalidVersion, TypeError) as error:
            raise ValueError(str(error)) from error
        found.subject.public_bytes(), found.issuer.public_bytes()
        return found


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """An extension of a certificate; None if it has none, or none of its extensions can be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except UNREADABLE:
        return None


def public_octets(key: CertificatePublicKeyTypes | PublicKeyTypes) -> bytes:
    """SubjectPublicKeyInfo in DER: two keys are the same if these are, whatever the algorithm."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def belongs(key: PrivateKeyTypes, certificate: x509.Certificate) -> bool:
    """Whether a certificate was made for this key: their public keys are the same."""
    try:
        return public_octets(key.public_key()) == public_octets(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return False


def key_beside(chain: Path, certificates: Sequence[x509.Certificate], *, but: Path) -> Path | None:
    """A file in the folders of `chain` and `but`, other than `but`, that holds the key of one of these certificates; None if there is none.

    Only files of the names that keys have are opened.
    """
    folders = dict.fromkeys((but.parent, chain.parent))
    files = [file for folder in folders for file in sorted(folder.glob("*"))[:NEIGHBOURS]]
    for file in files:
        if file.suffix.lower() not in (".key", ".pem") or file == but or not file.is_file():
            continue
        try:
            key = read(file).key
        except CertificateError:
            continue
        if key is not None and any(belongs(key, certificate) for certificate in certificates):
            return file
    return None


def _octets(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise CertificateError(f"the file cannot be read ({error.strerror})", where=str(path), mend="check its path and mode") from error
    if len(data) > limit:
        raise CertificateError(
            f"the file has more than {limit >> 20} MiB: this is no certificate", where=str(path), mend="name another file"
        )
    return data


def _pem_certificates(path: Path, data: bytes) -> tuple[x509.Certificate, ...]:
    found: list[x509.Certificate] = []
    for match in _BLOCK.finditer(data):
        if match[1] not in (b"CERTIFICATE", b"X509 CERTIFICATE"):
            continue
        try:
            found.append(parse(match[0]))
        except ValueError as error:
            line = data.count(b"\n", 0, match.start()) + 1
            raise CertificateError(
                f"the certificate that begins in line {line} is damaged", where=str(path), mend="copy it again, with all its lines"
            ) from error
    if len(found) > CERTIFICATES:
        raise CertificateError(
            f"the file holds {len(found)} certificates", where=str(path), mend="write the server's and its intermediate ones only"
        )
    return tuple(found)


def _pem_key(path: Path, data: bytes, password: bytes | None) -> PrivateKeyTypes | None:
    for match in _BLOCK.finditer(data):
        if not match[1].endswith(b"PRIVATE KEY"):
            continue
        is_encrypted = match[1].startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in match[0]
        try:
            return load_pem_private_key(match[0], password if is_encrypted else None)
        except TypeError as error:
            raise CertificateError(
                "the key is encrypted",
                where=str(path),
                mend="give its password with --password-file, or store the key decrypted, mode 0600",
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            what = "the password does not open the key" if is_encrypted else "the key is damaged, or of a kind that is not known"
            raise CertificateError(what, where=str(path), mend="check the file against openssl pkey -noout -in FILE") from error
    return None


def _pkcs12(path: Path, data: bytes, password: bytes | None) -> Bundle:
    try:
        stored = pkcs12.load_pkcs12(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        is_one = data[:1] == b"\x30" and b"\x2a\x86\x48\x86\xf7\x0d\x01\x07" in data[:64]  # holds PKCS#7 data, as every PKCS#12 does
        if is_one:
            what = "the password does not open the PKCS#12 file" if password else "the PKCS#12 file needs a password"
            raise CertificateError(what, where=str(path), mend="give it with --password-file FILE") from error
        raise CertificateError(
            "this is no certificate or key in PEM, DER or PKCS#12", where=str(path), mend="name a file that an authority gave you"
        ) from error
    first = (stored.cert.certificate,) if stored.cert is not None else ()
    return Bundle(path, "PKCS#12", (*first, *(one.certificate for one in stored.additional_certs)), stored.key)
