"""SMTP client for delivery (RFC 5321, PIPELINING of RFC 2920, SIZE of RFC 1870, 8BITMIME of RFC 6152, SMTPUTF8 of RFC 6531, DSN of RFC 3461,
STARTTLS of RFC 3207, CHUNKING of RFC 3030).

`Connection` carries replies, mail data and transactions, which do no I/O, over a socket and keeps one session, for many messages. Rules:

- With PIPELINING the whole envelope and DATA leave in one write and their replies are awaited together; the mail data follows the 354.
- Each forward-path gets its own result. A 4xx is deferred, a 5xx failed; a lost connection or a time-out defers what has no result yet.
- What leaves is CRLF-clean: bare CR and LF become CRLF, dots are stuffed, whatever the content holds.
- With `start_tls` what was said before counts no more; what came in the clear behind the 220 is an attack, and ends the session (RFC 3207).
- Long mail data goes in chunks where CHUNKING is offered (RFC 3030), as soon as somebody is accepted.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from esa.gateway.delivery.mail_data import Sendable
from esa.gateway.delivery.offer import Offer, make_offer
from esa.gateway.delivery.replies import CONTROL, RemoteError, RemoteReply, ReplyReader, TlsError
from esa.gateway.delivery.transaction import Attempt, Transaction, deferred
from esa.message.envelope import Envelope
from esa.store.entry import IN_THE_CLEAR
from esa_core._mail_data import DataEncoder

BLOCK = 256 << 10  # octets of mail data written at a time
CHUNKED_FROM = (
    1 << 20
)  # octets of a message that goes in chunks where they are taken: a refusal in the middle ends it; shorter ones gain nothing


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for each reply; those of RFC 5321 section 4.5.3.2."""

    connect: float = 30.0
    greeting: float = 300.0
    command: float = 300.0
    data: float = 120.0
    block: float = 180.0  # for the network to take a block of mail data
    end_of_data: float = 600.0
    handshake: float = 60.0  # of TLS; no RFC has one


