"""Writes down what came of TLS, and sends domains the reports that they ask for (TLSRPT, RFC 8460). `deliver` runs it.

Results are counted all the time, for `esa tlsrpt`. Reports go out if the configuration says so: once for each day of UTC and domain, by
mail or to a web server, some time after the day is over; a domain asks for them in the TXT records of _smtp._tls.DOMAIN. Nothing here keeps mail from going:
what fails is told, and tried again.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from esa.engine.resolver import Outcome
from esa.errors import ConfigurationError, StoreError
from esa.gateway import events
from esa.gateway.delivery.tally import Tally, today
from esa.gateway.delivery.tls_report import (
    MEDIA_TYPE,
    Reporter,
    address_of,
    destinations,
    make_mail,
    make_report,
    packed,
    web_place_of,
)
from esa.gateway.events import Event as Log
from esa.gateway.peers import https
from esa.gateway.peers.answers import PeerResolver
from esa.gateway.peers.probe import Manner
from esa.message.envelope import Envelope, Session
from esa.store.identifier import new_identifier
from esa.store.record import Event, EventName, Record, Splinter
from esa.store.spool import Spool
from esa.store.tls_results import KEPT_DAYS, Reported, TlsResults

WRITER: Final = "reports"  # of the spool
FLUSH: Final = 30.0  # seconds between two writes
PAUSE: Final = 3_600.0  # seconds between two looks for days that are over; as much again by chance, so that not all report at midnight
DAY: Final = 86_400.0
POST_SECONDS: Final = 60.0  # for a web server to take a report
REPLY_LIMIT: Final = 64 << 10  # octets of what it says to that


class Reporting:
    """Owned by one event loop; its files belong to the deliver process."""

    def __init__(
        self,
        state: Path,
        tally: Tally,
        resolver: Callable[[], PeerResolver],
        reporter: Reporter,
        *,
        sends: bool,
        manner: Manner | None = None,
        port: int = https.HTTPS,
        is_allowed: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`resolver` raises ConfigurationError where there is none. `manner`, `port` and `is_allowed` are for places under https."""
        self._manner, self._port, self._is_allowed = manner or Manner(reporter.hostname), port, is_allowed
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
        """Send all reports of days before the one of `now`; how many places that are. Raises StoreError, ConfigurationError."""
        count = 0
        for day, domain in await asyncio.to_thread(self._due, today(now)):
            answer = await self._resolver().texts(f"_smtp._tls.{domain}")
            if answer.outcome is Outcome.FAILED:  # asked again the next time
                continue
            places = destinations(list(answer.values))
            addresses = list(dict.fromkeys(filter(None, map(address_of, places))))
            pages = list(dict.fromkeys(filter(None, map(web_place_of, places))))
            reached = []
            if addresses or pages:
                report = await asyncio.to_thread(self._make, day, domain)
                if addresses:
                    await asyncio.to_thread(self._mail, report, day, domain, addresses)
                    reached += addresses
                reached += [f"https://{host}{path}" for host, path in pages if await self._post(report, host, path, domain)]
            if reached:
                events.info(Log.TLS_REPORTED, domain=domain, day=day, to=" ".join(f"<{one}>" for one in reached))
            told = ", ".join(reached) or ("nobody whom it could be given to" if places else "nobody asked for it")
            if pages and not reached and not self._is_late(day, now):
                continue  # tried again the next time
            await asyncio.to_thread(self._done, Reported(day, domain, time.time(), told))
            count += len(reached)
        return count

    def _is_late(self, day: str, now: float | None) -> bool:
        """Whether it is too late to try again: a report of last week is of no use to anybody (RFC 8460 section 5.4: retry for 24 hours)."""
        return day < today((time.time() if now is None else now) - 2 * DAY)

    def _make(self, day: str, domain: str) -> dict[str, object]:
        with self._using() as results:
            return make_report(day, domain, results.of(day, domain), self._reporter)

    async def _post(self, report: Mapping[str, object], host: str, path: str, domain: str) -> bool:
        """Hand a report to a web server (section 5.4); whether it took it."""
        request = https.post(host, path, MEDIA_TYPE, packed(report))
        try:
            async with asyncio.timeout(POST_SECONDS):
                reply = await https.ask(
                    self._resolver(), host, request, manner=self._manner, port=self._port, limit=REPLY_LIMIT, is_allowed=self._is_allowed
                )
            reason = "" if 200 <= reply.status < 300 else f"{host} answers {reply.status}"
        except TimeoutError:
            reason = f"{host} did not answer within {POST_SECONDS:g} s"
        except (https.HttpsError, OSError, ValueError) as error:
            reason = str(error)
        if reason:
            events.warning(Log.TLS_REPORT_FAILED, domain=domain, reason=reason)
        return not reason

    def _mail(self, report: Mapping[str, object], day: str, domain: str, addresses: list[str]) -> None:
        """Put the report into the spool, from where it goes as all mail does, signed if there is a key for its author."""
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
