"""How much senders have done and how many connections they hold, over all workers of the node: the shared memory, and one sender's view of it.

The parent makes the memory and hands its descriptor to every receive worker; `reception` asks. What is counted is forgotten with the last
process of a start, which harms nobody.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import time
from collections.abc import Callable
from functools import lru_cache

from esa.policy.mail_flow import UNLIMITED, MailFlowPolicy, names_path
from esa.policy.senders import IpAddress, network_of
from esa_core._rates import HEADER_SIZE, Rates, memory_size, prepare

SLOTS = 1 << 17  # senders and reverse-paths that can be counted at one time; memory is only used for those that are
KEYS_KEPT = 8_192  # of senders that were heard of last
NETWORK_BITS = 24  # of IPv4 and twice as many of IPv6: what one owner usually has at least
HOUR = 3_600.0
ALERT_WINDOW = 4 * HOUR  # an attack that goes on is told again after so long
_KINDS = {
    name: int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    for name in ("connection", "network", "recipient", "reverse-path", "invalid", "valid", "refused", "alert")
}
_SECRET = slice(HEADER_SIZE - 32, HEADER_SIZE)  # of the memory: the key of the hash, so that nobody can aim at a slot


def create_memory(workers: int) -> int:
    """A descriptor of fresh memory for so many workers, to be inherited. The caller closes it."""
    descriptor = os.memfd_create("esa-rates", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, memory_size(SLOTS, workers))
    with mmap.mmap(descriptor, 0) as memory:
        prepare(memory, SLOTS, workers)
        memory[_SECRET] = os.urandom(32)
    return descriptor


class NodeRates:
    """The counts of the node, as one worker sees them."""

    def __init__(
        self,
        descriptor: int,
        worker: int,
        *,
        connections_per_network: int = UNLIMITED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the memory behind `descriptor`; give back what a former process of this number held.

        `connections_per_network` holds for every IPv4 /24 and IPv6 /48. `clock` is the same in all processes.
        """
        self.connections_per_network = connections_per_network
        memory = mmap.mmap(descriptor, 0)
        self._secret = memory[_SECRET]
        self._rates = Rates(memory, worker)
        self._rates.recover()
        self.clock = clock
        self.keys_of = lru_cache(maxsize=KEYS_KEPT)(self._keys_of)

    @property
    def overflows(self) -> int:
        """How often there was no room to count something, over all workers."""
        return self._rates.overflows

    def key(self, name: str) -> int:
        """The key of a network or reverse-path; together with one of `_KINDS` (exclusive or) it is that of a count."""
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, key=self._secret).digest(), "little")

    def _keys_of(self, address: IpAddress, significant_bits: int) -> tuple[str, int, int]:
        """The network that makes one sender, its key, and the key of all that is counted together by `connections_per_network`."""
        network = network_of(address, significant_bits)
        return network, self.key(network), self.key(network_of(address, NETWORK_BITS))

    def take(self, key: int, limit: int = UNLIMITED, window: float = HOUR) -> int:
        """Count one; the sum with it, or a negative number if that would pass the limit and it was not counted."""
        return self._rates.take(key, 1, limit, self.clock(), window)

    def total(self, key: int, window: float = HOUR) -> int:
        return self._rates.total(key, self.clock(), window)

    def hold(self, key: int, limit: int) -> int:
        return self._rates.hold(key, limit, self.clock())

    def held(self, key: int) -> int:
        return self._rates.held(key)

    def release(self, ticket: int) -> None:
        self._rates.release(ticket)


class SenderCounts:
    """What one sender has done within the hour, on all its connections. One for each connection."""

    __slots__ = ("_invalid", "_key", "_neighbours", "_policy", "_rates", "_tickets", "network")

    def __init__(self, rates: NodeRates, policy: MailFlowPolicy, address: IpAddress) -> None:
        self._rates, self._policy = rates, policy
        self.network, self._key, self._neighbours = rates.keys_of(address, policy.significant_bits)
        self._tickets: list[int] = []
        self._invalid = self._key ^ _KINDS["invalid"]

    def enter(self) -> str | None:
        """Count a connection; the name of the limit if it is one too many."""
        rates, policy = self._rates, self._policy
        if policy.max_concurrency != UNLIMITED and not self._hold(self._key ^ _KINDS["connection"], policy.max_concurrency):
            return "max_concurrency"
        limit = rates.connections_per_network
        if limit != UNLIMITED and not self._hold(self._neighbours ^ _KINDS["network"], limit):
            return "connections_per_network"
        return None

    def _hold(self, key: int, limit: int) -> bool:
        ticket = self._rates.hold(key, limit)
        if ticket > 0:
            self._tickets.append(ticket)
        return ticket != 0

    def leave(self) -> None:
        """Give back what `enter` counted."""
        for ticket in self._tickets:
            self._rates.release(ticket)
        self._tickets.clear()

    def take_recipient(self) -> bool:
        """Count a recipient; False if it is one too many in an hour."""
        limit = self._policy.max_rcpts_per_hour
        return limit == UNLIMITED or self._rates.take(self._key ^ _KINDS["recipient"], limit) >= 0

    def take_of_reverse_path(self, reverse_path: str) -> bool:
        """Count a recipient of a reverse-path; False if it is one too many in the interval. The null reverse-path is not counted."""
        policy = self._policy
        if policy.max_rcpts_per_envelope_sender == UNLIMITED or not reverse_path:
            return True
        if names_path(policy.envelope_sender_exempt, reverse_path):
            return True
        key = self._rates.key(f"{policy.envelope_sender_interval:g} {reverse_path.lower()}") ^ _KINDS["reverse-path"]
        return self._rates.take(key, policy.max_rcpts_per_envelope_sender, policy.envelope_sender_interval) >= 0

    # --- directory harvest

    @property
    def is_harvesting(self) -> bool:
        """The sender has tried as many invalid recipients as it may: it learns nothing more."""
        return self._policy.dhap_limit > 0 and self._rates.total(self._invalid) >= self._policy.dhap_limit

    def count_invalid(self) -> bool:
        """Count an invalid recipient. True if an attack begins with it that nobody has been told of."""
        limit = self._policy.dhap_limit
        if not limit or self._rates.take(self._invalid) != limit:
            return False
        return self._rates.take(self._key ^ _KINDS["alert"], 1, ALERT_WINDOW) >= 0

    def count_valid(self) -> None:
        """Count a valid recipient: what the sender has learned, if it turns out to be harvesting."""
        if self._policy.dhap_limit:
            self._rates.take(self._key ^ _KINDS["valid"])

    def count_refused(self) -> None:
        """Count a recipient that the sender was told nothing of."""
        self._rates.take(self._key ^ _KINDS["refused"])

    def harvest(self) -> dict[str, int]:
        """Recipients within the hour: invalid ones, valid ones that it learned, and those that it was told nothing of."""
        kinds = {"invalid": "invalid", "learned": "valid", "refused": "refused"}
        return {name: self._rates.total(self._key ^ _KINDS[kind]) for name, kind in kinds.items()}
