"""Certificates made for a test: a server's with ECDSA and RSA keys, for any names, and those of clients."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import trustme

from esa.gateway.tls import Certificate
from tests.gateway.sessions import HOSTNAME


@dataclass
class Authority:
    """An authority, and what it has signed, in `folder`."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)
    made: int = 0

    def certificate(self, *names: str, key: str = "ECDSA", is_expired: bool = False) -> Certificate:
        begin, end = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)) if is_expired else (None, None)
        issued = self.authority.issue_cert(*(names or (HOSTNAME,)), key_type=trustme.KeyType[key], not_before=begin, not_after=end)
        self.made += 1
        certificate = Certificate(self.folder / f"{self.made}.pem", self.folder / f"{self.made}.key")
        certificate.key.write_bytes(issued.private_key_pem.bytes())
        certificate.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return certificate

    @property
    def file(self) -> Path:
        path = self.folder / "authority.pem"
        self.authority.cert_pem.write_to_path(path)
        return path

    def client(self, *, certificate: Certificate | None = None, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> ssl.SSLContext:
        """A client that trusts this authority, maybe with a certificate of its own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = minimum
        self.authority.configure_trust(context)
        if certificate is not None:
            context.load_cert_chain(certificate.chain, certificate.key)
        return context
