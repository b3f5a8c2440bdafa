"""Listeners that an administrator has suspended: receivers look once a second, and answer 421 until they are resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.store.suspension import NOTHING, SuspensionWatch

if TYPE_CHECKING:
    from esa.gateway.listener import Server

LOOK_SECONDS: Final = 1.0


def tell_suspension(before: frozenset[str] | None, now: frozenset[str] | None, suspended: Log, resumed: Log) -> None:
    """Log what is suspended anew, and what no longer is."""
    if before == now:
        return
    if now is None:
        events.warning(suspended, names="all")
    elif before is None:
        events.info(resumed, names="all")
        if now:
            events.warning(suspended, names=" ".join(sorted(now)))
    else:
        if now - before:
            events.warning(suspended, names=" ".join(sorted(now - before)))
        if before - now:
            events.info(resumed, names=" ".join(sorted(before - now)))


class Suspended:
    """The servers of one receiving process. `speaks`: it is the one that tells the log."""

    def __init__(self, state: Path, servers: Sequence[Server], *, speaks: bool) -> None:
        self._servers, self._speaks = servers, speaks
        self._watch = SuspensionWatch(state)
        self.look()

    def look(self) -> None:
        """Do what the file says, if it says something else than before."""
        try:
            changed = self._watch.look()
        except StoreError as fault:
            if self._speaks:
                events.error(Log.SUSPENSION_UNREADABLE, reason=str(fault), consequence="nothing is suspended")
            changed = NOTHING, NOTHING
        if changed is None:
            return
        for server in self._servers:
            if self._watch.current.holds_listener(server.listener):
                server.suspend()
            else:
                server.resume()
        if self._speaks:
            tell_suspension(changed[0].listeners, changed[1].listeners, Log.LISTENER_SUSPENDED, Log.LISTENER_RESUMED)

    async def follow(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()
