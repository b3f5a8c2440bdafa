"""What the receive route hands to the recorder: one record of each message that came to a scan, after its reply.

One `Recording` for each worker. Promises: no reply waits for it, no message fails because of it, the disk is touched on a thread of its own only. While the
disk is full or failing nothing is recorded; that is told once, and once again when it goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from esa import __version__
from esa.config.schema import Configuration
from esa.engine.check import Term
from esa.engine.checks.dictionaries import Dictionaries
from esa.engine.scanner import Scanner
from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.gateway.metrics import Counter, Row
from esa.gateway.records import scores_of
from esa.policy.content_filter import Rules
from esa.policy.disposition import Action, Disposition, Plan
from esa.policy.filters.note import Note
from esa.policy.view import CHECK, COUNTS, DICTIONARIES
from esa.store.dictionary_hits import terms_told
from esa.store.recorded import CONTENT_FILTERS, MESSAGE_FILTERS, Fate, Found, Heard, Program
from esa.store.recorder_folder import FOLDER
from esa.store.recorder_line import DISPOSITION, ENVELOPE, SESSION, Beside, Column, beside
from esa.store.recorder_writer import Limits, Recorder
from esa_core import FACT_SPACE
from esa_core._header_lines import header_fields

if TYPE_CHECKING:
    from esa.engine.verdict import Report
    from esa.gateway.mail_in_work import Arrival

BUSY_SECONDS, IDLE_SECONDS = 1.0, 5.0  # between two flushes, while messages come and while none do
CONTENT_LIMIT = 1 << 20  # octets; a longer message came as a file, and is not recorded with its content
FINGERPRINT_OCTETS = 64 << 10  # of a message that its digest is made of: all of nearly every message, and never a wait
AUTHORS_KEPT = 4  # From and Reply-To fields; more than one of each is an attack, and what it does shows with two
FIELD_LIMIT = 1_000  # octets of such a field
TERMS_KEPT = 1_000  # terms of filters; more in one message is one that is made of them
FAILURE_SECONDS = 60.0  # a fault of ours is told so often
AUTHORS = (b"from", b"reply-to")
ARRIVED: Sequence[Column] = (
    *("id", SESSION, ENVELOPE, ("reply", ("code", "enhanced")), "is_outgoing", "is_checked"),
    ("visit", ("match.group", "match.because", "match.policy.name", ("sender", ("reputation", "names", "reverse", "listed")))),
    *("verdict", ("report", ("score", "logit", "flags", "summary")), "told_reasons", "subject", "greylist"),
    ("plan", (("splinters[]", DISPOSITION), ("refusals[]", DISPOSITION))),
    *("transaction.entries", "transaction.groups.groups"),
)  # where an `Arrival` has what a line of the recorder has


def program_of(configuration: Configuration, scanner: Scanner, rules: Rules | None, groups: Iterable[str] = ()) -> Program:
    """What messages are judged by. `groups`: of directories, those that rules ask about."""
    terms: tuple[Term, ...] = ()
    dictionaries: dict[str, str] = {}
    for check in scanner.checks:
        if check.name == CHECK:
            terms = tuple(check.terms)
        elif isinstance(check, Dictionaries):
            dictionaries = check.entries.digests()
    filters: dict[str, Note] = {}
    if rules is not None:
        filters = {f"{MESSAGE_FILTERS}/{name}": note for name, note in rules.notes.items()}
        for policy in configuration.mail_policy:
            chain = rules.content(policy.content_filters)
            filters |= {} if chain is None else {f"{CONTENT_FILTERS}/{policy.name}/{name}": note for name, note in chain.notes.items()}
    return Program(terms, dictionaries, tuple(sorted(groups)), filters, scanner.model.digest)


def open_recording(
    configuration: Configuration,
    scanner: Scanner,
    rules: Rules | None,
    *,
    groups: Iterable[str],
    writer: str,
    loop: asyncio.AbstractEventLoop,
    row: Row,
) -> Recording | None:
    """The recording of one worker; None where nothing is recorded. A recorder that cannot be opened is told, and mail goes on without."""
    given = configuration.recorder
    if not given.enabled:
        return None
    limits = Limits(
        messages=given.max_messages,
        octets=given.max_size,
        age=given.retention,
        content_octets=given.content_max_size,
        content_age=given.content_retention,
        writers=configuration.gateway.workers,
    )
    program = program_of(configuration, scanner, rules, groups)
    about = {"version": __version__, "hostname": configuration.gateway.hostname, "facts": FACT_SPACE}
    try:
        recorder = Recorder(
            configuration.state / FOLDER,
            limits,
            writer=writer,
            program=program,
            about=about,
            with_contents=given.record_content,
            columns=ARRIVED,
        )
    except StoreError as fault:
        events.warning(Log.RECORDER_STOPPED, reason=str(fault), consequence="this process records nothing until it is started again")
        return None
    return Recording(recorder, program, loop=loop, row=row, contents=given.record_content)


class Recording:
    """Takes records on the loop, and has them written."""

    def __init__(self, recorder: Recorder, program: Program, *, loop: asyncio.AbstractEventLoop, row: Row, contents: bool = False) -> None:
        self._recorder, self._program, self._loop, self._row, self._contents = recorder, program, loop, row, contents
        self._thread = ThreadPoolExecutor(1, "recorder")
        self._is_closed = False
        self._taken = self._lost = self._untold_from = 0
        self._told_until = 0.0
        self._is_told = False  # that nothing is recorded
        self._timer = loop.call_later(BUSY_SECONDS, self._flush)

    def add(self, arrival: Arrival, fate: Fate, reason: str = "") -> None:
        """Record a message that was scanned and answered. Its content is still there, if it came in memory."""
        if arrival.report is None or self._is_closed:
            return
        content = None
        try:
            if self._contents and type(arrival.content) is bytes and len(arrival.content) <= CONTENT_LIMIT:
                content = arrival.content or None
            self._recorder.put(arrival, beside_of(arrival, fate, reason, self._program), arrival.id, content)
        except Exception as error:
            self._row.add(Counter.RECORDER_LOST)
            if (now := time.monotonic()) >= self._told_until:
                self._told_until = now + FAILURE_SECONDS
                events.error(Log.RECORDER_FAILED, cause=error, id=arrival.id)

    def _flush(self) -> None:
        future = self._loop.run_in_executor(self._thread, self._recorder.flush)
        future.add_done_callback(self._flushed)

    def _flushed(self, future: asyncio.Future[None]) -> None:
        if self._is_closed:
            return
        if (error := future.exception()) is not None and (now := time.monotonic()) >= self._told_until:
            self._told_until = now + FAILURE_SECONDS
            events.error(Log.RECORDER_FAILED, cause=error)
        is_busy = self._tell()
        self._timer = self._loop.call_later(BUSY_SECONDS if is_busy else IDLE_SECONDS, self._flush)

    def _tell(self) -> bool:
        """Count and tell what became of what there was; whether there was anything."""
        recorder = self._recorder
        taken, lost = recorder.taken - self._taken, recorder.lost - self._lost
        self._taken += taken
        self._row.add(Counter.RECORDED, taken)
        self._row.add(Counter.RECORDER_LOST, lost)
        if recorder.fault is not None and not self._is_told:
            self._is_told, self._untold_from = True, self._lost
            events.warning(
                Log.RECORDER_STOPPED,
                reason=str(recorder.fault),
                consequence="mail goes on and is not recorded until that is over",
            )
        elif recorder.fault is None and self._is_told:
            self._is_told = False
            events.info(Log.RECORDER_RESUMED, lost=recorder.lost - self._untold_from)
        self._lost += lost
        return taken + lost > 0

    async def close(self) -> None:
        """Write what waits, and close."""
        self._is_closed = True
        self._timer.cancel()
        await self._loop.run_in_executor(self._thread, self._recorder.close)
        self._tell()
        self._thread.shutdown(wait=False)


def beside_of(arrival: Arrival, fate: Fate, reason: str, program: Program) -> Beside:
    """What is recorded of a message that was scanned and answered, beside the columns of `ARRIVED`."""
    report, plan = arrival.report, arrival.plan
    assert report is not None
    checks = report.checks
    authors = header_fields(arrival.content or arrival.head, AUTHORS, end=len(arrival.head), most=AUTHORS_KEPT, longest=FIELD_LIMIT)
    if (
        fate == "accepted"
        and plan.has_no_outcome
        and plan.splinters[0].action is Action.DELIVER
        and DICTIONARIES not in checks
        and CHECK not in checks
    ):
        return fate, reason, None, (), (), "", authors.decode("latin-1")  # most mail
    dispositions = plan.splinters or plan.refusals
    is_kept = fate == "accepted" and any(one.keeps_content for one in dispositions)
    return beside(
        fate,
        reason,
        dictionaries=_found(report) if DICTIONARIES in checks else None,
        terms=_heard(report, program) if CHECK in checks else None,
        hits=_hits(plan, dispositions),
        fingerprint="" if is_kept or not arrival.content else hashlib.sha256(arrival.content[:FINGERPRINT_OCTETS]).hexdigest(),
        authors=authors.decode("latin-1"),
    )


def _found(report: Report) -> dict[str, Found]:
    """What of dictionaries stood in a message."""
    told = terms_told(report)
    return {name: Found(score, told.get(name, {})) for name, score in scores_of(report).items()}


def _heard(report: Report, program: Program) -> Heard:
    counts: Mapping[int, int] = report.checks[CHECK][COUNTS]  # type: ignore[assignment]
    return Heard(
        program, counts if len(counts) <= TERMS_KEPT else dict(islice(counts.items(), TERMS_KEPT)), is_whole=len(counts) <= TERMS_KEPT
    )


def _hits(plan: Plan, dispositions: Sequence[Disposition]) -> tuple[str, ...]:
    """The filters that acted, each once."""
    found = [f"{MESSAGE_FILTERS}/{step.filter}" for step in plan.messages.trail] if plan.messages is not None else []
    for one in dispositions:
        if one.outcome is not None:
            found += [f"{CONTENT_FILTERS}/{step.filter}" for step in one.outcome.trail]
    return tuple(dict.fromkeys(found)) if found else ()
