"""One SMTP session on a socket: what the transport reads goes through the native machine, what it finds is asked of the receiver.

`listener.Server` makes a `Connection` for each client. Promises: replies come in the order of the commands and in one write per read; a
command behind mail data waits for that mail's reply; whatever the client sends, nothing is raised and memory stays within `Limits`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from esa.errors import SyntaxFault
from esa.gateway import events, replies
from esa.gateway.arrival import Arrival
from esa.gateway.events import Event as Log
from esa.gateway.receiver import Answer, Lines, Transaction
from esa.gateway.replies import encode
from esa.gateway.stream import Stream
from esa.message.address import parse_path
from esa.message.envelope import RecipientOptions, Session
from esa_core._smtp import EVENTS, FAULTS, OFFERS, STATES, Machine

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.gateway.listener import Server
    from esa.gateway.tls import TlsFacts
    from esa_core._smtp_parameters import RecipientParameters

log = logging.getLogger(__name__)

_READY: Final = STATES.index("READY")
_CHUNKS: Final = STATES.index("CHUNKS")
_MAIL_DATA: Final = STATES.index("MAIL_DATA")
_CHUNK: Final = STATES.index("CHUNK")
_TLS: Final = STATES.index("TLS")
_STARTTLS, _REQUIRETLS, _AUTH = (1 << OFFERS.index(name) for name in ("STARTTLS", "REQUIRETLS", "AUTH"))
_NEED_RECIPIENT: Final = FAULTS.index("NEED_RECIPIENT")
_LINGER: Final = 10.0  # seconds that a session which has been told to end may take to read its last reply


class Connection(Stream):
    """A client's session; the receiver may read its public attributes and keep things of its own in `context`."""

    __slots__ = (
        "_accepted",
        "_accepted_parameters",
        "_arrival",
        "_candidate",
        "_chunked",
        "_errors",
        "_greeted",
        "_joined",
        "_junk",
        "_machine",
        "_receiver",
        "_refused",
        "_seen",
        "_started",
        "_transactions",
        "client_address",
        "client_port",
        "connected_at",
        "context",
        "ends_after_reply",
        "extended",
        "helo",
        "local_address",
        "local_port",
        "needs_tls",
        "tls",
        "transaction",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._receiver = server.receiver
        machine = self._machine = Machine()
        machine.message_size = server.limits.message_size
        machine.spill = server.limits.spill if server.spill_directory else 0
        machine.reject_bare = server.bare_newline == "reject"
        machine.offers = server.offers & ~_REQUIRETLS
        self._greeted = False
        self._errors = 0
        self._junk = 0
        self._refused = 0  # recipients of this transaction
        self._arrival = Arrival(server, self._machine)
        self._candidate: Transaction | None = None
        self._accepted = ""  # forward-path under decision
        self._accepted_parameters: RecipientParameters | None = None  # and its parameters
        self._chunked = False  # the open transaction's mail data comes by BDAT and has begun
        self._joined = server.now  # loop seconds of the connection
        self._started = 0.0  # loop seconds of the begin of mail data
        self._seen = 0  # octets of mail data at the last sweep
        self._transactions = 0
        self.connected_at = 0.0
        self.transaction: Transaction | None = None
        self.context: object = None
        self.ends_after_reply = False  # set by a receiver: the refusal that it gives is the last reply
        self.client_address = self.local_address = ""
        self.client_port = self.local_port = 0
        self.helo = ""
        self.extended = False
        self.tls: TlsFacts | None = None  # what was agreed on; None: in the clear
        self.needs_tls = server.needs_tls  # no mail is taken in the clear; a receiver may change it in `greet`

    @property
    def listener(self) -> str:
        return self._server.listener

    @property
    def server(self) -> Server:
        return self._server

    @property
    def message_size(self) -> int:
        """Largest message that this client may send, octets; 0: no limit. The listener's, until a receiver lowers it."""
        return self._machine.message_size

    @message_size.setter
    def message_size(self, octets: int) -> None:
        self._machine.message_size = octets

    @property
    def is_idle(self) -> bool:
        """No transaction is open and nothing waits for an answer."""
        return self.transaction is None and not self._waiting

    def describe(self, received_at: float, *, smtputf8: bool = False) -> Session:
        """The session as a value, for the Received field and tracking (RFC 3848, RFC 6531 section 4.3)."""
        protocol = "UTF8SMTP" if smtputf8 else "ESMTP" if self.extended else "SMTP"
        tls = self.tls
        if tls is None:
            return Session(self.client_address, self.client_port, self.helo, protocol, self._server.listener, received_at)
        if self.extended:
            protocol += "S"
        values = self.client_address, self.client_port, self.helo, protocol, self._server.listener, received_at
        return Session(*values, tls_version=tls.version, tls_cipher=tls.cipher, tls_client=tls.client)

    # --- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.client_address, self.client_port = _endpoint(transport.get_extra_info("peername"))
        self.local_address, self.local_port = _endpoint(transport.get_extra_info("sockname"))
        self._active = self._joined = self._server.now
        self.connected_at = time.time()
        if not self._server.admit(self):
            self._end(replies.SHUTTING_DOWN if self._server.draining else replies.TOO_MANY_CONNECTIONS)
            return
        if self._server.is_implicit and self._server.tls is not None:
            self._begin_tls(self._server.tls.context)
        else:
            self._open()

    def _open(self) -> None:
        """Greet: the client is known, and TLS is there where it comes first."""
        self._greeted = True
        self._answer(self._call(self._receiver.greet, self), Connection._greet, self._server.greeting)
        self._flush()

    # --- TLS

    def _on_starttls(self) -> None:
        self._machine.accept()
        self._output.append(replies.TLS_READY)

    def _switch_to_tls(self, injected: int) -> None:
        """Behind the 220. Octets that a client, or someone in between, sent with STARTTLS are thrown away (CVE-2011-0411)."""
        tls = self._server.tls
        assert tls is not None
        if injected:
            events.warning(Log.TLS_INJECTED, client=self.client_address, listener=self.listener, octets=injected)
        self._begin_tls(tls.context)

    def _secured(self, facts: TlsFacts) -> None:
        machine = self._machine
        machine.restart(secure=True)
        machine.offers = self._server.offers & ~_STARTTLS
        self.tls = facts
        self.helo, self.extended = "", False
        self._active = self._server.now
        if not self._greeted:
            self._open()
        self._call(self._receiver.secured, self)

    def _tls_failed(self, error: ssl.SSLError) -> None:
        if not self._ending:
            events.info(Log.TLS_FAILED, client=self.client_address, listener=self.listener, reason=error.reason or str(error))
        self._ending = True
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = self._ending = True
        self._pending = b""
        transaction = self.transaction
        if transaction is not None:
            if self._waiting and transaction.received_at:
                transaction.closed = True  # the receiver has it; finish() lets it go
            else:
                self._abort()
        self._server.dismiss(self)
        if self._greeted:
            self._call(self._receiver.closed, self)

    # --- reading

    def _process(self, source: Buffer, stop: int) -> None:
        machine = self._machine
        feed = machine.feed
        position = 0
        self._running = True
        event = feed(source, 0, stop)
        while event:
            position = machine.position
            _ACTIONS[event](self)
            if self._waiting or self._ending:
                if position < stop:
                    self._hold(source, position, stop)
                break
            event = feed(source, position, stop)
        self._running = False
        if position or event:
            self._active = self._server.now
        if self._output:
            self._flush()
        if machine.state >= _CHUNKS or self._arrival.held:
            if machine.state == _TLS:
                self._switch_to_tls(stop - position)
            else:
                self._arrival.account(self.transaction)

    # --- answers

    def _call(self, method: Callable[..., Answer], *arguments: object) -> Answer:
        """Ask the receiver; its failure is ours, not the client's."""
        try:
            return method(*arguments)
        except Exception:
            log.exception("event=receiver.failed method=%s", getattr(method, "__name__", "?"))
            return replies.LOCAL_ERROR

    def _answer(self, answer: Answer, accept: Callable[[Connection, bytes], None], usual: bytes) -> None:
        """Act on a receiver's answer: None and positive replies accept, others refuse, a future makes the session wait."""
        if answer is None:
            accept(self, usual)
            return
        if isinstance(answer, asyncio.Future):
            self._waiting = True
            answer.add_done_callback(lambda future: self._answered(future, accept, usual))
            return
        try:
            code, octets = encode(answer)
        except ValueError:
            log.exception("event=receiver.failed method=answer")
            code, octets = encode(replies.LOCAL_ERROR)
        if code < 400:
            accept(self, octets)
        elif code == 421 or self.ends_after_reply or accept in (Connection._greet, Connection._accept_quit):
            self._end(octets)
        else:
            if accept is Connection._accept_recipient:
                self._refused += 1
            elif accept is Connection._accept_mail:
                self._candidate = None
            elif accept is Connection._accept_chunk:
                self._refuse_chunk(octets)
                return
            self._output.append(octets)

    def _answered(self, future: asyncio.Future[Lines | None], accept: Callable[[Connection, bytes], None], usual: bytes) -> None:
        self._waiting = False
        if self._lost or self._ending:
            if not future.cancelled():
                future.exception()  # taken, so that the loop does not warn of it
            return
        try:
            answer: Answer = future.result()
        except (Exception, asyncio.CancelledError):
            log.exception("event=receiver.failed method=answer")
            answer = replies.LOCAL_ERROR
        self._running = True
        self._answer(answer, accept, usual)
        self._running = False
        self._resume()

    def finish(self, transaction: Transaction, reply: Lines) -> None:
        """Answer a transaction's mail data (`Transaction.finish`). RuntimeError if it has been answered, or is not complete."""
        if transaction.finished or not transaction.received_at:
            raise RuntimeError("a transaction is finished once, after its mail data")
        _, octets = encode(reply)
        transaction.finished = True
        self._arrival.release()
        self.transaction = None
        if self._lost:
            return
        self._machine.accept()
        self._waiting = False
        self._active = self._server.now
        self._output.append(octets)
        if self._server.draining:
            self._end(replies.SHUTTING_DOWN)
        elif not self._running:
            self._resume()

    def shut_down(self) -> None:
        """The server drains: end now if idle, else after the running transaction."""
        if self.is_idle and not self._ending and not self._lost:
            self._end(replies.SHUTTING_DOWN)

    def sweep(self, now: float) -> None:
        """End the session if it is too slow; called about once a second."""
        limits = self._server.pressure.patience
        if self._ending or self._blocked:
            if now - self._active > (_LINGER if self._ending else limits.command_timeout):
                self._transport.abort()
        elif self._waiting:
            pass
        elif self._machine.state in (_MAIL_DATA, _CHUNK, _CHUNKS):
            received = self._machine.received
            if received != self._seen:
                self._seen = received
                self._active = now
            too_slow = now - self._started > limits.data_timeout + received / limits.data_rate
            if too_slow or now - self._active > limits.data_timeout:
                self._end(replies.TIMED_OUT)
        elif now - self._active > limits.command_timeout or (self.transaction is None and now - self._joined > limits.session_timeout):
            self._end(replies.TIMED_OUT)

    def stalled(self, now: float) -> float:
        """Seconds without progress: since the last whole command, or of mail data that is slower than `Limits.data_rate`."""
        if self._waiting or self._ending:
            return 0.0
        if self._machine.state in (_MAIL_DATA, _CHUNK, _CHUNKS):
            elapsed = now - self._started
            return elapsed if self._machine.received < elapsed * self._server.limits.data_rate else 0.0
        return now - self._active

    def give_way(self) -> None:
        """End for another client's sake."""
        self._end(replies.TOO_MANY_CONNECTIONS)

    # --- events of the machine

    def _greet(self, octets: bytes) -> None:
        self._output.append(octets)

    def _append(self, octets: bytes) -> None:
        self._output.append(octets)

    def _on_hello(self) -> None:
        machine = self._machine
        self.extended = machine.extended
        self.helo = machine.argument
        capabilities, usual = self._server.hello(self._listed()) if machine.extended else ((), self._server.helo_reply)
        self._answer(self._call(self._receiver.hello, self, machine.argument, capabilities), Connection._accept_hello, usual)
        self._count_junk()

    def _listed(self) -> int:
        """What EHLO lists: AUTH only where it may be used."""
        offers = self._machine.offers
        return offers & ~_AUTH if self.tls is None or self._machine.authenticated else offers

    def _accept_hello(self, octets: bytes) -> None:
        if self.transaction is not None:
            self._abort()
        self._machine.accept()
        self._output.append(octets)

    def _on_mail(self) -> None:
        machine = self._machine
        path = machine.path
        if path is None:
            path = self._read_path(machine.raw_path or b"", machine.mail.smtputf8, replies.BAD_REVERSE_PATH)
            if path is None:
                return
        server = self._server
        if self.needs_tls and self.tls is None:
            self._output.append(replies.NEEDS_TLS)
            self._count_error()
            return
        if server.held >= server.limits.memory:
            self._output.append(replies.NO_MEMORY)
            return
        if server.draining:
            self._end(replies.SHUTTING_DOWN)
            return
        if self._transactions >= server.limits.transactions:
            self._end(replies.TOO_MANY_TRANSACTIONS)
            return
        transaction = Transaction(self, path, machine.mail)
        self._candidate = transaction
        answer = self._call(self._receiver.mail, transaction, machine.parameters)
        self._answer(answer, Connection._accept_mail, replies.MAIL_ACCEPTED)

    def _accept_mail(self, octets: bytes) -> None:
        self.transaction, self._candidate = self._candidate, None
        self._transactions += 1
        self._refused = 0
        self._chunked = False
        self._machine.accept()
        self._output.append(octets)

    def _on_recipient(self) -> None:
        transaction = self.transaction
        assert transaction is not None
        machine = self._machine
        limits = self._server.limits
        path = machine.path
        if path is None:
            path = self._read_path(machine.raw_path or b"", transaction.smtputf8, replies.BAD_FORWARD_PATH)
            if path is None:
                return
        if len(transaction.recipients) >= limits.recipients:
            self._refused += 1
            self._output.append(replies.TOO_MANY_RECIPIENTS)
            if self._refused > limits.recipient_overshoot:
                self._count_error()
            return
        recipient = machine.recipient
        if recipient is not None and not transaction.smtputf8 and not recipient.original_recipient.isascii():
            self._output.append(replies.NEEDS_SMTPUTF8)
            self._count_error()
            return
        self._accepted = path
        self._accepted_parameters = recipient
        answer = self._call(self._receiver.recipient, transaction, path, machine.parameters)
        self._answer(answer, Connection._accept_recipient, replies.RECIPIENT_ACCEPTED)

    def _accept_recipient(self, octets: bytes) -> None:
        assert self.transaction is not None
        self.transaction.recipients.append(self._accepted)
        given = self._accepted_parameters
        if given is not None:
            self.transaction.options.append(RecipientOptions(self._accepted, given.notify, given.original_recipient))
        self._machine.accept()
        self._output.append(octets)

    def _on_data(self) -> None:
        assert self.transaction is not None
        server = self._server
        if server.held >= server.limits.memory:
            self._output.append(replies.NO_MEMORY)
            return
        if server.hears_data:
            self._answer(self._call(self._receiver.data, self.transaction), Connection._accept_data, replies.GO_AHEAD)
        else:
            self._accept_data(replies.GO_AHEAD)

    def _accept_data(self, octets: bytes) -> None:
        self._machine.accept()
        self._started = self._active = self._server.now
        self._seen = 0
        self._output.append(replies.GO_AHEAD)

    @property
    def _owes(self) -> bool:
        return self._machine.state == _CHUNK  # the end of a chunk without octets

    def _on_chunk(self) -> None:
        transaction = self.transaction
        assert transaction is not None
        server = self._server
        if not self._machine.chunk and not self._machine.last:
            self._count_junk()
        if self._chunked:
            self._machine.accept()
        elif server.held >= server.limits.memory:
            self._refuse_chunk(replies.NO_MEMORY)
        elif server.hears_data:
            self._answer(self._call(self._receiver.data, transaction), Connection._accept_chunk, b"")
        else:
            self._accept_chunk(b"")

    def _accept_chunk(self, octets: bytes) -> None:
        self._machine.accept()
        self._chunked = True
        self._started = self._active = self._server.now
        self._seen = 0

    def _refuse_chunk(self, octets: bytes) -> None:
        """Throw the chunk away, and the transaction with it (RFC 3030 section 2)."""
        self._machine.refuse()
        self._abort()
        self._output.append(octets)

    def _on_chunk_end(self) -> None:
        refusal = self._arrival.refusal
        if refusal:
            self._refuse_chunk(refusal)
        else:
            self._output.append(replies.CHUNK_TAKEN)

    def _on_spill(self) -> None:
        self._arrival.spill()

    def _on_message(self) -> None:
        transaction = self.transaction
        assert transaction is not None
        refusal = self._arrival.complete(transaction)
        if refusal:
            self._abort()
            self._machine.accept()
            self._output.append(refusal)
            return
        transaction.received_at = time.time()
        self._junk = 0
        self._waiting = True
        try:
            self._receiver.message(transaction)
        except Exception:
            log.exception("event=receiver.failed method=message")
            if not transaction.finished:
                transaction.finish(replies.LOCAL_ERROR)

    def _on_reset(self) -> None:
        if self.transaction is not None:
            self._abort()
        self._answer(self._call(self._receiver.reset, self), Connection._append, replies.RESET_DONE)
        self._count_junk()

    def _on_noop(self) -> None:
        self._answer(self._call(self._receiver.noop, self, self._machine.argument), Connection._append, replies.NOOP_DONE)
        self._count_junk()

    def _on_verify(self) -> None:
        self._answer(self._call(self._receiver.verify, self, self._machine.argument), Connection._append, replies.NOT_VERIFIED)
        self._count_junk()

    def _on_expand(self) -> None:
        self._output.append(replies.NOT_EXPANDED)
        self._count_junk()

    def _on_help(self) -> None:
        self._output.append(replies.HELP_TEXT)
        self._count_junk()

    def _on_quit(self) -> None:
        if self.transaction is not None:
            self._abort()
        self._answer(self._call(self._receiver.quit, self), Connection._accept_quit, replies.GOODBYE)

    def _accept_quit(self, octets: bytes) -> None:
        self._end(octets)

    def _on_fault(self) -> None:
        fault = self._machine.fault
        octets, fatal = replies.FAULT_REPLIES[fault]
        if fault == _NEED_RECIPIENT and self._refused:
            octets = replies.NO_VALID_RECIPIENTS
        if self.transaction is not None and self._machine.state == _READY:  # a refused chunk ends its transaction
            self._abort()
        if fatal:
            self._end(octets)
        else:
            self._output.append(octets)
            self._count_error()

    # --- small parts

    def _read_path(self, raw: bytes, smtputf8: bool, complaint: bytes) -> str | None:
        """A path that is not of the common form: the whole grammar (esa.message.address). None after a complaint."""
        try:
            address = parse_path(raw.decode("utf-8"))
        except (SyntaxFault, UnicodeDecodeError):
            if complaint is replies.BAD_FORWARD_PATH and raw.lower() == b"<postmaster>":  # RFC 5321 section 4.1.1.3
                return f"postmaster@{self._server.hostname}"
            self._output.append(complaint)
            self._count_error()
            return None
        if address is None:  # a source route with nothing behind it cannot be: <> has been read
            self._output.append(complaint)
            return None
        if not smtputf8 and not address.is_ascii:
            self._output.append(replies.NEEDS_SMTPUTF8)
            self._count_error()
            return None
        return str(address)

    def _abort(self) -> None:
        """The open transaction ends without its mail."""
        transaction, self.transaction = self.transaction, None
        self._arrival.discard()
        if transaction is not None:
            self._call(self._receiver.aborted, transaction)

    def _count_error(self) -> None:
        self._errors += 1
        if self._errors > self._server.pressure.patience.errors and not self._ending:
            self._end(replies.TOO_MANY_ERRORS)

    def _count_junk(self) -> None:
        """After the reply, which comes before the 421."""
        self._junk += 1
        if self._junk > self._server.pressure.patience.junk_commands:
            self._count_error()


def _endpoint(name: object) -> tuple[str, int]:
    """Address and port of a socket name; a Unix socket has neither."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return "", 0


_ACTIONS: Final[tuple[Callable[[Connection], None], ...]] = tuple(
    getattr(Connection, f"_on_{name.lower()}", Connection._on_fault) for name in EVENTS
)
