"""A name server on loopback with its zone as a dict; it can be silent, or answer garbage. Speaks just enough of RFC 1035 over UDP."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Literal, cast

Manner = Literal["honest", "silent", "garbage", "servfail"]
TYPES = {1: "A", 28: "AAAA", 12: "PTR", 15: "MX"}
NXDOMAIN, SERVFAIL = 3, 2


class NameServer(asyncio.DatagramProtocol):
    """Answers from `zone`: (name, type) → values."""

    def __init__(self, zone: Mapping[tuple[str, str], tuple[str, ...]]) -> None:
        self.zone = dict(zone)
        self.manner: Manner = "honest"
        self.asked: list[tuple[str, str]] = []
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        host, port = transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        name, kind, end = read_question(data)
        self.asked.append((name, kind))
        match self.manner:
            case "honest":
                self._transport.sendto(self._answer(data, name, kind, end), client)
            case "servfail":
                self._transport.sendto(head(data, SERVFAIL, 0) + data[12:end], client)
            case "garbage":
                self._transport.sendto(data[:2] + b"\x81\x80\xff\xff\xff" * 9, client)
            case "silent":
                pass

    def _answer(self, data: bytes, name: str, kind: str, end: int) -> bytes:
        values = self.zone.get((name, kind), ())
        known = any(owner == name for owner, _ in self.zone)
        records = b"".join(record(kind, value) for value in values)
        return head(data, 0 if known else NXDOMAIN, len(values)) + data[12:end] + records


def read_question(data: bytes) -> tuple[str, str, int]:
    labels, place = [], 12
    while length := data[place]:
        labels.append(data[place + 1 : place + 1 + length].decode())
        place += 1 + length
    (kind,) = struct.unpack_from(">H", data, place + 1)
    return ".".join(labels).lower(), TYPES.get(kind, str(kind)), place + 5


def head(question: bytes, code: int, answers: int) -> bytes:
    return question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, answers, 0, 0)


def record(kind: str, value: str) -> bytes:
    number = next(number for number, name in TYPES.items() if name == kind)
    if kind == "PTR":
        octets = wire_name(value)
    elif kind == "MX":
        preference, _, host = value.partition(" ")
        octets = struct.pack(">H", int(preference)) + wire_name(host)
    else:
        octets = ipaddress.ip_address(value).packed
    return struct.pack(">HHHIH", 0xC00C, number, 1, 60, len(octets)) + octets


def wire_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


@contextmanager
def name_server_beside(zone: Mapping[tuple[str, str], tuple[str, ...]]) -> Iterator[NameServer]:
    """The same on a thread of its own, for tests without a loop."""
    begun, end = threading.Event(), threading.Event()
    servers: list[NameServer] = []

    async def serve() -> None:
        async with name_server(zone) as server:
            servers.append(server)
            begun.set()
            while not end.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert begun.wait(10)
        yield servers[0]
    finally:
        end.set()
        thread.join()


@asynccontextmanager
async def name_server(zone: Mapping[tuple[str, str], tuple[str, ...]]) -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: NameServer(zone), local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
