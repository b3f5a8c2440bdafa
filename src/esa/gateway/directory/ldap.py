"""An LDAP directory: searches, many at one time on one connection for each process, and binds, each on a connection of its own.

`LdapAsker` asks for recipients, `users` for those who authenticate. Servers are tried in order; the connection is kept until it breaks.
TLS by StartTLS or from the first octet, certificates always verified.
Referrals are not followed, aliases not resolved. A search that takes too long is abandoned, and its connection closed if it goes on so.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from esa.gateway.directory import ldap_message as wire
from esa.gateway.directory.ldap_filter import Filter
from esa.gateway.directory.ldap_message import Answer, MessageFault
from esa.gateway.directory.silence import SourceFailure
from esa.policy.recipient_access import Recipient

Scope = Literal["base", "one", "subtree"]
_SCOPES: dict[Scope, int] = {"base": 0, "one": 1, "subtree": 2}
FIRST_NUMBER, LAST_NUMBER = 1, (1 << 31) - 1
ENTRIES = 2  # of a search that are looked at: more than one is too many for a user, and one is enough for a recipient
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


class BindRefused(SourceFailure):
    """The directory does not take a name with this password."""


class LdapConnection:
    """A connection to one server; bound, and from then on for searches."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self._reader, self._writer = reader, writer
        self._number = FIRST_NUMBER
        self._waiting: dict[int, tuple[asyncio.Future[list[str]], list[str]]] = {}  # number → answer, names of entries that have come
        self._listening: asyncio.Task[None] | None = None
        self.is_usable = True

    @classmethod
    async def open(cls, server: Server, context: ssl.SSLContext | None, name: str, password: bytes) -> LdapConnection:
        """Connect, TLS, bind; without a name anonymously. Raises SourceFailure, OSError (TimeoutError and ssl.SSLError among them)."""
        from_start = context if server.tls == "implicit" else None
        hostname = server.host if from_start is not None else None
        reader, writer = await asyncio.open_connection(server.host, server.port, ssl=from_start, server_hostname=hostname)
        connection = cls(server, reader, writer)
        try:
            if server.tls == "starttls":
                assert context is not None
                await connection._converse(wire.start_tls_request(), wire.EXTENDED_ANSWER, "StartTLS")
                await writer.start_tls(context, server_hostname=server.host)
            if name:
                await connection._converse(wire.bind_request(name, password), wire.BIND_ANSWER, "bind")
        except BaseException:
            connection.close()
            raise
        connection._listening = asyncio.ensure_future(connection._listen())
        return connection

    async def _converse(self, operation: bytes, expected: int, doing: str) -> None:
        """One question and its answer, before searches begin."""
        number = self._next_number()
        self._write(wire.request(number, operation))
        try:
            answer = await self._read()
            code, words = wire.read_result(answer.content)
        except (MessageFault, asyncio.IncompleteReadError) as fault:
            raise SourceFailure(f"{self.server}: {doing}: {fault}") from fault
        is_answer = (answer.number, answer.operation) == (number, expected)
        if not is_answer or code != wire.SUCCESS:
            is_refusal = is_answer and expected == wire.BIND_ANSWER and code in wire.REFUSALS
            raise (BindRefused if is_refusal else SourceFailure)(f"{self.server}: {doing}: {words}")

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
        future, found = self._waiting[answer.number]
        if answer.operation == wire.ENTRY:
            if len(found) < ENTRIES:  # whatever a server sends that was told a limit
                found.append(wire.entry_name(answer.content))
        elif answer.operation == wire.DONE:
            del self._waiting[answer.number]
            code, words = wire.read_result(answer.content)
            if future.done():
                return
            if code == wire.SUCCESS or (found and code in (wire.SIZE_LIMIT, wire.TIME_LIMIT)):
                future.set_result(found)
            else:
                future.set_exception(SourceFailure(f"{self.server}: {words}"))
        elif answer.operation != wire.REFERENCE:
            raise MessageFault("an answer to no search")

    async def find(self, settings: LdapSettings, condition: bytes, limit: int) -> list[str]:
        """Names of the entries that a search finds, `limit` at most. Raises SourceFailure."""
        if not self.is_usable:
            raise SourceFailure(f"{self.server}: the connection is gone")
        number = self._next_number()
        future: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future, []
        scope = _SCOPES[settings.scope]
        seconds = max(1, round(settings.timeout))
        search = wire.search_request(settings.base, scope, condition, size_limit=limit, time_limit=seconds)
        try:
            self._write(wire.request(number, search))
            return await future
        finally:
            if self._waiting.pop(number, None) is not None and self.is_usable and not self._writer.is_closing():
                self._write(wire.request(self._next_number(), wire.abandon_request(number)))

    def _write(self, octets: bytes) -> None:
        if self._writer.is_closing():  # a loop may raise anything for a transport that is closed
            raise SourceFailure(f"{self.server}: the connection is gone")
        self._writer.write(octets)

    def _lose(self, reason: str) -> None:
        self.is_usable = False
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_exception(SourceFailure(f"{self.server}: {reason}"))
        self._writer.transport.abort()

    def close(self) -> None:
        if self.is_usable and not self._writer.is_closing():
            self._write(wire.request(self._next_number(), wire.unbind_request()))
        self.is_usable = False
        if self._listening is not None:
            self._listening.cancel()
        self._writer.close()


