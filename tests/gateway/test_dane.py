"""Whether TLSA records fit a chain (RFC 7672); OpenSSL, which knows DANE, is asked the same over a real socket."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from esa.engine.resolver import Outcome
from esa.gateway.peers import dane
from esa.gateway.peers.answers import Answer, Exchanger, Tlsa
from esa.gateway.peers.dns import ValidatingResolver
from esa.policy.tls_modes import Dane
from tests.gateway.chains import HOST, SEED_END, Chains, Issued, issue
from tests.gateway.openssl import openssl
from tests.gateway.tls_lab import LabServer, server_context
from tests.gateway.zone_server import zone_server


def record(usage: int, selector: int, matching: int, issued: Issued) -> Tlsa:
    one = issued.certificate
    octets = one.public_bytes(Encoding.DER)
    if selector:
        octets = one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Tlsa(
        usage,
        selector,
        matching,
        {0: lambda: octets, 1: lambda: hashlib.sha256(octets).digest(), 2: lambda: hashlib.sha512(octets).digest()}[matching](),
    )


@pytest.fixture
def chains(tmp_path: Path) -> Chains:
    return Chains(tmp_path)


async def openssl_agrees(files: tuple[Path, Path], record: Tlsa, *, name: str = HOST) -> bool:
    """Whether `openssl s_client` verifies the server of these files by this record."""
    async with LabServer(server_context(*files)) as server:
        said = await asyncio.to_thread(
            openssl,
            *("s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{server.port}", "-dane_tlsa_domain", name, "-dane_ee_no_namechecks"),
            *("-dane_tlsa_rrdata", f"{record.usage} {record.selector} {record.matching} {record.data.hex()}"),
            fails=True,
        )
    return "Verify return code: 0 (ok)" in said


@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("usage", [2, 3])
async def test_every_kind_of_record_fits_its_own_certificate_only(chains: Chains, usage: int, selector: int, matching: int) -> None:
    server = chains.server()
    files = chains.files(server, chains.intermediate)
    chain = [server.certificate, chains.intermediate.certificate]
    right = record(usage, selector, matching, server if usage == 3 else chains.intermediate)
    wrong = record(
        usage, selector, matching, chains.server() if usage == 3 else issue("Test Intermediate", by=chains.root, is_authority=True)
    )
    now = datetime.now(UTC)
    for one, verdict in ((right, Dane.MATCHED), (wrong, Dane.MISMATCHED)):
        assert dane.match([one], chain, names=[HOST], now=now)[0] is verdict
        assert await openssl_agrees(files, one) == (verdict is Dane.MATCHED)
    assert dane.match([wrong, right], chain, names=[HOST], now=now)[0] is Dane.MATCHED


async def test_a_servers_own_record_needs_neither_name_nor_time(chains: Chains) -> None:
    own = issue("other.example", by=None, names=["other.example"], end=SEED_END)
    one = record(3, 1, 1, own)
    assert dane.match([one], [own.certificate], names=[HOST], now=datetime.now(UTC))[0] is Dane.MATCHED
    assert await openssl_agrees(chains.files(own), one)


async def test_an_authoritys_record_needs_name_time_and_an_authority(chains: Chains) -> None:
    now = datetime.now(UTC)
    middle = chains.server("middle.example")
    cases = {
        "the certificate stands for another name": (chains.server("other.example"), chains.intermediate),
        f"CN={HOST} is not valid at this time": (chains.server(end=SEED_END), chains.intermediate),
        "CN=middle.example is no authority": (issue(HOST, by=middle, names=[HOST]), middle),
        "the chain does not lead to CN=Test Intermediate": (issue(HOST, by=chains.root, names=[HOST]), chains.intermediate),
    }
    for reason, (server, anchor) in cases.items():
        one = record(2, 0, 1, anchor)
        assert dane.match([one], [server.certificate, anchor.certificate], names=[HOST], now=now) == (Dane.MISMATCHED, reason)
        assert not await openssl_agrees(chains.files(server, anchor), one)


async def test_an_authority_with_extensions_that_are_not_looked_into_is_not_followed(chains: Chains) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    constraint = x509.NameConstraints([x509.DNSName("example.net")], None)
    for added, oid in ((unknown, "1.3.6.1.4.1.99999.1"), (constraint, "2.5.29.30")):
        anchor = issue("Odd", by=chains.root, is_authority=True, extensions=[added])
        server = issue(HOST, by=anchor, names=[HOST])
        one = record(2, 0, 1, anchor)
        reason = f"CN=Odd has an extension that is not looked into here ({oid})"
        verdict = dane.match([one], [server.certificate, anchor.certificate], names=[HOST], now=datetime.now(UTC))
        assert verdict == (Dane.MISMATCHED, reason)
        assert not await openssl_agrees(chains.files(server, anchor), one)


async def test_a_record_of_an_authority_is_not_the_servers(chains: Chains) -> None:
    own = issue(HOST, by=None, names=[HOST])
    assert dane.match([record(2, 0, 1, own)], [own.certificate], names=[HOST], now=datetime.now(UTC))[0] is Dane.MISMATCHED


def test_a_forged_signature_leads_nowhere(chains: Chains) -> None:
    forger = issue("Test Intermediate", by=None, is_authority=True)  # of the same name, with another key
    server = issue(HOST, by=forger, names=[HOST])
    chain = [server.certificate, chains.intermediate.certificate]
    assert dane.match([record(2, 0, 1, chains.intermediate)], chain, names=[HOST], now=datetime.now(UTC))[0] is Dane.MISMATCHED


def test_a_signature_with_sha1_leads_nowhere(chains: Chains) -> None:
    server, signer = chains.with_sha1()
    chain = [server.certificate, signer.certificate]
    verdict = dane.match([record(2, 0, 1, signer)], chain, names=[HOST], now=datetime.now(UTC))
    assert verdict == (Dane.MISMATCHED, f"CN={HOST} is signed with SHA-1")


class Zone:
    """Answers from values."""

    def __init__(self, addresses: Answer[str], tlsa: Answer[Tlsa]) -> None:
        self._addresses, self._tlsa = addresses, tlsa

    async def exchangers(self, domain: str) -> Answer[Exchanger]:
        raise AssertionError(domain)

    async def addresses(self, host: str) -> Answer[str]:
        return self._addresses

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        assert name == f"_25._tcp.{HOST}"
        return self._tlsa

    async def texts(self, name: str) -> Answer[str]:
        raise AssertionError(name)


SURE = Answer(Outcome.FOUND, ("192.0.2.1",), True)
UNSURE = Answer(Outcome.FOUND, ("192.0.2.1",))
SILENT: Answer[str] = Answer(Outcome.FAILED)
USABLE, USELESS = Tlsa(3, 1, 1, b"x"), Tlsa(1, 1, 1, b"x")


@pytest.mark.parametrize(
    ("addresses", "tlsa", "state"),
    [
        (SURE, Answer(Outcome.FOUND, (USABLE,), True), None),
        (SURE, Answer(Outcome.FOUND, (USELESS, USABLE), True), None),
        (SURE, Answer(Outcome.FOUND, (USELESS,), True), Dane.UNUSABLE),
        (SURE, Answer(Outcome.FOUND, (USABLE,)), Dane.ABSENT),
        (SURE, Answer(Outcome.NOTHING, (), True), Dane.ABSENT),
        (SURE, Answer(Outcome.FAILED), Dane.UNKNOWN),
        (UNSURE, Answer(Outcome.FAILED), Dane.ABSENT),
        (SILENT, Answer(Outcome.FAILED), Dane.UNKNOWN),
    ],
)
async def test_only_validated_answers_count_and_silence_is_not_absence(
    addresses: Answer[str], tlsa: Answer[Tlsa], state: Dane | None
) -> None:
    found = await dane.ask(Zone(addresses, tlsa), HOST, 25, is_host_sure=True)
    assert (found.state, found.records) == (state, (USABLE,) if state is None else ())


async def test_a_server_that_unsigned_records_name_has_no_dane() -> None:
    found = await dane.ask(Zone(SURE, Answer(Outcome.FOUND, (USABLE,), True)), HOST, 25, is_host_sure=False)
    assert (found.state, found.reason) == (Dane.ABSENT, "the MX records are not signed (DNSSEC), so they may be forged")


@pytest.mark.parametrize("owner", ["real.example.org", HOST])
async def test_records_stand_under_the_name_that_an_alias_leads_to_else_under_its_own(owner: str) -> None:
    zone = {
        (HOST, "CNAME"): ["real.example.org."],
        ("real.example.org", "A"): ["192.0.2.1"],
        (f"_25._tcp.{owner}", "TLSA"): [f"3 1 1 {'ab' * 32}"],
    }
    async with zone_server(zone, signed=["example.org"]) as server:
        found = await dane.ask(ValidatingResolver([server.address], timeout=5), HOST, 25, is_host_sure=True)
    assert (found.state, found.base, len(found.records)) == (None, owner, 1)
