"""Plays recorded mail into an SMTP server over many sessions at once and keeps count. The client half of `esa bench --smtp`.

A session greets (EHLO), sends its share of messages, each as MAIL, RCPT and DATA (in one write where PIPELINING is offered), and quits.
Latency is the time from the last octet of the data to the reply that takes or refuses the message.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from esa.errors import EsaError

MAX_REPLY = 1 << 16  # octets of one reply: RFC 5321 allows 512 a line; a server that sends more is no SMTP server
ATTEMPTS = 3  # tries to connect before a session gives up; the first failure of all ends the run

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to play: `messages` in all, at most `per_session` in one session, `sessions` at once."""

    host: str
    port: int
    sessions: int
    messages: int
    sender: str
    recipient: str
    per_session: int
    timeout: float


@dataclass(slots=True)
class Outcome:
    """What came of it. `latencies` are seconds; `replies` count the reply that decided each message, by code and enhanced code."""

    sent: int = 0
    accepted: int = 0
    octets: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    replies: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def percentiles(self) -> dict[str, float]:
        """Latency in milliseconds at p50, p90, p99 and the largest; zeros if no message got that far."""
        ordered = sorted(self.latencies) or [0.0]
        at = {
            name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
        }
        return {name: 1000 * value for name, value in (at | {"max": ordered[-1]}).items()}

    def to_json(self) -> dict[str, object]:
        return {
            "sent": self.sent,
            "accepted": self.accepted,
            "octets": self.octets,
            "seconds": round(self.seconds, 4),
            "messages_per_second": round(self.accepted / self.seconds, 1) if self.seconds else None,
            "latency_ms": {name: round(value, 3) for name, value in self.percentiles().items()},
            "replies": dict(self.replies),
            "faults": dict(self.faults),
        }


class _Lost(Exception):
    """The session is over: closed, timed out, or not SMTP."""


def wire_form(content: bytes) -> bytes:
    """Mail data as it goes over the wire: lines end with CR LF, leading dots are doubled, and the end of data stands behind it.

    A recorded message with LF or CR line ends becomes CR LF (RFC 5321 section 2.3.8); dot-stuffing is section 4.5.2.
    """
    if content.startswith(b"From "):
        content = content.partition(b"\n")[2]  # the line that an mbox puts before a message is no part of it
    if b"\r" in content:
        content = _LINE_END.sub(b"\n", content)
    if content and not content.endswith(b"\n"):
        content += b"\n"
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n") + b".\r\n"


