"""One SMTP session on a socket: what the transport reads goes through the native machine, what it finds is asked of the receiver.

`listener.Server` makes a `Connection` for each client. Promises: replies come in the order of the commands and in one write per read; a
command behind mail data waits for that mail's reply; whatever the client sends, nothing is raised and memory stays within `Limits`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from esa.errors import SyntaxFault
from esa.gateway import replies
from esa.gateway.arrival import Arrival
from esa.gateway.opening import Opening
from esa.gateway.receiver import Lines, Transaction
from esa.gateway.replies import encode
from esa.message.address import parse_path
from esa.message.envelope import RecipientOptions, Session
from esa.message.reply import Reply
from esa_core._smtp import EVENTS, FAULTS, STATES

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.gateway.listener import Server
    from esa_core._smtp_parameters import RecipientParameters

log = logging.getLogger(__name__)

_READY: Final = STATES.index("READY")
_CHUNKS: Final = STATES.index("CHUNKS")
_MAIL_DATA: Final = STATES.index("MAIL_DATA")
_CHUNK: Final = STATES.index("CHUNK")
_TLS: Final = STATES.index("TLS")
_NEED_RECIPIENT: Final = FAULTS.index("NEED_RECIPIENT")
_ENDS_GROUP: Final = frozenset(EVENTS.index(name) for name in ("HELLO", "DATA", "AUTH"))  # nothing may be sent before the reply
_LINGER: Final = 10.0  # seconds that a session which has been told to end may take to read its last reply


class Connection(Opening):
    """A client's session; the receiver may read its public attributes and keep things of its own in `context`."""

    __slots__ = (
        "_accepted",
        "_accepted_parameters",
        "_arrival",
        "_candidate",
        "_chunked",
        "_refused",
        "_seen",
        "_started",
        "_transactions",
        "_was_early",
        "transaction",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._refused = 0  # recipients of this transaction
        self._arrival = Arrival(server, self._machine)
        self._candidate: Transaction | None = None
        self._accepted = ""  # forward-path under decision
        self._accepted_parameters: RecipientParameters | None = None  # and its parameters
        self._chunked = False  # the open transaction's mail data comes by BDAT and has begun
        self._started = 0.0  # loop seconds of the begin of mail data
        self._seen = 0  # octets of mail data at the last sweep
        self._transactions = 0
        self._was_early = False  # the client has sent on where it has to wait
        self.transaction: Transaction | None = None

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
        if tls is None and not self.user:
            return Session(self.client_address, self.client_port, self.helo, protocol, self._server.listener, received_at)
        if self.extended:
            protocol += ("S" if tls is not None else "") + ("A" if self.user else "")
        values = self.client_address, self.client_port, self.helo, protocol, self._server.listener, received_at
        if tls is None:
            return Session(*values, user=self.user)
        return Session(*values, tls_version=tls.version, tls_cipher=tls.cipher, tls_client=tls.client, user=self.user)

    def connection_lost(self, error: Exception | None) -> None:
        self.was_lost = self.was_lost or not self._ending
        self._lost = self._ending = True
        self._pending = b""
        self._front = None
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
            if position < stop and event in _ENDS_GROUP and not self._was_early:
                self._on_early(EVENTS[event])
                if self._ending:
                    break
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

    # --- answers to mail data

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

    def _on_mail(self) -> None:
        machine = self._machine
        path = machine.path
        if path is None:
            path = self._read_path(machine.mail.smtputf8, replies.BAD_REVERSE_PATH)
            if path is None:
                return
        server = self._server
        if self.needs_tls and self.tls is None:
            self._output.append(replies.NEEDS_TLS)
            self._count_error()
            return
        if self.needs_authentication and not self.user:
            self._output.append(replies.NEEDS_AUTH)
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
        self._answer(answer, Connection._accept_mail, replies.MAIL_ACCEPTED, Connection._refuse_mail)

    def _refuse_mail(self, octets: bytes) -> None:
        self._candidate = None
        self._output.append(octets)

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
            path = self._read_path(transaction.smtputf8, replies.BAD_FORWARD_PATH)
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
        self._answer(answer, Connection._accept_recipient, replies.RECIPIENT_ACCEPTED, Connection._refuse_recipient)

    def _refuse_recipient(self, octets: bytes) -> None:
        self._refused += 1
        self._output.append(octets)

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
            self._answer(self._call(self._receiver.data, transaction), Connection._accept_chunk, b"", Connection._refuse_chunk)
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

    def _on_early(self, command: str) -> None:
        self._was_early = True
        refusal = self._call(self._receiver.early, self, command)
        if isinstance(refusal, Reply):
            self._end(encode(refusal)[1])

    def _on_quit(self) -> None:
        if self.transaction is not None:
            self._abort()
        self._answer(self._call(self._receiver.quit, self), Connection._end, replies.GOODBYE, Connection._end)

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

    def _read_path(self, smtputf8: bool, complaint: bytes) -> str | None:
        """A path that is not of the common form: the whole grammar (esa.message.address). None after a complaint."""
        raw = self._machine.raw_path or b""
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
        """The open transaction, if there is one, ends without its mail."""
        transaction, self.transaction = self.transaction, None
        self._arrival.discard()
        if transaction is not None:
            self._call(self._receiver.aborted, transaction)


_ACTIONS: Final[tuple[Callable[[Connection], None], ...]] = tuple(
    getattr(Connection, f"_on_{name.lower()}", Connection._on_fault) for name in EVENTS
)
