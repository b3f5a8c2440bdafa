"""The deliver process's own loop, run in a test for as long as a block lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from esa.gateway.delivery.deliver import DeliverSettings, run_deliver

PATIENCE = 30.0


@asynccontextmanager
async def running_deliverer(settings: DeliverSettings) -> AsyncIterator[None]:
    """Raises what `run_deliver` does if it does not start."""
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(run_deliver(settings, stop, ready=ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([running, waiting], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        running.result()
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(running, PATIENCE)
