"""DKIM signatures of mail that leaves: whose key signs what, and the keys themselves. The deliver process is the only one that opens them.

A message is signed as it is sent, at each attempt: the queue holds what was accepted. One without an author, or with one that there is no key for, leaves unsigned.
"""

from __future__ import annotations

import hashlib
import re
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from esa.config.dkim import DkimKey
from esa.config.schema import Configuration
from esa.errors import ConfigurationError
from esa.message.author import mailbox_of
from esa.message.dkim import Algorithm, BodyDigest, SigningKey, record_of, signature_fields
from esa.store.segments import StoredMessage
from esa_core._header_lines import header_end

RSA_LEAST, RSA_MOST = 1024, 4096  # bits; verifiers refuse less, and need not take more (RFC 8301 section 3.2)
RSA_BITS = 2048  # of a new key: its record still fits into one DNS answer by UDP
HEADER_LIMIT = 1 << 20  # octets; of a message with a longer header nobody would know what was signed
_EMPTY_LINE = re.compile(rb"\A\r?\n")
SigningPrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def make_key(algorithm: Algorithm, bits: int = RSA_BITS) -> SigningPrivateKey:
    """A new key; `bits` is of RSA only."""
    if algorithm == "rsa-sha256":
        return rsa.generate_private_key(65537, bits)
    return ed25519.Ed25519PrivateKey.generate()


def private_octets(key: SigningPrivateKey) -> bytes:
    """In PEM, not encrypted."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def algorithm_of(key: SigningPrivateKey) -> Algorithm:
    return "rsa-sha256" if isinstance(key, rsa.RSAPrivateKey) else "ed25519-sha256"


def text_record(key: SigningPrivateKey) -> str:
    """The TXT record that publishes its public half."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        octets = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    else:
        octets = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return record_of(algorithm_of(key), octets)


def read_key(path: Path) -> SigningPrivateKey:
    """A key of a file that is readable by its owner only. Raises ConfigurationError."""
    mend = "make one with esa dkim new"
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigurationError(
                "others can read this key, and sign as you", where=str(path), mend=f"chmod 600 {path}, and think of a new key"
            )
        octets = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the key cannot be read: {error.strerror}", where=str(path), mend=mend) from error
    try:
        key = serialization.load_pem_private_key(octets, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError("this is no key in PEM, or it is encrypted", where=str(path), mend=mend) from error
    if isinstance(key, rsa.RSAPrivateKey) and not RSA_LEAST <= key.key_size <= RSA_MOST:
        what = f"an RSA key of {key.key_size} bits is taken by nobody: {RSA_LEAST} to {RSA_MOST} are"
        raise ConfigurationError(what, where=str(path), mend=mend)
    if not isinstance(key, SigningPrivateKey):
        raise ConfigurationError("DKIM signs with RSA or Ed25519", where=str(path), mend=mend)
    return key


def signer_of(key: SigningPrivateKey) -> Callable[[bytes], bytes]:
    """Signs octets: RSA PKCS #1 v1.5 over SHA-256 (RFC 6376 section 3.3.1), Ed25519 over their SHA-256 (RFC 8463 section 3)."""
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda octets: key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    return lambda octets: key.sign(hashlib.sha256(octets).digest())


def open_signing(configuration: Configuration) -> Signing | None:
    """The keys of a resolved configuration; None if there are none. Raises ConfigurationError."""
    return Signing((_open(one), one.sub_domains) for one in configuration.dkim) if configuration.dkim else None


def _open(one: DkimKey) -> SigningKey:
    key = read_key(Path(one.key))
    return SigningKey(one.domain, one.selector, algorithm_of(key), signer_of(key), one.lifetime)


class Signing:
    """The open keys by the domains of authors that they sign for."""

    def __init__(self, keys: Iterable[tuple[SigningKey, bool]]) -> None:
        """With each key whether it signs for authors in sub-domains too."""
        self._own: dict[str, list[SigningKey]] = {}
        self._below: dict[str, list[SigningKey]] = {}
        for key, signs_below in keys:
            self._own.setdefault(key.domain, []).append(key)
            if signs_below:
                self._below.setdefault(key.domain, []).append(key)

    def keys_for(self, domain: str) -> Sequence[SigningKey]:
        """Those of the domain itself, else those of the nearest domain above it that signs for sub-domains."""
        found = self._own.get(domain, [])
        while not found and "." in domain:
            domain = domain.partition(".")[2]
            found = self._below.get(domain, [])
        return found

    def signed(self, message: StoredMessage) -> StoredMessage:
        """The message with its signatures on top; the same where nobody signs for it. Raises StoreError if its octets cannot be read."""
        fields = self.fields(message.chunks())
        return replace(message, prefix=fields + message.prefix, size=message.size + len(fields)) if fields else message

    def fields(self, content: Iterable[bytes]) -> bytes:
        """The signatures of a message that comes in chunks, of which the first ones hold the header; b"" where nobody signs for it."""
        chunks = iter(content)
        head = b""
        for chunk in chunks:
            head += chunk
            if header_end(head) < len(head) or len(head) > HEADER_LIMIT:
                break
        end = header_end(head)
        header = head[:end]
        keys = self.keys_for(mailbox_of(header, header.lower(), "from").rpartition("@")[2]) if end <= HEADER_LIMIT else ()
        if not keys:
            return b""
        digest = BodyDigest()
        digest.feed(_EMPTY_LINE.sub(b"", head[end:], count=1))
        for chunk in chunks:
            digest.feed(chunk)
        return signature_fields(header, digest.digest(), keys, now=time.time())
