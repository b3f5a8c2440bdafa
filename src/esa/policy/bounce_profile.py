"""Bounce profiles: when mail is tried again, when it is given up, and who is told. Names and defaults are AsyncOS's.

Pure values. The queue asks one for times, `gateway.bounces` for what a sender is told. Which one holds for a message is the first of: that of a
filter (`bounce-profile`), of its destination, of the listener that it came in by, the one called Default.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

DEFAULT: Final = "Default"  # name of the profile that holds where none is chosen
Kind = Literal["failed", "delayed", "success"]  # of what a sender is told
KINDS: Final[tuple[Kind, ...]] = ("failed", "delayed", "success")


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """When to try again: `initial` seconds, doubled each time up to `maximum`, each spread by ±20 %; given up after `expire` seconds or `retries`
    attempts after the first."""

    initial: float = 60.0
    maximum: float = 3_600.0
    expire: float = 259_200.0
    retries: int = 100

    def delay(self, attempts: int, spread: float | None = None) -> float:
        """Seconds to wait after so many attempts; `spread` in [0, 1) instead of chance."""
        chance = random.random() if spread is None else spread  # noqa: S311 (jitter, not a secret)
        return min(self.maximum, self.initial * 2.0 ** min(max(attempts - 1, 0), 40)) * (0.8 + 0.4 * chance)

    def is_over(self, age: float, attempts: int) -> bool:
        """Whether mail of this age in seconds, tried so often without success, is given up."""
        return age > self.expire or attempts > self.retries


@dataclass(frozen=True, slots=True)
class Letter:
    """Words of a notification in the place of the usual ones; empty: those. Variables: `gateway.bounces.words`."""

    subject: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class BounceProfile:
    """What holds for some mail that cannot be delivered at once. Times are seconds."""

    name: str = DEFAULT
    schedule: RetrySchedule = RetrySchedule()
    send_hard_bounces: bool = True  # False: what fails is kept as failed, and nobody is told
    delay_warnings: bool = False
    delay_interval: float = 14_400.0  # between two warnings, and before the first
    delay_count: int = 1  # most warnings of one message
    is_dsn: bool = True  # in the form of RFC 3464; False: plain text
    sender: str = ""  # mailbox of From; empty: MAILER-DAEMON at this host
    alternate_address: str = ""  # who is told in the place of the sender
    max_copy: int = 10 << 10  # octets of the message, or of its header, that are returned
    letters: Mapping[Kind, Letter] = field(default_factory=lambda: MappingProxyType({}))

    def warning_after(self, warnings: int) -> float | None:
        """Age in seconds at which a sender is warned again, who has been so often; None: never."""
        if not self.delay_warnings or warnings >= self.delay_count:
            return None
        return self.delay_interval * (warnings + 1)


USUAL: Final = BounceProfile()
