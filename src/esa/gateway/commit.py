"""Groups of records go to disk on a native thread: the event loop encodes a group, and is told when it is safe. `receive` calls it.

What is more than a write and a flush (content in files of its own, a new segment) is left to the thread of the route's commit stage.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Protocol

from esa.errors import StoreError
from esa.gateway.batcher import Ended
from esa.store.record import Record
from esa.store.spool import Group
from esa_core._group_writer import FLUSHED, GroupWriter


class Groups(Protocol):
    """What is asked of a spool; esa.store.spool.Spool gives it."""

    def begin(self, records: Sequence[Record]) -> Group | None: ...

    def end(self, group: Group, error: OSError | None, *, is_flush: bool = False) -> None: ...


class GroupCommit:
    """The writer of one spool. Lives on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spool: Groups) -> None:
        self._loop, self._spool = loop, spool
        self._writer = GroupWriter()
        self._running: tuple[Group, Ended[None]] | None = None
        self._thread = threading.Thread(target=self._writer.run, name="commit-group", daemon=True)
        self._thread.start()
        loop.add_reader(self._writer.fileno(), self._look)

    def begin(self, records: Sequence[Record], ended: Ended[None]) -> bool:
        """Begin with a group; `ended` is called with what came of it, and microseconds. False: it is no case for this. Raises StoreError."""
        group = self._spool.begin(records)
        if group is None:
            return False
        self._running = group, ended
        self._writer.begin(group.descriptor, group.buffers, group.offset)
        return True

    def close(self) -> None:
        """End the thread. No group may be running."""
        self._loop.remove_reader(self._writer.fileno())
        self._writer.stop()

    def _look(self) -> None:
        outcome = self._writer.finish()
        if outcome is None or self._running is None:
            return
        failed, number, microseconds = outcome
        (group, ended), self._running = self._running, None
        try:
            self._spool.end(group, OSError(number, os.strerror(number)) if failed else None, is_flush=failed == FLUSHED)
        except StoreError as error:
            ended(error, microseconds)
        else:
            ended(None, microseconds)
