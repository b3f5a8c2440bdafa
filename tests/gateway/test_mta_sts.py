"""The policy of a domain (RFC 8461), fetched over HTTPS from a real server, and what it says of servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from esa.gateway.peers import mta_sts
from esa.gateway.peers.dns import ValidatingResolver
from esa.gateway.peers.mta_sts import Found, Policy, PolicyError, judge, parse
from esa.gateway.peers.probe import Manner
from esa.policy.tls_modes import MtaSts
from tests.gateway.chains import Chains
from tests.gateway.tls_lab import server_context
from tests.gateway.zone_server import zone_server

TEXT = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmx: *.mail.example.org\r\nmax_age: 604800\r\n"
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
ZONE = {("_mta-sts.example.org", "TXT"): ['"v=STSv1; id=20260301;"'], ("mta-sts.example.org", "A"): ["127.0.0.1"]}


@pytest.fixture
def chains(tmp_path: Path) -> Chains:
    return Chains(tmp_path)


@asynccontextmanager
async def web(chains: Chains, reply: bytes, *, name: str = "mta-sts.example.org") -> AsyncIterator[int]:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(reply)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort() if not reply else writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(*chains.good(name)))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
    assert all(one.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.org\r\n") for one in asked)


async def find(chains: Chains, port: int, zone: Mapping[tuple[str, str], Sequence[str]] = ZONE) -> Found:
    async with zone_server(zone, failing=["_mta-sts.ill.example"]) as server:
        resolver = ValidatingResolver([server.address], timeout=5)
        return await mta_sts.find(resolver, "example.org", manner=Manner("here.example", chains.authorities), port=port)


@pytest.mark.parametrize(
    "reply",
    [
        f"{HEAD}Content-Length: {len(TEXT)}\r\n\r\n{TEXT}",
        f"{HEAD}\r\n{TEXT}",
        f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{len(TEXT):x}\r\n{TEXT}\r\n0\r\n\r\n",
    ],
)
async def test_a_policy_is_fetched_however_http_frames_it(chains: Chains, reply: str) -> None:
    async with web(chains, reply.encode()) as port:
        found = await find(chains, port)
    assert found.policy == Policy("enforce", ("mx.example.org", "*.mail.example.org"), 604_800, "20260301")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (f"HTTP/1.1 404 Not Found\r\n\r\n{TEXT}", "mta-sts.example.org answers 404 for it"),
        ("HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.example/\r\n\r\n", "mta-sts.example.org answers 301 for it"),
        (f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{TEXT}", "it is text/html, not text/plain"),
        (f"{HEAD}\r\n{'mx: a.example' * 10_000}", "it has more than 64 KiB"),
        (f"{HEAD}\r\nversion: STSv2\n", "it does not begin with version: STSv1"),
        ("220 mail.example ESMTP\r\n", "mta-sts.example.org does not speak HTTP: BadStatusLine"),
        (f"{HEAD}Content-Length: 900\r\n\r\n{TEXT}", "mta-sts.example.org does not speak HTTP: IncompleteRead"),
        ("", "mta-sts.example.org does not speak HTTP: RemoteDisconnected"),
    ],
)
async def test_what_is_no_policy_is_named_and_counts_as_unknown(chains: Chains, reply: str, reason: str) -> None:
    async with web(chains, reply.encode()) as port:
        found = await find(chains, port)
    assert (found.policy, found.state, found.reason) == (None, MtaSts.UNKNOWN, f"the policy cannot be had: {reason}")


async def test_a_policy_from_a_server_of_another_name_is_none(chains: Chains) -> None:
    async with web(chains, f"{HEAD}\r\n{TEXT}".encode(), name="other.example.org") as port:
        found = await find(chains, port)
    assert found.reason == "the policy cannot be had: the certificate does not stand for mta-sts.example.org"


async def test_a_server_without_end_is_ended(chains: Chains, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mta_sts, "SECONDS", 0.5)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            writer.transport.abort()

    server = await asyncio.start_server(drip, "127.0.0.1", 0, ssl=server_context(*chains.good("mta-sts.example.org")))
    found = await find(chains, server.sockets[0].getsockname()[1])
    server.close()
    assert found.reason == "the policy did not come within 0.5 s"


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ([], MtaSts.ABSENT),
        (['"v=spf1 -all"'], MtaSts.ABSENT),
        (['"v=STSv1; id=1;"', '"v=STSv1; id=2;"'], MtaSts.ABSENT),
        (['"v=STSv1;"'], MtaSts.ABSENT),
        (['"v=STSv10; id=1;"'], MtaSts.ABSENT),
    ],
)
async def test_without_one_right_record_there_is_no_policy(chains: Chains, records: list[str], state: MtaSts) -> None:
    zone = {("_mta-sts.example.org", "TXT"): records} if records else {}
    found = await find(chains, 1, zone)
    assert (found.policy, found.state) == (None, state)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("STSv1", "STSv2"),
        TEXT.replace("enforce", "strict"),
        TEXT.replace("604800", "a week"),
        TEXT.replace("604800", "²"),
        TEXT.replace("604800", "-1"),
        "version: STSv1\nmode: enforce\nmax_age: 1\n",
        "",
    ],
)
def test_a_policy_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        parse(text)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mx.example.org", True),
        ("MX.example.org.", True),
        ("a.mail.example.org", True),
        ("a.b.mail.example.org", False),
        ("mail.example.org", False),
        ("evil.example", False),
    ],
)
def test_servers_are_matched_label_by_label(host: str, allowed: bool) -> None:
    assert Policy("enforce", ("mx.example.org", "*.mail.example.org"), 1).allows(host) == allowed


def test_what_does_not_fit_is_a_mismatch_only_where_the_policy_is_enforced() -> None:
    found = {mode: Found(parse(TEXT.replace("enforce", mode))) for mode in ("enforce", "testing")}
    fits = {"host": "mx.example.org", "refusal": "", "matches_host": True}
    for wrong, reason in (
        ({"host": "evil.example"}, "evil.example is not among the servers of the policy: mx.example.org, *.mail.example.org"),
        ({"refusal": "STARTTLS is not offered"}, "STARTTLS is not offered"),
        ({"matches_host": False}, "the certificate does not stand for mx.example.org"),
    ):
        given = {**fits, **wrong}
        host, refusal, matches = str(given["host"]), str(given["refusal"]), bool(given["matches_host"])
        assert judge(found["enforce"], host=host, refusal=refusal, matches_host=matches) == (MtaSts.MISMATCHED, f"mode enforce: {reason}")
        assert judge(found["testing"], host=host, refusal=refusal, matches_host=matches) == (MtaSts.TESTING, f"mode testing: {reason}")
    assert judge(found["enforce"], host="mx.example.org", refusal="", matches_host=True)[0] is MtaSts.MATCHED
