"""A session of a listener without a socket: a client's commands in, the listener's replies out, by the same `protocol` as on the wire.

`rehearsal` speaks so. Nothing leaves the process. One command at a time: what the session answers is waited for before the next is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from esa.gateway.listener import READ_BUFFER, Server
from esa.gateway.protocol import Connection
from esa.gateway.tls import TlsFacts
from esa.message.envelope import Session

LOCAL = ("127.0.0.1", 25)  # what the client is said to have connected to


class Wire(asyncio.Transport):
    """The transport of such a session: keeps what is written until it is read."""

    def __init__(self, client: str, port: int) -> None:
        super().__init__({"peername": (client, port), "sockname": LOCAL})
        self._written = b""
        self._waiter: asyncio.Future[None] | None = None
        self._is_closing = self._is_paused = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self._written += bytes(data)
        self._wake()

    def close(self) -> None:
        self._is_closing = True
        self._wake()

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._wake()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return super().get_extra_info(name, default) if name != "socket" else default

    async def reply(self) -> tuple[str, ...]:
        """The lines of the next reply; none if the session has ended without a word."""
        while True:
            lines = self._take()
            if lines or self._is_closing:
                return lines
            await self._wait()

    async def readable(self) -> None:
        """Return when the session reads on."""
        while self._is_paused and not self._is_closing:
            await self._wait()

    def _take(self) -> tuple[str, ...]:
        lines: list[str] = []
        rest = self._written
        while rest:
            line, end, rest = rest.partition(b"\r\n")
            if not end:
                return ()
            lines.append(line.decode("ascii", "replace"))
            if line[3:4] != b"-":
                self._written = rest
                return tuple(lines)
        return ()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Spoken(Connection):
    """The session, with what a rehearsal says of its message: its identifier, and when it came (Unix seconds)."""

    __slots__ = ("identifier", "received_at", "wire")

    def __init__(self, server: Server, session: Session, identifier: str) -> None:
        super().__init__(server)
        self.identifier, self.received_at = identifier, session.received_at
        self.wire = Wire(session.client_address, session.client_port)

    def describe(self, received_at: float, *, smtputf8: bool = False) -> Session:
        return super().describe(self.received_at, smtputf8=smtputf8)

    async def open(self, facts: TlsFacts | None) -> tuple[str, ...]:
        """Connect. The lines of the greeting, or of the refusal; none where the client is sent away without a word."""
        self.connection_made(self.wire)
        lines = await self.wire.reply()
        if facts is not None and not self.wire.is_closing():
            self._secured(facts)
        return lines

    def prove(self, user: str) -> None:
        """The client has authenticated."""
        self.user = user
        if user:
            self._receiver.authenticated(self)

    async def say(self, command: str) -> tuple[str, ...]:
        """One command; the lines of its reply."""
        return await self.feed((f"{command}\r\n".encode("utf-8", "surrogateescape"),))

    async def feed(self, pieces: Sequence[bytes]) -> tuple[str, ...]:
        """Octets, as many as there are; the lines of the reply to all of them."""
        for piece in pieces:
            view = memoryview(piece)
            while view and not self.wire.is_closing():
                part, view = view[:READ_BUFFER], view[READ_BUFFER:]
                self.get_buffer(len(part))[: len(part)] = part
                self.buffer_updated(len(part))
                await self.wire.readable()
        return await self.wire.reply()

    def hang_up(self) -> None:
        """The client goes."""
        self.wire.close()
        self.connection_lost(None)
