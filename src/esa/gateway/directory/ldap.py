"""Recipients of an LDAP directory: one connection for each process, many searches on it at one time.

Servers are tried in order; the connection is kept until it breaks. TLS by StartTLS or from the first octet, certificates always verified.
Referrals are not followed, aliases not resolved. A search that takes too long is abandoned, and its connection closed if it goes on so.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from esa.gateway.directory import ldap_message as wire
from esa.gateway.directory.kept import SourceFailure
from esa.gateway.directory.ldap_filter import Filter
from esa.gateway.directory.ldap_message import Answer, MessageFault
from esa.policy.recipient_access import Recipient

Scope = Literal["base", "one", "subtree"]
_SCOPES: dict[Scope, int] = {"base": 0, "one": 1, "subtree": 2}
FIRST_NUMBER, LAST_NUMBER = 1, (1 << 31) - 1
_LATE_LIMIT = 3  # searches without an answer in a row, after which a connection is given up


@dataclass(frozen=True, slots=True)
class Server:
    """One server. `tls`: from the first octet (ldaps), by StartTLS, or none."""

    host: str
    port: int
    tls: Literal["off", "starttls", "implicit"]

    def __str__(self) -> str:
        return f"{'ldaps' if self.tls == 'implicit' else 'ldap'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """Whom to ask for what. `password` belongs to `bind_dn`; without both the search is anonymous."""

    servers: tuple[Server, ...]
    base: str
    condition: Filter
    scope: Scope = "subtree"
    bind_dn: str = ""
    password: str = field(default="", repr=False)
    authorities: Path | None = None  # PEM; None: those of the machine
    timeout: float = 5.0  # seconds


class LdapConnection:
    """A bound connection to one server."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self._reader, self._writer = reader, writer
        self._number = FIRST_NUMBER
        self._waiting: dict[int, tuple[asyncio.Future[bool], bool]] = {}  # number → answer, whether an entry has come
        self._listening: asyncio.Task[None] | None = None
        self.is_usable = True

    @classmethod
    async def open(cls, server: Server, settings: LdapSettings, context: ssl.SSLContext | None) -> LdapConnection:
        """Connect, TLS, bind. Raises SourceFailure, OSError (TimeoutError and ssl.SSLError among them)."""
        from_start = context if server.tls == "implicit" else None
        name = server.host if from_start is not None else None
        reader, writer = await asyncio.open_connection(server.host, server.port, ssl=from_start, server_hostname=name)
        connection = cls(server, reader, writer)
        try:
            if server.tls == "starttls":
                assert context is not None
                await connection._converse(wire.start_tls_request(), wire.EXTENDED_ANSWER, "StartTLS")
                await writer.start_tls(context, server_hostname=server.host)
            if settings.bind_dn:
                await connection._converse(wire.bind_request(settings.bind_dn, settings.password), wire.BIND_ANSWER, "bind")
        except BaseException:
            connection.close()
            raise
        connection._listening = asyncio.ensure_future(connection._listen())
        return connection

    async def _converse(self, operation: bytes, expected: int, doing: str) -> None:
        """One question and its answer, before searches begin."""
        number = self._next_number()
        self._writer.write(wire.request(number, operation))
        try:
            answer = await self._read()
            code, words = wire.read_result(answer.content)
        except (MessageFault, asyncio.IncompleteReadError) as fault:
            raise SourceFailure(f"{self.server}: {doing}: {fault}") from fault
        if (answer.number, answer.operation) != (number, expected) or code != wire.SUCCESS:
            raise SourceFailure(f"{self.server}: {doing}: {words}")

    def _next_number(self) -> int:
        number = self._number
        self._number = FIRST_NUMBER if number >= LAST_NUMBER else number + 1
        return number

    async def _read(self) -> Answer:
        head = await self._reader.readexactly(2)
        head += await self._reader.readexactly(wire.head_length(head))
        size = int.from_bytes(head[2:], "big") if len(head) > 2 else head[1]
        if size > wire.LIMIT:
            raise MessageFault(f"a message of {size} octets")
        return wire.read_answer(head + await self._reader.readexactly(size))

    async def _listen(self) -> None:
        """Give answers to those who wait for them, until the connection ends."""
        reason = "the server closed the connection"
        try:
            while True:
                self._take(await self._read())
        except MessageFault as fault:
            reason = str(fault)
        except OSError as error:
            reason = error.strerror or str(error)
        except asyncio.IncompleteReadError:
            pass
        finally:
            self._lose(reason)

    def _take(self, answer: Answer) -> None:
        if answer.number not in self._waiting:  # a notice (RFC 4511 section 4.4.1), or of a search that was abandoned
            return
        future, has_entry = self._waiting[answer.number]
        if answer.operation == wire.ENTRY:
            self._waiting[answer.number] = future, True
        elif answer.operation == wire.DONE:
            del self._waiting[answer.number]
            code, words = wire.read_result(answer.content)
            if future.done():
                return
            if code == wire.SUCCESS or (has_entry and code in (wire.SIZE_LIMIT, wire.TIME_LIMIT)):
                future.set_result(has_entry)
            else:
                future.set_exception(SourceFailure(f"{self.server}: {words}"))
        elif answer.operation != wire.REFERENCE:
            raise MessageFault("an answer to no search")

    async def has_entry(self, settings: LdapSettings, condition: bytes) -> bool:
        """Whether a search finds anything. Raises SourceFailure."""
        if not self.is_usable:
            raise SourceFailure(f"{self.server}: the connection is gone")
        number = self._next_number()
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future, False
        scope = _SCOPES[settings.scope]
        seconds = max(1, round(settings.timeout))
        search = wire.search_request(settings.base, scope, condition, size_limit=1, time_limit=seconds)
        self._writer.write(wire.request(number, search))
        try:
            return await future
        finally:
            if self._waiting.pop(number, None) is not None and self.is_usable:
                self._writer.write(wire.request(self._next_number(), wire.abandon_request(number)))

    def _lose(self, reason: str) -> None:
        self.is_usable = False
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_exception(SourceFailure(f"{self.server}: {reason}"))
        self._writer.transport.abort()

    def close(self) -> None:
        if self.is_usable:
            self._writer.write(wire.request(self._next_number(), wire.unbind_request()))
        self.is_usable = False
        if self._listening is not None:
            self._listening.cancel()
        self._writer.close()


