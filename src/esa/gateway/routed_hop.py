"""The usual next hop, and beside it those that policies name for single splinters (an alternate host).

`delivery` hands it all entries. A next hop that a policy names is opened with the first message for it and closed when nothing has gone there for
a while. While one of those is down, the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from esa.config.values import split_route
from esa.gateway.next_hop import NextHop
from esa.store.queue import Entry, Outcome

IDLE_HOPS = 50  # named next hops that are kept; one beyond them that has nothing under way is closed


class RoutedHop:
    """A next hop made of several. Raises nothing that they do not."""

    def __init__(self, usual: NextHop, open_route: Callable[[str, int], NextHop]) -> None:
        self._usual, self._open_route = usual, open_route
        self._named: dict[str, NextHop] = {}
        self._under_way: dict[str, int] = {}

    def capacity(self, now: float) -> int:
        """That of the usual hop; while that is left alone, what is for others waits too."""
        for hop in self._named.values():
            hop.capacity(now)  # closes connections that are idle
        return self._usual.capacity(now)

    def groups(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        by_host: dict[str, list[Entry]] = {}
        for entry in entries:
            by_host.setdefault(entry.mailhost, []).append(entry)
        return [group for mailhost, some in by_host.items() for group in self._hop(mailhost).groups(some)]

    async def send(self, group: Sequence[Entry]) -> list[Outcome]:
        mailhost = group[0].mailhost
        self._under_way[mailhost] = self._under_way.get(mailhost, 0) + 1
        try:
            return await self._hop(mailhost).send(group)
        finally:
            self._under_way[mailhost] -= 1
            await self._close_idle()

    def _hop(self, mailhost: str) -> NextHop:
        route = split_route(mailhost)
        if route is None:
            return self._usual
        hop = self._named.pop(mailhost, None) or self._open_route(*route)
        self._named[mailhost] = hop  # the last used stands last
        return hop

    async def _close_idle(self) -> None:
        if len(self._named) <= IDLE_HOPS:
            return
        for mailhost in list(self._named)[: len(self._named) - IDLE_HOPS]:
            if not self._under_way.get(mailhost):
                self._under_way.pop(mailhost, None)
                await self._named.pop(mailhost).close()

    def trouble(self) -> str | None:
        return self._usual.trouble()

    def forgive(self) -> None:
        for hop in (self._usual, *self._named.values()):
            hop.forgive()

    async def close(self) -> None:
        await asyncio.gather(*(hop.close() for hop in (self._usual, *self._named.values())))
