"""Who may say who the client is: PROXY headers of both versions and XCLIENT, from networks that are trusted and from strangers."""

from __future__ import annotations

import ipaddress
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.gateway import listener as listener_module
from esa.gateway.limits import Limits
from esa.gateway.protocol import Connection
from esa.gateway.proxies import SIGNATURE, Endpoints, Networks, Trust, read_header, read_xclient
from esa.gateway.receiver import Answer, Transaction
from esa.gateway.tls import TlsSettings
from esa.message.envelope import Session
from esa.message.reply import Reply
from tests.gateway.certificates import Authority
from tests.gateway.sessions import Client, Recorder, listening

LOOPBACK = Trust.of(["127.0.0.0/8"], ["127.0.0.0/8"])
HEADER = Trust.of(["127.0.0.0/8"], [])
XCLIENT = Trust.of([], ["127.0.0.0/8"])
STRANGERS = Trust.of(["192.0.2.0/24"], ["192.0.2.0/24"])
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.25 40000 25\r\n"


def v2(client: str = "2001:db8::7", local: str = "2001:db8::25", command: int = 0x21, more: bytes = b"") -> bytes:
    source, destination = ipaddress.ip_address(client), ipaddress.ip_address(local)
    body = source.packed + destination.packed + struct.pack(">HH", 40000, 25) + more
    return SIGNATURE + bytes([command, 0x11 if source.version == 4 else 0x21]) + struct.pack(">H", len(body)) + body


@pytest.mark.parametrize(
    ("octets", "endpoints"),
    [
        (V1, Endpoints("192.0.2.7", 40000, "198.51.100.25", 25)),
        (b"PROXY TCP6 2001:DB8:0::7 ::1 65535 0\r\n", Endpoints("2001:db8::7", 65535, "::1", 0)),
        (b"PROXY UNKNOWN\r\n", Endpoints()),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", Endpoints()),
        (v2(), Endpoints("2001:db8::7", 40000, "2001:db8::25", 25)),
        (v2("192.0.2.7", "198.51.100.25"), Endpoints("192.0.2.7", 40000, "198.51.100.25", 25)),
        (v2(more=b"\x03\0\4\1\2\3\4\x04\0\0"), Endpoints("2001:db8::7", 40000, "2001:db8::25", 25)),
        (v2(command=0x20), Endpoints()),
        (SIGNATURE + b"\x20\0\0\0", Endpoints()),
        (SIGNATURE + b"\x21\0\0\0", Endpoints()),
        (SIGNATURE + b"\x21\x31\0\xd8" + b"/" * 216, Endpoints()),
    ],
)
def test_a_header_is_read_whole_however_it_is_cut(octets: bytes, endpoints: Endpoints) -> None:
    for length in range(len(octets)):
        assert read_header(octets[:length]) is None
    assert read_header(octets + b"EHLO x\r\n") == (endpoints, len(octets))


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.25 40000\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 192.0.2.8 1 2\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.8 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 65536 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\n",
        b"PROXY  TCP4 192.0.2.7 192.0.2.8 1 2\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.8 1 2\r\n",
        b"proxy TCP4 192.0.2.7 192.0.2.8 1 2\r\n",
        b"PROXY TCP4 " + b"1" * 107,
        b"PROXY UNKNOWN " + b"x" * 107,
        SIGNATURE + b"\x11\x11\0\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x12\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
        SIGNATURE + b"\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIX\n",
    ],
)
def test_a_malformed_header_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_header(octets)


