"""The keep process: drains events into tracking, keeps the quarantine, and lets segments go when all in them is done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class KeepSettings:
    """What the keep process needs to know. Times in seconds."""

    state: Path
    quarantine_retention: float = 14 * 86_400.0
    tracking_retention: float = 90 * 86_400.0


async def run_keep(settings: KeepSettings, stop: asyncio.Event) -> None:
    """Keep until `stop` is set. Raises StoreError if the state cannot be used."""
    await stop.wait()
