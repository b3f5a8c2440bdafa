"""`esa bench tls`: what handshakes and encryption cost for each cipher profile and kind of key, and whom a profile would lose."""

from __future__ import annotations

import ssl
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from esa.cli.program import DONE
from esa.cli.terminal import counted, json_option, print_json, print_table, progress, say

if TYPE_CHECKING:
    from esa.gateway.tls import Certificate

NAME: Final = "bench.example"
KEYS: Final = ("ECDSA P-256", "RSA 2048", "RSA 3072")
BLOCK: Final = bytes(64 << 10)
BULK_BLOCKS: Final = 256
HISTORY: Final = 30.0  # days of history looked at


@dataclass(frozen=True, slots=True)
class Cost:
    """One row: rates by the server's own processor time, per second."""

    profile: str
    key: str
    version: str
    cipher: str
    handshakes: float
    resumed: float  # with a ticket of an earlier session
    megabytes: float  # received, decrypted


@dataclass(frozen=True, slots=True)
class Risk:
    """Recorded peers of a profile: how many agreed on something that it does not offer."""

    profile: str
    peers: int
    at_risk: int
    examples: tuple[str, ...]


@click.command("tls", short_help="Measure TLS: handshakes and encryption.")
@json_option
@click.option("--seconds", type=click.FloatRange(0.01, 60), default=0.5, show_default=True, help="Time for each measurement.")
@click.option("--ciphers", metavar="LIST", help="Also measure this policy, in OpenSSL's words.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Say whom each profile would lose, by the tracking of this state folder.",
)
def command(as_json: bool, seconds: float, ciphers: str | None, state: Path | None) -> int:
    """Measure TLS: handshakes and encryption.

    \b
    Examples:
      esa bench tls
      esa bench tls --ciphers HIGH:-aNULL --state /var/lib/esa

    A client and a server speak to one another in memory; counted is the processor time of the server only, on one core. With --state
    it is also told which recorded peers agreed on a version or cipher that a profile does not offer: they are at risk, though some may
    have offered another that it does.
    """
    from esa.config.ciphers import PROFILES, lint

    policies = [*PROFILES, *([ciphers] if ciphers else [])]
    if ciphers:
        for finding in lint(ciphers):
            say(f"{'refused' if finding.refused else 'weak'}: {finding}")
        if any(finding.refused for finding in lint(ciphers)):
            policies.pop()
    with progress("measuring", len(policies) * len(KEYS) * 2, unit="rows") as meter:
        costs = []
        for cost in measure(policies, seconds):
            costs.append(cost)
            meter.advance()
    risks = list(risks_of(policies, state)) if state is not None else []
    if as_json:
        print_json({"costs": [asdict(cost) for cost in costs], "risks": [asdict(risk) for risk in risks]})
        return DONE
    columns = ["profile", "key", "version", "cipher", "handshakes/s", "resumed/s", "MB/s"]
    rows = [
        [cost.profile, cost.key, cost.version, cost.cipher, f"{cost.handshakes:,.0f}", f"{cost.resumed:,.0f}", f"{cost.megabytes:,.0f}"]
        for cost in costs
    ]
    print_table(columns, rows, right=columns[4:])
    for risk in risks:
        told = f", such as {', '.join(risk.examples)}" if risk.examples else ""
        click.echo(f"{risk.profile}: {risk.at_risk:,} of {counted(risk.peers, 'recorded peer')} at risk{told}")
    return DONE


def measure(policies: list[str], seconds: float) -> Iterator[Cost]:
    """A row for each policy, kind of key and version that they allow."""
    from esa.config.ciphers import profile_of
    from esa.gateway.tls import Tls, TlsSettings

    with tempfile.TemporaryDirectory(prefix="esa-bench-tls-") as folder:
        for key in KEYS:
            certificate = _certificate(Path(folder), key)
            for policy in policies:
                settings = TlsSettings(certificates=(certificate,), ciphers=policy)
                for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                    if version == ssl.TLSVersion.TLSv1_2 and profile_of(policy).minimum == "TLSv1.3":
                        continue
                    yield _measure_one(policy, key, Tls(settings).context, version, seconds)


