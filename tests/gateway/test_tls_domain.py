"""A whole domain looked at: its servers side by side, with what DNS and policies promise of them."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from esa.gateway.certificates.facts import public_key_digest
from esa.gateway.peers.dns import ValidatingResolver
from esa.gateway.peers.domain import Place, Verified, verify
from esa.gateway.peers.probe import Limits, Manner
from esa.policy.tls_modes import Dane, Mode
from tests.gateway.chains import Chains, issue
from tests.gateway.tls_lab import LabServer, server_context
from tests.gateway.zone_server import zone_server


@pytest.fixture
def chains(tmp_path: Path) -> Chains:
    return Chains(tmp_path)


def way(one: Verified, mode: Mode) -> str:
    return one.decisions[mode].way


async def look_at(chains: Chains, **servers: LabServer) -> dict[str, Verified]:
    """These servers of example.org, by the first label of their names; unsigned."""
    async with AsyncExitStack() as stack:
        places = []
        zone = {}
        for label, server in servers.items():
            await stack.enter_async_context(server)
            places.append(Place(f"{label}.example.org", server.port, 10, is_sure=False))
            zone[f"{label}.example.org", "A"] = ["127.0.0.1"]
        names = await stack.enter_async_context(zone_server(zone))
        resolver = ValidatingResolver([names.address], timeout=5)
        manner = Manner("here.example", chains.authorities, limits=Limits(10, 10, 3, 40))
        found = await verify(resolver, "example.org", places, manner=manner, authorities=[chains.root.certificate])
    return {one.place.host.partition(".")[0]: one for one in found}


async def test_all_servers_are_looked_at_at_one_time_and_each_has_its_own_verdict(chains: Chains) -> None:
    found = await look_at(
        chains,
        good=LabServer(server_context(*chains.good("good.example.org"))),
        domain=LabServer(server_context(*chains.good("example.org"))),
        other=LabServer(server_context(*chains.good("other.example.net"))),
        plain=LabServer(offers=False),
        own=LabServer(server_context(*chains.files(issue("own.example.org", by=None, names=["own.example.org"])))),
        old=LabServer(server_context(*chains.good("old.example.org", key="rsa"), version=ssl.TLSVersion.TLSv1)),
        stuck=LabServer(handshake="hangs"),
    )
    assert {label: one.problem for label, one in found.items()} == {
        "good": "",
        "domain": "",
        "other": "the certificate stands for another name",
        "plain": "STARTTLS is not offered",
        "own": "the certificate is not trusted: self-signed certificate",
        "old": found["old"].problem,
        "stuck": "the handshake took more than 3 s",
    }
    assert found["old"].problem.startswith("below policy: TLSv1 is abandoned (RFC 8996)")
    assert [label for label, one in found.items() if way(one, Mode.REQUIRED_VERIFY_HOSTED_DOMAINS) == "secure"] == ["domain"]
    assert [label for label, one in found.items() if way(one, Mode.REQUIRED) == "secure"] == ["good", "domain", "other", "own"]
    assert [label for label, one in found.items() if way(one, Mode.PREFERRED) == "plain"] == ["plain", "old", "stuck"]


async def test_a_certificate_signed_by_itself_is_verified_by_a_signed_tlsa_record(chains: Chains) -> None:
    own = issue("mx.example.org", by=None, names=["mx.example.org"])
    async with LabServer(server_context(*chains.files(own))) as server:
        zone = {
            ("mx.example.org", "A"): ["127.0.0.1"],
            (f"_{server.port}._tcp.mx.example.org", "TLSA"): [f"3 1 1 {public_key_digest(own.certificate)}"],
        }
        verdicts = []
        for signed, is_sure in ((["example.org"], True), (["example.org"], False), ([], True)):
            async with zone_server(zone, signed=signed) as names:
                resolver = ValidatingResolver([names.address], timeout=5)
                place = Place("mx.example.org", server.port, 10, is_sure)
                (one,) = await verify(resolver, "example.org", [place], manner=Manner(authorities=chains.authorities))
                verdicts.append((one.shown.dane, one.problem, way(one, Mode.DANE)))
    untrusted = "the certificate is not trusted: self-signed certificate"
    assert verdicts == [(Dane.MATCHED, "", "secure"), (Dane.ABSENT, untrusted, "secure"), (Dane.ABSENT, untrusted, "secure")]


async def test_name_servers_that_fail_for_tlsa_make_dane_wait(chains: Chains) -> None:
    async with LabServer(server_context(*chains.good())) as server:
        zone = {("mx.example.org", "A"): ["127.0.0.1"]}
        async with zone_server(zone, signed=["example.org"], failing=[f"_{server.port}._tcp.mx.example.org"]) as names:
            resolver = ValidatingResolver([names.address], timeout=5)
            place = Place("mx.example.org", server.port)
            (one,) = await verify(resolver, "example.org", [place], manner=Manner(authorities=chains.authorities))
    assert (one.shown.dane, way(one, Mode.DANE), one.problem) == (Dane.UNKNOWN, "defer", "")


async def test_a_common_name_counts_only_if_it_is_asked_for(chains: Chains) -> None:
    context = server_context(*chains.files(issue("mx.example.org", by=chains.intermediate), chains.intermediate))
    async with LabServer(context) as server, zone_server({("mx.example.org", "A"): ["127.0.0.1"]}) as names:
        resolver = ValidatingResolver([names.address], timeout=5)
        place, manner = Place("mx.example.org", server.port), Manner(authorities=chains.authorities)
        (strict,) = await verify(resolver, "example.org", [place], manner=manner)
        (lax,) = await verify(resolver, "example.org", [place], manner=manner, common_name=True)
    assert (strict.problem, lax.problem) == ("the certificate stands for another name", "")
