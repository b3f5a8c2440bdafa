"""Where mail of a domain goes by DNS, asked of a real name server on loopback: order, fallback, loops, and what an ill one brings about."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from esa.gateway.delivery.exchangers import Exchangers, Ourselves, Undeliverable
from esa.gateway.delivery.replies import RemoteError
from esa.gateway.dns import Dns
from tests.gateway.name_server import Manner, NameServer, name_server

ZONE: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("example.org", "MX"): ("20 b.example.org", "10 a.example.org", "20 c.example.org"),
    ("a.example.org", "A"): ("192.0.2.1",),
    ("a.example.org", "AAAA"): ("2001:db8::1",),
    ("b.example.org", "A"): ("192.0.2.2",),
    ("c.example.org", "A"): ("192.0.2.3",),
    ("bare.example", "A"): ("192.0.2.9",),
    ("null.example", "MX"): ("0 .",),
    ("loop.example", "MX"): ("10 a.example.org", "20 mx.ours.example", "30 b.example.org"),
    ("mx.ours.example", "A"): ("192.0.2.77",),
    ("first.example", "MX"): ("10 mx.ours.example", "20 b.example.org"),
    ("address.example", "MX"): ("5 alias.example",),
    ("alias.example", "A"): ("127.0.0.1",),
    ("filtered.example", "MX"): ("5 sink.example",),
    ("sink.example", "A"): ("0.0.0.0",),
    ("lame.example", "MX"): ("5 nobody.example",),
    ("half.example", "MX"): ("5 nobody.example", "7 b.example.org"),
}


@asynccontextmanager
async def asking(
    zone: Mapping[tuple[str, str], tuple[str, ...]] = ZONE, manner: Manner = "honest"
) -> AsyncIterator[tuple[NameServer, Exchangers]]:
    async with name_server(zone) as server:
        server.manner = manner
        dns = Dns([server.address], timeout=0.4)
        ourselves = Ourselves(["MX.ours.example"], [("127.0.0.1", 25)])
        try:
            yield server, Exchangers(dns, ourselves)
        finally:
            await dns.close()


async def hosts(exchangers: Exchangers, domain: str) -> list[str]:
    return [one.host for one in await exchangers.find(domain)]


async def test_mail_exchangers_come_by_preference_and_equal_ones_by_chance() -> None:
    async with asking() as (_, exchangers):
        found = Counter([tuple(await hosts(exchangers, "example.org")) for _ in range(60)])
        first = (await exchangers.find("example.org"))[0]
    assert set(found) == {("a.example.org", "b.example.org", "c.example.org"), ("a.example.org", "c.example.org", "b.example.org")}
    assert set(first.addresses) == {"192.0.2.1", "2001:db8::1"}


async def test_a_domain_without_mail_exchangers_is_its_own() -> None:
    async with asking() as (_, exchangers):
        assert await hosts(exchangers, "bare.example") == ["bare.example"]


async def test_an_international_domain_is_asked_for_by_its_own_name() -> None:
    """IDNA 2003 made strasse of it, which is somebody else's (RFC 5894 section 7.2)."""
    zone = {("xn--strae-oqa.example", "MX"): ("10 a.example.org",), ("strasse.example", "MX"): ("10 b.example.org",), **ZONE}
    async with asking(zone) as (_, exchangers):
        assert await hosts(exchangers, "straße.example") == ["a.example.org"]
        with pytest.raises(Undeliverable, match="is no name that can be asked for"):
            await exchangers.find("\u200d.example")


async def test_an_address_literal_is_gone_to_directly_and_asked_of_nobody() -> None:
    async with asking() as (server, exchangers):
        [four] = await exchangers.find("[192.0.2.1]")
        [six] = await exchangers.find("[ipv6:2001:db8::1]")
        assert (four.addresses, six.addresses) == (("192.0.2.1",), ("2001:db8::1",))
        assert server.asked == []


async def test_only_exchangers_before_ourselves_are_asked() -> None:
    async with asking() as (_, exchangers):
        assert await hosts(exchangers, "loop.example") == ["a.example.org"]


@pytest.mark.parametrize(
    ("domain", "reply"),
    [
        ("null.example", "556 5.1.10 "),
        ("first.example", "554 5.4.6 "),
        ("address.example", "554 5.4.6 "),
        ("[127.0.0.1]", "554 5.4.6 "),
        ("nothing.example", "550 5.1.2 "),
    ],
)
async def test_what_can_never_be_delivered_says_why(domain: str, reply: str) -> None:
    async with asking() as (_, exchangers):
        await exchangers.find("bare.example")  # the name server has shown that it knows something
        with pytest.raises(Undeliverable) as fault:
            await exchangers.find(domain)
    assert str(fault.value).startswith(reply)


@pytest.mark.parametrize("domain", ["filtered.example", "lame.example"])
async def test_exchangers_without_an_address_to_go_to_make_mail_wait(domain: str) -> None:
    async with asking() as (_, exchangers):
        with pytest.raises(RemoteError, match=r"451 4\.4\.3 "):
            await exchangers.find(domain)


async def test_an_exchanger_without_an_address_is_passed_over() -> None:
    async with asking() as (_, exchangers):
        assert await hosts(exchangers, "half.example") == ["b.example.org"]


@pytest.mark.parametrize("manner", ["silent", "servfail", "garbage"])
async def test_an_ill_name_server_makes_mail_wait(manner: Manner) -> None:
    async with asking(manner=manner) as (_, exchangers):
        with pytest.raises(RemoteError, match=r"451 4\.4\.3 "):
            await exchangers.find("example.org")


async def test_a_name_server_that_knows_nothing_at_all_is_not_believed() -> None:
    async with asking({}) as (_, exchangers):
        with pytest.raises(RemoteError, match="not believed"):
            await exchangers.find("example.org")
    async with asking({("a.root-servers.net", "A"): ("198.51.100.4",)}) as (_, exchangers):
        with pytest.raises(Undeliverable):
            await exchangers.find("example.org")
