"""What a client knows of its messages, and where they are afterwards: acknowledged = delivered, quarantined, failed or queued, once each.

Every message has a token of its own and is offered once. The rules of reference: an acknowledged message is at each of its recipients once;
one that was answered 4xx or 5xx is nowhere; one whose connection died before the reply is there once or not at all; what is there twice is
named by tracking as a possible duplicate.
"""

from __future__ import annotations

import asyncio
import collections
import os
import re
import time
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from esa.store.segments import Cursor, SpoolReader
from tests.end_to_end.running import REVERSE_PATH, Gateway
from tests.gateway.scripted import Taken

TOKEN = re.compile(rb"^X-Token: ([0-9a-f]+-[0-9]+)\r?$", re.MULTILINE)
DELIVERED_TO = re.compile(rb"^Delivered-To: (\S+)\r?$", re.MULTILINE)
_LINE = b"This line only makes the message longer; nothing in it matters to anybody." + b"\r\n"
REPLY_SECONDS = 30.0
SETTLE_SECONDS = 60.0


@dataclass
class Ledger:
    """The messages of one client, by token."""

    run: str = field(default_factory=lambda: os.urandom(4).hex())
    acknowledged: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)  # identifier in the 250, recipients
    acknowledged_at: dict[str, float] = field(default_factory=dict)  # monotonic seconds
    refused: dict[str, str] = field(default_factory=dict)  # the reply, other than 250
    unanswered: set[str] = field(default_factory=set)
    number: int = 0

    async def offer(self, port: int, recipients: Sequence[str], *, size: int = 2_000, reverse_path: str = REVERSE_PATH) -> str:
        """Offer a message on a connection of its own; the reply that decided about it, empty if there was none."""
        self.number += 1
        token = f"{self.run}-{self.number}"
        self.unanswered.add(token)
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                reply = await _offer(port, reverse_path, recipients, content(token, size))
        except (OSError, EOFError, TimeoutError):
            return ""
        self.unanswered.discard(token)
        if reply.startswith("250"):
            self.acknowledged_at[token] = time.monotonic()
            self.acknowledged[token] = reply.split()[-1], tuple(recipients)
        else:
            self.refused[token] = reply
        return reply


