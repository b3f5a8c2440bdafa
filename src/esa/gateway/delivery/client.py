"""SMTP client for delivery (RFC 5321, PIPELINING of RFC 2920, SIZE of RFC 1870, 8BITMIME of RFC 6152, SMTPUTF8 of RFC 6531, DSN of RFC 3461,
STARTTLS of RFC 3207).

`ReplyReader` and `DataEncoder` do no I/O; `Connection` carries them over a socket and keeps one session, for many messages. Rules:

- With PIPELINING the whole envelope and DATA leave in one write and their replies are awaited together; the mail data follows the 354.
- Each forward-path gets its own result. A 4xx is deferred, a 5xx failed; a lost connection or a time-out defers what has no result yet.
- What leaves is CRLF-clean: bare CR and LF become CRLF, dots are stuffed, whatever the content holds.
- With `start_tls` what was said before counts no more; what came in the clear behind the 220 is an attack, and ends the session (RFC 3207).
- Content with octets over 127 is sent unchanged to a next hop without 8BITMIME: converting it would break signatures, refusing it loses
  mail.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from esa.message.envelope import Envelope
from esa.store.entry import Result

REPLY_LINE_LIMIT = 4096  # octets; RFC 5321 allows 512, real servers write more
REPLY_LINES_LIMIT = 200
BLOCK = 256 << 10  # octets of mail data written at a time
HEADER_LIMIT = 1 << 20  # octets looked at for the end of the header section
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_ENHANCED_AT_START = re.compile(r"[245]\.\d{1,3}\.\d{1,3} ")


class RemoteError(Exception):
    """The next hop cannot be used just now. The text says why; `replies` are those that came before."""

    def __init__(self, reason: str, replies: Sequence[RemoteReply] = ()) -> None:
        super().__init__(reason)
        self.replies = tuple(replies)


TlsStep = Literal["offer", "reply", "injection", "handshake", "certificate"]


class TlsError(RemoteError):
    """The next hop cannot be spoken to in TLS. `step`: what it does not offer, refuses with a reply, has tampered with, or fails at."""

    def __init__(self, step: TlsStep, reason: str, replies: Sequence[RemoteReply] = ()) -> None:
        super().__init__(reason, replies)
        self.step = step


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


@dataclass(frozen=True, slots=True)
class RemoteReply:
    """What the next hop said: the texts of its lines, made printable."""

    code: int
    lines: tuple[str, ...]

    @property
    def status(self) -> Literal["delivered", "deferred", "failed"]:
        if 200 <= self.code < 300:
            return "delivered"
        return "failed" if self.code >= 500 else "deferred"

    def __str__(self) -> str:
        first, *rest = self.lines or ("",)
        if rest and (code := _ENHANCED_AT_START.match(first)):  # RFC 2034 repeats the enhanced code on each line: keep it once
            rest = [line.removeprefix(code.group()) for line in rest]
        return " ".join([str(self.code), *filter(None, (first, *rest))])


class ReplyReader:
    """Splits octets from the next hop into replies. Raises RemoteError for what is no SMTP."""

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[str] = []
        self.is_between_replies = True  # nothing has come that is not part of a whole reply

    def feed(self, data: bytes) -> list[RemoteReply]:
        """Return the replies that are whole now."""
        self.is_between_replies = False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > REPLY_LINE_LIMIT:
            raise RemoteError("the next hop sends a line without end")
        replies: list[RemoteReply] = []
        for line in lines:
            line = line.rstrip(b"\r")
            code, mark = line[:3], line[3:4]
            if len(code) != 3 or not code.isdigit() or mark not in (b" ", b"-", b"") or not 200 <= int(code) <= 599:
                raise RemoteError(f"the next hop does not speak SMTP: {_printable(line[:80])!r}", replies)
            self._lines.append(_printable(line[4:]))
            if len(self._lines) > REPLY_LINES_LIMIT:
                raise RemoteError("the next hop sends a reply without end", replies)
            if mark != b"-":
                replies.append(RemoteReply(int(code), tuple(self._lines)))
                self._lines = []
        self.is_between_replies = not self._buffer and not self._lines
        return replies


def _printable(data: bytes) -> str:
    return _CONTROL.sub("?", data.decode("utf-8", "replace"))


class DataEncoder:
    """Mail data as it goes over the wire: CRLF line ends only, dots stuffed, `CRLF.CRLF` at the end (RFC 5321 section 4.5.2)."""

    def __init__(self) -> None:
        self._held = b""  # a CR at the end of a chunk: the next one may begin with its LF
        self._at_line_start = True

    def encode(self, chunk: bytes) -> bytes:
        data = self._held + chunk if self._held else chunk
        self._held = b""
        if data.endswith(b"\r"):
            self._held = b"\r"
            data = data[:-1]
        if not data:
            return b""
        line_feeds = data.count(b"\n")
        if data.count(b"\r") != line_feeds or data.count(b"\r\n") != line_feeds:
            data = _LINE_END.sub(b"\r\n", data)
        starts_with_dot = self._at_line_start and data.startswith(b".")
        self._at_line_start = data.endswith(b"\n")
        data = data.replace(b"\n.", b"\n..")
        return b"." + data if starts_with_dot else data

    def finish(self) -> bytes:
        if self._held or not self._at_line_start:
            return b"\r\n.\r\n"
        return b".\r\n"


class Sendable(Protocol):
    """The octets of a message: `size` in all, `chunks()` anew each time."""

    @property
    def size(self) -> int: ...

    def chunks(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """What sending one message came to: a result for each forward-path asked for, in order."""

    results: tuple[Result, ...]
    is_connection_usable: bool
    may_have_arrived: bool = False  # lost between the final dot and its reply
    is_stale: bool = False  # a kept connection was found closed before it took anything: try again on a new one, at once


class Connection(asyncio.Protocol):
    """One SMTP session as client. Make it with `connect`; one message at a time."""

    def __init__(self, timeouts: Timeouts, *, speaks_lmtp: bool = False) -> None:
        self.timeouts = timeouts
        self.speaks_lmtp = speaks_lmtp
        self.place = ""  # name of the host that it is to, for logs and tracking
        self.extensions: dict[str, str] = {}  # keyword of EHLO, upper case → its parameters
        self.sent = 0  # messages offered over this session
        self.number = 0  # of the connection in logs (AsyncOS's DCID), if it is given one
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
        if self._transport is not None and self._lost is None:
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
            return _deferred(addresses, self._lost or f"the next hop said {self._replies[0]}", is_stale=self.sent > 1)
        if (local := self._refusal(envelope, addresses, message)) is not None:
            return Attempt(tuple(Result(address, "failed", local) for address in addresses), is_connection_usable=True)
        transaction = _Transaction(addresses, replies_each=self.speaks_lmtp)
        try:
            await self._offer_envelope(transaction, envelope, message)
            if transaction.data is not None and transaction.data.code == 354:
                await self._send_content(transaction, message)
        except RemoteError as fault:
            if transaction.was_sent and fault.replies and not transaction.finals and fault.replies[0].status != "delivered":
                transaction.end(fault.replies[0])  # said before the end of the data, as "552 too much mail data"
            is_stale = self.sent > 1 and not transaction.has_replies
            return transaction.attempt(str(fault), is_connection_usable=False, is_stale=is_stale)
        except BaseException:  # the message cannot be read, or we are being stopped: without its final dot it does not count
            self._lose("given up here")
            raise
        self._needs_reset = not transaction.was_sent and transaction.mail is not None and transaction.mail.status == "delivered"
        return transaction.attempt("no reply", is_connection_usable=self.is_usable and not transaction.says_goodbye)

    async def verify(self, address: str) -> RemoteReply:
        """The reply to a RCPT with a null reverse-path; the transaction is dropped.

        Raises RemoteError if that could not be asked; without replies if the connection turned out to be gone before anything was said.
        """
        self.sent += 1
        if _CONTROL.search(address):
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

    def _refusal(self, envelope: Envelope, addresses: Sequence[str], message: Sendable) -> str | None:
        """Why this message cannot be offered to this next hop at all, in words of a reply; None if it can."""
        if any(_CONTROL.search(path) for path in (envelope.reverse_path, *addresses)):
            return "553 5.1.3 an address holds control characters"
        if envelope.smtputf8 and "SMTPUTF8" not in self.extensions and _needs_smtputf8(envelope, addresses, message):
            return "550 5.6.7 the next hop does not offer SMTPUTF8, which this message needs"
        if envelope.options is not None and envelope.options.requiretls:
            return "550 5.7.30 the next hop is not spoken to in TLS with REQUIRETLS, which this message needs"
        if envelope.body == "BINARYMIME":
            return "554 5.6.3 the message is binary, and the next hop is sent text only"
        limit = self.extensions.get("SIZE", "")
        if limit.isdigit() and 0 < int(limit) < message.size:
            return f"552 5.3.4 the message has {message.size} octets, the next hop takes {limit}"
        return None

    def _mail_command(self, envelope: Envelope, message: Sendable) -> bytes:
        parameters = ""
        if "SIZE" in self.extensions:
            parameters += f" SIZE={message.size}"
        if envelope.body == "8BITMIME" and "8BITMIME" in self.extensions:
            parameters += " BODY=8BITMIME"
        if envelope.smtputf8 and "SMTPUTF8" in self.extensions:
            parameters += " SMTPUTF8"
        if envelope.options is not None and "DSN" in self.extensions:
            parameters += f" RET={envelope.options.ret}" if envelope.options.ret else ""
            parameters += f" ENVID={envelope.options.envelope_id}" if envelope.options.envelope_id else ""
        return f"MAIL FROM:<{envelope.reverse_path}>{parameters}\r\n".encode("utf-8", "surrogateescape")

    def _recipient_parameters(self, envelope: Envelope) -> dict[str, str]:
        """By forward-path: NOTIFY and ORCPT, for a next hop that knows them."""
        if envelope.options is None or "DSN" not in self.extensions:
            return {}
        return {
            one.forward_path: (f" NOTIFY={one.notify}" if one.notify else "")
            + (f" ORCPT={one.original_recipient}" if one.original_recipient else "")
            for one in envelope.options.recipients
        }

    async def _offer_envelope(self, transaction: _Transaction, envelope: Envelope, message: Sendable) -> None:
        mail = self._mail_command(envelope, message)
        options = self._recipient_parameters(envelope)
        paths = [
            f"RCPT TO:<{address}>{options.get(address, '')}\r\n".encode("utf-8", "surrogateescape") for address in transaction.addresses
        ]
        reset = [b"RSET\r\n"] if self._needs_reset else []
        self._needs_reset = False
        if "PIPELINING" in self.extensions:
            self._write(b"".join([*reset, mail, *paths, b"DATA\r\n"]))
            count = len(reset) + len(paths) + 2
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
        if transaction.accepted:
            transaction.take([await self._ask(b"DATA\r\n", self.timeouts.data, "DATA")])

    async def _send_content(self, transaction: _Transaction, message: Sendable) -> None:
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


class _Transaction:
    """Collects the replies of one mail transaction and turns them into a result for each forward-path.

    `replies_each`: the mail data is answered for each accepted recipient by itself, in order (LMTP, RFC 2033 section 4.2).
    """

    def __init__(self, addresses: Sequence[str], *, replies_each: bool = False) -> None:
        self.addresses = tuple(addresses)
        self._replies_each = replies_each
        self.mail: RemoteReply | None = None
        self.paths: list[RemoteReply] = []
        self.data: RemoteReply | None = None
        self.finals: list[RemoteReply] = []  # to the mail data
        self.was_sent = False  # mail data was begun: the transaction is over on the other side
        self.is_complete = False  # the final dot was written

    def take(self, replies: Iterable[RemoteReply]) -> None:
        """Take the next replies, in the order of the commands."""
        for reply in replies:
            if self.mail is None:
                self.mail = reply
            elif len(self.paths) < len(self.addresses):
                self.paths.append(reply)
            else:
                self.data = reply

    @property
    def has_replies(self) -> bool:
        return self.mail is not None and self.mail.code != 421

    @property
    def accepted(self) -> bool:
        """Whether the next hop takes the mail for anybody."""
        return self.mail is not None and self.mail.status == "delivered" and any(reply.status == "delivered" for reply in self.paths)

    @property
    def finals_wanted(self) -> int:
        return sum(reply.status == "delivered" for reply in self.paths) if self._replies_each else 1

    def end(self, reply: RemoteReply) -> None:
        """The mail data has this reply for all."""
        self.finals = [reply] * self.finals_wanted

    @property
    def says_goodbye(self) -> bool:
        return any(reply is not None and reply.code == 421 for reply in (self.mail, *self.paths, self.data, *self.finals))

    def attempt(self, reason: str, *, is_connection_usable: bool, is_stale: bool = False) -> Attempt:
        """Results in order; what has no decisive reply is deferred for `reason`."""
        results = []
        for index, address in enumerate(self.addresses):
            reply = self._decisive(index)
            if reply is None:
                results.append(Result(address, "deferred", reason))
            else:
                results.append(Result(address, reply.status, str(reply)))
        return Attempt(tuple(results), is_connection_usable, self.is_complete and len(self.finals) < self.finals_wanted, is_stale)

    def _decisive(self, index: int) -> RemoteReply | None:
        if self.mail is not None and self.mail.status != "delivered":
            return self.mail
        if index < len(self.paths) and self.paths[index].status != "delivered":
            return self.paths[index]
        if self.data is not None and self.data.code != 354:
            return self.data if self.data.status != "delivered" else None
        place = sum(reply.status == "delivered" for reply in self.paths[:index]) if self._replies_each else 0
        return self.finals[place] if place < len(self.finals) else None


def _deferred(addresses: Sequence[str], reason: str, *, is_stale: bool) -> Attempt:
    return Attempt(tuple(Result(address, "deferred", reason) for address in addresses), False, False, is_stale)


def _needs_smtputf8(envelope: Envelope, addresses: Sequence[str], message: Sendable) -> bool:
    """Whether an address of this delivery, or the header section, holds more than ASCII (RFC 6531 section 3.6 lets the rest go on
    without)."""
    if not all(path.isascii() for path in (envelope.reverse_path, *addresses)):
        return True
    seen = b""
    for chunk in message.chunks():
        seen += chunk
        head, blank, _ = seen.partition(b"\r\n\r\n")
        if blank or len(seen) > HEADER_LIMIT:
            return not head.isascii()
    return not seen.isascii()


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
