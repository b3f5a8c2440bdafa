"""Connections that are kept for the next message, of all destinations together, each for a few seconds.

They are kept by destination, which has one TLS mode, and by what the message demanded that they were opened for: none is used for less than
it was secured for, or for more. `next_hop` takes from here and gives back. There is a bound over all: a connection beyond it is closed instead.
"""

from __future__ import annotations

import time
from typing import Final

from esa.gateway import events
from esa.gateway.delivery.client import Connection
from esa.gateway.events import Event as Log
from esa.policy.tls_modes import Demand

IDLE_SECONDS: Final = 5.0  # that a connection is kept without work: next hops have few to give away
KEPT: Final = 256  # over all destinations, so that descriptors never run out


class Pool:
    """Owned by one event loop."""

    def __init__(self, kept: int = KEPT) -> None:
        self._limit = kept
        self._count = 0
        self._idle: dict[tuple[str, Demand], list[tuple[float, Connection]]] = {}

    def take(self, destination: str, demand: Demand = Demand.USUAL) -> Connection | None:
        """The connection used last, or None."""
        kept = self._idle.get((destination, demand))
        if not kept:
            return None
        self._count -= 1
        _, connection = kept.pop()
        if not kept:
            del self._idle[destination, demand]
        return connection

    def give(self, destination: str, connection: Connection, demand: Demand = Demand.USUAL) -> None:
        if self._count >= self._limit:
            hang_up(connection)
            return
        self._count += 1
        self._idle.setdefault((destination, demand), []).append((time.monotonic(), connection))

    def kept(self, destination: str) -> int:
        return sum(len(self._idle.get((destination, demand), ())) for demand in Demand)

    def tend(self, now: float) -> None:
        """Close what has been idle for too long, or is gone. `now` is monotonic."""
        for place, kept in list(self._idle.items()):
            stays = [(since, one) for since, one in kept if now - since < IDLE_SECONDS and one.is_usable]
            if len(stays) == len(kept):
                continue
            for since, one in kept:
                if (since, one) not in stays:
                    hang_up(one)
            self._count -= len(kept) - len(stays)
            if stays:
                self._idle[place] = stays
            else:
                del self._idle[place]

    def close(self) -> None:
        for kept in self._idle.values():
            for _, connection in kept:
                hang_up(connection)
        self._idle, self._count = {}, 0


def hang_up(connection: Connection) -> None:
    connection.close()
    events.step(Log.DELIVERY_DISCONNECTED, dcid=connection.number, next_hop=connection.place, messages=connection.sent)