class LdapClient:
    """Asks the servers of one directory. Belongs to one event loop."""

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._connection: LdapConnection | None = None
        self._opening = asyncio.Lock()
        self._late = 0  # searches in a row that this connection gave no answer to
        uses_tls = any(server.tls != "off" for server in settings.servers)
        self._context = make_context(settings.authorities) if uses_tls else None

    async def find(self, values: Mapping[str, str], *, limit: int) -> list[str]:
        """Names of the entries that the filter finds with these values put in, `limit` at most. Raises SourceFailure. May be cancelled."""
        condition = self._settings.condition.encode(values)
        connection = await self._connected()
        try:
            found = await connection.find(self._settings, condition, limit)
        except asyncio.CancelledError:
            self._late += 1
            if self._late >= _LATE_LIMIT:
                connection.close()
            raise
        self._late = 0
        return found

    async def takes(self, name: str, password: bytes) -> bool:
        """Whether the directory takes a name with a password; neither is empty. Raises SourceFailure."""
        first = self._connection.server if self._connection is not None and self._connection.is_usable else None
        try:
            connection = await self._open(sorted(self._settings.servers, key=lambda server: server != first), name, password)
        except BindRefused:
            return False
        connection.close()
        return True

    async def _connected(self) -> LdapConnection:
        """The connection for searches, opened anew if need be."""
        if self._connection is not None and self._connection.is_usable:
            return self._connection
        async with self._opening:
            if self._connection is None or not self._connection.is_usable:
                settings = self._settings
                try:
                    self._connection = await self._open(settings.servers, settings.bind_dn, settings.password.encode())
                except BindRefused as refused:
                    raise SourceFailure(str(refused)) from refused
                self._late = 0
            return self._connection

    async def _open(self, servers: Sequence[Server], name: str, password: bytes) -> LdapConnection:
        """A connection to the first of these servers that can be bound to; each gets its share of the time. Raises SourceFailure."""
        reasons = []
        share = self._settings.timeout / (len(servers) + 1)
        for server in servers:
            try:
                async with asyncio.timeout(share):
                    return await LdapConnection.open(server, self._context, name, password)
            except BindRefused:
                raise
            except SourceFailure as failure:
                reasons.append(str(failure))
            except OSError as error:
                reasons.append(f"{server}: {error.strerror or error or f'no answer within {share:.1f} s'}")
        raise SourceFailure("; ".join(reasons))

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            await asyncio.sleep(0)  # the transport says goodbye


class LdapAsker:
    """Recipients of a directory: one is known if an entry is found."""

    def __init__(self, settings: LdapSettings) -> None:
        self._client = LdapClient(settings)

    async def ask(self, recipient: Recipient) -> bool:
        values = {"address": str(recipient), "local_part": recipient.local_part, "domain": recipient.domain}
        return bool(await self._client.find(values, limit=1))

    async def close(self) -> None:
        await self._client.close()


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