def content(token: str, size: int) -> bytes:
    head = (
        f"Message-ID: <{token}@example.net>\r\nX-Token: {token}\r\nSubject: minutes of the meeting\r\nFrom: {REVERSE_PATH}\r\n"
        "To: b@example.org\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n"
    ).encode()
    return head + _LINE * max(1, (size - len(head)) // len(_LINE))


async def _offer(port: int, reverse_path: str, recipients: Sequence[str], data: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await reply_of(reader)
        commands = ["EHLO client.example.net", f"MAIL FROM:<{reverse_path}>", *(f"RCPT TO:<{one}>" for one in recipients), "DATA"]
        for command in commands:
            writer.write(f"{command}\r\n".encode())
            reply = await reply_of(reader)
            if reply[:1] in "45":
                return reply
        writer.write(data + b".\r\n")
        return await reply_of(reader)
    finally:
        writer.close()


async def reply_of(reader: asyncio.StreamReader) -> str:
    """The last line of a reply. Raises EOFError where the connection ends instead."""
    while line := await reader.readline():
        if not line.endswith(b"\n"):
            break
        if line[3:4] != b"-":
            return line.decode().rstrip()
    raise EOFError


@dataclass
class Account:
    """Where the copies are, and which of them break a rule: (token, recipient)."""

    arrived: Tally[tuple[str, str]]
    lost: list[tuple[str, str]] = field(default_factory=list)
    unlogged: list[tuple[str, str]] = field(default_factory=list)  # there twice, and tracking does not say so
    duplicated: list[tuple[str, str]] = field(default_factory=list)  # there twice, and it does
    uninvited: list[tuple[str, str]] = field(default_factory=list)  # answered 4xx or 5xx, and there nevertheless
    queued: list[tuple[str, str]] = field(default_factory=list)  # acknowledged, and still to be delivered
    failed: list[tuple[str, str]] = field(default_factory=list)  # given up, with the reason in the queue
    quarantined: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.unlogged or self.uninvited)

    def __str__(self) -> str:
        words = f"lost {len(self.lost)}, twice {len(self.duplicated)} logged {len(self.unlogged)} not"
        return words + (f", taken in spite of 4xx {len(self.uninvited)}" if self.uninvited else "")


def settle_account(gateway: Gateway, ledger: Ledger, taken: Iterable[Taken] = ()) -> Account:
    """Look for every message. `taken` is what next hops took; Maildirs and queue are read. The service may run or not."""
    account = Account(Tally())
    for folder in gateway.state.glob("*/new"):
        for path in folder.iterdir():
            octets = path.read_bytes()
            account.arrived.update((token, one.decode()) for token in _tokens(octets) for one in DELIVERED_TO.findall(octets))
    for one in taken:
        account.arrived.update((token, recipient) for token in _tokens(one.content) for recipient in one.recipients)
    states: dict[str, dict[str, str]] = collections.defaultdict(dict)
    rows = gateway.database(
        "queue.db",
        "SELECT message, json_extract(one.value, '$[0]'), json_extract(one.value, '$[1]') FROM entry, json_each(entry.recipients) AS one",
    )
    for message, recipient, status in rows:
        states[str(message)][str(recipient)] = str(status)
    held = {str(row[0]) for row in gateway.database("quarantine.db", "SELECT message FROM item WHERE state IN ('held', 'releasing')")}
    logged = {
        str(row[0])
        for row in gateway.database(
            "tracking.db",
            "SELECT message FROM event WHERE name = 'delivery.possible_duplicate' "
            "OR (name = 'delivery.deferred' AND json_extract(fields, '$.may_have_arrived'))",
        )
    }
    identifiers = {token: identifier for token, (identifier, _) in ledger.acknowledged.items()}
    for token, (identifier, recipients) in ledger.acknowledged.items():
        for recipient in recipients:
            state = states.get(identifier, {}).get(recipient)
            if state == "pending":
                account.queued.append((token, recipient))
            elif state == "failed":
                account.failed.append((token, recipient))
            elif identifier in held:
                account.quarantined.append((token, recipient))
            elif not account.arrived[token, recipient]:
                account.lost.append((token, recipient))
    for copy, count in account.arrived.items():
        if copy[0] in ledger.refused:
            account.uninvited.append(copy)
        elif count > 1:
            is_logged = identifiers.get(copy[0]) in logged or copy[0] in ledger.unanswered
            (account.duplicated if is_logged else account.unlogged).append(copy)
    return account


def _tokens(octets: bytes) -> list[str]:
    found = TOKEN.search(octets)
    return [] if found is None else [found[1].decode()]


async def settle(gateway: Gateway, patience: float = SETTLE_SECONDS) -> bool:
    """Wait until nothing is to be delivered any more and `keep` has heard of it all; False if that does not come."""
    deadline = time.monotonic() + patience
    quiet = 0
    while time.monotonic() < deadline:
        quiet = quiet + 1 if is_quiet(gateway) else 0
        if quiet == 4:
            return True
        await asyncio.sleep(0.15)
    return False


def is_quiet(gateway: Gateway) -> bool:
    """Both readers are at the end of the spools, no entry waits, and the outbox is read."""
    if gateway.database("queue.db", "SELECT 1 FROM entry WHERE state != 'failed' LIMIT 1"):
        return False
    for name in ("queue.db", "tracking.db"):
        rows = gateway.database(name, "SELECT writer, segment, offset, sequence, finished FROM cursor")
        cursors = {(str(w), str(s)): Cursor(int(str(o)), int(str(n)), bool(f)) for w, s, o, n, f in rows}
        if SpoolReader(gateway.state / "spool", cursors).read():
            return False
    told = gateway.database("queue.db", "SELECT max(sequence) FROM outbox")[0][0]
    heard = gateway.database("tracking.db", "SELECT max(sequence) FROM outbox")[0][0]
    return told is None or told == heard
