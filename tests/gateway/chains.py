"""Certificates of every make and fault, made for a test: an authority with an intermediate one, and what they sign."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from tests.gateway.openssl import openssl

HOST = "mx.example.org"
SEED_END = datetime(2019, 5, 20, 22, tzinfo=UTC)
Key = Literal["ecdsa", "rsa", "ed25519", "rsa-1024"]
ISSUED_AT = "http://authority.example/intermediate.der"


def new_key(kind: Key) -> CertificateIssuerPrivateKeyTypes:
    match kind:
        case "ecdsa":
            return ec.generate_private_key(ec.SECP256R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "rsa-1024":
            return rsa.generate_private_key(65537, 1024)


@dataclass(frozen=True)
class Issued:
    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def issue(
    name: str,
    *,
    by: Issued | None,
    names: Sequence[str] = (),
    key: Key = "ecdsa",
    begin: datetime | None = None,
    end: datetime | None = None,
    is_authority: bool = False,
    is_client: bool = False,
    extensions: Sequence[x509.ExtensionType] = (),
) -> Issued:
    """A certificate for `name`; signed by itself if `by` is None."""
    own = new_key(key)
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = by.key if by else own
    builder = x509.CertificateBuilder(
        by.certificate.subject if by else subject,
        subject,
        own.public_key(),
        x509.random_serial_number(),
        begin or min(now, end or now) - timedelta(days=30),
        end or now + timedelta(days=300),
    ).add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    if by is not None:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if is_authority:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH if is_client else ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        where = x509.UniformResourceIdentifier(ISSUED_AT)
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
    for added in extensions:
        builder = builder.add_extension(added, critical=True)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Issued(builder.sign(signer, digest), own)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass
class Chains:
    """A root, an intermediate authority, and files of what they have signed, in `folder`."""

    folder: Path
    root: Issued = field(default_factory=lambda: issue("Test Root", by=None, is_authority=True))

    def __post_init__(self) -> None:
        self.intermediate = issue("Test Intermediate", by=self.root, is_authority=True)
        self.made = 0
        self.authorities.write_bytes(self.root.pem)

    @property
    def authorities(self) -> Path:
        return self.folder / "authorities.pem"

    def server(
        self,
        *names: str,
        key: Key = "ecdsa",
        begin: datetime | None = None,
        end: datetime | None = None,
    ) -> Issued:
        names = names or (HOST,)
        return issue(names[0], by=self.intermediate, names=names, key=key, begin=begin, end=end)

    def with_sha1(self) -> tuple[Issued, Issued]:
        """A server's certificate and its authority's, as nobody issues them any more; made with openssl, for the library refuses to."""
        key = rsa.generate_private_key(65537, 2048)
        signer = issue("Old Authority", by=self.root, key="rsa", is_authority=True)
        signer_file, signer_key = self.files(signer)
        wish = self.folder / "wish.csr"
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
        wish.write_bytes(x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        extensions = self.folder / "wish.cnf"
        extensions.write_text(f"subjectAltName=DNS:{HOST}\nextendedKeyUsage=serverAuth\n")
        made = self.folder / "sha1.pem"
        openssl(
            "x509",
            "-req",
            "-sha1",
            "-days",
            300,
            "-in",
            wish,
            "-CA",
            signer_file,
            "-CAkey",
            signer_key,
            "-extfile",
            extensions,
            "-out",
            made,
        )
        return Issued(x509.load_pem_x509_certificate(made.read_bytes()), key), signer

    def files(self, *chain: Issued, key: Issued | None = None) -> tuple[Path, Path]:
        """Files of a chain in this order, and of the key of its first, or of another."""
        self.made += 1
        chain_file, key_file = self.folder / f"chain-{self.made}.pem", self.folder / f"chain-{self.made}.key"
        chain_file.write_bytes(b"".join(one.pem for one in chain))
        key_file.write_bytes((key or chain[0]).key_pem)
        key_file.chmod(0o600)
        return chain_file, key_file

    def good(self, *names: str, key: Key = "ecdsa") -> tuple[Path, Path]:
        return self.files(self.server(*names, key=key), self.intermediate)
