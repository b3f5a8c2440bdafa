"""F-10, F-11: records of the spool that are damaged, files that are none of ours, and databases that are damaged or gone.

What is whole is delivered, unchanged and once; what is damaged is never sent, is told, and holds up nothing. A damaged database is no start:
one line says so; without it the queue is built anew from the segments.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from pathlib import Path

from esa.store.segments import SpoolReader, Stored
from tests.chaos.figures import Figure
from tests.chaos.house import deaths, house
from tests.chaos.ledger import TOKEN, Ledger, content, settle_account
from tests.conftest import unused_port
from tests.end_to_end.running import Gateway
from tests.gateway.scripted import ScriptedServer

SIZE = 3_000
PATIENCE = 60.0


async def damaged_records(folder: Path, *, messages: int, share: float = 0.2) -> list[Figure]:
    """A queue of mail that waits, a share of whose records is damaged while nothing runs: with the queue as it was, and without it."""
    return [
        await _damaged(folder / "kept", messages, share, keeps_queue=True),
        await _damaged(folder / "rebuilt", messages, share, keeps_queue=False),
    ]


async def _damaged(folder: Path, messages: int, share: float, *, keeps_queue: bool) -> Figure:
    chance = random.Random(11)
    hop = ScriptedServer(port=unused_port())
    gateway = house(folder, routes=f'[[smtp_route]]\ndomains = ["hop.example.org"]\nhosts = ["127.0.0.1:{hop.port}"]\n')
    ledger = Ledger()
    gateway.start()
    try:
        for _ in range(0, messages, 10):
            await asyncio.gather(*(ledger.offer(gateway.port, ["b@hop.example.org"], size=SIZE) for _ in range(10)))
        await asyncio.to_thread(gateway.stop)
        spool = gateway.state / "spool"
        batch = SpoolReader(spool, {}).read()
        whole = {token: identifier for token, (identifier, _) in ledger.acknowledged.items()}
        stored = [one for one in batch.stored if one.record.id in whole.values()]
        damaged = _damage(spool, chance.sample(stored, int(len(stored) * share)), chance)
        _strangers(spool / "receive-0" / "segments")
        if not keeps_queue:
            for name in ("queue.db", "tracking.db"):
                for path in gateway.state.glob(f"{name}*"):
                    path.unlink()
        async with hop:
            await asyncio.to_thread(gateway.start)
            await _until_ended(gateway)
            account = settle_account(gateway, ledger, hop.taken)
            altered = sum(not _is_unchanged(taken.content) for taken in hop.taken)
    finally:
        await asyncio.to_thread(gateway.end)
    sent = sum(whole[token] in damaged for token, _ in account.arrived if token in whole)
    lost = sum(identifier not in damaged and not account.arrived[token, "b@hop.example.org"] for token, identifier in whole.items())
    log = gateway.log.read_text("utf-8", "replace")
    told = sum(f"id={identifier}" in line for identifier in damaged for line in log.splitlines() if "failed" in line)
    told_damages = log.count("event=spool.damaged")
    twice = len(account.unlogged)
    figure = (
        f"whole and lost {lost}, whole and altered {altered}, damaged and sent {sent}, twice {twice}; told: {told} messages, "
        f"{told_damages} places; {deaths(gateway)} processes died"
    )
    is_met = not (lost or altered or sent or twice or deaths(gateway)) and bool(told or told_damages) and not account.queued
    name = "the queue knows them" if keeps_queue else "the queue is built anew"
    return Figure(f"F-10 damaged records, {name}", f"{len(damaged)} of {len(whole)} records", figure, "0 of each; told", is_met)


def _damage(spool: Path, chosen: Sequence[Stored], chance: random.Random) -> set[str]:
    """Flip a bit, put zeros or other octets into records. Returns the identifiers."""
    for number, one in enumerate(chosen):
        place = spool / one.location.writer / "segments" / one.location.segment
        at = one.location.offset + chance.randrange(one.location.length - 64)
        with place.open("r+b") as file:
            file.seek(at)
            before = file.read(64)
            after = (
                bytes([before[0] ^ 1 << chance.randrange(8)]) + before[1:],
                bytes(64),
                chance.randbytes(64),
            )[number % 3]
            file.seek(at)
            file.write(after if after != before else chance.randbytes(64))
    return {one.record.id for one in chosen}


def _strangers(segments: Path) -> None:
    """Files that are no segments, or only by their names."""
    (segments / "notes.txt").write_text("a file of somebody else\n")
    (segments / f"{1:016x}-{1:016x}.seg").touch()
    (segments / f"{2:016x}-{2:016x}.seg").write_bytes(bytes(10_000))
    (segments / f"{3:016x}-{3:016x}.seg").symlink_to("/etc/passwd")


def _is_unchanged(taken: bytes) -> bool:
    token = TOKEN.search(taken)
    return token is not None and taken.endswith(content(token[1].decode(), SIZE))


async def _until_ended(gateway: Gateway) -> None:
    quiet = 0
    for _ in range(int(PATIENCE / 0.25)):
        await asyncio.sleep(0.25)
        with contextlib.suppress(Exception):  # the database is only being made
            quiet = 0 if gateway.database("queue.db", "SELECT 1 FROM entry WHERE state != 'failed' LIMIT 1") else quiet + 1
        if quiet == 8:
            return


async def damaged_databases(folder: Path) -> list[Figure]:
    """Each database in turn: its first page overwritten, or its end cut off."""
    refused, silent, names = 0, [], ("queue.db", "tracking.db", "quarantine.db")
    gateway = house(folder)
    gateway.start()
    await Ledger().offer(gateway.port, ["b@example.org", "held@example.org"])
    await asyncio.to_thread(gateway.stop)
    for name in names:
        path = gateway.state / name
        before = path.read_bytes()
        for after in (b"\0" * 100 + before[100:], before[: len(before) // 2 - 7], random.Random(5).randbytes(len(before))):
            path.write_bytes(after)
            mark = gateway.log.stat().st_size
            try:
                await asyncio.to_thread(gateway.start)
            except RuntimeError:
                refused += 1
                said = gateway.log.read_bytes()[mark:].decode("utf-8", "replace")
                if name not in said or "damaged" not in said or "Traceback" in said:
                    silent.append(f"{name}: {said[-200:]}")
            await asyncio.to_thread(gateway.end)
            for left in gateway.state.glob(f"{name}-*"):
                left.unlink()
            path.write_bytes(before)
    gateway.start()  # with the good ones back it works
    reply = await Ledger().offer(gateway.port, ["b@example.org"])
    await asyncio.to_thread(gateway.end)
    figure = f"{refused} refused, of these {len(silent)} without a word why; afterwards {reply[:3]}" + (f" ({silent[0]})" if silent else "")
    is_met = not silent and reply.startswith("250")
    return [
        Figure("F-11 damaged databases", f"{len(names)} files, 3 kinds of damage", figure, "says which and why; 250 afterwards", is_met)
    ]
