"""Writes down what came of TLS, and sends domains the reports that they ask for (TLSRPT, RFC 8460). `deliver` runs it.

Results are counted all the time, for `esa tlsrpt`. Reports go out if the configuration says so: once for each day of UTC and domain, by
mail, some time after the day is over; a domain asks for them in the TXT records of _smtp._tls.DOMAIN. Nothing here keeps mail from going:
what fails is told, and tried again.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from esa.engine.resolver import Outcome
from esa.errors import ConfigurationError, StoreError
from esa.gateway import events
from esa.gateway.delivery.tally import Tally, today
from esa.gateway.delivery.tls_report import Reporter, address_of, destinations, make_mail, make_report
from esa.gateway.events import Event as Log
from esa.gateway.peers.dns import PeerResolver
from esa.message.envelope import Envelope, Session
from esa.store.identifier import new_identifier
from esa.store.record import Event, EventName, Record, Splinter
from esa.store.spool import Spool
from esa.store.tls_results import KEPT_DAYS, Reported, TlsResults

WRITER: Final = "reports"  # of the spool
FLUSH: Final = 30.0  # seconds between two writes
PAUSE: Final = 3_600.0  # seconds between two looks for days that are over; as much again by chance, so that not all report at midnight
DAY: Final = 86_400.0


class Reporting:
    """Owned by one event loop; its files belong to the deliver process."""

    def __init__(self, state: Path, tally: Tally, resolver: Callable[[], PeerResolver], reporter: Reporter, *, sends: bool) -> None:
        """`resolver` raises ConfigurationError where there is none."""
        self._state, self._tally, self._resolver, self._reporter, self._sends = state, tally, resolver, reporter, sends
        self._results: TlsResults | None = None
        self._turn = threading.Lock()  # one thread at a time uses the file

    async def run(self) -> None:
        """Until cancelled. Raises nothing else."""
        next_report = time.monotonic() + random.random() * PAUSE  # noqa: S311 (spreads work, hides nothing)
        while True:
            await asyncio.sleep(FLUSH)
            try:
                await asyncio.to_thread(self.flush)
                if self._sends and time.monotonic() >= next_report:
                    next_report = time.monotonic() + (1 + random.random()) * PAUSE  # noqa: S311
                    await self.send()
            except (StoreError, ConfigurationError) as fault:
                events.error(Log.PROCESS_FAILED, reason=str(fault), consequence="results of TLS are not reported just now")

    def flush(self, now: float | None = None) -> None:
        """Write what was counted. Raises StoreError, and then it is lost."""
        if counts := self._tally.take():
            with self._using() as results:
                results.add(counts, since=today((time.time() if now is None else now) - KEPT_DAYS * DAY))

    @contextmanager
    def _using(self) -> Iterator[TlsResults]:
        with self._turn:
            if self._results is None:
                self._results = TlsResults(self._state)
            yield self._results

    def _due(self, before: str) -> list[tuple[str, str]]:
        with self._using() as results:
            return results.due(before)

    def _done(self, report: Reported) -> None:
        with self._using() as results:
            results.reported(report)

    async def send(self, now: float | None = None) -> int:
        """Send all reports of days before the one of `now`; how many mails that are. Raises StoreError, ConfigurationError."""
        count = 0
        for day, domain in await asyncio.to_thread(self._due, today(now)):
            answer = await self._resolver().texts(f"_smtp._tls.{domain}")
            if answer.outcome is Outcome.FAILED:  # asked again the next time
                continue
            places = destinations(list(answer.values))
            addresses = list(dict.fromkeys(filter(None, map(address_of, places))))
            if addresses:
                await asyncio.to_thread(self._mail, day, domain, addresses)
                events.info(Log.TLS_REPORTED, domain=domain, day=day, to=" ".join(f"<{one}>" for one in addresses))
            told = ", ".join(addresses) or ("over HTTPS only, which is not spoken" if places else "nobody asked for it")
            await asyncio.to_thread(self._done, Reported(day, domain, time.time(), told))
            count += len(addresses)
        return count

    def _mail(self, day: str, domain: str, addresses: list[str]) -> None:
        """Put the report into the spool, from where it goes as all mail does, signed if there is a key for its author."""
        with self._using() as results:
            report = make_report(day, domain, results.of(day, domain), self._reporter)
        now = time.time()
        records = []
        for address in addresses:
            identifier = new_identifier()
            content = make_mail(report, day=day, domain=domain, to=address, reporter=self._reporter, identifier=identifier)
            told = {"subject": f"Report Domain: {domain}", "verdict": "clean", "score": 0.0, "reply": "", "copy_of": "report on TLS"}
            records.append(
                Record(
                    id=identifier,
                    envelope=Envelope(self._reporter.contact, (address,), len(content)),
                    session=Session(protocol="local", received_at=now),
                    splinters=(Splinter((address,), "deliver", "report on TLS", signs=True),),
                    events=(Event(EventName.ACCEPTED, now, told),),
                    content=content,
                    size=len(content),
                )
            )
        with Spool(self._state / "spool", WRITER) as spool:
            spool.append(records)

    def close(self) -> None:
        """Write what is left."""
        try:
            self.flush()
        except StoreError as fault:
            events.error(Log.PROCESS_FAILED, reason=str(fault), consequence="results of TLS are lost")
        with self._turn:
            if self._results is not None:
                self._results.close()