class LdapAsker:
    """Asks the directory. Belongs to one event loop."""

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._connection: LdapConnection | None = None
        self._opening = asyncio.Lock()
        self._late = 0  # searches in a row that this connection gave no answer to
        uses_tls = any(server.tls != "off" for server in settings.servers)
        self._context = make_context(settings.authorities) if uses_tls else None

    async def ask(self, recipient: Recipient) -> bool:
        values = {"address": str(recipient), "local_part": recipient.local_part, "domain": recipient.domain}
        condition = self._settings.condition.encode(values)
        connection = await self._connected()
        try:
            found = await connection.has_entry(self._settings, condition)
        except asyncio.CancelledError:
            self._late += 1
            if self._late >= _LATE_LIMIT:
                connection.close()
            raise
        self._late = 0
        return found

    async def _connected(self) -> LdapConnection:
        """The connection, opened anew if need be; each server gets its share of the time."""
        if self._connection is not None and self._connection.is_usable:
            return self._connection
        async with self._opening:
            if self._connection is not None and self._connection.is_usable:
                return self._connection
            reasons = []
            share = self._settings.timeout / (len(self._settings.servers) + 1)
            for server in self._settings.servers:
                try:
                    async with asyncio.timeout(share):
                        self._connection = await LdapConnection.open(server, self._settings, self._context)
                    self._late = 0
                    return self._connection
                except SourceFailure as failure:
                    reasons.append(str(failure))
                except OSError as error:
                    reasons.append(f"{server}: {error.strerror or error or f'no answer within {share:.1f} s'}")
            raise SourceFailure("; ".join(reasons))

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            await asyncio.sleep(0)  # the transport says goodbye


def make_context(authorities: Path | None) -> ssl.SSLContext:
    """TLS that verifies the server. Raises OSError (ssl.SSLError) for a file of authorities that cannot be read."""
    context = ssl.create_default_context(cafile=str(authorities) if authorities else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def read_server(text: str, *, starttls: bool) -> Server | None:
    """A server of "ldap://host[:port]" or "ldaps://host[:port]"; None for anything else."""
    scheme, mark, rest = text.partition("://")
    if not mark or scheme.lower() not in ("ldap", "ldaps") or not rest or "/" in rest.rstrip("/"):
        return None
    rest = rest.rstrip("/")
    host, colon, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    if not colon:
        host, port = rest, "636" if scheme.lower() == "ldaps" else "389"
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        return None
    return Server(host, int(port), "implicit" if scheme.lower() == "ldaps" else "starttls" if starttls else "off")
