"""Listening for SMTP: `serve` starts a `Server` on bound sockets; the gateway's workers, the tests and the benchmarks call it.

Promises: one write per batch of replies, one coarse timer for all sessions, memory bounded by `Limits`, a drain that loses nothing.
Best on uvloop, which reads straight into the shared buffer; any asyncio loop will do.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from esa.gateway.authentication import MECHANISMS, Authenticator
from esa.gateway.handlers import HandlerReceiver
from esa.gateway.heap import keep_heap
from esa.gateway.limits import Limits
from esa.gateway.pressure import Pressure
from esa.gateway.protocol import Connection
from esa.gateway.proxies import XCLIENT_KEYWORD, Trust
from esa.gateway.receiver import Receiver
from esa.gateway.replies import encode
from esa.gateway.tls import Tls, TlsSettings
from esa.message.reply import Reply
from esa_core._smtp import OFFERS

BACKLOG: Final = 4096  # the usual 100 refuses connections at a thousand clients
READ_BUFFER: Final = 256 * 1024  # octets, shared by all connections of the loop
SWEEP_INTERVAL: Final = 1.0  # seconds
Extension = Literal["CHUNKING", "BINARYMIME", "DSN", "REQUIRETLS"]
NOBODY: Final = Trust()
EXTENSIONS: Final[tuple[Extension, ...]] = ("CHUNKING", "DSN")
DELIVERED: Final[tuple[Extension, ...]] = (*EXTENSIONS, "REQUIRETLS")  # with our delivery behind it, which keeps what that promises


class Server:
    """Sockets, and the sessions on them. Make one with `serve`."""

    def __init__(
        self,
        receiver: Receiver,
        *,
        hostname: str,
        limits: Limits,
        spill_directory: Path | None,
        listener: str,
        bare_newline: Literal["normalize", "reject"],
        extensions: Sequence[Extension],
        tls: Tls | None,
        authenticator: Authenticator | None,
        needs_authentication: bool,
        trust: Trust,
    ) -> None:
        self.receiver = receiver
        self.hostname = hostname
        self.limits = limits
        self.spill_directory = spill_directory
        self.listener = listener
        self.bare_newline = bare_newline
        self.buffer = bytearray(READ_BUFFER)
        self.pressure = Pressure(limits, listener)
        self.held = 0  # octets of mail data in memory
        self.draining = False
        self.connections: set[Connection] = set()
        self.hears_data = type(receiver).data is not Receiver.data
        size = f"SIZE {limits.message_size}" if limits.message_size else "SIZE"
        self.tls = tls
        self.is_implicit = tls is not None and tls.settings.mode == "implicit"
        self.needs_tls = tls is not None and tls.settings.mode == "required"
        self.authenticator = authenticator
        self.needs_authentication = needs_authentication
        self.trust = trust or None  # asked of every connection: quick where nobody is trusted
        offered: list[str] = list(extensions)
        if tls is not None:
            offered += [] if self.is_implicit else ["STARTTLS"]
            offered += ["AUTH"] if authenticator is not None else []
        self.offers = sum(1 << OFFERS.index(keyword) for keyword in offered)
        self._always = ("PIPELINING", size, "8BITMIME", "SMTPUTF8")
        self._hellos: dict[int, tuple[tuple[str, ...], bytes]] = {}
        self.greeting = Reply(220, None, f"{hostname} ESMTP esa").to_bytes()
        self.helo_reply = Reply(250, None, hostname).to_bytes()
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time()  # loop seconds, as of the last sweep
        self._sockets: list[asyncio.Server] = []
        self._empty = asyncio.Event()
        self._empty.set()
        self._sweeper = self._loop.call_later(SWEEP_INTERVAL, self._sweep)

    def hello(self, offers: int) -> tuple[tuple[str, ...], bytes]:
        """The keyword lines of EHLO where these bits of OFFERS are listed, and the whole reply."""
        found = self._hellos.get(offers)
        if found is None:
            listed = [keyword for bit, keyword in enumerate(OFFERS) if offers >> bit & 1]
            listed = [XCLIENT_KEYWORD if keyword == "XCLIENT" else keyword for keyword in listed]
            listed = [f"AUTH {' '.join(MECHANISMS)}" if keyword == "AUTH" else keyword for keyword in listed]
            capabilities = (*self._always, *listed, "ENHANCEDSTATUSCODES")
            found = capabilities, encode([Reply(250, None, line) for line in (self.hostname, *capabilities)])[1]
            self._hellos[offers] = found
        return found

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Address and port of each listening Internet socket."""
        return [listening.getsockname()[:2] for server in self._sockets for listening in server.sockets]

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        for bound in sockets:
            self._sockets.append(await self._loop.create_server(lambda: Connection(self), sock=bound, backlog=BACKLOG))

    def admit(self, connection: Connection) -> bool:
        """Count a new connection; False if it is one too many."""
        if self.draining or (len(self.connections) >= self.limits.connections and not self.pressure.make_room(self.now)):
            return False
        self.connections.add(connection)
        self._empty.clear()
        return True

    def dismiss(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    def suspend(self) -> None:
        """Answer new clients with 421, and those who are here once what they have begun has its reply."""
        self.draining = True
        for connection in list(self.connections):
            connection.shut_down()

    def resume(self) -> None:
        self.draining = False

    def retire(self) -> asyncio.Event:
        """Stop listening and leave the sessions alone; the event is set when the last one has ended."""
        self._stop_listening()
        return self._empty

    async def drain(self, patience: float = 30.0) -> None:
        """Stop listening, say 421 to idle sessions, let running transactions finish; after `patience` seconds drop the rest."""
        self.draining = True
        self._stop_listening()
        for connection in list(self.connections):
            connection.shut_down()
        try:
            async with asyncio.timeout(patience):
                await self._empty.wait()
        except TimeoutError:
            pass
        self.close()

    def close(self) -> None:
        """Stop listening and drop every session at once; complete transactions may still be finished."""
        self.draining = True
        self._stop_listening()
        self._sweeper.cancel()
        for connection in list(self.connections):
            connection.drop()

    def _stop_listening(self) -> None:
        for server in self._sockets:
            server.close()
        self._sockets.clear()

    def _sweep(self) -> None:
        self.now = self._loop.time()
        for connection in list(self.connections):
            connection.sweep(self.now)
        self.pressure.look(self.connections, self.held, self.now)
        self._sweeper = self._loop.call_later(SWEEP_INTERVAL, self._sweep)


async def serve(
    receiver: Receiver | object,
    sockets: socket.socket | Sequence[socket.socket],
    *,
    hostname: str,
    limits: Limits | None = None,
    spill_directory: Path | None = None,
    listener: str = "",
    bare_newline: Literal["normalize", "reject"] = "normalize",
    extensions: Sequence[Extension] = EXTENSIONS,
    tls: TlsSettings | None = None,
    authenticator: Authenticator | None = None,
    needs_authentication: bool = False,
    trust: Trust = NOBODY,
) -> Server:
    """Serve SMTP on bound sockets. `receiver` is a Receiver, or any aiosmtpd handler object (adapted by `handlers.HandlerReceiver`).

    Without `spill_directory` every message stays in memory. `bare_newline`: mend bare CR, bare LF and NUL in mail data, or refuse such mail
    with 550 5.6.11. `extensions` are offered beside those that always are; BINARYMIME only to a receiver that can do with mail data which
    is no text, REQUIRETLS only inside TLS. Without `tls` all is in the clear. With an `authenticator` AUTH is
    offered, inside TLS only; `needs_authentication`: without it no mail is taken. `trust`: who may say, by a
    PROXY header or XCLIENT, who the client is. The sockets belong to the server from now on.

    Raises SyntaxFault for a host name that breaks a reply, ConfigurationError for TLS settings that cannot be used, OSError.
    """
    keep_heap()
    if not isinstance(receiver, Receiver):
        receiver = HandlerReceiver(receiver, hostname=hostname)
    server = Server(
        receiver,
        hostname=hostname,
        limits=limits or Limits(),
        spill_directory=spill_directory,
        listener=listener,
        bare_newline=bare_newline,
        extensions=extensions,
        tls=Tls(tls) if tls is not None and tls.mode != "off" else None,
        authenticator=authenticator,
        needs_authentication=needs_authentication,
        trust=trust,
    )
    await server.listen([sockets] if isinstance(sockets, socket.socket) else sockets)
    return server
