"""Any aiosmtpd handler object on our listener: its `handle_*` hooks are called with aiosmtpd's own Session and Envelope.

By composition: nothing of aiosmtpd's server runs. What differs from aiosmtpd 1.4, on purpose:

- mail data comes with CRLF line ends only (bare CR and LF mended), whatever the length of its lines;
- a hook that raises, or returns no reply, without a `handle_exception`, gives 451 4.3.0 instead of a 500 with the exception's text;
- whether MAIL and RCPT were accepted follows from the hook's reply, not from what the hook put into the envelope;
- a hook that is still running when the client goes away is not cancelled.
"""

from __future__ import annotations

import asyncio
import dis
import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import lru_cache
from types import CodeType, CoroutineType
from typing import TYPE_CHECKING, Final

from aiosmtpd.smtp import Envelope, Session

from esa.errors import SyntaxFault
from esa.gateway.receiver import Answer, Lines, Receiver, Transaction
from esa.gateway.replies import LOCAL_ERROR
from esa.message.reply import Reply

if TYPE_CHECKING:
    from esa.gateway.protocol import Connection

log = logging.getLogger(__name__)

_REPLY_LINE: Final = re.compile(r"([2-5]\d\d)(?:[ -](?:([245]\.\d{1,3}\.\d{1,3})(?: |\Z))?(.*))?\Z", re.DOTALL)
_SUSPENDING: Final = frozenset(
    dis.opmap[name] for name in ("GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH", "YIELD_FROM") if name in dis.opmap
)


class HandlerServer:
    """What a hook gets as `server`, in place of aiosmtpd's SMTP object: its attributes that handlers use."""

    __slots__ = ("_connection", "envelope", "event_handler", "hostname", "loop", "session")

    def __init__(self, connection: Connection, handler: object, hostname: str) -> None:
        self._connection = connection
        self.event_handler = handler
        self.hostname = hostname
        self.loop = asyncio.get_running_loop()
        self.session = Session(self.loop)
        self.session.peer = connection.transport.get_extra_info("peername")
        self.envelope = Envelope()

    @property
    def transport(self) -> asyncio.Transport:
        return self._connection.transport

    @property
    def data_size_limit(self) -> int:
        return self._connection.server.limits.message_size

    @property
    def enable_SMTPUTF8(self) -> bool:  # noqa: N802  (aiosmtpd's name)
        return True


