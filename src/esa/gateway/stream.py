"""The octets of one client: what is read, what must wait, and replies in one write per read. `protocol.Connection` is one with SMTP on top.

Rules. The read buffer is shared by all connections of a loop: it is valid only inside `buffer_updated`, so what must wait is copied, and
nothing more is read until it can be processed. Replies gather in `_output` and leave together. After `_end` nothing is read any more.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from esa.gateway.channel import Channel

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.gateway.listener import Server
    from esa.gateway.tls import TlsFacts


class Stream(asyncio.BufferedProtocol, ABC):
    """Derive from it and give it `_process`, `_secured` and `_tls_failed`."""

    __slots__ = (
        "_active",
        "_blocked",
        "_buffer",
        "_channel",
        "_ending",
        "_eof",
        "_front",
        "_lost",
        "_output",
        "_pending",
        "_reading",
        "_running",
        "_server",
        "_silent",
        "_transport",
        "_waiting",
        "farewell",
        "was_lost",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport
        self._buffer = server.buffer
        self._channel: Channel | None = None  # TLS, once it has begun
        self._front: Callable[[int], None] | None = None  # takes what is read before `_take` does: TLS, a proxy's header
        self._output: list[bytes] = []
        self._pending = b""  # read but not yet processed: the session waits for an answer, or for the client to read
        self._running = False  # inside _process
        self._waiting = False  # for a receiver's answer
        self._blocked = False  # the client does not read
        self._reading = True
        self._ending = False  # the last reply is written
        self._eof = False
        self._lost = False
        self.farewell = b""  # the reply that ended the session
        self.was_lost = False  # the client went without a QUIT, and was not sent away
        self._silent = False  # the connection was reset
        self._active = server.now  # loop seconds of the last progress

    @property
    def transport(self) -> asyncio.Transport:
        return self._transport

    @property
    def has_unread(self) -> bool:
        """The client has sent something that is not processed yet: before the greeting, it has spoken too early."""
        return bool(self._pending)

    @property
    def _owes(self) -> bool:
        """There is something to do although nothing more has been read."""
        return False

    @abstractmethod
    def _process(self, source: Buffer, stop: int) -> None:
        """Act on what has been read, source[:stop]."""

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        if self._front is not None:
            self._front(count)
        elif self._waiting or self._blocked or self._pending or self._ending:
            self._hold(self._buffer, 0, count)
        else:
            self._process(self._buffer, count)

    def _take(self, count: int) -> None:
        """Process the first octets of the shared buffer, or keep them."""
        if self._waiting or self._blocked or self._pending or self._ending:
            self._hold(self._buffer, 0, count)
        else:
            self._process(self._buffer, count)

    def eof_received(self) -> bool:
        """Keep the writing side open while a reply is owed."""
        self._eof = True
        return self._waiting or bool(self._pending)

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._resume()

    def _hold(self, source: Buffer, start: int, stop: int) -> None:
        """Keep what cannot be processed now, and read no more until it can."""
        if self._ending:
            return
        self._pending += bytes(memoryview(source)[start:stop])
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        """Go on after an answer, or after the client has read."""
        if self._running or self._waiting or self._blocked or self._lost:
            return
        if (self._pending or self._owes) and not self._ending:
            pending, self._pending = self._pending, b""
            self._process(pending, len(pending))
        elif self._output:
            self._flush()
        if self._waiting or self._pending or self._ending:
            return
        if self._eof:
            self._ending = self.was_lost = True
            self._transport.close()
        elif not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _flush(self) -> None:
        output = self._output
        octets = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        if self._lost or self._silent:
            return
        if self._channel is not None:
            self._flush_encrypted(self._channel, octets)
        elif octets:
            self._transport.write(octets)
        if self._ending:
            self._transport.close()

    def _end(self, octets: bytes) -> None:
        """Say it and close. Nothing more is read."""
        self._ending = True
        self.farewell = octets
        self._active = self._server.now
        self._pending = b""
        self._output.append(octets)
        if not self._running:
            self._flush()

    # --- TLS

    def _begin_tls(self, context: ssl.SSLContext) -> None:
        """All that comes from now on is TLS; the session goes on in `_secured`. What was read in the clear has no part in it."""
        self._pending = b""
        self._channel = Channel(context)
        self._front = self._decrypt
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _decrypt(self, count: int) -> None:
        channel = self._channel
        assert channel is not None
        channel.receive(memoryview(self._buffer)[:count])
        try:
            if not channel.established:
                done = channel.handshake()
                if answer := channel.outgoing():
                    self._transport.write(answer)
                if not done:
                    return
                self._secured(channel.facts())
            while (plain := channel.read_into(self._buffer)) and not self._ending:
                self._take(plain)
        except ssl.SSLError as error:
            if answer := channel.outgoing():
                self._transport.write(answer)
            self._tls_failed(error)
            return
        if answer := channel.outgoing():
            self._transport.write(answer)
        if channel.closed and not self._ending:
            self._eof = True
            self._resume()

    def _flush_encrypted(self, channel: Channel, octets: bytes) -> None:
        if not channel.established:  # nothing can be said; only the session's end comes here
            return
        try:
            ciphertext = channel.encrypt(octets) if octets else b""
            if self._ending:
                ciphertext += channel.farewell()
        except ssl.SSLError as error:
            self._tls_failed(error)
            return
        if ciphertext:
            self._transport.write(ciphertext)

    @abstractmethod
    def _secured(self, facts: TlsFacts) -> None:
        """The handshake is done."""

    @abstractmethod
    def _tls_failed(self, error: ssl.SSLError) -> None:
        """The handshake, or the channel after it, is broken."""

    def drop(self) -> None:
        """End without a word."""
        if not self._lost:
            self._transport.abort()

    def reset(self) -> None:
        """End without a word, and with RST instead of FIN: as if nobody listened."""
        bound = self._transport.get_extra_info("socket")
        if bound is not None:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._ending = self._silent = True
        self.drop()
