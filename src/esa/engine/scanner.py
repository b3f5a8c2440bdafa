"""The scanner: batches of raw messages in, a Report each out. The library, the command line, the gateway and every other door call it.

One native call scans a whole batch without the GIL (parse, decode, fold, facts, score, and the terms of all checks in one program); then
each check that listens for nothing, or for a term that stands there, examines its messages. Equal bytes, model and dictionaries give equal
reports, whatever the size of the batch and the number of threads. A scanner may be shared by threads, and its dictionaries renewed meanwhile.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, overload

from esa.engine.check import Check, Evidence, Finding, Materials, Watching, build
from esa.engine.dictionary import Dictionary
from esa.engine.judge import native_engine
from esa.engine.listening import Listening
from esa.engine.lookup import Lookup
from esa.engine.model import DEFAULT_MODEL, Model
from esa.engine.verdict import Reason, Reasons, Report, Summary, Verdict, families_of, score_of
from esa.message.content import Message
from esa.message.envelope import Envelope, Session
from esa_core import Engine, flag_names

if TYPE_CHECKING:
    from typing_extensions import Buffer

BATCH_MESSAGES = 256  # past some tens of messages a batch is no faster (flat from 4 up); this bounds the wait for the first report
BATCH_OCTETS = 8 << 20  # and this the memory that one batch keeps alive
INLINE_OCTETS = 16 << 10  # below it a scan takes less time (under 200 µs) than handing it to another thread

PRIOR_LOGIT = -0.6190392084062235  # log-odds of the shipped prior, 35 % unwanted: the score where no check judges


class _Reasons(Reasons):
    """The reasons of all findings of a message by falling size; sorted on first use, so that a scan pays nothing for what nobody reads."""

    __slots__ = ("_parts", "_sorted")

    def __init__(self, parts: tuple[Sequence[Reason], ...]) -> None:
        self._parts = parts
        self._sorted: Sequence[Reason] | None = None

    def _all(self) -> Sequence[Reason]:
        if self._sorted is None:
            found = [part for part in self._parts if not isinstance(part, tuple) or part]
            if len(found) == 1:  # a check gives its own in that order
                self._sorted = found[0]
                return self._sorted
            self._sorted = tuple(sorted((reason for part in found for reason in part), key=lambda reason: -abs(reason.contribution)))
            self._parts = ()
        return self._sorted

    def families(self) -> dict[str, float]:
        summed = [part for part in self._parts if type(part) is not tuple or part]
        if len(summed) == 1 and isinstance(summed[0], Reasons):  # most mail
            return summed[0].families()
        return families_of(self._all())

    def summary(self) -> Summary:
        told: Reasons | None = None
        for part in self._parts:
            if type(part) is tuple and not part:
                continue
            if told is not None or not isinstance(part, Reasons):
                return super().summary()
            told = part
        return super().summary() if told is None else told.summary()

    def fact_row(self) -> bytes:
        for part in self._parts:
            if type(part) is not tuple and isinstance(part, Reasons):
                return part.fact_row()
        return b""

    @overload
    def __getitem__(self, index: int) -> Reason: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Reason]: ...
    def __getitem__(self, index: int | slice) -> Reason | Sequence[Reason]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[Reason]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return tuple(self._all()) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._all()))

    def __repr__(self) -> str:
        return repr(tuple(self._all()))


class _Compiled(NamedTuple):
    """All that a scan reads, so that one assignment changes it whole."""

    listening: Listening
    always: tuple[Check, ...]
    unheard: Mapping[Check, Mapping[int, int]]  # checks that examine messages in which none of their terms stands
    engine: Engine
    judges: bool
    lookup: Lookup


class Scanner:
    """Scans messages with one model, one set of checks and one set of dictionaries.

    `model` is a loaded Model, the path of a model file, or None for the bundled one; `checks` are names of checks or checks themselves,
    None for all that are installed; `dictionaries` are matched in every message. `compiled`, in the place of dictionaries, is a file that `save`
    wrote in this or another process: it is mapped, not read. Raises ModelError and ConfigurationError.
    """

    def __init__(
        self,
        *,
        model: Model | str | Path | None = None,
        checks: Sequence[str | Check] | None = None,
        dictionaries: Iterable[Dictionary] = (),
        compiled: Path | None = None,
    ) -> None:
        self.model: Model = model if isinstance(model, Model) else Model.load(DEFAULT_MODEL if model is None else Path(model))
        self._chosen = checks
        self.renew(dictionaries, compiled=compiled)

    def renew(self, dictionaries: Iterable[Dictionary] = (), *, compiled: Path | None = None) -> None:
        """Compile other dictionaries, or map a file of compiled ones, then take them. Scans that run meanwhile end with those they began with;
        none waits or is lost.

        Raises ConfigurationError, and keeps what it had.
        """
        if compiled is None:
            listening = Listening.to(build(self._chosen, Materials(self.model, tuple(dictionaries))))
        else:
            listening = Listening.load(compiled, lambda saved: build(self._chosen, Materials(self.model, saved=saved)))
        self._compiled = _Compiled(
            listening,
            tuple(check for check in listening.checks if not check.terms),
            {check: {} for check in listening.checks if check.terms and isinstance(check, Watching) and check.examines_all},
            native_engine(self.model, None if listening.program is None else listening.program.native),
            any(check.name == "spam" for check in listening.checks),
            Lookup(listening),
        )

    def save(self, path: Path) -> None:
        """Write the compiled dictionaries to a file, whole or not at all, for `compiled`. Raises OSError."""
        self._compiled.listening.save(path)

    @property
    def lookup(self) -> Lookup:
        """The dictionaries as they are now, for what stands outside of messages: addresses, names, networks, hashes."""
        return self._compiled.lookup

    @property
    def checks(self) -> tuple[Check, ...]:
        return self._compiled.listening.checks

    def scan(self, raw: Buffer, *, session: Session | None = None, envelope: Envelope | None = None) -> Report:
        """Scan one message. Odd content is a flag in the report, never an exception."""
        return self.scan_batch((raw,), sessions=(session,), envelopes=(envelope,))[0]

    def scan_many(self, raws: Iterable[Buffer]) -> Iterator[Report]:
        """Scan messages in batches of at most 256 and about 8 MiB; reports come in the order of the messages."""
        batch: list[Buffer] = []
        octets = 0
        for raw in raws:
            batch.append(raw)
            octets += len(raw) if isinstance(raw, bytes) else memoryview(raw).nbytes
            if len(batch) >= BATCH_MESSAGES or octets >= BATCH_OCTETS:
                yield from self.scan_batch(batch)
                batch, octets = [], 0
        if batch:
            yield from self.scan_batch(batch)

    async def scan_async(self, raw: Buffer, *, session: Session | None = None, envelope: Envelope | None = None) -> Report:
        """Scan one message without holding up the event loop: a short one at once, a long one in a thread."""
        if memoryview(raw).nbytes <= INLINE_OCTETS:
            return self.scan(raw, session=session, envelope=envelope)
        import asyncio  # whoever awaits has it already; whoever does not should not load it

        return await asyncio.to_thread(self.scan, raw, session=session, envelope=envelope)

    def scan_batch(
        self,
        raws: Sequence[Buffer],
        *,
        sessions: Sequence[Session | None] | None = None,
        envelopes: Sequence[Envelope | None] | None = None,
    ) -> list[Report]:
        """Scan all of `raws` in one native call; `sessions` and `envelopes`, if given, go with them one to one."""
        compiled = self._compiled  # one reading: another thread may renew it
        program = compiled.listening.program
        batch = compiled.engine.scan(raws)
        logits, flags, micros = batch.logits.tolist(), batch.flags.tolist(), batch.micros.tolist()
        starts = batch.match_starts.tolist()
        reports = []
        for row, raw in enumerate(raws):
            message = Message(raw)
            names = _flags(flags[row])
            heard = compiled.unheard
            is_capped = False
            if program is not None and program.may_stand(batch, row, starts):
                is_capped = "too_many_matches" in names
                counts, more = program.counts(batch, row, message, is_capped=is_capped)
                heard = {**heard, **compiled.listening.heard(counts)} if heard else compiled.listening.heard(counts)
                names += more
            evidence = Evidence(
                message,
                batch,
                row,
                logits[row],
                sessions[row] if sessions else None,
                envelopes[row] if envelopes else None,
            )
            reports.append(_report(compiled, _examine(compiled, evidence, heard, is_capped), names, micros[row]))
        return reports


def _examine(compiled: _Compiled, evidence: Evidence, heard: Mapping[Check, Mapping[int, int]], is_capped: bool) -> dict[str, Finding]:
    found: dict[str, Finding] = {}
    for check in compiled.always:
        finding = check.examine(evidence)
        if finding is not None:
            found[check.name] = finding
    for check, matches in heard.items():
        where = functools.partial(
            compiled.listening.where, check, matches, evidence.batch, evidence.row, evidence.message, is_capped=is_capped
        )
        finding = check.examine(evidence._replace(matches=matches, where=where))
        if finding is not None:
            found[check.name] = finding
    return found


def _report(compiled: _Compiled, findings: Mapping[str, Finding], flags: tuple[str, ...], micros: float) -> Report:
    parts = [finding.reasons for finding in findings.values()]
    logit = 0.0
    if not compiled.judges:
        parts.append((Reason("prior", "prior", PRIOR_LOGIT),))
        logit = PRIOR_LOGIT
    for finding in findings.values():
        logit += finding.logit
    score = score_of(logit)
    facts = {name: finding.facts for name, finding in findings.items()}
    return Report(Verdict.at(score), score, logit, _Reasons(tuple(parts)), flags, facts, micros)


_flags = functools.lru_cache(maxsize=1024)(flag_names)  # few combinations occur


@functools.cache
def _bundled() -> Scanner:
    return Scanner()


def scan(raw: Buffer) -> Report:
    """Scan one message with the bundled model: offline, no configuration, no disk but for loading the model once."""
    return _bundled().scan(raw)


def scan_many(raws: Iterable[Buffer]) -> Iterator[Report]:
    """Scan many messages with the bundled model, in batches; the order is kept."""
    return _bundled().scan_many(raws)


async def scan_async(raw: Buffer, *, session: Session | None = None, envelope: Envelope | None = None) -> Report:
    """Scan one message with the bundled model without holding up the event loop."""
    return await _bundled().scan_async(raw, session=session, envelope=envelope)
