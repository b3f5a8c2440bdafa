"""Return paths with tags, of mail of our own that leaves for destinations that the configuration names. The deliver process asks.

A tag is made as the message is sent, at each attempt: the queue, tracking and bounces of ours know the address as it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from esa.message.envelope import Envelope
from esa.policy.bounce_verification import NO_EXCEPTIONS, Exceptions, tagged
from esa.store.bounce_keys import Keys
from esa.store.entry import Entry


class Tagging:
    """With the keys of one configuration. `now` gives Unix seconds."""

    def __init__(self, keys: Keys, exceptions: Exceptions = NO_EXCEPTIONS, now: Callable[[], float] = time.time) -> None:
        self._keys, self._exceptions, self._now = keys, exceptions, now

    def envelope(self, entry: Entry) -> Envelope:
        """That of an entry; of mail of others, and of mail that has no return path, as it is."""
        envelope = entry.envelope
        if not entry.is_outgoing or not envelope.reverse_path:
            return envelope
        address = tagged(envelope.reverse_path, self._keys.current(), self._now(), self._exceptions)
        return envelope if address == envelope.reverse_path else replace(envelope, reverse_path=address)