@given(st.binary(max_size=300))
def test_any_octets_are_a_header_or_wanting_more_or_refused(octets: bytes) -> None:
    for start in (b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x21"):
        try:
            found = read_header(start + octets)
        except ValueError:
            continue
        assert found is None or 0 < found[1] <= len(start + octets)


@given(st.text(max_size=200))
def test_any_text_is_claims_or_refused(text: str) -> None:
    for start in ("", "ADDR=", "NAME=x PORT="):
        try:
            read_xclient(start + text)
        except ValueError:
            continue


def test_networks_know_mapped_addresses_and_no_names() -> None:
    networks = Networks(["192.0.2.0/24", "2001:db8::/32"])
    assert all(address in networks for address in ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::1%eth0"))
    assert not any(address in networks for address in ("192.0.3.1", "::1", "", "localhost"))


# --- on real sockets


async def mail(client: Client) -> None:
    await client.begin()
    assert (await client.ask(b".\r\n")).startswith("250")


@pytest.mark.parametrize(
    ("octets", "address", "port"), [(V1, "192.0.2.7", 40000), (v2(), "2001:db8::7", 40000), (v2(command=0x20), "127.0.0.1", None)]
)
async def test_a_trusted_proxy_says_who_the_client_is(octets: bytes, address: str, port: int | None) -> None:
    recorder = Recorder()
    async with listening(recorder, trust=HEADER) as running:
        for pieces in ([octets], [octets[:1], octets[1:20], octets[20:]]):
            client = await running.connect(greeting=False)
            for piece in pieces:
                await client.send(piece)
            assert (await client.reply()).startswith("220 ")
            await mail(client)
    assert [message.session.client_address for message in recorder.messages] == [address] * 2
    assert port is None or recorder.messages[0].session.client_port == port


async def test_commands_in_one_segment_with_the_header_are_read() -> None:
    async with listening(Recorder(), trust=HEADER) as running:
        client = await running.connect(greeting=False)
        await client.send(V1 + b"EHLO c\r\nQUIT\r\n")
        assert [(await client.reply())[:3] for _ in range(3)] == ["220", "250", "221"]


@pytest.mark.parametrize("octets", [b"EHLO client.example\r\n", b"PROXY TCP4 x\r\n", SIGNATURE + b"\xff" * 20])
async def test_a_trusted_proxy_without_a_header_gets_nothing(octets: bytes) -> None:
    recorder = Recorder()
    async with listening(recorder, trust=HEADER) as running:
        client = await running.connect(greeting=False)
        await client.send(octets)
        assert await client.is_closed()
    assert recorder.gone == []


async def test_a_proxy_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "SWEEP_INTERVAL", 0.05)
    async with listening(Recorder(), trust=HEADER, limits=Limits(command_timeout=0.2)) as running:
        client = await running.connect(greeting=False)
        await client.send(b"PROXY TCP4 ")
        assert (await client.line()).startswith("421")
        assert await client.is_closed()


@pytest.mark.parametrize("octets", [V1, v2()])
async def test_a_header_of_a_stranger_counts_for_nothing(octets: bytes) -> None:
    recorder = Recorder()
    async with listening(recorder, trust=STRANGERS) as running:
        client = await running.connect()
        await client.send(octets)
        assert (await client.reply()).startswith("5")
        client = await running.connect()
        await mail(client)
    assert recorder.messages[0].session.client_address == "127.0.0.1"


async def test_implicit_tls_comes_behind_the_header(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    recorder = Recorder()
    async with listening(recorder, trust=HEADER, tls=TlsSettings("implicit", (authority.certificate(),))) as running:
        client = await running.connect(greeting=False)
        await client.send(V1)
        await client.handshake(authority.client())
        assert (await client.reply()).startswith("220 ")
        await mail(client)
    session = recorder.messages[0].session
    assert (session.client_address, session.tls_version) == ("192.0.2.7", "TLSv1.3")


async def test_xclient_begins_the_session_anew_as_another() -> None:
    greeted: list[str] = []
    sessions: list[Session] = []

    class Door(Recorder):
        def greet(self, connection: Connection) -> Answer:
            greeted.append(connection.client_address)
            return Reply(554, "5.7.1", "Not you") if connection.client_address == "192.0.2.66" else None

        def message(self, transaction: Transaction) -> None:
            sessions.append(transaction.session)
            super().message(transaction)

    recorder = Door()
    async with listening(recorder, trust=XCLIENT) as running:
        client = await running.connect()
        await client.send(b"EHLO proxy.example\r\n")
        lines = [await client.line() for _ in range(9)]
        assert "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT" in lines
        assert (await client.ask("XCLIENT ADDR=IPV6:2001:db8::7 PORT=40000 NAME=[UNAVAILABLE] HELO=real.example LOGIN=anna")).startswith(
            "220"
        )
        assert (await client.ask("MAIL FROM:<a@partner.example>")).startswith("503")
        await mail(client)
        assert (await client.ask("XCLIENT ADDR=192.0.2.66")).startswith("554 5.7.1")
        assert await client.is_closed()
    (session,) = sessions
    assert (session.client_address, session.client_port, session.user, session.protocol) == ("2001:db8::7", 40000, "anna", "ESMTPA")
    assert greeted == ["127.0.0.1", "2001:db8::7", "192.0.2.66"]
    assert len(recorder.gone) == len(greeted)


@pytest.mark.parametrize("argument", ["ADDR", "ADDR=x", "PORT=99999", "FOO=bar", "HELO=a+0Ab", "LOGIN=a+20b", "NAME=+ZZ", "PROTO=HTTP"])
async def test_malformed_claims_change_nothing(argument: str) -> None:
    async with listening(Recorder(), trust=XCLIENT) as running:
        client = await running.connect()
        await client.ask("EHLO proxy.example")
        assert (await client.ask(f"XCLIENT {argument}")).startswith("501")
        (connection,) = running.server.connections
        assert (connection.client_address, connection.helo) == ("127.0.0.1", "proxy.example")


async def test_a_stranger_has_no_xclient() -> None:
    async with listening(Recorder(), trust=STRANGERS) as running:
        client = await running.connect()
        await client.send(b"EHLO client.example\r\n")
        assert not any("XCLIENT" in line for line in [await client.line() for _ in range(8)])
        assert (await client.ask("XCLIENT ADDR=192.0.2.7")).startswith("500")
        await mail(client)


async def test_xclient_within_a_transaction_is_out_of_order() -> None:
    async with listening(Recorder(), trust=XCLIENT) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.ask("MAIL FROM:<a@partner.example>")
        assert (await client.ask("XCLIENT ADDR=192.0.2.7")).startswith("503")


async def test_ipv6_clients_are_served() -> None:
    recorder = Recorder()
    async with listening(recorder, address="::1") as running:
        await mail(await running.connect())
    assert recorder.messages[0].session.client_address == "::1"


async def test_random_headers_never_break_the_listener() -> None:
    chance = random.Random(7)
    async with listening(Recorder(), trust=LOOPBACK) as running:
        for _ in range(100):
            octets = bytearray(chance.choice((V1, v2(), v2("192.0.2.7", "192.0.2.8"))))
            for _ in range(chance.randrange(1, 4)):
                octets[chance.randrange(len(octets))] = chance.randrange(256)
            client = await running.connect(greeting=False)
            await client.send(bytes(octets) + b"QUIT\r\n")
            client.close()
        client = await running.connect(greeting=False)
        await client.send(V1)
        assert (await client.reply()).startswith("220 ")
