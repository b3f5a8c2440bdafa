"""F-06, F-07, F-09, F-14, F-15: a disk that is full, out of inodes, read-only or slow, and a process out of descriptors.

While it lasts, mail is put off with 4xx; nothing that was acknowledged is lost; when it is over, the gateway goes on by itself. Disks are
tmpfs of their own where it may be mounted (root); what cannot be mounted so is done by faults.c.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.chaos.faults import Action, Call
from tests.chaos.figures import Figure
from tests.chaos.house import HELD, HERE, ONE, TWO, deaths, house, with_faults
from tests.chaos.ledger import Ledger, reply_of, settle, settle_account
from tests.conftest import absent
from tests.end_to_end.running import Gateway

RECOVERY_SECONDS = 10.0
RECIPIENTS = (HERE, ONE, TWO)
EVERYTHING = Call.OPEN | Call.WRITE | Call.FSYNC | Call.FDATASYNC | Call.RENAME | Call.UNLINK | Call.TRUNCATE


class Load:
    """Sessions that offer messages one after the other until told to stop."""

    def __init__(self, gateway: Gateway, sessions: int = 4) -> None:
        self.ledger, self.replies = Ledger(), Tally[str]()
        self._gateway, self._stop = gateway, asyncio.Event()
        self._tasks = [asyncio.create_task(self._session(number)) for number in range(sessions)]

    async def _session(self, number: int) -> None:
        turn = number
        while not self._stop.is_set():
            turn += 1
            recipients = (HELD,) if turn % 5 == 0 else RECIPIENTS
            reply = await self.ledger.offer(self._gateway.port, recipients, size=1_200_000 if turn % 50 == 49 else 4_000)
            self.replies[reply[:9] or "no reply"] += 1
            await asyncio.sleep(0 if reply.startswith("250") else 0.02)

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    def __str__(self) -> str:
        return ", ".join(f"{count} × {reply}" for reply, count in sorted(self.replies.items()))


async def _through(
    gateway: Gateway, name: str, seconds: float, begin: Callable[[], None], end: Callable[[], None], *, must_refuse: bool = True
) -> Figure:
    """Load before, during and after a fault; how long it took after the end of it until a message was taken again."""
    load = Load(gateway)
    await asyncio.sleep(1)
    begin()
    load.replies.clear()
    await asyncio.sleep(seconds)
    during, refused = str(load), sum(count for reply, count in load.replies.items() if reply[:1] == "4")
    status = (await asyncio.to_thread(gateway.http, "/health"))[0]
    end()
    ended = time.monotonic()
    while not (await load.ledger.offer(gateway.port, RECIPIENTS)).startswith("250") and time.monotonic() < ended + 2 * RECOVERY_SECONDS:
        await asyncio.sleep(0.1)
    recovered = time.monotonic() - ended
    await load.stop()
    is_settled = await settle(gateway)
    account = settle_account(gateway, load.ledger)
    hard = [reply for reply in load.replies if reply[:1] == "5"]
    figure = f"{account}; taken again after {recovered:.1f} s; health {status}; {deaths(gateway)} processes died" + (
        "" if is_settled else "; the queue did not run dry"
    )
    is_met = account.is_good and is_settled and not account.queued and not hard and recovered < RECOVERY_SECONDS and not deaths(gateway)
    is_met = is_met and (not must_refuse or (refused > 0 and status == 503))
    return Figure(
        name, f"{seconds:.0f} s under load, replies {during}", figure, f"loss 0; 4xx; by itself in {RECOVERY_SECONDS:.0f} s", is_met
    )


# --- tmpfs ----------------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """A tmpfs of its own, or the test is skipped."""
    place.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False).returncode:
        absent("a tmpfs cannot be mounted (that takes root)")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def full_disk(folder: Path, *, seconds: float = 4.0) -> list[Figure]:
    """Less than the reserve is left: refused before DATA. Then all is full at once, in the middle of everything."""
    gateway = house(folder)
    ballast = gateway.state / "ballast"

    def fill(left: int) -> None:
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 20, 4096):  # octets: fallocate would take back all of it where others write too
                while (status := os.statvfs(gateway.state)).f_bavail * status.f_frsize >= left + size or not left:
                    if file.write(bytes(size)) < size:
                        break

    def remount(size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(gateway.state)], check=True)

    with mounted(gateway.state, "size=1g,mode=700"):
        gateway.start()
        try:
            few = await _through(gateway, "F-06 less space than the reserve", seconds, lambda: fill(32 << 20), ballast.unlink)
            full = await _through(gateway, "F-06 a full disk", seconds, lambda: fill(0), ballast.unlink)
        finally:
            await asyncio.to_thread(gateway.end)
    small = house(folder / "small")
    gateway = small
    with mounted(small.state, "size=64m,mode=700"):
        small.start()
        try:
            figure = await _through(small, "F-06 a tmpfs of 64 MB", seconds, lambda: None, lambda: remount("1g"))
        finally:
            await asyncio.to_thread(small.end)
    return [few, full, figure]


async def no_inodes(folder: Path, *, seconds: float = 4.0) -> list[Figure]:
    """No file can be made any more: what goes into a segment is taken, what needs a file of its own is put off."""
    gateway = house(folder)
    fillers = gateway.state / "fillers"

    def fill() -> None:
        fillers.mkdir()
        with contextlib.suppress(OSError):
            for number in range(100_000):
                (fillers / str(number)).touch()

    def empty() -> None:
        for path in fillers.iterdir():
            path.unlink()

    with mounted(gateway.state, "size=1g,nr_inodes=20000,mode=700"):
        gateway.start()
        try:
            return [await _through(gateway, "F-07 no inodes", seconds, fill, empty, must_refuse=False)]
        finally:
            await asyncio.to_thread(gateway.end)


# --- by faults.c ----------------------------------------------------------------------------------------------------------------------


async def unwritable_disk(folder: Path, *, error: int = errno.EROFS, seconds: float = 4.0) -> list[Figure]:
    """Every change of a file fails in all processes at once, as after a remount by the kernel (EROFS) or on a full disk (ENOSPC)."""
    name = "F-09 read-only" if error == errno.EROFS else f"F-06 all writes fail with {errno.errorcode[error]}"
    gateway = house(folder)
    with with_faults(gateway) as faults:

        def begin() -> None:
            faults.arm("", EVERYTHING, Action.FAIL, path=str(gateway.state), error=error, times=0)

        return [await _through(gateway, name, seconds, begin, faults.disarm)]


async def slow_disk(folder: Path, *, seconds: float = 8.0, flush: float = 0.5) -> list[Figure]:
    """Every flush takes half a second: everything takes longer, nothing is lost, and a connection that waits for no disk is answered."""
    gateway = house(folder)
    slowest = 0.0
    with with_faults(gateway) as faults:
        faults.arm("", Call.FSYNC | Call.FDATASYNC, Action.WAIT, path=str(gateway.state), times=0, seconds=flush)
        load = Load(gateway, sessions=8)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        await reply_of(reader)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            began = time.monotonic()
            writer.write(b"NOOP\r\n")
            await reply_of(reader)
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.05)
        writer.close()
        await load.stop()
        faults.disarm()
        is_settled = await settle(gateway)
        account = settle_account(gateway, load.ledger)
    is_met = account.is_good and is_settled and set(load.replies) == {"250 2.0.0"}
    return [
        Figure(f"F-15 flushes of {flush * 1000:.0f} ms", f"{seconds:.0f} s under load, replies {load}", str(account), "loss 0, no 4xx", is_met),
        Figure("F-15 other connections meanwhile", "NOOP every 50 ms", f"slowest {slowest * 1000:.0f} ms", "< 1 s", slowest < 1),
    ]  # fmt: skip


async def few_descriptors(folder: Path, *, limit: int = 256, connections: int = 400, seconds: float = 5.0) -> list[Figure]:
    """More connections than descriptors: accepting pauses without burning the processor, and goes on when they end."""
    gateway = house(folder)
    gateway.before = ("prlimit", f"--nofile={limit}:{limit}", "--")
    gateway.start()
    ledger = Ledger()
    try:
        await ledger.offer(gateway.port, RECIPIENTS)
        idle = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(connections)]
        await asyncio.sleep(1)
        receiver = psutil.Process(gateway.children()["receive-0"])
        used = sum(receiver.cpu_times()[:2])
        await asyncio.sleep(seconds)
        share = 100 * (sum(receiver.cpu_times()[:2]) - used) / seconds
        for _, writer in idle:
            writer.close()
        ended = time.monotonic()
        while not (await ledger.offer(gateway.port, RECIPIENTS)).startswith("250") and time.monotonic() < ended + 2 * RECOVERY_SECONDS:
            await asyncio.sleep(0.2)
        recovered = time.monotonic() - ended
        is_settled = await settle(gateway)
        account = settle_account(gateway, ledger)
    finally:
        await asyncio.to_thread(gateway.end)
    figure = f"{share:.0f} % of a processor; {account}; taken again after {recovered:.1f} s; {deaths(gateway)} processes died"
    is_met = share < 20 and account.is_good and is_settled and recovered < RECOVERY_SECONDS and not deaths(gateway)
    return [
        Figure(
            f"F-14 {limit} descriptors", f"{connections} idle connections for {seconds:.0f} s", figure, "< 20 %; loss 0; by itself", is_met
        )
    ]
