"""Recipients that the next hop knows: it is asked with a RCPT of a null reverse-path, and the transaction dropped (AsyncOS's SMTP call-ahead).

    2xx  there is one, unless the next hop says so to an invented address of that domain too: then it cannot tell, and is not asked again soon
    5xx  there is none
    4xx, 5xx of class 5.7 (it refuses us, not the recipient), a refused MAIL, silence: it could not be asked

`KeptSource` keeps answers, bounds the time and sees that nobody is asked about twice at one time. Connections are kept for further questions.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass

from esa.gateway import events
from esa.gateway.delivery.client import Connection, Timeouts, connect
from esa.gateway.delivery.replies import RemoteError, RemoteReply
from esa.gateway.directory.silence import SourceFailure
from esa.gateway.events import Event as Log
from esa.policy.recipient_access import Recipient

IDLE_LIMIT = 5.0  # seconds a connection is kept without work: next hops have few to give away
PROBES_A_CONNECTION = 100
CATCH_ALL_SECONDS = 3_600.0  # how long a look whether a domain takes everything is good for
DOMAINS = 10_000  # of which that is remembered


@dataclass(frozen=True, slots=True)
class NextHop:
    """Whom to ask, and how."""

    host: str
    port: int
    hostname: str  # that we say in EHLO
    connections: int = 5
    timeout: float = 10.0  # seconds for each reply


class CallAhead:
    """Asks one next hop. Belongs to one event loop."""

    def __init__(self, name: str, hop: NextHop) -> None:
        self._name, self._hop = name, hop
        self._free = asyncio.Semaphore(hop.connections)
        self._idle: list[tuple[float, Connection]] = []
        self._catch_all: OrderedDict[str, tuple[bool, float]] = OrderedDict()  # domain → takes everything, loop seconds of the look
        self._closer: asyncio.TimerHandle | None = None

    async def ask(self, recipient: Recipient) -> bool | None:
        takes_everything = self._takes_everything(recipient.domain)
        if takes_everything:
            return None
        async with self._free:
            reply = await self._probe(str(recipient))
            is_known = _read(reply)
            if is_known and takes_everything is None:
                invented = await self._probe(f"esa-{secrets.token_hex(12)}@{recipient.domain}")
                if invented.status != "deferred":
                    self._remember(recipient.domain, takes_everything=invented.status == "delivered")
                    if invented.status == "delivered":
                        return None
        return is_known

    def _takes_everything(self, domain: str) -> bool | None:
        """Whether a domain is known to take every address; None: it has not been looked at lately."""
        found = self._catch_all.get(domain)
        if found is None or asyncio.get_running_loop().time() - found[1] > CATCH_ALL_SECONDS:
            return None
        return found[0]

    def _remember(self, domain: str, *, takes_everything: bool) -> None:
        if takes_everything:
            events.warning(Log.SOURCE_CATCHES_ALL, source=self._name, domain=domain, next_hop=f"{self._hop.host}:{self._hop.port}")
        self._catch_all[domain] = (takes_everything, asyncio.get_running_loop().time())
        self._catch_all.move_to_end(domain)
        if len(self._catch_all) > DOMAINS:
            self._catch_all.popitem(last=False)

    async def _probe(self, address: str) -> RemoteReply:
        """The next hop's reply to RCPT. A kept connection that turns out to be closed is replaced once."""
        while True:
            kept = self._idle.pop()[1] if self._idle else None
            if kept is not None and not kept.is_usable:
                kept.close()
                continue
            try:
                connection = kept or await self._connect()
                try:
                    reply = await connection.verify(address)
                except BaseException:
                    connection.close()
                    raise
            except RemoteError as fault:
                if kept is not None and not fault.replies:
                    continue
                raise SourceFailure(f"{self._hop.host}:{self._hop.port}: {fault}") from fault
            self._keep(connection)
            return reply

    async def _connect(self) -> Connection:
        timeouts = Timeouts(connect=self._hop.timeout, greeting=self._hop.timeout, command=self._hop.timeout)
        return await connect(self._hop.host, self._hop.port, hostname=self._hop.hostname, timeouts=timeouts)

    def _keep(self, connection: Connection) -> None:
        if not connection.is_usable or connection.sent >= PROBES_A_CONNECTION:
            connection.close()
            return
        self._idle.append((time.monotonic(), connection))
        if self._closer is None:
            self._closer = asyncio.get_running_loop().call_later(IDLE_LIMIT, self._close_idle)

    def _close_idle(self) -> None:
        self._closer = None
        now = time.monotonic()
        kept = []
        for since, connection in self._idle:
            if now - since < IDLE_LIMIT and connection.is_usable:
                kept.append((since, connection))
            else:
                connection.close()
        self._idle = kept
        if kept:
            self._closer = asyncio.get_running_loop().call_later(IDLE_LIMIT, self._close_idle)

    async def close(self) -> None:
        if self._closer is not None:
            self._closer.cancel()
        for _, connection in self._idle:
            connection.close()
        self._idle = []


def _read(reply: RemoteReply) -> bool:
    """Whether the recipient is there. Raises SourceFailure where the reply is about us, or about now."""
    if reply.status == "delivered":
        return True
    text = reply.lines[0] if reply.lines else ""
    if reply.status == "deferred" or text.startswith("5.7.") or reply.code in (500, 501, 502, 503, 530):
        raise SourceFailure(f"the next hop says {reply}")
    return False
