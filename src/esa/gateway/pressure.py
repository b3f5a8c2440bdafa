"""What a listener does when it is nearly full: shorter patience for everyone, and the slowest session gives way to a new client.

`listener.Server` asks once a second with all its sessions, and at each connection that finds no room. An honest session is done in a second
or goes on moving; thousands that are open to keep others out do neither.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final, Protocol, TypeVar

from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.gateway.limits import Limits

BEGIN, END = 0.8, 0.6  # share of the connections, or of the memory for mail data, at which it begins and ends
STALLED_SECONDS = 2.0  # without progress, by a clock of whole seconds, after which a session may have to give way
_LISTED = 4096  # sessions that are ready to give way until the next look


class Stallable(Protocol):
    """A session: how long it has made no progress, in seconds, and being told to end."""

    def stalled(self, now: float) -> float: ...

    def give_way(self) -> None: ...


_Session = TypeVar("_Session", bound=Stallable)


class Pressure:
    """The state of one listener of one worker. `patience` are the limits to keep to now."""

    def __init__(self, limits: Limits, listener: str) -> None:
        self._limits, self._listener = limits, listener
        self._short: Final = replace(
            limits,
            command_timeout=min(limits.command_timeout, limits.stress_timeout),
            data_timeout=min(limits.data_timeout, limits.stress_timeout),
            errors=min(limits.errors, 2),
            junk_commands=min(limits.junk_commands, 2),
        )
        self._slowest: list[Stallable] = []  # the slowest last
        self.patience = limits

    @property
    def is_high(self) -> bool:
        return self.patience is not self._limits

    def look(self, sessions: Collection[_Session], held: int, now: float) -> None:
        """See how full it is: `held` are octets of mail data in memory."""
        share = max(len(sessions) / self._limits.connections, held / self._limits.memory)
        if not self.is_high and share >= BEGIN:
            self.patience = self._short
            events.warning(Log.LISTENER_STRESSED, listener=self._listener, connections=len(sessions), held=held)
        elif self.is_high and share < END:
            self.patience = self._limits
            events.info(Log.LISTENER_RELIEVED, listener=self._listener, connections=len(sessions), held=held)
        self._slowest.clear()
        if self.is_high:
            stalled = [(waited, number, one) for number, one in enumerate(sessions) if (waited := one.stalled(now)) >= STALLED_SECONDS]
            stalled.sort()
            self._slowest = [one for _, _, one in stalled[-_LISTED:]]

    def make_room(self, now: float) -> bool:
        """End the slowest session that still makes no progress. False if there is none."""
        while self._slowest:
            session = self._slowest.pop()
            if session.stalled(now) >= STALLED_SECONDS:
                session.give_way()
                return True
        return False
