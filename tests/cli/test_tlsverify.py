"""`esa tlsverify`, as an administrator calls it, against real servers."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.cli.command import Done, esa
from tests.gateway.chains import SEED_END, Chains, issue
from tests.gateway.tls_lab import LabServer, server_context
from tests.gateway.zone_server import zone_server


@pytest.fixture
def chains(tmp_path: Path) -> Chains:
    return Chains(tmp_path)


async def tlsverify(chains: Chains, server: LabServer, *arguments: object, stdin: str = "", domain: str = "example.org") -> Done:
    """As `esa tlsverify DOMAIN --host localhost:PORT ARGUMENTS`, with name servers that know nothing. Without domain: asked for it."""
    async with zone_server({}) as names:
        given = [domain, "--host", f"localhost:{server.port}"] if domain else []
        options = (*given, "--authorities", chains.authorities, "--resolver", names.address, *arguments)
        return await asyncio.to_thread(esa, "tlsverify", *options, stdin=stdin.encode())


SUCCESS = """\
Connecting to localhost on port {port}.
Connected to localhost from interface 127.0.0.1.
Checking TLS connection.
TLS connection established: protocol TLSv1.3, cipher TLS_AES_256_GCM_SHA384.
Verifying peer certificate.
Verifying certificate common name localhost.
TLS certificate match localhost
TLS certificate verified.
TLS connection to localhost succeeded.
TLS successfully connected to localhost.
TLS verification completed.
"""
NO_STARTTLS = """\
Connecting to localhost on port {port}.
Connected to localhost from interface 127.0.0.1.
Checking TLS connection.
STARTTLS command not supported at localhost.
TLS was required but could not be successfully negotiated.
Failed to connect to [localhost].
TLS verification completed.
"""


async def test_success_is_told_in_asyncos_lines(chains: Chains) -> None:
    async with LabServer(server_context(*chains.good("localhost"))) as server:
        done = await tlsverify(chains, server, "--brief")
        full = await tlsverify(chains, server)
    assert (done.code, done.out) == (0, SUCCESS.format(port=server.port))
    assert full.out.startswith(SUCCESS.format(port=server.port))
    assert "\n  chain    1 CN=localhost for localhost; ECDSA P-256; ends " in full.out
    assert "\n  MTA-STS  absent: the domain publishes no policy\n" in full.out
    assert "\n  waits    under required-verify-hosted-domains\n" in full.out


async def test_a_missing_starttls_is_told_in_asyncos_lines(chains: Chains) -> None:
    async with LabServer(offers=False) as server:
        done = await tlsverify(chains, server, "--brief")
    assert (done.code, done.out) == (1, NO_STARTTLS.format(port=server.port))


async def test_the_questions_are_those_of_asyncos(chains: Chains) -> None:
    async with LabServer(server_context(*chains.good("localhost"))) as server:
        answers = f"example.org\nlocalhost:{server.port}\ny\nexample.org\nlocalhost:{server.port}\nn\n"
        done = await tlsverify(chains, server, "--brief", domain="", stdin=answers)
    questions = (
        "Enter the TLS domain to verify against:\n[]> Enter the destination host to connect to.  Append the port (example.com:26) if you are "
        "not connecting on port 25:\n[example.org]> "
    )
    again = "Would you like to verify another domain? [Y]> "
    said = SUCCESS.format(port=server.port)
    assert (done.code, done.out) == (0, questions + said + again + questions + said + again)


async def test_the_end_of_the_input_ends_the_questions(chains: Chains) -> None:
    async with LabServer() as server:
        done = await tlsverify(chains, server, domain="", stdin="")
    assert (done.code, done.out) == (0, "Enter the TLS domain to verify against:\n[]> ")


async def test_a_version_below_policy_is_no_success(chains: Chains) -> None:
    async with LabServer(server_context(*chains.good("localhost", key="rsa"), version=ssl.TLSVersion.TLSv1)) as server:
        done = await tlsverify(chains, server, "--brief")
    lines = done.out.splitlines()
    assert done.code == 1
    assert lines[3].startswith("TLS connection established: protocol TLSv1, cipher ")
    assert lines[4] == "TLS connection is below policy: TLSv1 is abandoned (RFC 8996)."
    assert lines[-3:] == [
        "TLS was required but could not be successfully negotiated.",
        "Failed to connect to [localhost].",
        "TLS verification completed.",
    ]


async def test_an_expired_certificate_is_told_with_its_end(chains: Chains) -> None:
    async with LabServer(server_context(*chains.files(chains.server("localhost", end=SEED_END), chains.intermediate))) as server:
        done = await tlsverify(chains, server)
        machine = await tlsverify(chains, server, "--json")
    assert "TLS certificate is not trusted: certificate has expired.\n" in done.out
    assert "notAfter=May 20 22:00:00 2019 GMT" in done.out
    (line,) = machine.lines
    assert (line["verified"], line["problem"], line["protocol"]) == (
        False,
        "the certificate is not trusted: certificate has expired",
        "TLSv1.3",
    )


async def test_a_wrong_name_is_told(chains: Chains) -> None:
    async with LabServer(server_context(*chains.good("other.example.net"))) as server:
        done = await tlsverify(chains, server, "--brief")
    assert done.code == 1
    assert "Verifying certificate common name other.example.net.\nTLS certificate does not match localhost\nTLS was required" in done.out


async def test_the_next_look_says_what_has_changed_and_history_shows_all(chains: Chains, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    async with LabServer(server_context(*chains.good("localhost"))) as server:
        await tlsverify(chains, server, "--state", state)
        server.offers = False
        done = await tlsverify(chains, server, "--state", state)
    assert "it stopped offering STARTTLS\n" in done.out
    shown = esa("tlsverify", "example.org", "--history", "--state", state, "--json").lines
    assert [(line["version"], line["problem"]) for line in shown] == [("TLSv1.3", ""), ("", "STARTTLS is not offered")]
    assert "2 looks" in esa("tlsverify", "example.org", "--history", "--state", state).err


async def test_all_servers_that_mx_records_name_are_looked_at(chains: Chains) -> None:
    """Nobody listens there: each of them is said to be unreachable."""
    zone = {
        ("example.org", "MX"): ["10 mx1.example.org.", "20 mx2.example.org."],
        ("mx1.example.org", "A"): ["127.0.0.41"],
        ("mx2.example.org", "A"): ["127.0.0.42"],
    }
    async with zone_server(zone) as names:
        all_of_them = await asyncio.to_thread(esa, "tlsverify", "example.org", "--all-mx", "--json", "--resolver", names.address)
        best = await asyncio.to_thread(esa, "tlsverify", "example.org", "--brief", "--resolver", names.address)
        none = await asyncio.to_thread(esa, "tlsverify", "none.example", "--resolver", names.address)
    assert [(line["host"], line["preference"], line["failed_at"]) for line in all_of_them.lines] == [
        ("mx1.example.org", 10, "connect"),
        ("mx2.example.org", 20, "connect"),
    ]
    assert "Connecting to mx1.example.org on port 25.\nConnection failed: no connection to 127.0.0.41:25" in best.out
    assert "1 more server: mx2.example.org (look at all with --all-mx)" in best.err
    assert (none.code, none.err) == (1, "esa: none.example has neither MX records nor an address\n")


def test_what_is_used_wrongly_is_said(tmp_path: Path) -> None:
    assert esa("tlsverify", "--json").code == 2
    assert esa("tlsverify", "not a domain").code == 2
    assert "RC4 gives its plain text away" in esa("tlsverify", "example.org", "--ciphers", "RC4-SHA").err
    assert esa("tlsverify", "example.org", "--state", tmp_path / "none").code == 3


def test_names_from_certificates_cannot_steer_the_terminal(tmp_path: Path) -> None:
    own = issue("\x1b[2Jlocalhost", by=None, names=["localhost"])
    chain = tmp_path / "own.pem"
    chain.write_bytes(own.pem)
    done = esa("cert", "show", chain)
    assert "\x1b" not in done.out
