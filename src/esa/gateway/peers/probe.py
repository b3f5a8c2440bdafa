"""A look at the TLS of one server: connect, EHLO, STARTTLS, handshake, EHLO again; every way in which that can fail has its own name.

`esa tlsverify` and `esa cert show smtp://…` call it; it says what delivery would meet, for it goes through delivery's client. Rules:

- The first connection is as delivery's under a verifying mode: the cipher policy holds, the chain must end at a trusted authority. The name
  is compared by the caller, who knows which one counts.
- Only if that fails in the handshake, a second and third connection find out more: with any certificate, then with any version and cipher that
  OpenSSL still knows. What they find is never a success.
- All of it ends within `Limits.total`, whatever the server sends or keeps back.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast

from cryptography import x509

from esa.config.ciphers import DEFAULT, ciphers_of, lint, profile_of
from esa.errors import ConfigurationError
from esa.gateway.certificates.files import parse
from esa.gateway.delivery.client import Connection, Timeouts, reach
from esa.gateway.delivery.replies import RemoteError, TlsError

Scheme = Literal["smtp", "smtps", "https"]
Step = Literal["resolve", "connect", "greeting", "offer", "reply", "injection", "handshake", "certificate", "after", "time"]
_HOST = re.compile(
    r"(?:\[(?:IPv6:)?(?P<bracketed>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:\[\]/@]+))(?::(?P<port>\d{1,5}))?"
    r"|(?P<bare>[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)"
)
PORTS: Final[Mapping[str, int]] = {"smtp": 25, "smtps": 465, "https": 443}
ENCODING_DER: Final = 2  # _ssl.ENCODING_DER
CHAIN = 30  # certificates that are looked at; OpenSSL takes 100 KiB of them
ADDRESSES = 4  # of one host that are tried
_OLD: Final = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"  # whatever OpenSSL was built with
_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds. A real server that takes longer than this for an administrator who waits would be called slow by anyone."""

    connect: float = 10.0
    reply: float = 15.0
    handshake: float = 10.0
    total: float = 40.0  # for all connections of one look

    @property
    def timeouts(self) -> Timeouts:
        return Timeouts(connect=self.connect, greeting=self.reply, command=self.reply, handshake=self.handshake)


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one server.

    `step` is where it failed, None if it did not; "certificate" and some of "handshake" know `version` and more all the same, from a further
    connection. `below_policy`: why what was agreed on is not enough. `refusal`: why the chain is not trusted, in OpenSSL's words.
    """

    scheme: Scheme
    host: str
    port: int
    address: str = ""
    interface: str = ""  # address of this end
    step: Step | None = None
    reason: str = ""
    version: str = ""  # "TLSv1.3"; empty: nothing was agreed on
    cipher: str = ""
    bits: int = 0
    chain: tuple[x509.Certificate, ...] = ()
    is_trusted: bool = False
    refusal: str = ""
    below_policy: tuple[str, ...] = ()
    milliseconds: float = field(default=0.0, compare=False)

    @property
    def is_connected(self) -> bool:
        return bool(self.address)


class Server(NamedTuple):
    """Where to look."""

    scheme: Scheme
    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Server | None:
        """From `smtp://host`, `smtps://host:465`, `https://[2001:db8::1]:8443`; None if the text is none of these. Raises ConfigurationError."""
        scheme, mark, rest = text.partition("://")
        if not mark or scheme not in PORTS:
            return None
        parsed = host_and_port(rest.rstrip("/"), PORTS[scheme])
        if parsed is None:
            raise ConfigurationError("this is no server", where=text, mend="write smtp://HOST:PORT, smtps://HOST:PORT or https://HOST:PORT")
        return cls(cast("Scheme", scheme), *parsed)


def host_and_port(text: str, port: int) -> tuple[str, int] | None:
    """From `host`, `host:port`, `[address]`, `[address]:port` or a bare IPv6 address; None if it is none. `port` if it names none."""
    match = _HOST.fullmatch(text.strip())
    if match is None:
        return None
    given = int(match["port"] or port)
    return (match["bracketed"] or match["bare"] or match["host"], given) if 0 < given < 65536 else None


@dataclass(frozen=True, slots=True)
class Manner:
    """How to look: as whom, what is trusted (None: what this machine trusts), what is enough, and how long it may take."""

    hostname: str = "localhost"
    authorities: Path | None = None
    policy: str = DEFAULT
    limits: Limits = Limits()


async def look(host: str, port: int, *, scheme: Scheme = "smtp", addresses: Sequence[str] = (), manner: Manner | None = None) -> Look:
    """Look at one server. `addresses`: where to connect to for `host`; none means those that this machine finds.

    Never raises for what the server does; ConfigurationError if the authorities cannot be read.
    """
    how = manner or Manner()
    strict = client_context(how.authorities, how.policy, True)
    began = time.monotonic()
    seen = [Look(scheme, host, port)]
    try:
        async with asyncio.timeout(how.limits.total):
            await _look(seen, tuple(addresses)[:ADDRESSES] or (host,), strict, how)
    except TimeoutError:
        limit = how.limits.total
        seen.append(replace(seen[-1], step="time", reason=f"the look took more than {limit:g} s"))
    return replace(seen[-1], milliseconds=round((time.monotonic() - began) * 1000, 1))


async def _look(seen: list[Look], addresses: Sequence[str], strict: ssl.SSLContext, how: Manner) -> None:
    """Append what is known after each connection: where time runs out in the middle, the last stands."""
    for address in addresses:
        seen.append(await _session(seen[0], address, strict, how))
        if seen[-1].step != "connect":
            break
    first = seen[-1]
    if first.step == "certificate":
        again = await _session(first, first.address, client_context(how.authorities, how.policy, False), how)
        if again.version:
            seen.append(replace(again, step="certificate", reason=first.reason, refusal=first.refusal, is_trusted=False))
            return
    if first.step in ("certificate", "handshake"):
        again = await _session(first, first.address, _lenient(), how)
        if again.version:
            why = below_policy(again.version, again.cipher, how.policy)
            seen.append(replace(again, step=first.step, reason=first.reason, refusal=first.refusal, is_trusted=False, below_policy=why))


async def _session(look: Look, address: str, context: ssl.SSLContext, how: Manner) -> Look:
    """One connection, from the first octet to the EHLO behind the handshake."""
    try:
        connection = await reach(address, look.port, timeouts=how.limits.timeouts)
    except RemoteError as fault:
        return replace(look, step="connect", reason=str(fault))
    (interface, _), (reached, _) = connection.endpoints
    look = replace(look, address=reached or address, interface=interface)
    is_behind = False
    try:
        if look.scheme == "smtp":
            await connection.open(how.hostname)
            is_behind = True
            await connection.start_tls(context, server_name=look.host, hostname=how.hostname)
        else:
            await connection.begin_tls(context, server_name=look.host)
            if look.scheme == "smtps":
                is_behind = True
                await connection.open(how.hostname)
    except TlsError as fault:
        refusal = str(fault).partition(": ")[2] if fault.step == "certificate" else ""
        return replace(look, step=fault.step, reason=str(fault), refusal=refusal)
    except RemoteError as fault:
        look = _agreed(look, connection, context)
        if is_behind and look.version:
            return replace(
                look, step="after", reason=f"behind the handshake: {fault}; a server that wants a client's certificate does that"
            )
        return replace(look, step="greeting", reason=str(fault))
    else:
        return _agreed(look, connection, context)
    finally:
        if look.scheme == "https":
            connection.abort()
        else:
            connection.close()


def _agreed(look: Look, connection: Connection, context: ssl.SSLContext) -> Look:
    """What was agreed on."""
    tls = connection.tls
    cipher = tls.cipher() if tls is not None else None
    if tls is None or cipher is None:
        return look
    return replace(
        look,
        version=tls.version() or "",
        cipher=cipher[0],
        bits=cipher[2],
        chain=chain_of(tls),
        is_trusted=context.verify_mode == ssl.CERT_REQUIRED,
    )


def chain_of(tls: ssl.SSLObject) -> tuple[x509.Certificate, ...]:
    """The certificates that the other end sent, its own first. One that cannot be read ends them."""
    if hasattr(tls, "get_unverified_chain"):  # Python 3.13
        octets = cast("list[bytes]", tls.get_unverified_chain())
    else:
        given = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # there since 3.10, public since 3.13
        octets = [one.public_bytes(ENCODING_DER) for one in given or ()]
    found: list[x509.Certificate] = []
    for one in octets[:CHAIN]:
        try:
            found.append(parse(one))
        except ValueError:
            break
    return tuple(found)


def below_policy(version: str, cipher: str, policy: str) -> tuple[str, ...]:
    """Why a version and cipher are less than a policy asks for, in words; none if they are enough."""
    profile = profile_of(policy)
    if version not in _VERSIONS:
        return (f"{version} is abandoned (RFC 8996)", *(f"{cipher}: {finding.reason}" for finding in lint(cipher)))
    if version == "TLSv1.3":
        return ()
    if profile.minimum == "TLSv1.3":
        return (f"{version} is older than the policy {policy} takes",)
    if cipher in ciphers_of(policy):
        return ()
    reasons = [f"{cipher}: {finding.reason}" for finding in lint(cipher)]
    return tuple(reasons or [f"{cipher} is not among the ciphers that the policy {policy} takes"])


@lru_cache(maxsize=16)
def client_context(authorities: Path | None, policy: str, verifies: bool, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """A client's context, made once: reading the authorities of a machine takes some 27 ms. Raises ConfigurationError.

    `certificate`: files of the client's chain and key, for servers that ask for one.
    """
    profile = profile_of(policy)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = _VERSIONS[profile.minimum]
    context.set_ciphers(profile.ciphers)
    if certificate is not None:
        try:
            context.load_cert_chain(*certificate)
        except OSError as error:  # of TLS too: a key that is not the certificate's
            what = f"the client's certificate and key cannot be used ({error.strerror or error})"
            raise ConfigurationError(what, where=str(certificate[0]), mend="esa cert check tells what is wrong with them") from error
    if not verifies:
        context.verify_mode = ssl.CERT_NONE
    elif authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        try:
            context.load_verify_locations(authorities)
        except OSError as error:  # of TLS too: a file without certificates
            what = f"the authorities cannot be read ({error.strerror or error})"
            raise ConfigurationError(what, where=str(authorities), mend="name a file of certificates in PEM") from error
    return context


@lru_cache(maxsize=1)
def _lenient() -> ssl.SSLContext:
    """Takes anything, so that what is wrong can be named. No mail ever goes through it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is what it is for
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers(_OLD)
    context.options |= getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)  # servers without RFC 5746
    return context
