"""F-24: a dead destination and one that takes and gives an octet a second, among twenty: do the others notice?

Rounds in turns, without and with mail for those two; what waits for them from earlier rounds is there in both. Measured is the time from
the 250 to the client until the next hop has the message, of the eighteen others, at a steady rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from tests.chaos.figures import Figure
from tests.chaos.house import house
from tests.chaos.ledger import TOKEN, Ledger
from tests.conftest import unused_port
from tests.end_to_end.running import Gateway
from tests.gateway.scripted import ScriptedServer, Taken

DESTINATIONS = 20
RATE = 30.0  # messages a second for the eighteen
BAD_RATE = 4.0  # for each of the two
BAR = 1.10


class _Times(list[Taken]):
    """What a hop took, with the moment of each."""

    def __init__(self, moments: dict[str, float]) -> None:
        super().__init__()
        self._moments = moments

    def append(self, taken: Taken) -> None:
        token = TOKEN.search(taken.content)
        if token is not None:
            self._moments[token[1].decode()] = time.monotonic()


async def slow_neighbours(folder: Path, *, pairs: int, seconds: float) -> list[Figure]:
    """`pairs` of rounds of so many seconds each; the order in a pair takes turns."""
    moments: dict[str, float] = {}
    async with contextlib.AsyncExitStack() as held:
        good = [await held.enter_async_context(ScriptedServer(taken=_Times(moments))) for _ in range(DESTINATIONS - 2)]
        slow = await held.enter_async_context(_octet_a_second())
        ports = [*(server.port for server in good), slow, unused_port()]
        routes = "".join(
            f'[[smtp_route]]\ndomains = ["d{number}.example.org"]\nhosts = ["127.0.0.1:{port}"]\n' for number, port in enumerate(ports)
        )
        gateway = house(folder, routes=routes)
        gateway.start()
        try:
            await _round(gateway, moments, 2.0, is_bad=False)  # connections are opened
            found: dict[bool, list[list[float]]] = {False: [], True: []}
            for pair in range(pairs):
                for is_bad in (False, True) if pair % 2 == 0 else (True, False):
                    found[is_bad].append(await _round(gateway, moments, seconds, is_bad=is_bad))
            waiting = len(gateway.database("queue.db", "SELECT 1 FROM entry"))
        finally:
            await asyncio.to_thread(gateway.end)
    without, with_them = ([_p95(times) for times in found[is_bad]] for is_bad in (False, True))
    ratio = statistics.median(b / a for a, b in zip(without, with_them, strict=True))
    missing = sum(time == float("inf") for rounds in found.values() for times in rounds for time in times)
    done = f"{pairs} pairs of rounds, {sum(map(len, found[True])):,} messages with and {sum(map(len, found[False])):,} without; {waiting} wait for the two"
    figure = (
        f"p95 {1000 * statistics.median(without):.0f} ms without, {1000 * statistics.median(with_them):.0f} ms with; "
        f"ratio {ratio:.2f} ({min(b / a for a, b in zip(without, with_them, strict=True)):.2f}–"
        f"{max(b / a for a, b in zip(without, with_them, strict=True)):.2f}), {missing} missing"
    )
    return [Figure("F-24 a dead and a slow one among 20", done, figure, "≤ 1.10", ratio <= BAR and not missing)]


async def _round(gateway: Gateway, moments: dict[str, float], seconds: float, *, is_bad: bool) -> list[float]:
    """Seconds from the 250 to the next hop, of each message for the eighteen; infinite for one that did not come."""
    ledger, others = Ledger(), Ledger()
    loads = [_paced(gateway, ledger, range(DESTINATIONS - 2), RATE, seconds)]
    if is_bad:
        loads += [_paced(gateway, others, [number], BAD_RATE, seconds) for number in (DESTINATIONS - 2, DESTINATIONS - 1)]
    await asyncio.gather(*loads)
    deadline = time.monotonic() + 10
    while any(token not in moments for token in ledger.acknowledged) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return [moments.get(token, float("inf")) - since for token, since in ledger.acknowledged_at.items()]


async def _paced(gateway: Gateway, ledger: Ledger, numbers: Sequence[int], rate: float, seconds: float) -> None:
    """Offer messages at a steady rate to destinations in turn, whatever the replies take."""
    began = time.monotonic()
    tasks = []
    for turn in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + turn / rate - time.monotonic()))
        tasks.append(asyncio.create_task(ledger.offer(gateway.port, [f"b@d{numbers[turn % len(numbers)]}.example.org"])))
    await asyncio.gather(*tasks)


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]


@contextlib.asynccontextmanager
async def _octet_a_second() -> AsyncGenerator[int, None]:
    """The port of a server that says an octet of its greeting a second, for ever."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):  # the end of the loop is the end of it
            writer.write(b"220-")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
