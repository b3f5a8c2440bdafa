"""What is asked of name servers about other servers, and whose word on DNSSEC counts."""

from __future__ import annotations

from esa.engine.resolver import Outcome
from esa.gateway.peers.answers import Answer, Exchanger, Tlsa
from esa.gateway.peers.dns import ValidatingResolver
from esa.gateway.peers.domain import Place, find_places
from tests.gateway.zone_server import zone_server

DIGEST = "ab" * 32
ZONE = {
    ("example.org", "MX"): ["20 mx2.example.org.", "10 MX1.example.org."],
    ("null.example", "MX"): ["0 ."],
    ("bare.example", "A"): ["192.0.2.9"],
    ("mx1.example.org", "A"): ["192.0.2.1"],
    ("mx1.example.org", "AAAA"): ["2001:db8::1"],
    ("_25._tcp.mx1.example.org", "TLSA"): [f"3 1 1 {DIGEST}"],
    ("_mta-sts.example.org", "TXT"): ['"v=STSv1; " "id=1;"'],
}


async def test_answers_are_read_and_validated_where_the_name_server_says_so() -> None:
    async with zone_server(ZONE, signed=["example.org"], failing=["ill.example"]) as server:
        resolver = ValidatingResolver([server.address], timeout=5)
        assert resolver.is_trusted
        exchangers = (Exchanger(10, "mx1.example.org"), Exchanger(20, "mx2.example.org"))
        assert await resolver.exchangers("example.org") == Answer(Outcome.FOUND, exchangers, True)
        assert await resolver.addresses("mx1.example.org") == Answer(Outcome.FOUND, ("192.0.2.1", "2001:db8::1"), True)
        assert await resolver.addresses("bare.example") == Answer(Outcome.FOUND, ("192.0.2.9",), False)
        tlsa = Tlsa(3, 1, 1, bytes.fromhex(DIGEST))
        assert await resolver.tlsa("_25._tcp.mx1.example.org") == Answer(Outcome.FOUND, (tlsa,), True)
        assert await resolver.tlsa("_25._tcp.mx2.example.org") == Answer(Outcome.NOTHING, (), True)
        assert await resolver.texts("_mta-sts.example.org") == Answer(Outcome.FOUND, ("v=STSv1; id=1;",), True)
        assert (await resolver.texts("x.ill.example")).outcome is Outcome.NOTHING
        assert (await resolver.texts("ill.example")).outcome is Outcome.FAILED
        assert (await resolver.addresses("a..b")).outcome is Outcome.FAILED
        resolver.is_trusted = False
        assert not (await resolver.exchangers("example.org")).is_validated


def test_a_name_server_elsewhere_is_believed_only_if_an_administrator_says_so() -> None:
    assert not ValidatingResolver(["192.0.2.53"], timeout=1).is_trusted
    assert not ValidatingResolver(["127.0.0.1", "[2001:db8::53]:53"], timeout=1).is_trusted
    assert ValidatingResolver(["::1", "127.0.0.53:5353"], timeout=1).is_trusted
    assert ValidatingResolver(["192.0.2.53"], timeout=1, is_trusted=True).is_trusted


async def test_servers_of_a_domain_are_its_exchangers_else_itself() -> None:
    async with zone_server(ZONE, signed=["example.org"], failing=["ill.example"]) as server:
        resolver = ValidatingResolver([server.address], timeout=5)
        found = await find_places(resolver, "example.org")
        assert found.servers == (Place("mx1.example.org", 25, 10, True), Place("mx2.example.org", 25, 20, True))
        assert (await find_places(resolver, "bare.example")).servers == (Place("bare.example", 25, None, False),)
        faults = [(await find_places(resolver, domain)).fault for domain in ("null.example", "none.example", "ill.example")]
    assert faults == [
        "null.example takes no mail: it says so with a null MX (RFC 7505)",
        "none.example has neither MX records nor an address",
        "the name servers do not answer for the MX records of ill.example",
    ]
