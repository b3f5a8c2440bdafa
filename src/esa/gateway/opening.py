"""What comes before mail in a session: who the client is, TLS, the greeting, EHLO. `protocol.Connection` goes on with the mail.

Promises: what the receiver answers is given in the order of the commands; a receiver that fails costs 451 and not the session; what a client
said in the clear counts no more inside TLS.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from esa.gateway import events, replies
from esa.gateway.authentication import CannotTell, Credentials, Exchange
from esa.gateway.events import Event as Log
from esa.gateway.patience import TooManyFailures
from esa.gateway.proxies import read_header, read_xclient
from esa.gateway.receiver import Answer, Lines
from esa.gateway.replies import encode
from esa.gateway.stream import Stream
from esa_core._smtp import OFFERS, Machine

if TYPE_CHECKING:
    from esa.gateway.listener import Server
    from esa.gateway.protocol import Connection
    from esa.gateway.tls import TlsFacts

log = logging.getLogger(__name__)

STARTTLS, REQUIRETLS, AUTH, XCLIENT = (1 << OFFERS.index(name) for name in ("STARTTLS", "REQUIRETLS", "AUTH", "XCLIENT"))
Act = Callable[[Any, bytes], None]  # a method of a session that is given a reply's octets


class Opening(Stream):
    """Derive from it and give it `_process` and `_abort`."""

    __slots__ = (
        "_errors",
        "_exchange",
        "_failures",
        "_greeted",
        "_joined",
        "_junk",
        "_local",
        "_machine",
        "_may_claim",
        "_offers",
        "_receiver",
        "client_address",
        "client_port",
        "connected_at",
        "context",
        "ends_after_reply",
        "extended",
        "helo",
        "mechanism",
        "needs_authentication",
        "needs_tls",
        "number",
        "proxy_address",
        "tls",
        "user",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._receiver = server.receiver
        machine = self._machine = Machine()
        machine.message_size = server.limits.message_size
        machine.spill = server.limits.spill if server.spill_directory else 0
        machine.reject_bare = server.bare_newline == "reject"
        self._greeted = False
        self._errors = 0
        self._junk = 0
        self._joined = server.now  # loop seconds of the connection
        self.connected_at = 0.0
        self.context: object = None
        self.number = 0  # of the connection in logs (AsyncOS's ICID), if the receiver gives it one
        self.ends_after_reply = False  # set by a receiver: the refusal that it gives is the last reply
        self.client_address = ""
        self.client_port = 0
        self._local: tuple[str, int] | None = None  # None: the socket's own
        self.proxy_address = ""  # of the proxy that said who the client is
        self._may_claim = False  # by XCLIENT
        self.helo = ""
        self.extended = False
        self.tls: TlsFacts | None = None  # what was agreed on; None: in the clear
        self.user = ""  # the identity that was proven by AUTH
        self.mechanism = ""  # that AUTH was tried with
        self._exchange: Exchange | None = None  # an AUTH that goes on
        self._failures = 0  # of AUTH
        self._demand_as_listener()

    @property
    def listener(self) -> str:
        return self._server.listener

    @property
    def server(self) -> Server:
        return self._server

    @property
    def local_address(self) -> str:
        """The address that the client has connected to; few ask, and it is a call of the system."""
        return self._local_endpoint()[0]

    @property
    def local_port(self) -> int:
        return self._local_endpoint()[1]

    def _local_endpoint(self) -> tuple[str, int]:
        if self._local is None:
            self._local = _endpoint(self._transport.get_extra_info("sockname"))
        return self._local

    @property
    def _session(self) -> Connection:
        """What the receiver knows this as."""
        return self  # type: ignore[return-value]

    @abstractmethod
    def _abort(self) -> None:
        """The open transaction, if there is one, ends without its mail."""

    def _demand_as_listener(self) -> None:
        server = self._server
        self.needs_authentication = server.needs_authentication  # no mail is taken without; a receiver may change it in `greet`
        self.needs_tls = server.needs_tls  # no mail is taken in the clear; a receiver may change it in `greet`
        self._offers = server.offers  # bits of OFFERS that EHLO may list; those of TLS and of the clear
        self._offer()

    def withhold(self, *, tls: bool = False, authentication: bool = False) -> None:
        """Offer this client less than the listener does. For a receiver, in `greet`."""
        self._offers &= ~(STARTTLS if tls else 0) & ~(AUTH if authentication else 0)
        self._offer()

    def _offer(self) -> None:
        """Let the machine know what may be used now."""
        usable = self._offers & ~(REQUIRETLS if self.tls is None else STARTTLS)
        self._machine.offers = usable | (XCLIENT if self._may_claim else 0)

    # --- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.client_address, self.client_port = _endpoint(transport.get_extra_info("peername"))
        self._active = self._joined = self._server.now
        self.connected_at = time.time()
        if not self._server.admit(self._session):
            if self._server.draining:
                self._end(replies.SHUTTING_DOWN)
            else:
                events.info(
                    Log.CONNECTION_REFUSED, client=self.client_address, listener=self.listener, reply="421", reason="max_connections"
                )
                self._end(replies.TOO_MANY_CONNECTIONS)
            return
        trust = self._server.trust
        if trust and self.client_address in trust.xclient:
            self._may_claim = True
            self._offer()
        if trust and self.client_address in trust.proxy_header:
            self._front = self._read_proxy_header
        else:
            self._begin()

    def _begin(self) -> None:
        if self._server.is_implicit and self._server.tls is not None:
            self._begin_tls(self._server.tls.context)
        else:
            self._open()

    def _open(self) -> None:
        """Greet: the client is known, and TLS is there where it comes first."""
        self._greeted = True
        self._answer(self._call(self._receiver.greet, self._session), Opening._append, self._server.greeting, Opening._end)
        self._flush()

    # --- proxies

    def _read_proxy_header(self, count: int) -> None:
        """A peer that we trust says who the client is, before anything else; if it does not, nothing it says counts."""
        self._pending += bytes(memoryview(self._buffer)[:count])
        try:
            found = read_header(self._pending)
        except ValueError as error:
            events.warning(Log.PROXY_REFUSED, client=self.client_address, listener=self.listener, reason=str(error))
            self._ending = True
            self._transport.close()
            return
        if found is None:
            return
        endpoints, length = found
        if endpoints.client_address:
            self.proxy_address = self.client_address
            self.client_address, self.client_port = endpoints.client_address, endpoints.client_port
            self._local = endpoints.local_address, endpoints.local_port
        rest, self._pending = self._pending[length:], b""
        self._active = self._server.now
        self._front = None
        self._begin()
        if rest and not self._ending:
            self._buffer[: len(rest)] = rest
            self.buffer_updated(len(rest))

    def _on_xclient(self) -> None:
        """The session begins anew, as that of another client."""
        try:
            claims = read_xclient(self._machine.argument)
        except ValueError:
            self._output.append(replies.BAD_XCLIENT)
            self._count_error()
            return
        self._call(self._receiver.closed, self._session)
        self._machine.restart()
        self._machine.message_size = self._server.limits.message_size
        self.proxy_address = self.proxy_address or self.client_address
        self.client_address = claims.client_address or self.client_address
        self.client_port = self.client_port if claims.client_port is None else claims.client_port
        port = self.local_port if claims.local_port is None else claims.local_port
        self._local = claims.local_address or self.local_address, port
        self.helo, self.extended, self.context = claims.helo or "", False, None
        self.user = claims.user or ""
        self._demand_as_listener()
        self._answer(self._call(self._receiver.greet, self._session), Opening._append, self._server.greeting, Opening._end)

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
        self.tls = facts
        self._offer()
        self.helo, self.extended = "", False
        self._exchange, self.user = None, ""
        self._active = self._server.now
        if not self._greeted:
            self._open()
        self._call(self._receiver.secured, self._session)

    def _tls_failed(self, error: ssl.SSLError) -> None:
        if not self._ending:
            events.info(
                Log.TLS_FAILED,
                client=self.client_address,
                listener=self.listener,
                reason=error.reason or str(error),
                icid=self.number or None,
            )
        self._ending = True
        self._transport.close()

    # --- answers

    def _call(self, method: Callable[..., Answer], *arguments: object) -> Answer:
        """Ask the receiver; its failure is ours, not the client's."""
        try:
            return method(*arguments)
        except Exception:
            log.exception("event=receiver.failed method=%s", getattr(method, "__name__", "?"))
            return replies.LOCAL_ERROR

    def _answer(self, answer: Answer, accept: Act, usual: bytes, refuse: Act | None = None) -> None:
        """Act on a receiver's answer: None and positive replies accept, others refuse, a future makes the session wait.

        `refuse` is given the refusal where more is to be done than to say it.
        """
        if answer is None:
            accept(self, usual)
            return
        if isinstance(answer, asyncio.Future):
            self._waiting = True
            answer.add_done_callback(lambda future: self._answered(future, accept, usual, refuse))
            return
        try:
            code, octets = encode(answer)
        except ValueError:
            log.exception("event=receiver.failed method=answer")
            code, octets = encode(replies.LOCAL_ERROR)
        if code < 400:
            accept(self, octets)
        elif code == 421 or self.ends_after_reply:
            self._end(octets)
        elif refuse is not None:
            refuse(self, octets)
        else:
            self._output.append(octets)

    def _answered(self, future: asyncio.Future[Lines | None], accept: Act, usual: bytes, refuse: Act | None) -> None:
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
        self._answer(answer, accept, usual, refuse)
        self._running = False
        self._resume()

    def _append(self, octets: bytes) -> None:
        self._output.append(octets)

    def _count_error(self) -> None:
        self._errors += 1
        if self._errors > self._server.pressure.patience.errors and not self._ending:
            self._end(replies.TOO_MANY_ERRORS)

    def _count_junk(self) -> None:
        """After the reply, which comes before the 421."""
        self._junk += 1
        if self._junk > self._server.pressure.patience.junk_commands:
            self._count_error()

    # --- AUTH

    def _on_auth(self) -> None:
        if self.tls is None:
            self._refuse_authentication(replies.NEEDS_TLS_FOR_AUTH)
            return
        mechanism, _, initial = self._machine.argument.partition(" ")
        self.mechanism = mechanism.upper()[:20]
        try:
            self._exchange = Exchange(mechanism)
        except KeyError:
            self._refuse_authentication(replies.NO_SUCH_MECHANISM)
            return
        self._ask_on(self._exchange, initial.strip() or None)

    def _on_response(self) -> None:
        exchange, argument = self._exchange, self._machine.argument
        assert exchange is not None
        if argument == "*":
            self._refuse_authentication(replies.AUTHENTICATION_CANCELLED)
        else:
            self._ask_on(exchange, argument)

    def _ask_on(self, exchange: Exchange, response: str | None) -> None:
        """Put the next question, or have the credentials verified; the session waits for that."""
        try:
            question = exchange.answer(response)
        except ValueError:
            self._refuse_authentication(replies.AUTHENTICATION_MALFORMED)
            return
        if question is not None:
            self._machine.challenge()
            self._output.append(b"334 " + base64.b64encode(question) + b"\r\n")
            return
        credentials, self._exchange = exchange.credentials, None
        assert credentials is not None
        verdict = asyncio.get_running_loop().create_task(self._verify(credentials))
        self._answer(verdict, Opening._accept_authentication, replies.AUTHENTICATED, Opening._refuse_authentication)

    async def _verify(self, credentials: Credentials) -> Lines | None:
        authenticator = self._server.authenticator
        assert authenticator is not None
        reason = "credentials"
        try:
            user = await authenticator.verify(credentials, self.client_address)
            if user is not None:
                self.user = user
                return None
            reply = replies.AUTHENTICATION_FAILED
        except TooManyFailures:
            reply, reason = replies.AUTHENTICATION_TOO_OFTEN, "too_often"
        except CannotTell as outage:
            reply, reason = replies.AUTHENTICATION_IMPOSSIBLE, f"outage: {outage}"
        events.warning(
            Log.AUTHENTICATION_FAILED,
            client=self.client_address,
            listener=self.listener,
            user=credentials.name,
            mechanism=self.mechanism,
            reason=reason,
            icid=self.number or None,
        )
        return reply

    def _accept_authentication(self, octets: bytes) -> None:
        self._machine.accept()
        self._call(self._receiver.authenticated, self._session)
        self._output.append(octets)

    def _refuse_authentication(self, octets: bytes) -> None:
        self._exchange = None
        self._output.append(octets)
        self._failures += 1
        if self._failures >= self._server.limits.authentications:
            self._end(replies.TOO_MANY_ERRORS)

    # --- EHLO and HELO

    def _on_hello(self) -> None:
        machine = self._machine
        self.extended = machine.extended
        self.helo = machine.argument
        capabilities, usual = self._server.hello(self._listed()) if machine.extended else ((), self._server.helo_reply)
        self._answer(self._call(self._receiver.hello, self._session, machine.argument, capabilities), Opening._accept_hello, usual)
        self._count_junk()

    def _listed(self) -> int:
        """What EHLO lists: AUTH only where it may be used."""
        offers = self._machine.offers
        return offers & ~AUTH if self.tls is None or self._machine.authenticated else offers

    def _accept_hello(self, octets: bytes) -> None:
        self._abort()
        self._machine.accept()
        self._output.append(octets)


def _endpoint(name: object) -> tuple[str, int]:
    """Address and port of a socket name; a Unix socket has neither."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return "", 0
