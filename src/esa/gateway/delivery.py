"""The deliver process: takes committed messages out of the spools, hands them to the next hop or a Maildir, and keeps the queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SmtpRoute:
    """The next hop all mail goes to."""

    host: str
    port: int = 25


@dataclass(frozen=True, slots=True)
class DeliverSettings:
    """What the deliver process needs to know. Times in seconds."""

    state: Path
    hostname: str  # argument of EHLO
    route: SmtpRoute | None = None  # None: deliver to `maildir`
    maildir: Path | None = None  # None: state/Maildir
    retry_initial: float = 60.0
    retry_maximum: float = 3600.0
    expire: float = 259_200.0  # 3 days
    concurrency: int = 20  # messages in flight, and connections to the route


async def run_deliver(settings: DeliverSettings, stop: asyncio.Event) -> None:
    """Deliver until `stop` is set, then finish what is in flight. Raises StoreError if the state cannot be used."""
    await stop.wait()