class Connection(asyncio.Protocol):
    """One SMTP session as client. Make it with `connect`; one message at a time."""

    def __init__(self, timeouts: Timeouts, *, speaks_lmtp: bool = False) -> None:
        self.timeouts = timeouts
        self.speaks_lmtp = speaks_lmtp
        self.place = ""  # name of the host that it is to, for logs and tracking
        self.extensions: dict[str, str] = {}  # keyword of EHLO, upper case → its parameters
        self.sent = 0  # messages offered over this session
        self.number = 0  # of the connection in logs (AsyncOS's DCID), if it is given one
        self.security = IN_THE_CLEAR  # as who secured it says
        self.is_local = False  # it does not leave this machine
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._replies: list[RemoteReply] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None  # set while the network takes no more
        self._lost: str | None = None  # why the connection is gone
        self._needs_reset = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._replies += self._reader.feed(data)
        except RemoteError as fault:
            self._replies += fault.replies
            self._lose(str(fault))
            return
        if self._waiter is not None and len(self._replies) >= self._wanted:
            _resolve(self._waiter)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"the connection broke: {exc}" if exc else "the next hop closed the connection")

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        _resolve(self._writable)
        self._writable = None

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        _resolve(self._waiter)
        _resolve(self._writable)
        if self._transport is not None:
            self._transport.abort()

    @property
    def endpoints(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Address and port of this end and of the other."""
        ends = [self._transport.get_extra_info(name) if self._transport else None for name in ("sockname", "peername")]
        here, there = [(str(end[0]), int(end[1])) if isinstance(end, tuple) else ("", 0) for end in ends]
        return here, there

    @property
    def is_usable(self) -> bool:
        """False once the connection is gone, or the next hop said something unasked (as 421 before it closes)."""
        return self._lost is None and not self._replies

    async def _wait(self, future: asyncio.Future[None], timeout: float, doing: str) -> None:
        timer = self._loop.call_later(timeout, self._lose, f"time-out: {timeout:g} s {doing}")
        try:
            await future
        except BaseException:
            self._lose("given up here")
            raise
        finally:
            timer.cancel()

    async def _read(self, count: int, timeout: float, doing: str) -> list[RemoteReply]:
        """Return the next `count` replies, or raise RemoteError with those that came."""
        if len(self._replies) < count and self._lost is None:
            self._wanted = count
            self._waiter = self._loop.create_future()
            try:
                await self._wait(self._waiter, timeout, f"waiting for the reply to {doing}")
            finally:
                self._waiter = None
        taken, self._replies = self._replies[:count], self._replies[count:]
        if len(taken) < count:
            raise RemoteError(f"{self._lost or 'the connection is closed'} ({doing})", taken)
        return taken

    async def _ask(self, command: bytes, timeout: float, doing: str) -> RemoteReply:
        self._write(command)
        [reply] = await self._read(1, timeout, doing)
        return reply

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and self._lost is None:
            self._transport.write(data)

    async def open(self, hostname: str) -> None:
        """Take the greeting and say EHLO, or HELO where that is not known. Raises RemoteError."""
        [greeting] = await self._read(1, self.timeouts.greeting, "connecting")
        if greeting.code != 220:
            raise RemoteError(f"the next hop greets with {greeting}")
        await self._introduce(hostname)

    async def _introduce(self, hostname: str) -> None:
        self.extensions = {}
        name = hostname.encode("ascii", "replace")
        word = "LHLO" if self.speaks_lmtp else "EHLO"
        reply = await self._ask(word.encode() + b" " + name + b"\r\n", self.timeouts.command, word)
        if reply.code == 250:
            for line in reply.lines[1:]:
                keyword, _, parameters = line.strip().partition(" ")
                self.extensions[keyword.upper()] = parameters
        elif reply.status == "failed" and not self.speaks_lmtp:
            reply = await self._ask(b"HELO " + name + b"\r\n", self.timeouts.command, "HELO")
        if reply.code != 250:
            raise RemoteError(f"{'LHLO' if self.speaks_lmtp else 'EHLO or HELO'} was answered with {reply}")

    async def start_tls(self, context: ssl.SSLContext, *, server_name: str, hostname: str) -> None:
        """Ask for TLS, begin it, and say EHLO again. `server_name` is that of the next hop (SNI).

        Raises TlsError, after which the session may go on in the clear only if the step was "offer" or "reply"; RemoteError otherwise.
        """
        if "STARTTLS" not in self.extensions:
            raise TlsError("offer", "the next hop does not offer STARTTLS")
        reply = await self._ask(b"STARTTLS\r\n", self.timeouts.command, "STARTTLS")
        if reply.code != 220:
            raise TlsError("reply", f"STARTTLS was answered with {reply}", (reply,))
        if self._replies or not self._reader.is_between_replies:
            self._lose("octets came in the clear behind the reply to STARTTLS")
            raise TlsError("injection", "octets came in the clear behind the reply to STARTTLS: someone in between may have put them there")
        await self.begin_tls(context, server_name=server_name)
        await self._introduce(hostname)

    async def begin_tls(self, context: ssl.SSLContext, *, server_name: str) -> None:
        """The handshake. After STARTTLS, or before the greeting where TLS comes first (RFC 8314). Raises TlsError."""
        assert self._transport is not None
        limit = self.timeouts.handshake
        try:
            async with asyncio.timeout(limit):
                self._transport = await self._loop.start_tls(
                    self._transport, self, context, server_hostname=server_name, ssl_handshake_timeout=2 * limit
                )
        except ssl.SSLCertVerificationError as error:
            fault = TlsError("certificate", f"the certificate is not trusted: {error.verify_message}")
        except UnicodeError:
            fault = TlsError("handshake", "the name of the next hop cannot be asked for")
        except ssl.SSLError as error:
            fault = TlsError("handshake", f"the handshake failed: {(error.reason or str(error)).replace('_', ' ').lower()}")
        except TimeoutError:
            fault = TlsError("handshake", f"the handshake took more than {limit:g} s")
        except OSError as error:
            fault = TlsError("handshake", f"the connection broke in the handshake: {error.strerror or error}")
        else:
            if self._transport is not None:
                return
            fault = TlsError("handshake", "the connection broke in the handshake")
        self._lose(str(fault))
        raise fault

    @property
    def tls(self) -> ssl.SSLObject | None:
        """What is known of TLS; None in the clear."""
        found = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        return cast("ssl.SSLObject | None", found)

    async def send(self, envelope: Envelope, addresses: Sequence[str], message: Sendable) -> Attempt:
        """Offer one message to the forward-paths. Never raises for what the next hop does; StoreError if the message cannot be read."""
        self.sent += 1
        if not self.is_usable:
            return deferred(addresses, self._lost or f"the next hop said {self._replies[0]}", is_stale=self.sent > 1)
        offer = make_offer(envelope, addresses, message, self.extensions, is_secure=self.tls is not None, is_local=self.is_local)
        if not offer.paths:
            return Attempt((), is_connection_usable=True).within(addresses, offer.refused)
        transaction = Transaction([path.address for path in offer.paths], replies_each=self.speaks_lmtp)
        attempt = await self._send(transaction, offer, message)
        return attempt.within(addresses, offer.refused) if offer.refused else attempt

    async def _send(self, transaction: Transaction, offer: Offer, message: Sendable) -> Attempt:
        sends_chunks = "CHUNKING" in self.extensions and not self.speaks_lmtp and message.size >= CHUNKED_FROM
        try:
            await self._offer_envelope(transaction, offer, asks_for_data=not sends_chunks)
            if sends_chunks and transaction.accepted:
                await self._send_chunks(transaction, message)
            elif transaction.data is not None and transaction.data.code == 354:
                await self._send_content(transaction, message)
        except RemoteError as fault:
            refusal = next((reply for reply in fault.replies if reply.status != "delivered"), None)
            if transaction.was_sent and not transaction.finals and refusal is not None:
                transaction.end(refusal)  # said before the end of the data, as "552 too much mail data"
            is_stale = self.sent > 1 and not transaction.has_replies
            return transaction.attempt(str(fault), is_connection_usable=False, is_stale=is_stale)
        except BaseException:  # the message cannot be read, or we are being stopped: without its final dot it does not count
            self._lose("given up here")
            raise
        self._needs_reset |= not transaction.was_sent and transaction.mail is not None and transaction.mail.status == "delivered"
        return transaction.attempt("no reply", is_connection_usable=self.is_usable and not transaction.says_goodbye)

    async def verify(self, address: str) -> RemoteReply:
        """The reply to a RCPT with a null reverse-path; the transaction is dropped.

        Raises RemoteError if that could not be asked; without replies if the connection turned out to be gone before anything was said.
        """
        self.sent += 1
        if CONTROL.search(address):
            raise RemoteError("an address holds control characters")
        if not self.is_usable:
            raise RemoteError(self._lost or f"the next hop said {self._replies[0]}")
        parameters = "" if address.isascii() else " SMTPUTF8"
        if parameters and "SMTPUTF8" not in self.extensions:
            raise RemoteError("the next hop does not offer SMTPUTF8, which this address needs")
        commands = [f"MAIL FROM:<>{parameters}\r\n".encode(), f"RCPT TO:<{address}>\r\n".encode(), b"RSET\r\n"]
        if "PIPELINING" in self.extensions:
            self._write(b"".join(commands))
            mail, path, reset = await self._read(3, self.timeouts.command, "MAIL, RCPT and RSET")
        else:
            mail, path, reset = [await self._ask(command, self.timeouts.command, "RCPT") for command in commands]
        if mail.status != "delivered" or 421 in (path.code, reset.code):
            self._lose("the next hop takes no questions")
            raise RemoteError(f"the next hop says {mail if mail.status != 'delivered' else path} to a question", (mail, path, reset))
        return path

    async def _offer_envelope(self, transaction: Transaction, offer: Offer, *, asks_for_data: bool) -> None:
        mail, paths = offer.mail, [path.command for path in offer.paths]
        reset = [b"RSET\r\n"] if self._needs_reset else []
        self._needs_reset = False
        if "PIPELINING" in self.extensions:
            commands = [*reset, mail, *paths, *([b"DATA\r\n"] if asks_for_data else [])]
            self._write(b"".join(commands))
            count = len(commands)
            try:
                replies = await self._read(count, self.timeouts.command, "the envelope")
            except RemoteError as fault:
                transaction.take(fault.replies[len(reset) :])
                raise
            transaction.take(replies[len(reset) :])
            return
        for command in reset:
            await self._ask(command, self.timeouts.command, "RSET")
        transaction.take([await self._ask(mail, self.timeouts.command, "MAIL")])
        if transaction.mail is not None and transaction.mail.status != "delivered":
            return
        for command in paths:
            transaction.take([await self._ask(command, self.timeouts.command, "RCPT")])
        if transaction.accepted and asks_for_data:
            transaction.take([await self._ask(b"DATA\r\n", self.timeouts.data, "DATA")])

    async def _send_content(self, transaction: Transaction, message: Sendable) -> None:
        transaction.was_sent = True
        if not transaction.accepted:  # RFC 2920 section 3.1: DATA was taken although no recipient was; end it empty
            await self._ask(b".\r\n", self.timeouts.end_of_data, "the end of mail data")
            return
        encoder = DataEncoder()
        block: list[bytes] = []
        length = 0
        for chunk in message.chunks():
            block.append(encoder.encode(chunk))
            length += len(chunk)
            if length >= BLOCK:
                await self._write_block(b"".join(block))
                block, length = [], 0
        block.append(encoder.finish())
        self._write(b"".join(block))
        transaction.is_complete = self._lost is None
        for _ in range(transaction.finals_wanted):
            transaction.finals.append(await self._ask(b"", self.timeouts.end_of_data, "the end of mail data"))

    async def _send_chunks(self, transaction: Transaction, message: Sendable) -> None:
        """The mail data in chunks (RFC 3030): once somebody is accepted, so that no octet of it is ever taken for a command."""
        transaction.was_sent = True
        encoder = DataEncoder(stuffs=False)
        block: list[bytes] = []
        length = chunks = 0
        for chunk in message.chunks():
            block.append(encoder.encode(chunk))
            length += len(block[-1])
            if length >= BLOCK:
                await self._write_block(b"".join([b"BDAT %d\r\n" % length, *block]))
                block, length, chunks = [], 0, chunks + 1
                if any(reply.code >= 400 for reply in self._replies):
                    break
        else:
            block.append(encoder.finish())
            self._write(b"".join([b"BDAT %d LAST\r\n" % (length + len(block[-1])), *block]))
            transaction.is_complete = self._lost is None
            chunks += 1
        for left in range(chunks, 0, -1):
            reply = await self._ask(b"", self.timeouts.end_of_data, "the end of mail data")
            if not transaction.finals and (left == 1 or reply.status != "delivered"):
                transaction.end(reply)  # what stands behind a chunk that was refused is refused with it
                self._needs_reset = reply.status != "delivered"

    async def _write_block(self, data: bytes) -> None:
        self._write(data)
        if self._writable is not None and self._lost is None:
            await self._wait(self._writable, self.timeouts.block, "sending mail data")
        if self._lost is not None:
            raise RemoteError(f"{self._lost} (sending mail data)", self._replies)

    def close(self) -> None:
        """Say QUIT and go, without waiting for the reply."""
        self._write(b"QUIT\r\n")
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Go at once, without a word."""
        self._lose("given up here")


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


async def reach(host: str, port: int, *, timeouts: Timeouts) -> Connection:
    """A connection on which nothing has been said yet. Raises RemoteError, which says why there is none."""
    try:
        async with asyncio.timeout(timeouts.connect):
            _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(timeouts), host, port)
    except TimeoutError:
        raise RemoteError(f"no connection to {host}:{port} within {timeouts.connect:g} s") from None
    except OSError as error:
        raise RemoteError(f"no connection to {host}:{port}: {error.strerror or error}") from None
    return connection


async def connect(host: str, port: int, *, hostname: str, timeouts: Timeouts | None = None) -> Connection:
    """Open an SMTP session to the next hop. Raises RemoteError, which says why not."""
    connection = await reach(host, port, timeouts=timeouts or Timeouts())
    try:
        await connection.open(hostname)
    except BaseException:
        connection.close()
        raise
    return connection
