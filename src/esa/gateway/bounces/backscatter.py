"""Who is told by a message of ours that a message of theirs was not delivered: nobody who may be a stranger's victim.

A forged reverse-path makes every bounce hit somebody who sent nothing. So what can be said in the SMTP reply is said there; a delivery status
notification goes only to users who have authenticated and to hosts that may relay, never to a null reverse-path, and to one address a few an hour.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from esa.policy.disposition import Answer, Plan

LIMIT, WINDOW = 10, 3_600.0  # notifications to one address, in so many seconds, of one receiving process
ADDRESSES = 10_000  # remembered; past them the longest unseen is forgotten


class Backscatter:
    """Of one receiving process. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # large messages are decided about on a thread of their own
        self._sent: OrderedDict[str, list[float]] = OrderedDict()

    def mark(self, plan: Plan, reverse_path: str, *, is_known: bool) -> Plan:
        """The plan with those splinters marked whose sender is told. `is_known`: the client may relay, or has authenticated."""
        if not (is_known and reverse_path and plan.answer is Answer.ACCEPT and any(one.returns for one in plan.splinters)):
            return plan
        if not self._may_send(reverse_path.lower()):
            return plan
        return plan._replace(splinters=tuple(one._replace(notifies=True) if one.returns else one for one in plan.splinters))

    def _may_send(self, address: str) -> bool:
        with self._lock:
            return self._take(address)

    def _take(self, address: str) -> bool:
        now = self._clock()
        recent = [at for at in self._sent.pop(address, ()) if now - at < WINDOW]
        is_free = len(recent) < LIMIT
        self._sent[address] = [*recent, now] if is_free else recent
        if len(self._sent) > ADDRESSES:
            self._sent.popitem(last=False)
        return is_free