def _measure_one(policy: str, key: str, server: ssl.SSLContext, version: ssl.TLSVersion, seconds: float) -> Cost:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.minimum_version = client.maximum_version = version
    pair = Pair(server, client)
    full = _rate(server, client, seconds, resume=False)
    resumed = _rate(server, client, seconds, resume=True)
    facts = pair.channel.facts()
    return Cost(policy, key, facts.version, facts.cipher, full, resumed, pair.bulk())


def _rate(server: ssl.SSLContext, client: ssl.SSLContext, seconds: float, *, resume: bool) -> float:
    session = Pair(server, client).ticket() if resume else None
    spent, count, until = 0.0, 0, time.perf_counter() + seconds
    while time.perf_counter() < until or not count:
        pair = Pair(server, client, session)
        spent += pair.server_seconds
        session = pair.ticket() if resume else None
        count += 1
    return count / spent


class Pair:
    """A server's channel and a client in one thread; `server_seconds` is the processor time of the server's half."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        from esa.gateway.channel import Channel

        self.server_seconds = 0.0
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self._in, self._out, server_hostname=NAME, session=session)
        began = time.thread_time()
        self.channel = Channel(server)
        self.server_seconds += time.thread_time() - began
        done = False
        while not (done and self.channel.established):
            try:
                self.client.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            self._in.write(self._serve(self._out.read()))

    def _serve(self, octets: bytes) -> bytes:
        began = time.thread_time()
        self.channel.receive(octets)
        if not self.channel.established:
            self.channel.handshake()
        answer = self.channel.outgoing()
        self.server_seconds += time.thread_time() - began
        return answer

    def ticket(self) -> ssl.SSLSession | None:
        """What the client may come back with; TLS 1.3 sends it behind the handshake."""
        self._in.write(self.channel.encrypt(b"220 \r\n"))
        self.client.read(16)
        return self.client.session

    def bulk(self) -> float:
        """Megabytes a second that the server decrypts."""
        buffer = bytearray(256 << 10)
        spent = octets = 0.0
        for _ in range(BULK_BLOCKS):
            self.client.write(BLOCK)
            ciphertext = self._out.read()
            began = time.thread_time()
            self.channel.receive(ciphertext)
            octets += self.channel.read_into(buffer)
            spent += time.thread_time() - began
        return octets / spent / 1e6


def _certificate(folder: Path, kind: str) -> Certificate:
    """A certificate that signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from esa.gateway.tls import Certificate

    key = ec.generate_private_key(ec.SECP256R1()) if kind.startswith("ECDSA") else rsa.generate_private_key(65537, int(kind.split()[1]))
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    certificate = Certificate(folder / f"{kind}.pem", folder / f"{kind}.key")
    certificate.chain.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    certificate.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return certificate


def risks_of(policies: list[str], state: Path) -> Iterator[Risk]:
    """For each policy, the recorded peers that never agreed on anything it offers."""
    from esa.config.ciphers import ciphers_of, profile_of
    from esa.store.tracking import TrackingView

    view = TrackingView.open(state)
    if view is None:
        say(f"{state} holds no tracking yet")
        return
    try:
        agreed = view.tls_history(time.time() - HISTORY * 86_400)
    finally:
        view.close()
    for policy in policies:
        offered, minimum = set(ciphers_of(policy)), profile_of(policy).minimum
        lost = [
            client
            for client, pairs in agreed.items()
            if not any(version == "TLSv1.3" or (minimum == "TLSv1.2" and cipher in offered) for version, cipher in pairs)
        ]
        yield Risk(policy, len(agreed), len(lost), tuple(sorted(lost)[:3]))
