"""A recording receiver, a listener for the length of a test, and a client that speaks octets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from esa.gateway.authentication import Authenticator
from esa.gateway.limits import Limits
from esa.gateway.listener import EXTENSIONS, NOBODY, Extension, Server, serve
from esa.gateway.protocol import Connection
from esa.gateway.proxies import Trust
from esa.gateway.receiver import Answer, Receiver, Transaction
from esa.gateway.tls import TlsSettings
from esa.message.reply import Reply

ACCEPTED = Reply(250, "2.0.0", "accepted")
HOSTNAME = "mx.example.com"


@dataclass
class Recorder(Receiver):
    """Takes mail for example.com, refuses mail data with the word REFUSE, remembers everything."""

    messages: list[Transaction] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    aborts: list[Transaction] = field(default_factory=list)
    gone: list[Connection] = field(default_factory=list)
    hold: bool = False  # leave finish() to the test

    def recipient(self, transaction: Transaction, forward_path: str, parameters: Sequence[str]) -> Answer:
        return (
            None if forward_path.endswith("@example.com") or forward_path.startswith("postmaster@") else Reply(550, "5.7.1", "No relaying")
        )

    def message(self, transaction: Transaction) -> None:
        self.messages.append(transaction)
        self.contents.append(transaction.content)
        if not self.hold:
            transaction.finish(Reply(550, "5.7.1", "Refused") if b"REFUSE" in transaction.content else ACCEPTED)

    def aborted(self, transaction: Transaction) -> None:
        self.aborts.append(transaction)

    def closed(self, connection: Connection) -> None:
        self.gone.append(connection)


class Client:
    """An SMTP client of octets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def line(self) -> str:
        """The next reply line without its line end; "" when the server has closed."""
        octets = await asyncio.wait_for(self.reader.readline(), 10)
        assert not octets or octets.endswith(b"\r\n")
        assert b"\r" not in octets[:-2]
        return octets[:-2].decode("ascii")

    async def reply(self) -> str:
        """The last line of the next reply."""
        line = await self.line()
        while line[3:4] == "-":
            line = await self.line()
        return line

    async def ask(self, command: str | bytes) -> str:
        await self.send(command.encode() + b"\r\n" if isinstance(command, str) else command)
        return await self.reply()

    async def begin(self, recipients: int = 1) -> None:
        """Up to the 354 of DATA."""
        for command in ("EHLO client.example", "MAIL FROM:<a@partner.example>", *["RCPT TO:<user@example.com>"] * recipients):
            assert (await self.ask(command)).startswith("250")
        assert (await self.ask("DATA")).startswith("354")

    async def start_tls(self, context: ssl.SSLContext, name: str = HOSTNAME) -> None:
        """STARTTLS and the handshake."""
        assert (await self.ask("STARTTLS")).startswith("220 2.0.0")
        await self.handshake(context, name)

    async def handshake(self, context: ssl.SSLContext, name: str = HOSTNAME) -> None:
        await self.writer.start_tls(context, server_hostname=name)

    @property
    def tls(self) -> ssl.SSLObject:
        found = self.writer.get_extra_info("ssl_object")
        assert isinstance(found, ssl.SSLObject)
        return found

    async def is_closed(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(), 10) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.close()


@dataclass
class Listening:
    server: Server
    port: int
    address: str
    clients: list[Client] = field(default_factory=list)

    async def connect(self, *, greeting: bool = True, address: str = "") -> Client:
        """Connect from an address of this machine (all of 127/8 is)."""
        client = Client(*await asyncio.open_connection(self.address, self.port, limit=2**20, local_addr=(address or self.address, 0)))
        self.clients.append(client)
        if greeting:
            assert (await client.reply()).startswith("220 ")
        return client


@asynccontextmanager
async def listening(
    receiver: object,
    *,
    limits: Limits | None = None,
    spill_directory: Path | None = None,
    bare_newline: Literal["normalize", "reject"] = "normalize",
    extensions: Sequence[Extension] = EXTENSIONS,
    tls: TlsSettings | None = None,
    authenticator: Authenticator | None = None,
    needs_authentication: bool = False,
    trust: Trust = NOBODY,
    address: str = "127.0.0.1",
) -> AsyncIterator[Listening]:
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    bound.bind((address, 0))
    server = await serve(
        receiver,
        bound,
        hostname=HOSTNAME,
        limits=limits,
        spill_directory=spill_directory,
        listener="test",
        bare_newline=bare_newline,
        extensions=extensions,
        tls=tls,
        authenticator=authenticator,
        needs_authentication=needs_authentication,
        trust=trust,
    )
    running = Listening(server, server.addresses[0][1], address)
    try:
        yield running
    finally:
        for client in running.clients:
            client.close()
        server.close()
        await asyncio.sleep(0.01)
