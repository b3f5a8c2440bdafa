"""A source that failed several times in a row is left alone for a while: a dead server delays few sessions and not all."""

from __future__ import annotations

import asyncio

from esa.gateway import events
from esa.gateway.events import Event as Log

GIVE_UP_AFTER, PAUSE = 3, 10.0  # failures in a row, and seconds without questions then


class SourceFailure(Exception):
    """A source could not be asked; the text says why."""


class Silence:
    """Of one source: whether it is left alone. Told in the log when that begins and when it has ended. Belongs to one event loop."""

    def __init__(self, source: str, consequence: str) -> None:
        """`consequence`: what it means for mail, for the log."""
        self._source, self._consequence = source, consequence
        self._failures = 0
        self._until = 0.0  # loop seconds

    def is_on(self, now: float) -> bool:
        """Whether it is left alone now, in loop seconds."""
        return now < self._until

    def failed(self, reason: str) -> None:
        self._failures += 1
        now = asyncio.get_running_loop().time()
        if self._failures >= GIVE_UP_AFTER and now >= self._until:
            self._until = now + PAUSE
            if self._failures == GIVE_UP_AFTER:  # told once, until it answers again
                events.error(Log.SOURCE_SILENT, source=self._source, reason=reason, consequence=self._consequence)

    def ended(self) -> None:
        """It has answered."""
        if self._failures >= GIVE_UP_AFTER:
            events.warning(Log.SOURCE_ANSWERS, source=self._source)
        self._failures = 0
        self._until = 0.0
