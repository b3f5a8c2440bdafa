"""Which bounce profile holds for an entry of the queue: that of a filter, of its destination, of its listener, Default; the first that there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from esa.policy.bounce_profile import DEFAULT, USUAL, BounceProfile
from esa.policy.routing import Router
from esa.store.entry import Entry


@dataclass(frozen=True, slots=True)
class BounceSettings:
    """What the deliver process is told of bounces. `listeners`: name of a profile by that of a listener. `wait` in seconds."""

    profiles: Mapping[str, BounceProfile] = field(default_factory=lambda: MappingProxyType({}))
    listeners: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    per_hour: int = 0
    per_address: int = 0
    wait: float = 432_000.0


class BounceProfiles:
    """Profiles of one configuration by name, and which listener has which."""

    def __init__(self, named: Mapping[str, BounceProfile], listeners: Mapping[str, str], router: Router) -> None:
        """A name that there is none of any more, in an entry of an older configuration, is passed over."""
        self._named, self._listeners, self._router = named, listeners, router
        self._usual = named.get(DEFAULT, USUAL)
        self.shortest = min(profile.schedule.expire for profile in (*named.values(), self._usual))

    def of(self, entry: Entry) -> BounceProfile:
        named = self._named
        return (
            named.get(entry.bounce_profile)
            or named.get(self._router.of_key(entry.destination).control.bounce_profile)
            or named.get(self._listeners.get(entry.listener, ""))
            or self._usual
        )
