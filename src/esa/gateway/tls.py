"""TLS of a listener: its settings as a value, and the contexts made of them, one for each set of names that certificates stand for.

`listener.Server` asks a `Tls` for a context per connection and calls `reload` on SIGHUP. Promises: a reload that fails keeps what was; a
context is made once and never for a connection (it costs milliseconds); TLS 1.2 or newer, no compression, no renegotiation.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from esa.config.ciphers import DEFAULT, Version, lint, profile_of
from esa.errors import ConfigurationError
from esa.gateway import events
from esa.gateway.events import Event as Log

Mode = Literal["off", "preferred", "required", "implicit"]
ClientCertificates = Literal["ignored", "requested", "required"]
_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM: the server's certificate with the intermediate ones behind it, and its key."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What a listener, and later a mail flow policy, wants of TLS.

    mode: "preferred" offers STARTTLS, "required" takes no mail without it, "implicit" begins with TLS (RFC 8314). ciphers: a profile or an
    OpenSSL string (`esa.config.ciphers`). client_certificates: "requested" takes a client without one and refuses a wrong one;
    client_authorities is the file of the authorities that vouch for them.
    """

    mode: Mode = "preferred"
    certificates: tuple[Certificate, ...] = ()
    ciphers: str = DEFAULT
    minimum: Version = "TLSv1.2"
    client_certificates: ClientCertificates = "ignored"
    client_authorities: Path | None = None


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What was agreed on with one client."""

    version: str  # "TLSv1.3"
    cipher: str  # OpenSSL's name
    bits: int
    client: str = ""  # subject of a verified client certificate, RFC 4514

    def __str__(self) -> str:
        return f"{self.version} {self.cipher}"


class Tls:
    """The contexts in use. Raises ConfigurationError for certificates, keys or ciphers that cannot be used."""

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self._use(_make(settings))

    def _use(self, made: tuple[dict[str, ssl.SSLContext], ssl.SSLContext]) -> None:
        self._by_name, self.context = made
        self.context.sni_callback = self.choose

    def reload(self) -> bool:
        """Read certificates and keys again. If that fails, say so in the log and keep those in use."""
        try:
            made = _make(self.settings)
        except ConfigurationError as error:
            events.error(Log.CERTIFICATE_REFUSED, certificate=error.where, reason=error.what)
            return False
        self._use(made)
        events.info(Log.CERTIFICATES_LOADED, certificates=len(self.settings.certificates))
        return True

    def choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Given to OpenSSL, which calls it with the name a client asks for (SNI): a certificate for it, else the first one."""
        if name:
            name = name.lower()
            chosen = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
            if chosen is not None:
                connection.context = chosen


def _make(settings: TlsSettings) -> tuple[dict[str, ssl.SSLContext], ssl.SSLContext]:
    """Certificates with the same names (ECDSA and RSA) share a context; the first of them is that of clients who name nothing we have."""
    if not settings.certificates:
        raise ConfigurationError("TLS needs a certificate", mend="add a table [[certificate]] with its chain and key")
    groups: dict[frozenset[str], list[Certificate]] = {}
    for certificate in settings.certificates:
        groups.setdefault(_names(certificate), []).append(certificate)
    by_name: dict[str, ssl.SSLContext] = {}
    contexts = []
    for names, certificates in groups.items():
        context = _context(settings, certificates)
        contexts.append(context)
        by_name |= {name: context for name in names if name not in by_name}
    return by_name, contexts[0]


def _context(settings: TlsSettings, certificates: Iterable[Certificate]) -> ssl.SSLContext:
    refused = [finding for finding in lint(settings.ciphers) if finding.refused]
    if refused:
        raise ConfigurationError(f"the cipher policy {settings.ciphers!r} is refused: {refused[0]}", mend="choose a profile")
    profile = profile_of(settings.ciphers, settings.minimum)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = max(_VERSIONS[profile.minimum], _VERSIONS[settings.minimum])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 1  # a client comes back over one connection; each ticket costs a signature's worth of time
    context.set_ciphers(profile.ciphers)
    for certificate in certificates:
        _load(context, certificate)
    if settings.client_certificates != "ignored":
        context.verify_mode = ssl.CERT_REQUIRED if settings.client_certificates == "required" else ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(settings.client_authorities)
        except (OSError, TypeError) as error:
            where = str(settings.client_authorities or "client authorities")
            raise ConfigurationError(
                f"the authorities of client certificates cannot be read ({error})", where=where, mend="name a file of certificates in PEM"
            ) from error
    return context


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    def no_password() -> str:
        raise ConfigurationError(
            "the key is encrypted", where=str(certificate.key), mend="store it decrypted, readable by this user only (mode 0600)"
        )

    try:
        context.load_cert_chain(certificate.chain, certificate.key, no_password)
    except ssl.SSLError as error:
        mismatch = "KEY_VALUES_MISMATCH" in str(error)
        what = "the key does not belong to the certificate" if mismatch else f"this is no certificate and key in PEM ({error.reason})"
        raise ConfigurationError(
            what,
            where=f"{certificate.chain}, {certificate.key}",
            mend="see what is wrong, and which key is the right one: esa cert check CHAIN KEY",
        ) from error
    except OSError as error:
        where = str(error.filename or certificate.chain)
        raise ConfigurationError(f"the file cannot be read ({error.strerror})", where=where, mend="check its path and mode") from error


def _read(certificate: Certificate) -> x509.Certificate:
    """Raises ConfigurationError."""
    try:
        return x509.load_pem_x509_certificate(certificate.chain.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"the file cannot be read ({error.strerror})", where=str(certificate.chain), mend="check its path and mode"
        ) from error
    except ValueError as error:
        raise ConfigurationError("there is no certificate in PEM", where=str(certificate.chain), mend="write the server's first") from error


def _names(certificate: Certificate) -> frozenset[str]:
    """DNS names of a certificate, lower case. Raises ConfigurationError."""
    try:
        names = _read(certificate).extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return frozenset()
    assert isinstance(names, x509.SubjectAlternativeName)
    return frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName))


def subject_of(certificate: bytes | None) -> str:
    """Subject of a certificate in DER as text (RFC 4514); empty if there is none."""
    return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()[:256] if certificate else ""


def certificates_of(pairs: Sequence[tuple[str, str]]) -> tuple[Certificate, ...]:
    """Certificates from pairs of file names, chain and key."""
    return tuple(Certificate(Path(chain), Path(key)) for chain, key in pairs)
