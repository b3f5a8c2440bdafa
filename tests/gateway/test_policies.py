"""Policies of domains as delivery keeps them: fetched once, held while their time lasts, changed when the domain changes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from esa.gateway.delivery.policies import FRESH, KeptPolicies
from esa.gateway.peers.dns import ValidatingResolver
from esa.gateway.peers.probe import Manner
from esa.policy.tls_modes import MtaSts
from esa.store.tls_policies import KeptPolicy, TlsPolicies, read
from tests.gateway.chains import Chains
from tests.gateway.test_delivery import until
from tests.gateway.tls_lab import server_context
from tests.gateway.zone_server import zone_server

DOMAIN = "example.org"


@dataclass
class Domain:
    """A domain with its record and its policy, as they are now."""

    port: int = 0
    policy: str = ""  # empty: 404
    fetches: int = 0
    zone: dict[tuple[str, str], list[str]] = field(default_factory=lambda: {(f"mta-sts.{DOMAIN}", "A"): ["127.0.0.1"]})

    def publish(self, identifier: str, mode: str, max_age: int = 86_400) -> None:
        self.name(identifier)
        self.policy = f"version: STSv1\nmode: {mode}\nmx: mx.{DOMAIN}\nmax_age: {max_age}\n"

    def name(self, identifier: str) -> None:
        self.zone[f"_mta-sts.{DOMAIN}", "TXT"] = [f'"v=STSv1; id={identifier}"']


@pytest.fixture
def chains(tmp_path: Path) -> Chains:
    return Chains(tmp_path)


@asynccontextmanager
async def published(chains: Chains) -> AsyncIterator[Domain]:
    domain = Domain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        domain.fetches += 1
        status = "200 OK" if domain.policy else "404 gone"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{domain.policy}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(*chains.good(f"mta-sts.{DOMAIN}")))
    domain.port = server.sockets[0].getsockname()[1]
    try:
        yield domain
    finally:
        server.close()


@asynccontextmanager
async def keeping(chains: Chains, domain: Domain, *, failing: tuple[str, ...] = (), allows: bool = True) -> AsyncIterator[KeptPolicies]:
    """As a deliver process that begins now; nothing of an earlier one is left but its file."""
    async with zone_server(domain.zone, failing=failing) as names:
        resolver = ValidatingResolver([names.address], timeout=5)
        manner = Manner("here.example", chains.authorities)
        state = chains.folder
        kept = KeptPolicies(state, resolver, manner=manner, port=domain.port, is_allowed=lambda _: allows)
        try:
            yield kept
        finally:
            await kept.close()


async def mode_of(kept: KeptPolicies) -> str:
    found = await kept.policy(DOMAIN)
    return found.policy.mode if found.policy is not None else str(found.state)


async def test_a_policy_is_fetched_once_for_all_who_ask_and_again_when_its_identifier_changes(chains: Chains) -> None:
    async with published(chains) as domain, keeping(chains, domain) as kept:
        domain.publish("1", "enforce")
        assert await asyncio.gather(*(mode_of(kept) for _ in range(5))) == ["enforce"] * 5
        assert (await mode_of(kept), domain.fetches) == ("enforce", 1)
        domain.publish("2", "testing")
        assert (await mode_of(kept), domain.fetches) == ("testing", 2)
    assert [(one.domain, one.identifier, one.mode, one.servers) for one in read(chains.folder)] == [
        (DOMAIN, "2", "testing", (f"mx.{DOMAIN}",))
    ]


@pytest.mark.parametrize("trouble", ["record gone", "name server fails", "fetch fails", "no address", "nonsense"])
async def test_a_policy_in_force_is_lowered_by_no_trouble_and_over_no_restart(chains: Chains, trouble: str) -> None:
    async with published(chains) as domain:
        domain.publish("1", "enforce")
        async with keeping(chains, domain) as kept:
            assert await mode_of(kept) == "enforce"
        failing: tuple[str, ...] = ()
        match trouble:
            case "record gone":
                del domain.zone[f"_mta-sts.{DOMAIN}", "TXT"]
            case "name server fails":
                failing = (f"_mta-sts.{DOMAIN}",)
            case "fetch fails":
                domain.name("2")
                domain.policy = ""
            case "no address":
                domain.name("2")
                domain.zone[f"mta-sts.{DOMAIN}", "A"] = []
            case "nonsense":
                domain.name("2")
                domain.policy = "version: STSv2\n"
        async with keeping(chains, domain, failing=failing) as kept:
            assert [await mode_of(kept) for _ in range(2)] == ["enforce"] * 2


async def test_without_a_policy_in_hand_a_fetch_that_failed_is_not_tried_again_for_each_message(chains: Chains) -> None:
    async with published(chains) as domain, keeping(chains, domain) as kept:
        domain.name("1")
        assert [await mode_of(kept) for _ in range(3)] == [str(MtaSts.UNKNOWN)] * 3
        assert domain.fetches == 1


async def test_a_policy_that_is_over_counts_no_more_and_one_that_says_none_is_none(chains: Chains) -> None:
    async with published(chains) as domain:
        domain.name("1")
        store = TlsPolicies(chains.folder)
        store.keep(KeptPolicy(DOMAIN, "1", "enforce", (f"mx.{DOMAIN}",), 60, time.time() - 61))
        store.close()
        async with keeping(chains, domain) as kept:
            assert await mode_of(kept) == str(MtaSts.UNKNOWN)
        domain.publish("2", "none")
        async with keeping(chains, domain) as kept:
            found = await kept.policy(DOMAIN)
            assert (found.state, await mode_of(kept)) == (MtaSts.ABSENT, "none")


async def test_a_policy_of_some_age_is_fetched_again_while_it_holds(chains: Chains) -> None:
    async with published(chains) as domain:
        domain.publish("1", "enforce", 30 * 86_400)
        store = TlsPolicies(chains.folder)
        store.keep(KeptPolicy(DOMAIN, "1", "testing", (f"mx.{DOMAIN}",), 30 * 86_400, time.time() - FRESH - 1))
        store.close()
        async with keeping(chains, domain) as kept:
            assert await mode_of(kept) == "testing"
            await until(lambda: [one.mode for one in read(chains.folder)] == ["enforce"])
            assert (await mode_of(kept), domain.fetches) == ("enforce", 1)


async def test_no_policy_is_fetched_from_an_address_that_nobody_is_to_be_asked_at(chains: Chains) -> None:
    async with published(chains) as domain, keeping(chains, domain, allows=False) as kept:
        domain.publish("1", "enforce")
        found = await kept.policy(DOMAIN)
    assert (found.state, domain.fetches) == (MtaSts.UNKNOWN, 0)
    assert found.reason == f"the policy cannot be had: mta-sts.{DOMAIN} has an address that nobody is asked at: 127.0.0.1"
