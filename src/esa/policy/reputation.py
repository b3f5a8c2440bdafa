"""Reputation of a connecting host: -10.0 (a source of spam) to +10.0 (only good is known of it), or None where too little is known.

`host_access` matches ranges of it. What it is made of is somebody else's: this module holds the protocol, and the plain one that adds up the
weights of DNS lists.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from esa.policy.senders import HIGHEST, LOWEST, IpAddress


class Reputation(Protocol):
    """Gives scores. The gateway asks the DNS lists in `zones` first and passes those that list the address."""

    @property
    def zones(self) -> Sequence[str]: ...

    def score(self, address: IpAddress, listed: Collection[str]) -> float | None:
        """The score of an address that these zones list, in tenths; None if too little is known. Must not block."""
        ...


class ListedReputation:
    """The sum of the weights of the DNS lists that name the address; None if none does."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """`weights`: zone → points; below 0 for block lists, above for allow lists."""
        self._weights = dict(weights)
        self.zones: tuple[str, ...] = tuple(self._weights)

    def score(self, address: IpAddress, listed: Collection[str]) -> float | None:
        points = [weight for zone, weight in self._weights.items() if zone in listed]
        return round(min(HIGHEST, max(LOWEST, sum(points))), 1) if points else None