class HandlerReceiver(Receiver):
    """Adapts `handler`. Its hooks may be coroutine functions (as in aiosmtpd) or plain functions."""

    def __init__(self, handler: object, *, hostname: str) -> None:
        self._handler = handler
        self._hostname = hostname
        self._hooks: dict[str, Callable[..., object]] = {
            name.removeprefix("handle_"): getattr(handler, name) for name in dir(handler) if name.startswith("handle_")
        }
        self._old_ehlo = "EHLO" in self._hooks and len(inspect.signature(self._hooks["EHLO"]).parameters) == 4
        self._tasks: set[asyncio.Future[Lines | None]] = set()

    # --- the receiver's side

    def greet(self, connection: Connection) -> Answer:
        connection.context = HandlerServer(connection, self._handler, self._hostname)
        return None

    def secured(self, connection: Connection) -> None:
        """As aiosmtpd after STARTTLS: `session.ssl` is set, what the client said is forgotten, `handle_STARTTLS` may end the session."""
        server = _server_of(connection)
        facts = connection.tls
        assert facts is not None
        server.session.ssl = {"cipher": (facts.cipher, facts.version, facts.bits), "version": facts.version, "client": facts.client}
        server.session.host_name = None
        server.session.extended_smtp = False
        server.envelope = Envelope()
        hook = self._hooks.get("STARTTLS")
        if hook is not None and not hook(server, server.session, server.envelope):
            connection.drop()

    def authenticated(self, connection: Connection) -> None:
        session = _server_of(connection).session
        session.authenticated = True
        session.auth_data = connection.user  # type: ignore[assignment]  # aiosmtpd says Any, and begins with None

    def hello(self, connection: Connection, name: str, capabilities: Sequence[str]) -> Answer:
        server = _server_of(connection)
        server.envelope = Envelope()
        server.session.extended_smtp = connection.extended
        hook = self._hooks.get("EHLO" if connection.extended else "HELO")
        if hook is None:
            server.session.host_name = name
            return None
        if not connection.extended:
            return self._ask(hook, server, name)
        lines = [f"250-{self._hostname}", *(f"250-{line}" for line in capabilities)]
        if not self._old_ehlo:
            return self._ask(hook, server, name, [*lines, "250 HELP"])
        return self._ask(hook, server, name, prefix=lines)

    def mail(self, transaction: Transaction, parameters: Sequence[str]) -> Answer:
        server = _server_of(transaction.connection)
        envelope = server.envelope = Envelope()
        envelope.smtp_utf8 = transaction.smtputf8
        transaction.context = envelope
        address = transaction.reverse_path or "<>"  # aiosmtpd's form of the null reverse-path
        options = [parameter.upper() for parameter in parameters]
        hook = self._hooks.get("MAIL")
        if hook is not None:
            return self._ask(hook, server, address, options)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return None

    def recipient(self, transaction: Transaction, forward_path: str, parameters: Sequence[str]) -> Answer:
        server = _server_of(transaction.connection)
        hook = self._hooks.get("RCPT")
        if hook is not None:
            return self._ask(hook, server, forward_path, list(parameters))
        server.envelope.rcpt_tos.append(forward_path)
        return None

    def message(self, transaction: Transaction) -> None:
        server = _server_of(transaction.connection)
        envelope = server.envelope
        content = transaction.content
        path = transaction.content_path
        if path is not None:
            content = path.read_bytes()
            path.unlink()
        envelope.content = envelope.original_content = content
        hook = self._hooks.get("DATA")
        if hook is None:
            transaction.finish(_read_status("250 OK"))
            return
        answer = self._ask(hook, server)
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(lambda future: transaction.finish(future.result() or LOCAL_ERROR))
        else:
            transaction.finish(answer or LOCAL_ERROR)

    def reset(self, connection: Connection) -> Answer:
        server = _server_of(connection)
        server.envelope = Envelope()
        return self._ask_if("RSET", server)

    def noop(self, connection: Connection, argument: str) -> Answer:
        return self._ask_if("NOOP", _server_of(connection), argument)

    def verify(self, connection: Connection, argument: str) -> Answer:
        return self._ask_if("VRFY", _server_of(connection), argument)

    def quit(self, connection: Connection) -> Answer:
        return self._ask_if("QUIT", _server_of(connection))

    # --- the handler's side

    def _ask_if(self, name: str, server: HandlerServer, *arguments: object) -> Answer:
        hook = self._hooks.get(name)
        return None if hook is None else self._ask(hook, server, *arguments)

    def _ask(self, hook: Callable[..., object], server: HandlerServer, *arguments: object, prefix: Sequence[str] = ()) -> Answer:
        """Call a hook. A coroutine that cannot suspend is run on the spot; any other becomes a task and the answer a future."""
        try:
            status = hook(server, server.session, server.envelope, *arguments)
            if isinstance(status, CoroutineType) and not _can_suspend(status.cr_code):
                try:
                    status.send(None)
                except StopIteration as stop:
                    status = stop.value
            if isinstance(status, str) or not inspect.isawaitable(status):
                return _read(status, prefix)
        except Exception as error:
            if "exception" not in self._hooks:
                log.exception("event=handler.failed hook=%s", getattr(hook, "__name__", "?"))
                return LOCAL_ERROR
            status = self._raise(error)
        return self._start(self._run(status, prefix))

    def _start(self, work: Coroutine[object, object, Lines | None]) -> asyncio.Future[Lines | None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, status: Awaitable[object], prefix: Sequence[str]) -> Lines | None:
        """The reply of an awaitable hook; never raises."""
        try:
            return _read(await status, prefix)
        except Exception as error:
            hook = self._hooks.get("exception")
            if hook is None:
                log.exception("event=handler.failed")
                return LOCAL_ERROR
            try:
                answer = hook(error)
                return _read(await answer if inspect.isawaitable(answer) else answer)
            except Exception:
                log.exception("event=handler.failed hook=handle_exception")
                return LOCAL_ERROR

    async def _raise(self, error: Exception) -> object:
        raise error


def _server_of(connection: Connection) -> HandlerServer:
    server = connection.context
    assert isinstance(server, HandlerServer)
    return server


@lru_cache(maxsize=512)
def _can_suspend(code: CodeType) -> bool:
    """Whether a coroutine of this code may wait; one that cannot needs no task."""
    return any(instruction.opcode in _SUSPENDING for instruction in dis.get_instructions(code))


def _read(status: object, prefix: Sequence[str] = ()) -> Lines:
    """A hook's return value as a reply: "250 OK", several such lines, or a list of them. LOCAL_ERROR for anything else."""
    if isinstance(status, bytes):
        status = status.decode("ascii", "replace")
    if isinstance(status, str) and not prefix:
        return _read_status(status)
    lines = [status] if isinstance(status, str) else status
    if isinstance(lines, list | tuple) and all(isinstance(line, str) for line in lines):
        return _read_status("\r\n".join([*prefix, *lines]))
    log.error("event=handler.failed reason=no_reply")
    return LOCAL_ERROR


@lru_cache(maxsize=512)
def _read_status(status: str) -> Lines:
    replies = []
    for line in re.split(r"\r?\n", status.rstrip("\r\n")):
        match = _REPLY_LINE.match(line)
        if match is None:
            log.error("event=handler.failed reason=no_reply")
            return LOCAL_ERROR
        code, enhanced, text = int(match[1]), match[2], match[3] or ""
        if enhanced and enhanced[0] != match[1][0]:
            enhanced, text = None, f"{enhanced} {text}"
        text = text.encode("ascii", "replace").decode("ascii")
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
        try:
            replies.append(Reply(code, enhanced, text[:480]))
        except SyntaxFault:
            log.error("event=handler.failed reason=bad_reply")
            return LOCAL_ERROR
    if any(reply.code != replies[0].code for reply in replies):
        log.error("event=handler.failed reason=bad_reply")
        return LOCAL_ERROR
    return replies[0] if len(replies) == 1 else tuple(replies)
