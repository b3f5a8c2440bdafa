"""A look at servers with TLS of every make and fault, over real sockets; each fault has its own name, and ends in time."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from esa.errors import ConfigurationError
from esa.gateway.certificates.findings import examine
from esa.gateway.certificates.names import matching_name
from esa.gateway.peers.probe import Limits, Look, Manner, Scheme, Server, host_and_port, look
from tests.gateway.chains import HOST, SEED_END, Chains, Key, issue
from tests.gateway.tls_lab import Handshake, LabServer, server_context

QUICK = Limits(connect=5, reply=5, handshake=5, total=20)


@pytest.fixture
def chains(tmp_path: Path) -> Chains:
    return Chains(tmp_path)


async def see(chains: Chains, server: LabServer, *, scheme: Scheme = "smtp", limits: Limits = QUICK, policy: str = "intermediate") -> Look:
    manner = Manner("here.example", chains.authorities, policy, limits)
    return await look(HOST, server.port, scheme=scheme, addresses=["127.0.0.1"], manner=manner)


async def see_chain(chains: Chains, files: tuple[Path, Path], **options: Any) -> Look:
    async with LabServer(server_context(*files, **options)) as server:
        return await see(chains, server)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
async def test_a_good_server_is_trusted_in_one_connection(chains: Chains, kind: Key) -> None:
    async with LabServer(server_context(*chains.good(key=kind))) as server:
        seen = await see(chains, server)
    assert (seen.step, seen.is_trusted, seen.version, seen.below_policy) == (None, True, "TLSv1.3", ())
    assert (seen.address, seen.interface, server.connections) == ("127.0.0.1", "127.0.0.1", 1)
    assert [one.subject.rfc4514_string() for one in seen.chain] == [f"CN={HOST}", "CN=Test Intermediate"]
    assert matching_name(seen.chain[0], HOST) == HOST
    assert server.commands[:3] == ["EHLO here.example", "STARTTLS", "EHLO here.example"]


async def test_a_wildcard_stands_for_the_host(chains: Chains) -> None:
    seen = await see_chain(chains, chains.good("*.example.org"))
    assert (seen.is_trusted, matching_name(seen.chain[0], HOST)) == (True, "*.example.org")


async def test_a_wrong_name_is_trusted_but_does_not_match(chains: Chains) -> None:
    seen = await see_chain(chains, chains.good("other.example.org"))
    assert (seen.step, seen.is_trusted, matching_name(seen.chain[0], HOST)) == (None, True, None)


async def test_an_expired_certificate_is_named_and_what_was_agreed_on_is_known(chains: Chains) -> None:
    seen = await see_chain(chains, chains.files(chains.server(end=SEED_END), chains.intermediate))
    assert (seen.step, seen.refusal, seen.is_trusted) == ("certificate", "certificate has expired", False)
    assert (seen.version, len(seen.chain)) == ("TLSv1.3", 2)


async def test_a_certificate_of_tomorrow_is_named(chains: Chains) -> None:
    begin = datetime.now(UTC) + timedelta(days=1)
    seen = await see_chain(chains, chains.files(chains.server(begin=begin, end=begin + timedelta(days=9)), chains.intermediate))
    assert (seen.step, seen.refusal) == ("certificate", "certificate is not yet valid")


async def test_a_certificate_signed_by_itself_is_named(chains: Chains) -> None:
    seen = await see_chain(chains, chains.files(issue(HOST, by=None, names=[HOST])))
    assert (seen.step, seen.refusal) == ("certificate", "self-signed certificate")


async def test_a_missing_intermediate_is_named(chains: Chains) -> None:
    seen = await see_chain(chains, chains.files(chains.server()))
    assert (seen.step, seen.refusal) == ("certificate", "unable to get local issuer certificate")
    found = examine(seen.chain, now=datetime.now(UTC), authorities=[chains.root.certificate])
    assert [one.code for one in found] == ["missing-intermediate"]


async def test_the_wrong_order_is_taken_by_openssl_and_told(chains: Chains) -> None:
    lower = issue("Lower", by=chains.intermediate, is_authority=True)
    seen = await see_chain(chains, chains.files(issue(HOST, by=lower, names=[HOST]), chains.intermediate, lower))
    assert (seen.step, seen.is_trusted) == (None, True)
    found = examine(seen.chain, now=datetime.now(UTC), authorities=[chains.root.certificate])
    assert [one.code for one in found] == ["wrong-order"]


async def test_a_weak_key_is_named(chains: Chains) -> None:
    seen = await see_chain(chains, chains.files(chains.server(key="rsa-1024"), chains.intermediate))
    assert (seen.step, seen.is_trusted) == ("certificate", False)
    assert "key too weak" in seen.refusal
    assert seen.chain


async def test_a_certificate_signed_with_sha1_is_named(chains: Chains) -> None:
    seen = await see_chain(chains, chains.files(*chains.with_sha1()))
    assert (seen.step, seen.is_trusted) == ("certificate", False)
    assert "digest algorithm too weak" in seen.refusal


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_an_abandoned_version_is_below_policy_and_no_success(chains: Chains, version: ssl.TLSVersion) -> None:
    seen = await see_chain(chains, chains.good(key="rsa"), version=version)
    name = {ssl.TLSVersion.TLSv1: "TLSv1", ssl.TLSVersion.TLSv1_1: "TLSv1.1"}[version]
    assert (seen.step, seen.version, seen.is_trusted) == ("handshake", name, False)
    assert seen.below_policy[0] == f"{name} is abandoned (RFC 8996)"


async def test_a_cipher_without_forward_secrecy_is_below_policy(chains: Chains) -> None:
    files = chains.good(key="rsa")
    options: dict[str, Any] = {"version": ssl.TLSVersion.TLSv1_2, "ciphers": "AES128-SHA:@SECLEVEL=0"}
    seen = await see_chain(chains, files, **options)
    assert (seen.step, seen.version, seen.cipher) == ("handshake", "TLSv1.2", "AES128-SHA")
    assert [reason.partition(": ")[2][:18] for reason in seen.below_policy] == ["no forward secrecy", "CBC without authen"]
    async with LabServer(server_context(*files, **options)) as server:
        assert (await see(chains, server, policy="compatible")).step is None


def test_rc4_cannot_be_agreed_on_with_this_openssl() -> None:
    """So a peer that speaks nothing else is told as one that no cipher is shared with."""
    with pytest.raises(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers("RC4:@SECLEVEL=0")


async def test_a_client_certificate_that_is_wanted_is_named(chains: Chains) -> None:
    context = server_context(*chains.good())
    context.load_verify_locations(chains.authorities)
    context.verify_mode = ssl.CERT_REQUIRED
    async with LabServer(context) as server:
        seen = await see(chains, server)
    assert (seen.step, seen.version) == ("after", "TLSv1.3")
    assert seen.reason.endswith("; a server that wants a client's certificate does that")


FAULTS: Mapping[str, tuple[LabServer, str, str]] = {
    "no STARTTLS": (LabServer(), "offer", "the next hop does not offer STARTTLS"),
    "STARTTLS refused": (LabServer(starttls=b"454 4.7.0 not now\r\n"), "reply", "STARTTLS was answered with 454 4.7.0 not now"),
    "injection": (LabServer(starttls=b"220 go\r\n250-lab.example\r\n"), "injection", "octets came in the clear"),
    "injection of what is no reply": (LabServer(starttls=b"220 go\r\nEHLO\r\n"), "injection", "octets came in the clear"),
    "injection of a part": (LabServer(starttls=b"220 go\r\n25"), "injection", "octets came in the clear"),
    "garbage in the handshake": (LabServer(handshake="garbage"), "handshake", "the handshake failed: wrong version number"),
    "closed in the handshake": (LabServer(handshake="closes"), "handshake", "the connection broke in the handshake"),
    "closed at once": (LabServer(greeting=b""), "greeting", "time-out: 0.3 s waiting for the reply to connecting"),
    "not now": (LabServer(greeting=b"421 4.3.2 busy\r\n"), "greeting", "the next hop greets with 421 4.3.2 busy"),
    "no SMTP": (LabServer(greeting=b"HTTP/1.1 400 Bad Request\r\n"), "greeting", "does not speak SMTP"),
    "a line without end": (LabServer(ehlo=b"250-" + b"x" * 100_000), "greeting", "a line without end"),
    "a reply without end": (LabServer(ehlo=b"250-x\r\n" * 100_000), "greeting", "a reply without end"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_has_its_name(chains: Chains, fault: str) -> None:
    template, step, reason = FAULTS[fault]
    offers = fault != "no STARTTLS"
    limits = Limits(connect=5, reply=0.3 if fault == "closed at once" else 5, handshake=5, total=20)
    async with replace(template, offers=offers, commands=[], port=0) as server:
        seen = await see(chains, server, limits=limits)
    assert seen.step == step
    assert reason in seen.reason
    assert (seen.version, seen.is_trusted) == ("", False)


@pytest.mark.parametrize("handshake", ["hangs", "drips"])
async def test_a_handshake_without_end_is_ended(chains: Chains, handshake: Handshake) -> None:
    async with LabServer(handshake=handshake) as server:
        seen = await see(chains, server, limits=Limits(connect=5, reply=5, handshake=0.3, total=20))
    assert (seen.step, seen.reason) == ("handshake", "the handshake took more than 0.3 s")


async def test_octets_one_by_one_end_with_the_whole_look(chains: Chains) -> None:
    async with LabServer(drip=0.01) as server:
        seen = await see(chains, server, limits=Limits(connect=5, reply=60, handshake=5, total=0.5))
    assert (seen.step, seen.reason) == ("time", "the look took more than 0.5 s")


async def test_a_chain_without_end_is_ended_by_openssl(chains: Chains) -> None:
    many = [issue("x" * 60, by=None, names=[f"{'y' * 60}{number}.example" for number in range(200)]) for _ in range(8)]
    seen = await see_chain(chains, chains.files(chains.server(), *many))
    assert (seen.step, seen.reason) == ("handshake", "the handshake failed: excessive message size")


async def test_tls_before_the_greeting_is_looked_at_too(chains: Chains) -> None:
    async with LabServer(server_context(*chains.good()), implicit=True) as server:
        seen = await see(chains, server, scheme="smtps")
        web = await see(chains, server, scheme="https")
    assert (seen.step, seen.is_trusted, server.commands) == (None, True, ["EHLO here.example", "QUIT"])
    assert (web.step, web.is_trusted) == (None, True)


async def test_nobody_there_is_said_and_a_second_address_is_tried(chains: Chains, free_port: Any) -> None:
    seen = await look(HOST, free_port(), addresses=["127.0.0.1"], manner=Manner(limits=QUICK))
    assert (seen.step, seen.is_connected) == ("connect", False)
    async with LabServer(server_context(*chains.good())) as server:
        manner = Manner("here.example", chains.authorities, limits=QUICK)
        assert (await look(HOST, server.port, addresses=["127.0.0.2", "127.0.0.1"], manner=manner)).address == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("smtp://mx.example.org", ("smtp", "mx.example.org", 25)),
        ("smtps://mx.example.org:4465/", ("smtps", "mx.example.org", 4465)),
        ("https://[2001:db8::1]:8443", ("https", "2001:db8::1", 8443)),
        ("smtp://2001:db8::1", ("smtp", "2001:db8::1", 25)),
        ("mx.pem", None),
        ("ftp://mx.example.org", None),
    ],
)
def test_servers_are_written_as_addresses_of_the_web_are(text: str, server: tuple[str, str, int] | None) -> None:
    assert Server.of(text) == server


@pytest.mark.parametrize("text", ["smtp://", "smtp://mx:0", "smtp://mx:99999", "smtp://a b", "https://user@host"])
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Server.of(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [("mx:26", ("mx", 26)), ("192.0.2.1", ("192.0.2.1", 25)), ("[IPv6:2001:db8::1]:26", ("2001:db8::1", 26)), ("mx:x", None), ("", None)],
)
def test_hosts_with_and_without_port(text: str, place: tuple[str, int] | None) -> None:
    assert host_and_port(text, 25) == place


async def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("nothing")
    for file in (tmp_path / "none.pem", junk):
        with pytest.raises(ConfigurationError, match="the authorities cannot be read"):
            await look(HOST, 1, addresses=["127.0.0.1"], manner=Manner(authorities=file))
