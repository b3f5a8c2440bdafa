"""Mail servers with TLS of every make and fault, on loopback: what they do before, in and behind the handshake can be set."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Handshake = Literal["made", "hangs", "drips", "garbage", "closes"]


def server_context(chain: Path, key: Path, *, version: ssl.TLSVersion | None = None, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    """A server's context that loads whatever it is given; `version`: the only one that it speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = version or ssl.TLSVersion.TLSv1_2
        if version is not None:
            context.maximum_version = version
    context.load_cert_chain(chain, key)
    return context


@dataclass
class LabServer:
    """Offers STARTTLS if it has a context; `implicit`: TLS comes first. `drip`: seconds between the octets of the greeting, for ever."""

    context: ssl.SSLContext | None = None
    starttls: bytes = b"220 2.0.0 go\r\n"
    offers: bool = True
    handshake: Handshake = "made"
    implicit: bool = False
    greeting: bytes = b"220 lab.example ESMTP\r\n"
    ehlo: bytes = b"250-lab.example\r\n250-PIPELINING\r\n"
    ehlo_in_tls: bytes = b""  # further lines
    drip: float = 0.0
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    address: str = "127.0.0.1"
    taken: list[bool] = field(default_factory=list)  # for each message that was taken, whether it came in TLS
    contents: list[bytes] = field(default_factory=list)

    async def __aenter__(self) -> LabServer:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, self.address, self.port, ssl=self.context if self.implicit else None)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._session(reader, writer)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.drip:
            while True:
                writer.write(b"2")
                await asyncio.sleep(self.drip)
        writer.write(self.greeting)
        is_secure = self.implicit
        while line := await reader.readline():
            command = line.decode("ascii", "replace").strip()
            self.commands.append(command)
            match command.partition(" ")[0].upper():
                case "EHLO":
                    offer = b"250-STARTTLS\r\n" if self.offers and not is_secure else b""
                    offer += self.ehlo_in_tls if is_secure else b""
                    writer.write(self.ehlo + offer + b"250 8BITMIME\r\n")
                case "STARTTLS":
                    writer.write(self.starttls)
                    await writer.drain()
                    if not self.starttls.startswith(b"220"):
                        continue
                    await self._handshake(reader, writer)
                    is_secure = True
                case "MAIL" | "RCPT" | "RSET":
                    writer.write(b"250 2.1.0 ok\r\n")
                case "DATA":
                    writer.write(b"354 go on\r\n")
                    self.contents.append(await reader.readuntil(b"\r\n.\r\n"))
                    self.taken.append(is_secure)
                    writer.write(b"250 2.0.0 taken\r\n")
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                case _:
                    writer.write(b"500 not known\r\n")
            with contextlib.suppress(OSError):
                await writer.drain()

    async def _handshake(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match self.handshake:
            case "made":
                assert self.context is not None
                await writer.start_tls(self.context)
            case "hangs":
                await asyncio.sleep(3600)
            case "drips":
                await reader.read(1)
                # the header of a record that promises 16,384 octets, and then one by one
                writer.write(b"\x16\x03\x03\x40\x00\x02")
                while True:
                    writer.write(b"\0")
                    await asyncio.sleep(0.02)
            case "garbage":
                await reader.read(1)
                writer.write(b"no TLS is spoken here\r\n" * 100)
                await reader.read()
            case "closes":
                raise ConnectionResetError