def play(mail: Sequence[bytes], plan: Plan, advance: Callable[[float], None] = lambda amount: None) -> Outcome:
    """Send `plan.messages` messages, `mail` over and over. Raises EsaError if the server cannot be reached at all."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_play(mail, plan, advance))
    return uvloop.run(_play(mail, plan, advance))


async def _play(mail: Sequence[bytes], plan: Plan, advance: Callable[[float], None]) -> Outcome:
    outcome = Outcome()
    payloads = [wire_form(content) for content in mail[: plan.messages]]
    waiting = deque(range(plan.messages))
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(plan.sessions, plan.messages)):
            group.create_task(_player(payloads, waiting, plan, outcome, advance))
    outcome.seconds = time.perf_counter() - began
    if not outcome.sent and outcome.faults:
        fault = outcome.faults.most_common(1)[0][0]
        where = f"{plan.host}:{plan.port}"
        raise EsaError(f"no message could be sent: {fault}", where=where, mend="Is the server running, and does it listen there?")
    return outcome


async def _player(payloads: Sequence[bytes], waiting: deque[int], plan: Plan, outcome: Outcome, advance: Callable[[float], None]) -> None:
    """One of the parallel sessions: opens the next when one is used up or lost, until there is nothing left to send."""
    failures = 0
    while waiting and failures < ATTEMPTS:
        before = outcome.sent
        try:
            async with asyncio.timeout(plan.timeout):
                reader, writer = await asyncio.open_connection(plan.host, plan.port, limit=MAX_REPLY)
        except (OSError, TimeoutError) as error:
            outcome.faults[f"connect: {getattr(error, 'strerror', None) or str(error) or 'timed out'}"] += 1
            failures += 1
            await asyncio.sleep(0.05 * failures)
            continue
        session = _Session(reader, writer, plan, outcome)
        try:
            await session.run(payloads, waiting, advance)
        except (_Lost, OSError, TimeoutError) as error:
            outcome.faults[f"session: {str(error) or 'timed out'}"] += 1
            failures = 0 if outcome.sent > before else failures + 1
        finally:
            writer.close()


class _Session:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, plan: Plan, outcome: Outcome) -> None:
        self._reader, self._writer, self._plan, self._outcome = reader, writer, plan, outcome
        self._extensions: frozenset[str] = frozenset()
        self._counted = 0

    async def run(self, payloads: Sequence[bytes], waiting: deque[int], advance: Callable[[float], None]) -> None:
        """Send up to `per_session` of the waiting messages. One whose reply never came waits again, for the next session."""
        await self._greet()
        for _ in range(self._plan.per_session):
            if not waiting:
                break
            number, counted = waiting.popleft(), self._counted
            try:
                await self._send(payloads[number % len(payloads)])
            finally:
                if self._counted == counted:
                    waiting.append(number)
            advance(1.0)
        await self._quit()

    async def _greet(self) -> None:
        reply = await self._reply()
        if reply.code != 220:
            self._outcome.replies[f"{reply.summary} (greeting)"] += 1
            raise _Lost(f"greeted with {reply.summary}")
        reply = await self._ask(b"EHLO bench.example.org\r\n")
        if reply.code != 250:
            reply = await self._ask(b"HELO bench.example.org\r\n")
            if reply.code != 250:
                raise _Lost(f"EHLO and HELO were answered with {reply.summary}")
        self._extensions = frozenset(line.split(" ", 1)[0].upper() for line in reply.lines[1:])

    async def _send(self, payload: bytes) -> None:
        size = f" SIZE={len(payload) - 3}" if "SIZE" in self._extensions else ""
        body = " BODY=8BITMIME" if "8BITMIME" in self._extensions and not payload.isascii() else ""
        commands = (
            f"MAIL FROM:<{self._plan.sender}>{size}{body}\r\n".encode(),
            f"RCPT TO:<{self._plan.recipient}>\r\n".encode(),
            b"DATA\r\n",
        )
        replies: list[_Reply] = []
        if "PIPELINING" in self._extensions:
            self._writer.write(b"".join(commands))
            replies = [await self._reply() for _ in commands]
        else:
            for line in commands:
                replies.append(await self._ask(line))
                if replies[-1].code >= 400:
                    break
        refused = next((reply for reply in replies if reply.code >= 400), None)
        if refused is None:
            await self._send_data(payload)
            return
        if replies[-1].code == 354:  # DATA was taken although a recipient was not: end it empty (RFC 2920 section 3.1)
            await self._ask(b".\r\n")
        self._count(refused)
        reply = await self._ask(b"RSET\r\n")
        if reply.code != 250:
            raise _Lost(f"RSET was answered with {reply.summary}")

    async def _send_data(self, payload: bytes) -> None:
        self._writer.write(payload)
        async with asyncio.timeout(self._plan.timeout):
            await self._writer.drain()
        began = time.perf_counter()
        reply = await self._reply()
        self._outcome.latencies.append(time.perf_counter() - began)
        self._outcome.octets += len(payload)
        self._count(reply)

    def _count(self, reply: _Reply) -> None:
        self._counted += 1
        self._outcome.sent += 1
        self._outcome.accepted += 200 <= reply.code < 300
        self._outcome.replies[reply.summary] += 1
        if reply.code == 421:
            raise _Lost("closed by the server with 421")

    async def _quit(self) -> None:
        try:
            await self._ask(b"QUIT\r\n")
        except (_Lost, OSError, TimeoutError):
            return  # everything has been said

    async def _ask(self, line: bytes) -> _Reply:
        self._writer.write(line)
        return await self._reply()

    async def _reply(self) -> _Reply:
        lines: list[str] = []
        async with asyncio.timeout(self._plan.timeout):
            while True:
                try:
                    line = await self._reader.readuntil(b"\n")
                except asyncio.IncompleteReadError:
                    raise _Lost("closed by the server") from None
                except asyncio.LimitOverrunError:
                    raise _Lost("an endless reply") from None
                if len(line) < 4 or not line[:3].isdigit():
                    raise _Lost(f"this is no SMTP reply: {line[:60]!r}")
                lines.append(line[4:].decode("ascii", "replace").rstrip())
                if line[3:4] != b"-":
                    return _Reply(int(line[:3]), tuple(lines))
                if len(lines) * 4 > MAX_REPLY:
                    raise _Lost("an endless reply")


@dataclass(frozen=True, slots=True)
class _Reply:
    code: int
    lines: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The code, with the enhanced code where there is one: "550 5.7.1"."""
        enhanced = re.match(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)", self.lines[0])
        return f"{self.code} {enhanced[0]}" if enhanced else str(self.code)
