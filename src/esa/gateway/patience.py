"""Patience with those who guess passwords: failures by address and name, and by address alone, counted over all processes of the node.

`authentication.Users` asks. A try takes its turn before it is made: those that are under way count as if they failed, so that of any number
of sessions, in any number of processes, not one more fails than may. Names are counted in lower case, IPv6 addresses by their /64.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from esa.gateway.rates import NodeRates, create_memory
from esa.policy.senders import network_of, read_address

UNLIMITED: Final = -1
TURN_SECONDS: Final = 30.0  # that a try waits at most for others under way; a directory has answered by then or never will
LOOK_AGAIN: Final = (0.02, 0.06)  # seconds, by chance, between looks whether it is its turn
ADDRESS_BITS: Final = 32  # of IPv4 and twice as many of IPv6 that make one client


class TooManyFailures(Exception):
    """From this address it has been tried too often."""


@dataclass(frozen=True, slots=True)
class FailureLimits:
    """Failures within `window` seconds of one address with one name, and of one address with any; UNLIMITED lifts a limit."""

    of_name: int = 5
    of_address: int = 20
    window: float = 900.0


class Turn:
    """One try, under way."""

    def __init__(self) -> None:
        self.has_failed = False

    def fail(self) -> None:
        self.has_failed = True


class Patience:
    """Belongs to one event loop; the counts to all processes."""

    def __init__(self, rates: NodeRates, limits: FailureLimits) -> None:
        self._rates, self._limits = rates, limits

    @classmethod
    def of_one_process(cls, limits: FailureLimits) -> Patience:
        """Counts of its own, where no node shares them."""
        memory = create_memory(1)
        try:
            return cls(NodeRates(memory, 0), limits)
        finally:
            os.close(memory)

    @asynccontextmanager
    async def turn(self, client_address: str, name: str) -> AsyncIterator[Turn]:
        """Wait for those that are under way, then try. Raises TooManyFailures, soon, where no more may fail."""
        places = self._places(client_address, name)
        tickets = await self._begin(places)
        turn = Turn()
        try:
            yield turn
        finally:
            if turn.has_failed:  # counted before it is let go, so that it counts at every moment
                for key, _ in places:
                    self._rates.take(key, window=self._limits.window)
            for ticket in tickets:
                self._rates.release(ticket)

    async def _begin(self, places: list[tuple[int, int]]) -> list[int]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TURN_SECONDS
        while True:
            if any(self._failures(key) >= limit for key, limit in places) or loop.time() > deadline:
                raise TooManyFailures
            tickets = [ticket for ticket in (self._rates.hold(key, UNLIMITED) for key, _ in places) if ticket > 0]
            # those under way before those that have failed: one that fails in between counts twice, and never not at all
            if all(self._rates.held(key) + self._failures(key) <= limit for key, limit in places):
                return tickets
            for ticket in tickets:
                self._rates.release(ticket)
            await asyncio.sleep(random.uniform(*LOOK_AGAIN))  # noqa: S311 (so that they do not look at one moment)

    def _failures(self, key: int) -> int:
        return self._rates.total(key, self._limits.window)

    def _places(self, client_address: str, name: str) -> list[tuple[int, int]]:
        """Keys and limits. A key has one window for good, so the window is part of it."""
        address = read_address(client_address)
        client = network_of(address, ADDRESS_BITS) if address is not None else client_address
        limits = self._limits
        places = [(f"{client} {name.lower()}", limits.of_name), (client, limits.of_address)]
        return [(self._rates.key(f"auth {limits.window:g} {place}"), limit) for place, limit in places if limit != UNLIMITED]
