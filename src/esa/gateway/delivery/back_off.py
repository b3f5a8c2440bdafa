"""How much one destination is given, learned from what it says: more after each message it takes, less when it asks for it, nothing for a
while when it cannot be reached.

`destinations` asks before each claim; the hop tells how attempts ended. Rules:

- It begins with INITIAL connections, and has one more after each message taken, up to its limit; once it has been throttled, one more for
  each round of messages.
- 421, and 4xx with 4.7.x, 4.3.2 or 4.4.5, halve it. At one connection they leave the destination alone for a time, doubled each time.
- One that cannot be reached is left alone for a time, doubled each time, then tried with one message.
- An administrator's retry forgives all of it.
"""

from __future__ import annotations

import re
import time
from typing import Final, Literal

from esa.gateway.delivery.transaction import Attempt
from esa.policy.bounce_profile import RetrySchedule

INITIAL: Final = 5  # connections to a destination that nothing is known of
HOLD_INITIAL: Final = 1 / 12  # of the first retry of a message: how long a destination is left alone at first
HOLD_MAXIMUM: Final = 5  # times the first retry of a message
_THROTTLING = re.compile(r"421(?: |\Z)|4\d\d 4\.(?:7\.\d+|3\.2|4\.5)(?: |\Z)")
State = Literal["unknown", "up", "throttled", "down"]


class BackOff:
    """What is known of one destination. Times are monotonic seconds."""

    __slots__ = (
        "_failures",
        "_hold",
        "_limit",
        "_throttled_at",
        "_throttles",
        "_window",
        "has_taken",
        "held_until",
        "last_reply",
        "trouble",
    )

    def __init__(self, limit: int, schedule: RetrySchedule) -> None:
        """`limit`: the most connections. `schedule`: of the retries of messages; that of the destination comes from it."""
        self._hold = RetrySchedule(schedule.initial * HOLD_INITIAL, min(schedule.maximum, HOLD_MAXIMUM * schedule.initial))
        self._limit = limit
        self._window = float(min(INITIAL, limit))
        self._failures = 0
        self._throttles = 0
        self._throttled_at = 0.0
        self.has_taken = False  # mail, ever
        self.held_until = 0.0
        self.trouble: str | None = None  # why it is left alone, or is given little
        self.last_reply = ""  # the last 4xx or 5xx

    @property
    def connections(self) -> int:
        """That may be open just now, if it is not held."""
        return 1 if self._failures else max(1, int(self._window))

    @property
    def is_down(self) -> bool:
        return self._failures > 0

    def state(self, now: float) -> State:
        if self._failures:
            return "down"
        if self._throttles and (self.held_until > now or self._window < self._limit):
            return "throttled"
        return "up" if self.has_taken else "unknown"

    def fail(self, reason: str) -> float | None:
        """It could not be reached. Seconds that it is left alone; None if that was known."""
        now = time.monotonic()
        self.trouble = self.last_reply = reason
        if now < self.held_until:  # the others that were under way at the same time are the same failure
            return None
        self._failures += 1
        self._window = float(min(INITIAL, self._limit))
        held = self._hold.delay(self._failures)
        self.held_until = now + held
        return held

    def note(self, attempt: Attempt, began: float) -> float | None:
        """An attempt over a connection has ended; it `began` then. Seconds that the destination is left alone from now on, or None."""
        replies = [result.reply for result in attempt.results if result.status != "delivered"]
        if replies:
            self.last_reply = replies[-1]
        throttling = next((reply for reply in replies if _THROTTLING.match(reply)), None)
        if throttling is not None:
            return self._throttle(throttling, began)
        self._failures = 0
        if not replies or any(result.status == "delivered" for result in attempt.results):
            self.has_taken = True
            step = 1 / self._window if self._throttles else 1.0
            self._window = min(float(self._limit), self._window + step)
            if self._window >= self._limit:
                self._throttles = 0
        if not self._throttles:
            self.trouble = None
        return None

    def _throttle(self, reply: str, began: float) -> float | None:
        now = time.monotonic()
        self._failures = 0
        self.trouble = reply
        if began < self._throttled_at:  # under way before it was given less: the same complaint
            return None
        self._throttled_at = now
        was_alone = self._window < 2
        self._throttles += 1
        self._window = max(1.0, self._window / 2)
        if not was_alone and not reply.startswith("421"):
            return None
        held = self._hold.delay(self._throttles)
        self.held_until = max(self.held_until, now + held)
        return held

    def forgive(self) -> None:
        """Try again at once, as if nothing had been."""
        self.held_until = 0.0
        self._throttles = 0
        self._window = max(self._window, float(min(INITIAL, self._limit)))
