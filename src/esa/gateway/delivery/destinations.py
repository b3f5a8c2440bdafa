"""All destinations of the deliver process: who may have how much in flight, and sending it.

`delivery` hands it what is claimed; the queue asks it for room (`Rooms`) within each transaction. So that one slow destination never keeps
another waiting:

- each has a limit of its own, which its own replies move (back_off.py), and one that is down is tried with one message now and then;
- of what is left over all destinations none may take more than half, so that there is always something for the next one;
- the last quarter of it all is for destinations that have taken mail before.

What is counted here is counted in the thread of the queue; the rest belongs to the event loop, and is only looked at from the thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from esa.gateway.delivery.back_off import BackOff, State
from esa.gateway.delivery.next_hop import NextHop
from esa.gateway.delivery.pool import Pool
from esa.policy.routing import Destination, Router
from esa.policy.smtp_routes import RouteKind
from esa.store.entry import Entry, Outcome
from esa.store.suspension import NOTHING
from esa.store.waiting import UNLIMITED, Room

LOCAL_ENTRIES: Final = 256  # in flight to a Maildir or to nowhere: what shares directory syncs and transactions
UNPROVEN_SHARE: Final = 0.75  # of all connections that destinations which never took mail may have together
FORGOTTEN_AFTER: Final = 900.0  # seconds without mail after which nothing is known of a destination any more


@dataclass(slots=True)
class Known:
    """What the event loop has of one destination."""

    destination: Destination
    hop: NextHop
    back_off: BackOff
    used_at: float
    delivered: int = 0  # recipients, since the process began or the destination was forgotten
    deferred: int = 0
    failed: int = 0
    last_failure: str = ""  # the last reply that was final: 5xx
    last_failure_at: float = 0.0  # Unix seconds


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One destination as `esa queue hosts` shows it. Times in seconds from now."""

    destination: str
    state: State
    active: int
    limit: int  # connections that it may have just now
    kept: int  # connections that wait for the next message
    held: float  # left alone for so long
    last_reply: str
    delivered: int  # recipients, since deliver began
    deferred: int
    failed: int
    last_failure: str  # the last reply that was final (5xx), and when it came in Unix seconds; 0: never
    last_failure_at: float
    idle: float  # since it was last used


