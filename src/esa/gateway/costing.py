"""The cost ledger of a receive worker, kept over restarts: read when the worker starts, written every minute and at its end.

Called by `process`. The file is the worker's own; what it cannot write is told in the log and costs numbers, never mail.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.policy.content_filter import Rules
from esa.policy.filters.costs import digest_of
from esa.policy.filters.ledger import Ledgers
from esa.store.costs import FOLDER, Kept, read, write
from esa.store.folder import make_private

EVERY_SECONDS = 60.0


class Costing:
    """`ledgers` are for the decider. Hits of filters that are the same still are gone on with; times begin anew where any filter is another."""

    def __init__(self, state: Path, process: str, rules: Rules | None) -> None:
        """Raises StoreError if the folder cannot be made."""
        self.ledgers = Ledgers()
        self._folder, self._process = make_private(state / FOLDER), process
        keys = rules.keys if rules is not None else frozenset()
        self._of = digest_of(keys)
        before = read(self._folder, process)
        self._before = (before.costs if before.of == self._of else before.costs.hits).of(keys)
        self._written = 0  # messages
        self._saving: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Write now and then, until cancelled; what is being written then goes on."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            self._saving = asyncio.create_task(self.save())
            await asyncio.shield(self._saving)

    async def close(self) -> None:
        """Write the last numbers; `run` has been cancelled."""
        if self._saving is not None:
            await self._saving
        await self.save()

    async def save(self) -> None:
        """Write what there is, if there is anything new."""
        if self.ledgers.messages == self._written:
            return
        self._written = self.ledgers.messages
        try:
            await asyncio.to_thread(self._write)
        except OSError as error:
            events.warning(Log.COSTS_NOT_KEPT, reason=str(error), consequence="what filters cost is told without the last minutes")

    def _write(self) -> None:
        """On a thread: a large message that is decided about meanwhile may keep its ledger for a while. Raises OSError."""
        write(self._folder, self._process, Kept(self._of, self._before.plus(self.ledgers.costs())))
