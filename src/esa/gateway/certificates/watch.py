"""Watching the ends of the certificates in use: a line in the log at each step of `findings.WARNED_AT`, and a gauge. The parent process runs it.

Each step is told once per certificate and start. The chain counts whole: an intermediate certificate that ends takes the server's with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric

from esa.gateway import events
from esa.gateway.events import Event as Log

SECONDS = 3600.0  # between looks: a step is told at most that late
EXPIRED = -1  # the step past the end
URGENT = 1  # days; from there on somebody should act now


class Watch:
    """`chains` gives the files in use now, which a reload may change. One that cannot be read is left to those who serve with it."""

    def __init__(self, chains: Callable[[], Sequence[str]]) -> None:
        self._chains = chains
        self._told: dict[str, tuple[int, int]] = {}  # by file: serial number of the certificate, and the step that was told of it
        self._ends: dict[str, float] = {}  # by file: Unix time

    async def run(self) -> None:
        """Look now, and then every hour, for ever."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(SECONDS)

    def look(self) -> None:
        """Read the files, and tell what is to be told. It imports what reads certificates only if there are some."""
        chains = self._chains()
        ends: dict[str, float] = {}
        for chain in chains:
            if (end := self._look_at(chain)) is not None:
                ends[chain] = end
        self._ends = ends

    def _look_at(self, chain: str) -> float | None:
        from esa.gateway.certificates.facts import days_left, name_text
        from esa.gateway.certificates.files import CertificateError, read
        from esa.gateway.certificates.findings import ACT_AT, warned_at

        try:
            certificates = read(Path(chain)).certificates
        except CertificateError:
            return None
        if not certificates:
            return None
        first = min(certificates, key=lambda one: one.not_valid_after_utc)
        left = days_left(first, datetime.now(UTC))
        step = EXPIRED if left < 0 else warned_at(left, (first.not_valid_after_utc - first.not_valid_before_utc).days)
        if step is not None and self._told.get(chain) != (first.serial_number, step):
            self._told[chain] = first.serial_number, step
            tell = events.error if step <= URGENT else events.warning if step <= ACT_AT else events.info
            event = Log.CERTIFICATE_EXPIRED if step == EXPIRED else Log.CERTIFICATE_EXPIRING
            tell(event, certificate=chain, name=name_text(first.subject), end=first.not_valid_after_utc.isoformat(), days_left=left)
        return first.not_valid_after_utc.timestamp()

    def collect(self) -> Iterator[Metric]:
        """The ends as a gauge, with the file as its label (the collector protocol of prometheus_client)."""
        family = GaugeMetricFamily(
            "esa_certificate_end_timestamp_seconds", "When the first certificate of a chain ends, Unix time.", labels=["certificate"]
        )
        for chain, end in self._ends.items():
            family.add_metric([chain], end)
        yield family

    def describe(self) -> Iterator[Metric]:
        """Nothing: names are checked when collected."""
        return iter(())
