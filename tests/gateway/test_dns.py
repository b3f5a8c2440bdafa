"""Asking a real name server on loopback: what is found, what is not there, and what is ill are told apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from esa.engine.resolver import FAILED, NOTHING, Lookup, Outcome
from esa.gateway.dns import Dns
from tests.gateway.name_server import Manner, NameServer, name_server

ZONE = {
    ("5.0.0.127.in-addr.arpa", "PTR"): ("MX.example.net", "other.example.net"),
    ("mx.example.net", "A"): ("127.0.0.5", "192.0.2.1"),
    ("mx.example.net", "AAAA"): ("2001:db8::5",),
    ("example.net", "MX"): ("10 MX.example.net", "20 other.example.net"),
    ("nomail.example.net", "MX"): ("0 .",),
}


@asynccontextmanager
async def asking(manner: Manner = "honest") -> AsyncIterator[tuple[NameServer, Dns]]:
    async with name_server(ZONE) as server:
        server.manner = manner
        resolver = Dns([server.address], timeout=0.4)
        try:
            yield server, resolver
        finally:
            await resolver.close()


async def test_names_and_addresses_are_found() -> None:
    async with asking() as (_, resolver):
        assert await resolver.look_up("5.0.0.127.in-addr.arpa", "PTR") == Lookup(Outcome.FOUND, ("mx.example.net", "other.example.net"))
        assert await resolver.look_up("mx.example.net", "A") == Lookup(Outcome.FOUND, ("127.0.0.5", "192.0.2.1"))
        assert await resolver.look_up("mx.example.net", "AAAA") == Lookup(Outcome.FOUND, ("2001:db8::5",))


async def test_hosts_that_take_the_mail_of_a_domain_are_found_with_their_preference_and_a_null_mx_without_a_name() -> None:
    async with asking() as (_, resolver):
        assert await resolver.look_up("example.net", "MX") == Lookup(Outcome.FOUND, ("10 mx.example.net", "20 other.example.net"))
        assert await resolver.look_up("nomail.example.net", "MX") == Lookup(Outcome.FOUND, ("0 ",))


async def test_what_is_not_there_is_nothing_and_no_failure() -> None:
    async with asking() as (_, resolver):
        assert await resolver.look_up("none.example.net", "A") == NOTHING
        assert await resolver.look_up("mx.example.net", "PTR") == NOTHING
        assert await resolver.look_up("a" * 70 + ".example.net", "A") in (NOTHING, FAILED)


@pytest.mark.parametrize("manner", ["silent", "garbage", "servfail"])
async def test_an_ill_name_server_is_a_failure(manner: Manner) -> None:
    async with asking(manner) as (_, resolver):
        assert await resolver.look_up("mx.example.net", "A") == FAILED


async def test_an_answer_is_kept() -> None:
    async with asking() as (server, resolver):
        for _ in range(5):
            await resolver.look_up("mx.example.net", "A")
        assert server.asked == [("mx.example.net", "A")]
