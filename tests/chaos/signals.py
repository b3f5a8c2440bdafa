"""F-31: SIGTERM and SIGHUP under load, and F-03: kill -9 of any process at random (crash.py)."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from tests.chaos import crash
from tests.chaos.disks import Load
from tests.chaos.figures import Figure
from tests.chaos.house import deaths, house
from tests.chaos.ledger import settle, settle_account

STOP_SECONDS = 10.0


async def stop_under_load(folder: Path, *, stops: int, sessions: int = 8) -> list[Figure]:
    """SIGTERM while sessions send, and a start again; what a client hears is 250, 421, or the end of its connection."""
    gateway = house(folder, workers=2)
    gateway.start()
    load = Load(gateway, sessions)
    slowest = 0.0
    try:
        for _ in range(stops):
            await asyncio.sleep(1)
            slowest = max(slowest, await asyncio.to_thread(gateway.stop))
            await asyncio.to_thread(gateway.start)
        await load.stop()
        is_settled = await settle(gateway)
        account = settle_account(gateway, load.ledger)
    finally:
        await asyncio.to_thread(gateway.end)
    other = {reply for reply in load.replies if not reply.startswith(("250", "421", "no reply"))}
    is_met = account.is_good and is_settled and slowest < STOP_SECONDS and not other and not account.queued
    figure = f"slowest stop {slowest:.1f} s; {account}"
    return [Figure("F-31 SIGTERM", f"{stops} stops under load, replies {load}", figure, "< 10 s; 250, 421 or closed; loss 0", is_met)]


async def reload_under_load(folder: Path, *, reloads: int, sessions: int = 8) -> list[Figure]:
    """SIGHUP while sessions send, each message on a connection of its own: none is dropped."""
    gateway = house(folder, workers=2)
    gateway.start()
    load = Load(gateway, sessions)
    try:
        for number in range(reloads):
            await asyncio.sleep(1)
            os.kill(gateway.pid, signal.SIGHUP)
            while gateway.log.read_text("utf-8", "replace").count("event=service.reloaded") <= number:
                await asyncio.sleep(0.1)
        await load.stop()
        is_settled = await settle(gateway)
        account = settle_account(gateway, load.ledger)
    finally:
        await asyncio.to_thread(gateway.end)
    dropped = load.replies["no reply"]
    is_met = account.is_good and is_settled and set(load.replies) == {"250 2.0.0"} and not deaths(gateway) and not account.queued
    figure = f"{dropped} dropped of {sum(load.replies.values()):,} connections; {account}"
    return [Figure("F-31 SIGHUP", f"{reloads} reloads under load, replies {load}", figure, "0 dropped; loss 0", is_met)]


async def random_kills(folder: Path, *, kills: int, messages: int) -> list[Figure]:
    """SIGKILL of any process after a random time under load."""
    outcome = await crash.run(folder, kills=kills, sessions=20, messages=messages)
    names = ", ".join(f"{name} {count}" for name, count in sorted(outcome.kills.by_name.items()))
    lost, twice, unlogged = len(outcome.lost), len(outcome.duplicated), len(outcome.unlogged)
    acknowledged = len(outcome.sent.acknowledged)
    figure = (
        f"{acknowledged:,} acknowledged, lost {lost}, twice {twice} of which not logged {unlogged}, unfinished {len(outcome.unfinished)}"
    )
    is_met = not (lost or unlogged or outcome.unfinished) and outcome.kills.total == kills and acknowledged >= messages
    return [Figure("F-03 random kills", f"{kills} kills: {names}", figure, "lost 0, twice only logged", is_met)]