class Destinations:
    """Made for one configuration; owned by the event loop of the deliver process."""

    def __init__(
        self,
        router: Router,
        open_hop: Callable[[Destination, BackOff], NextHop],
        make_back_off: Callable[[int], BackOff],
        pool: Pool,
        connections: int,
    ) -> None:
        """`connections`: the most over all destinations."""
        self._router, self._open_hop, self._make_back_off, self._pool = router, open_hop, make_back_off, pool
        self._connections = connections
        self.suspension = NOTHING  # what is left alone because an administrator says so
        self._known: dict[str, Known] = {}
        self._in_flight: dict[str, int] = {}
        self._total = 0
        self._windows: dict[str, tuple[float, int]] = {}  # of limited recipients: when it began, and how many since
        self._journal: list[tuple[str, int, int]] = []  # of the transaction under way: destination, entries, recipients

    # --- in the thread of the queue

    def begin(self, outcomes: Sequence[Outcome]) -> None:
        """A transaction begins, with these ended."""
        self._journal.clear()
        for outcome in outcomes:
            self._count(outcome.entry.destination, -1, 0)

    def undo(self) -> None:
        """The transaction did not happen."""
        for key, entries, recipients in self._journal[::-1]:
            self._count(key, -entries, -recipients)
        self._journal.clear()

    def _count(self, key: str, entries: int, recipients: int) -> None:
        self._journal.append((key, entries, recipients))
        left = self._in_flight.get(key, 0) + entries
        if left:
            self._in_flight[key] = left
        else:
            self._in_flight.pop(key, None)
        if _has_connections(self._router.of_key(key)):
            self._total += entries
        if recipients and key in self._windows:
            began, count = self._windows[key]
            self._windows[key] = began, max(0, count + recipients)

    @property
    def free(self) -> int:
        return self._connections - self._total

    def room(self, destination: str, now: float) -> Room:
        if self.suspension.holds_destination(destination):
            return Room(0)
        there = self._router.of_key(destination)
        in_flight = self._in_flight.get(destination, 0)
        if not _has_connections(there):
            return Room(LOCAL_ENTRIES - in_flight)
        known = self._known.get(destination)
        back_off = known.back_off if known is not None else None
        held = back_off.held_until - time.monotonic() if back_off is not None else 0.0
        if held > 0:
            return Room(0, again=now + held)
        limit = back_off.connections if back_off is not None else self._make_back_off(there.control.concurrency).connections
        if (left := limit - in_flight) <= 0:
            return Room(0)
        recipients = self._recipients_left(there, now)
        if recipients <= 0:
            return Room(0, again=self._windows[destination][0] + there.control.interval)
        free = self.free
        if back_off is None or back_off.is_down or not back_off.has_taken:
            free -= self._connections - int(UNPROVEN_SHARE * self._connections)
        if (shared := (free - in_flight + 1) // 2) <= 0:
            return Room(0, is_crowded=True)
        return Room(min(left, shared), recipients)

    def _recipients_left(self, there: Destination, now: float) -> int:
        """Of the recipients that it may have in the window under way."""
        if not there.control.recipients:
            return UNLIMITED
        began, count = self._windows.get(there.key, (now, 0))
        if not 0 <= now - began < there.control.interval:
            began, count = now, 0
        self._windows[there.key] = began, count
        return there.control.recipients - count

    def take(self, entry: Entry) -> None:
        self._count(entry.destination, 1, len(entry.pending))

    # --- in the event loop

    def groups(self, entries: Sequence[Entry]) -> list[Sequence[Entry]]:
        """Split claimed entries into what is sent together."""
        by_destination: dict[str, list[Entry]] = {}
        for entry in entries:
            by_destination.setdefault(entry.destination, []).append(entry)
        return [group for key, some in by_destination.items() for group in self._open(key).hop.groups(some)]

    async def send(self, group: Sequence[Entry]) -> list[Outcome]:
        """Send, and return an outcome for each entry. Raises nothing but cancellation and our own faults."""
        known = self._open(group[0].destination)
        outcomes = await known.hop.send(group)
        for outcome in outcomes:
            for result in outcome.results:
                if result.status == "delivered":
                    known.delivered += 1
                elif result.status == "deferred":
                    known.deferred += 1
                else:
                    known.failed += 1
                    known.last_failure, known.last_failure_at = result.reply, outcome.at
        return outcomes

    def _open(self, key: str) -> Known:
        known = self._known.get(key)
        if known is None:
            destination = self._router.of_key(key)
            back_off = self._make_back_off(destination.control.concurrency)
            known = self._known[key] = Known(destination, self._open_hop(destination, back_off), back_off, 0.0)
        known.used_at = time.monotonic()
        return known

    def tend(self, now: float) -> None:
        """Close connections that are idle, and forget destinations that nothing has gone to for long. `now` is monotonic."""
        self._pool.tend(now)

    async def forget_idle(self, now: float) -> None:
        for key, known in list(self._known.items()):
            if now - known.used_at > FORGOTTEN_AFTER and known.back_off.held_until < now and key not in self._in_flight:
                del self._known[key]
                await known.hop.close()

    def troubles(self) -> dict[str, str]:
        """Destinations that are left alone just now, with the reason."""
        now = time.monotonic()
        return {
            key: f"{key}: {known.back_off.trouble}"
            for key, known in list(self._known.items())
            if known.back_off.trouble is not None and (known.back_off.is_down or known.back_off.held_until > now)
        }

    def forgive(self) -> None:
        """Try again at once: an administrator asks for it."""
        for known in self._known.values():
            known.back_off.forgive()

    def statuses(self) -> list[HostStatus]:
        """All that are known, or have mail in flight."""
        now = time.monotonic()
        return [
            HostStatus(
                key,
                known.back_off.state(now),
                self._in_flight.get(key, 0),
                known.back_off.connections if _has_connections(known.destination) else LOCAL_ENTRIES,
                self._pool.kept(key),
                max(0.0, known.back_off.held_until - now),
                known.back_off.last_reply,
                known.delivered,
                known.deferred,
                known.failed,
                known.last_failure,
                known.last_failure_at,
                now - known.used_at,
            )
            for key, known in list(self._known.items())
        ]

    async def close(self) -> None:
        self._pool.close()
        for known in self._known.values():
            await known.hop.close()


def _has_connections(destination: Destination) -> bool:
    return destination.route.kind not in (RouteKind.DISCARD, RouteKind.MAILDIR)
