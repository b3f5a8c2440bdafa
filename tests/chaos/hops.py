"""F-24: next hops that fail in every way and place, each with a domain of its own; afterwards every recipient has ended right, and once.

Scripted hops misbehave at first and then heal; Postfix's smtp-sink misbehaves for ever. What may arrive twice is only what a hop has taken
without saying so, and tracking names it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.figures import Figure
from tests.chaos.house import house
from tests.chaos.ledger import Account, Ledger, settle_account
from tests.conftest import absent, find_program, unused_port
from tests.end_to_end.running import Gateway
from tests.gateway.scripted import DEFAULTS, DROP, SILENCE, ScriptedServer

_EHLO = b"250-next.example.org\r\n250 8BITMIME\r\n"
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Hop:
    """A next hop: what it answers, by command (`ScriptedServer`), and what becomes of the recipients a, b and c of each message."""

    name: str
    replies: Mapping[str, bytes | list[bytes]] = field(default_factory=dict)
    ends: Sequence[str] = ("delivered", "delivered", "delivered")
    is_late: bool = False  # nobody listens at first
    may_repeat: bool = False  # it takes a message and does not say so


def _first(command: str, *bad: bytes) -> Mapping[str, bytes | list[bytes]]:
    return {command: [*bad, DEFAULTS.get(command, _EHLO)]}


HOPS = (
    Hop("refuses connections", is_late=True),
    Hop("421 at the banner", _first("greeting", b"421 4.3.2 not now\r\n")),
    Hop("554 at the banner", _first("greeting", b"554 5.3.2 no service\r\n")),
    *(Hop(f"drops at {step}", _first(step, DROP)) for step in ("greeting", "EHLO", "MAIL", "RCPT", "DATA")),
    *(Hop(f"451 at {step}", _first(step, b"451 4.3.0 later\r\n")) for step in ("MAIL", "RCPT", "DATA", ".")),
    Hop("421 at RCPT", _first("RCPT", b"421 4.3.2 too busy\r\n")),
    Hop("4xx after the dot", _first(".", b"452 4.3.1 full\r\n")),
    Hop("drops after the dot", _first(".", DROP), may_repeat=True),
    Hop("says nothing at EHLO", _first("EHLO", SILENCE)),
    Hop("says nothing after the dot", _first(".", SILENCE), may_repeat=True),
    Hop("speaks no SMTP", _first("greeting", b"HTTP/1.1 400 Bad Request\r\n")),
    Hop("accepts one of three", {"RCPT b@": b"550 5.1.1 no\r\n", "RCPT c@": b"550 5.1.1 no\r\n"}, ("delivered", "failed", "failed")),
    Hop("2xx, 5xx and first 4xx", {"RCPT b@": b"550 5.1.1 no\r\n", "RCPT c@": [b"450 4.2.1 later\r\n", DEFAULTS["RCPT"]]}, ("delivered", "failed", "delivered")),
    Hop("5xx at MAIL", {"MAIL": b"550 5.7.1 no\r\n"}, ("failed",) * 3),
    Hop("5xx after the dot", {".": b"554 5.6.0 no\r\n"}, ("failed",) * 3),
)  # fmt: skip
SINKS = (  # options of smtp-sink: hard errors, soft errors, a dropped connection
    *((("-f", command), "failed") for command in ("mail", "rcpt", "data", ".")),
    *((("-r", command), "pending") for command in ("connect", "ehlo,helo", "mail", "rcpt", "data", ".")),
    *((("-q", command), "pending") for command in ("connect", "mail", "rcpt", "data", ".")),
)


async def failing_hops(folder: Path, *, messages: int, hops: Sequence[Hop] = HOPS) -> list[Figure]:
    """Messages to three recipients at each hop, all at one time; a figure for each hop."""
    async with contextlib.AsyncExitStack() as held:
        servers = [ScriptedServer(_at_domain(hop, number), port=unused_port()) for number, hop in enumerate(hops)]
        for hop, server in zip(hops, servers, strict=True):
            if not hop.is_late:
                await held.enter_async_context(server)
        gateway = house(
            folder, routes=_routes([server.port for server in servers]), delivery='command_timeout = "2 s"\nconnect_timeout = "2 s"\n'
        )
        ledgers = [Ledger() for _ in hops]
        gateway.start()
        try:
            for _ in range(messages):
                await asyncio.gather(*(ledger.offer(gateway.port, _recipients(number)) for number, ledger in enumerate(ledgers)))
            await asyncio.sleep(1)
            for hop, server in zip(hops, servers, strict=True):
                if hop.is_late:
                    await held.enter_async_context(server)
            await _until_ended(gateway)
            return [_judged(gateway, hop, ledger, server) for hop, ledger, server in zip(hops, ledgers, servers, strict=True)]
        finally:
            await asyncio.to_thread(gateway.end)


def _judged(gateway: Gateway, hop: Hop, ledger: Ledger, server: ScriptedServer) -> Figure:
    account = settle_account(gateway, ledger, server.taken)
    failed = {(token, recipient[0]) for token, recipient in account.failed}
    wrong = 0
    for token, (_, recipients) in ledger.acknowledged.items():
        for recipient, end in zip(recipients, hop.ends, strict=True):
            arrived = account.arrived[token, recipient]
            wrong += (end == "failed") != ((token, recipient[0]) in failed) or (end == "delivered") != (arrived > 0)
    is_met = (
        not wrong and account.is_good and not account.queued and (hop.may_repeat or not account.duplicated) and len(ledger.acknowledged) > 0
    )
    done = f"{len(ledger.acknowledged)} messages for 3 recipients each"
    return Figure(f"F-24 {hop.name}", done, f"{wrong} ended wrong; {account}", "0; twice only after the dot, logged", is_met)


async def failing_sinks(folder: Path, *, messages: int, sinks: Sequence[tuple[Sequence[str], str]] = SINKS) -> list[Figure]:
    """The same with smtp-sink, whose faults last: what it refuses for good has failed, all else waits, and nothing is lost."""
    program = find_program("smtp-sink") or absent("the program smtp-sink is not installed (`make test` as root installs it)")
    ports = [unused_port() for _ in sinks]
    async with contextlib.AsyncExitStack() as held:
        for (options, _), port in zip(sinks, ports, strict=True):
            await held.enter_async_context(_sink(program, port, options))
        gateway = house(folder, routes=_routes(ports), delivery='command_timeout = "2 s"\nconnect_timeout = "2 s"\n')
        ledgers = [Ledger() for _ in sinks]
        gateway.start()
        try:
            for _ in range(messages):
                await asyncio.gather(*(ledger.offer(gateway.port, _recipients(number)[:1]) for number, ledger in enumerate(ledgers)))
            await _until_tried(gateway)
            accounts = [settle_account(gateway, ledger) for ledger in ledgers]
        finally:
            await asyncio.to_thread(gateway.end)
    return [_judged_sink(ledger, account, *sink) for ledger, account, sink in zip(ledgers, accounts, sinks, strict=True)]


def _judged_sink(ledger: Ledger, account: Account, options: Sequence[str], end: str) -> Figure:
    count = len(ledger.acknowledged)
    figure = f"{len(account.failed)} failed, {len(account.queued)} wait, {len(account.lost)} lost"
    is_met = count > 0 and not account.lost and len(account.failed if end == "failed" else account.queued) == count
    return Figure(
        f"F-24 smtp-sink {' '.join(options)}", f"{count} messages", figure, "all failed" if end == "failed" else "all wait", is_met
    )


@contextlib.asynccontextmanager
async def _sink(program: str, port: int, options: Sequence[str]) -> AsyncGenerator[None, None]:
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = await asyncio.create_subprocess_exec(program, *user, *options, f"127.0.0.1:{port}", "64", stderr=asyncio.subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def _domain(number: int) -> str:
    return f"hop{number}.example.org"


def _recipients(number: int) -> list[str]:
    return [f"{name}@{_domain(number)}" for name in "abc"]


def _at_domain(hop: Hop, number: int) -> dict[str, bytes | list[bytes]]:
    return {f"{name}{_domain(number)}" if name.endswith("@") else name: reply for name, reply in hop.replies.items()}


def _routes(ports: Sequence[int]) -> str:
    return "".join(f'[[smtp_route]]\ndomains = ["{_domain(number)}"]\nhosts = ["127.0.0.1:{port}"]\n' for number, port in enumerate(ports))


async def _until_ended(gateway: Gateway) -> None:
    """Nothing waits any more, and tracking has heard of it."""
    await _until(gateway, "SELECT 1 FROM entry WHERE state != 'failed' LIMIT 1")


async def _until_tried(gateway: Gateway) -> None:
    """Everything was tried once at least, or waits for a hop that is left alone."""
    await _until(gateway, "SELECT 1 FROM entry WHERE state = 'in_flight' OR (attempts = 0 AND reason = '') LIMIT 1", patience=10.0)


async def _until(gateway: Gateway, none_of: str, *, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while gateway.database("queue.db", none_of) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)
