"""Counters of all processes of one gateway, in one small mapped file that the parent makes and each process writes its own row of.

A row has one writer (its process), so no lock is needed; the parent sums the rows for `/metrics` and `/health`. Names are a closed list.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from esa.errors import StoreError

_MAGIC = b"ESACNT01"
_HEADER = struct.Struct("<8sII")  # magic, rows, counters a row
_HEADER_SIZE = 64  # rows begin on a cache line
ROLES = 800  # rows: three for each of the 256 receiving processes that one node may have, while others take over, and some


class Counter(IntEnum):
    """Place of each counter in a row of int64. Append only: a row keeps its meaning while old processes drain."""

    CONNECTIONS = 0
    CONNECTIONS_OPEN = 1
    MESSAGES_OFFERED = 2
    MESSAGES_KEPT = 3
    MESSAGES_REFUSED = 4
    MESSAGES_QUARANTINED = 5
    MESSAGES_DROPPED = 6
    MESSAGES_DEFERRED = 7
    RECIPIENTS_REFUSED = 8
    BYTES_OFFERED = 9
    SCAN_BATCHES = 10
    SCANNED = 11
    SCAN_MICROSECONDS = 12
    SCAN_FAILURES = 13
    COMMIT_GROUPS = 14
    COMMITTED = 15
    COMMIT_MICROSECONDS = 16
    COMMIT_FAILURES = 17
    IN_SCAN = 18
    IN_COMMIT = 19
    DELIVERIES_SENT = 20
    DELIVERIES_DEFERRED = 21
    DELIVERIES_FAILED = 22
    PROCESS_RESTARTS = 23
    CONNECTIONS_REFUSED = 24
    HARVESTS_REFUSED = 25
    TLS_SESSIONS = 26
    PIPELINING_VIOLATIONS = 27
    GREYLISTED = 28
    DNS_QUESTIONS = 29
    DNS_CACHED = 30
    DNS_UNANSWERED = 31
    REPUTATION_ROWS = 32
    RECORDED = 33
    RECORDER_LOST = 34


Kind = Literal["counter", "gauge"]
DESCRIPTIONS: dict[Counter, tuple[str, Kind, str]] = {
    Counter.CONNECTIONS: ("esa_connections", "counter", "Connections taken by the listeners."),
    Counter.CONNECTIONS_OPEN: ("esa_connections_open", "gauge", "Connections open now."),
    Counter.MESSAGES_OFFERED: ("esa_messages_offered", "counter", "Messages whose mail data arrived whole."),
    Counter.MESSAGES_KEPT: (
        "esa_messages_kept",
        "counter",
        "Messages answered 250: committed for delivery or quarantine, or dropped by policy.",
    ),
    Counter.MESSAGES_REFUSED: ("esa_messages_refused", "counter", "Messages answered 5xx after mail data."),
    Counter.MESSAGES_QUARANTINED: ("esa_messages_quarantined", "counter", "Kept messages with a quarantine splinter."),
    Counter.MESSAGES_DROPPED: ("esa_messages_dropped", "counter", "Kept messages with a drop splinter."),
    Counter.MESSAGES_DEFERRED: ("esa_messages_deferred", "counter", "Messages answered 4xx after mail data."),
    Counter.RECIPIENTS_REFUSED: ("esa_recipients_refused", "counter", "Recipients answered 5xx."),
    Counter.BYTES_OFFERED: ("esa_bytes_offered", "counter", "Octets of mail data that arrived."),
    Counter.SCAN_BATCHES: ("esa_scan_batches", "counter", "Batches scanned in one native call."),
    Counter.SCANNED: ("esa_messages_scanned", "counter", "Messages scanned."),
    Counter.SCAN_MICROSECONDS: ("esa_scan_microseconds", "counter", "Wall time of scanning, microseconds."),
    Counter.SCAN_FAILURES: ("esa_scan_failures", "counter", "Batches whose scan raised; their messages were deferred."),
    Counter.COMMIT_GROUPS: ("esa_commit_groups", "counter", "Groups committed to the spool, one flush each."),
    Counter.COMMITTED: ("esa_records_committed", "counter", "Records committed to the spool."),
    Counter.COMMIT_MICROSECONDS: ("esa_commit_microseconds", "counter", "Wall time of commits, microseconds."),
    Counter.COMMIT_FAILURES: ("esa_commit_failures", "counter", "Commits that failed; their messages were deferred."),
    Counter.IN_SCAN: ("esa_in_scan", "gauge", "Messages waiting for or in a scan now."),
    Counter.IN_COMMIT: ("esa_in_commit", "gauge", "Messages waiting for or in a commit now."),
    Counter.DELIVERIES_SENT: ("esa_deliveries_sent", "counter", "Delivery attempts the next hop took."),
    Counter.DELIVERIES_DEFERRED: ("esa_deliveries_deferred", "counter", "Delivery attempts to be repeated."),
    Counter.DELIVERIES_FAILED: ("esa_deliveries_failed", "counter", "Delivery attempts that failed for good."),
    Counter.CONNECTIONS_REFUSED: ("esa_connections_refused", "counter", "Connections refused by host access."),
    Counter.HARVESTS_REFUSED: ("esa_harvests_refused", "counter", "Recipients of directory harvests, refused without a look at them."),
    Counter.PROCESS_RESTARTS: ("esa_process_restarts", "counter", "Processes started again after they died."),
    Counter.TLS_SESSIONS: ("esa_tls_sessions", "counter", "Connections that agreed on TLS."),
    Counter.GREYLISTED: ("esa_greylisted", "counter", "Recipients and messages that had to wait because of greylisting."),
    Counter.PIPELINING_VIOLATIONS: (
        "esa_pipelining_violations",
        "counter",
        "Connections whose client sent on where it had to wait for a reply.",
    ),
    Counter.DNS_QUESTIONS: ("esa_dns_questions", "counter", "Questions to name servers about connecting hosts."),
    Counter.DNS_CACHED: ("esa_dns_cached", "counter", "Answers of DNS lists that needed no question."),
    Counter.DNS_UNANSWERED: (
        "esa_dns_unanswered",
        "counter",
        "Questions about connecting hosts that had no answer in time, or none of use.",
    ),
    Counter.REPUTATION_ROWS: ("esa_reputation_rows", "gauge", "Histories of senders that are kept."),
    Counter.RECORDED: ("esa_messages_recorded", "counter", "Messages handed to the recorder."),
    Counter.RECORDER_LOST: ("esa_recorder_lost", "counter", "Messages that the recorder could not write; they went on all the same."),
}
_GAUGES = tuple(counter for counter, (_, kind, _) in DESCRIPTIONS.items() if kind == "gauge")


class Row:
    """The counters of one process. Only that process writes them."""

    def __init__(self, values: memoryview) -> None:
        self.values = values  # int64, one per Counter

    def add(self, counter: Counter, amount: int = 1) -> None:
        self.values[counter] += amount

    def set(self, counter: Counter, value: int) -> None:
        self.values[counter] = value

    def reset_gauges(self) -> None:
        """Forget what a former process in this row left open. Called by a process that takes the row over."""
        for gauge in _GAUGES:
            self.values[gauge] = 0


class Counters(Collector):
    """The mapped file of all rows. `create` makes it (the parent), `Counters(path)` opens it (children, tools).

    Raises StoreError if the file is none of ours or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError) as problem:
            raise StoreError(
                f"the counters cannot be opened: {problem}", where=str(path), mend="is esa serve running on this state?"
            ) from problem
        magic, rows, width = _HEADER.unpack_from(self._map) if len(self._map) >= _HEADER_SIZE else (b"", 0, 0)
        if magic != _MAGIC or len(self._map) != _HEADER_SIZE + rows * width * 8 or width < len(Counter):
            raise StoreError("this is no counters file of this version", where=str(path), mend="delete it while esa is stopped")
        self.rows, self._width = rows, width
        self._values = memoryview(self._map)[_HEADER_SIZE:].cast("q")

    @classmethod
    def create(cls, path: Path) -> Counters:
        """Make a fresh file of zeroes, replacing any old one at once (old processes keep theirs)."""
        width = len(Counter)
        working = path.with_suffix(".new")
        try:
            with open(os.open(working, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
                file.write(_HEADER.pack(_MAGIC, ROLES, width).ljust(_HEADER_SIZE + ROLES * width * 8, b"\0"))
            working.replace(path)
        except OSError as problem:
            raise StoreError(
                f"the counters cannot be made: {problem.strerror}", where=str(path), mend="give esa a writable state folder"
            ) from problem
        return cls(path)

    def row(self, number: int) -> Row:
        """Row `number` in [0, rows); raises IndexError outside."""
        if not 0 <= number < self.rows:
            raise IndexError(number)
        return Row(self._values[number * self._width : (number + 1) * self._width])

    def total(self, counter: Counter) -> int:
        return sum(self._values[counter :: self._width])

    def in_work(self) -> int:
        """Messages that the receivers scan or commit now, the one that is asked for among them."""
        return self.total(Counter.IN_SCAN) + self.total(Counter.IN_COMMIT) + 1

    def totals(self) -> dict[str, int]:
        return {DESCRIPTIONS[counter][0]: self.total(counter) for counter in Counter}

    def collect(self) -> Iterator[Metric]:
        """The totals as metric families (the collector protocol of prometheus_client)."""
        for counter, (name, kind, sentence) in DESCRIPTIONS.items():
            family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            yield family(name, sentence, value=self.total(counter))

    def describe(self) -> Iterator[Metric]:
        """Nothing: names are checked when collected."""
        return iter(())

    def prometheus_text(self, *others: Collector) -> bytes:
        """All totals, and what others collect, in the Prometheus text format 0.0.4."""
        registry = CollectorRegistry(auto_describe=False)
        for collector in (self, *others):
            registry.register(collector)
        return generate_latest(registry)
