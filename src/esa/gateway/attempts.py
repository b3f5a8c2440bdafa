"""Recipients that senders tried in vain and sent no mail after: gathered for a second, and told once, so that a flood leaves one record.

`reception` counts them, `keep` learns from them. Of a message that came to its mail data the refused recipients stand in its own record.
What a process has gathered in its last second is lost with it, which harms nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from esa.store.record import Event, EventName

if TYPE_CHECKING:
    from esa.gateway.receive import Route
    from esa.gateway.receiver import Transaction

GATHERED = 1_000  # senders in one record; past it, it is told at once
SECONDS = 1.0


def invalid_recipients(told: Iterable[Event], valid: int) -> int:
    """Recipients that were refused for good, beyond as many valid ones: a long list of members has stale ones, a guesser has little else."""
    refused = sum(event.name is EventName.RECIPIENT_REFUSED and str(event.fields.get("reply", "")).startswith("5") for event in told)
    return max(0, refused - valid)


class Attempts:
    """What one listener of a worker gathers."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def count(self, transaction: Transaction, client: str, invalid: int) -> None:
        """Take note of a transaction that ended without mail."""
        self._counts[client] += invalid
        if len(self._counts) >= GATHERED:
            self._tell(transaction)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._tell, transaction)

    def _tell(self, transaction: Transaction) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counts, self._counts = self._counts, Counter()
        self._route.note(transaction, Event(EventName.RECIPIENTS_TRIED, time.time(), {"invalid": dict(counts)}))
