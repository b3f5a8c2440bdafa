"""What the recorder keeps of a message, and how it is read back: for audits, rehearsals of a configuration, and learning.

`recordings(folder)` gives all there is, oldest first. Written by `recorder_writer`, in files that `recorder_folder` names. A record may be lost: nothing that
must be right may rest upon it. On disk a record is one line of JSON, a list in the order of `_values`.
"""

from __future__ import annotations

import base64
import heapq
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pydantic_core import PydanticSerializationError, from_json, to_json

from esa.engine.check import Term
from esa.message.author import mailbox_of
from esa.message.envelope import Envelope, Session
from esa.policy.filters.note import Note
from esa.store.recorder_folder import CONTENT, Contents, Segment, frames_of, program_of, segments_of, size_of, writers_of

Fate = Literal["accepted", "refused", "deferred", "greylisted"]
MESSAGE_FILTERS, CONTENT_FILTERS = "message filters", "content filters"  # stages in `hits` and `Program.filters`
_FATES: tuple[Fate, ...] = get_args(Fate)


@dataclass(frozen=True)
class Program:
    """What messages were judged by: the terms of all filters, dictionaries by name with the digest of their entries, groups, filters, model.

    A term that stands in `terms` and not in `Recorded.terms` did not stand in the message; of one that stands in neither nothing is known.
    """

    terms: tuple[Term, ...] = ()
    dictionaries: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()  # of directories
    filters: Mapping[str, Note] = field(
        default_factory=dict
    )  # "message filters/NAME", "content filters/POLICY/NAME", in the order that they run in
    model: str = ""  # digest of the model
    is_known: bool = True  # False: its file is gone

    def to_octets(self) -> bytes:
        """As JSON; `from_octets` undoes it."""
        terms = [[term.text, term.whole_word, term.kind, term.case, sorted(term.regions)] for term in self.terms]
        kept = {
            "terms": terms,
            "dictionaries": dict(self.dictionaries),
            "groups": self.groups,
            "filters": dict(self.filters),
            "model": self.model,
        }
        return json.dumps(kept).encode()

    @classmethod
    def from_octets(cls, octets: bytes) -> Program:
        """Raises ValueError for what `to_octets` does not write."""
        try:
            document = json.loads(octets)
            terms = tuple(Term(text, word, kind, case, frozenset(regions)) for text, word, kind, case, regions in document["terms"])
            filters = {key: Note(*note) for key, note in document["filters"].items()}
            return cls(terms, dict(document["dictionaries"]), tuple(document["groups"]), filters, str(document["model"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no program: {error!r}") from error


UNKNOWN = Program(is_known=False)


class Heard(Mapping[Term, int]):
    """Terms of filters that stood in a message, and how often. `counts` is the same by number of the term in `program`.

    Where it `is_whole`, other terms of the program did not stand there.
    """

    __slots__ = ("counts", "is_whole", "program")

    def __init__(self, program: Program, counts: Mapping[int, int], *, is_whole: bool = True) -> None:
        self.program, self.counts, self.is_whole = program, counts, is_whole

    def __getitem__(self, term: Term) -> int:
        for number, times in self.counts.items():
            if self.program.terms[number] == term:
                return times
        raise KeyError(term)

    def __iter__(self) -> Iterator[Term]:
        return (self.program.terms[number] for number in self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        return repr(dict(self))


NOTHING_HEARD = Heard(Program(), {})


class Found(NamedTuple):
    """What of a dictionary stood in a message: its score, and its entries with how often, at most TERMS_TOLD over all dictionaries."""

    score: int
    terms: Mapping[str, int]


class Held(NamedTuple):
    """What a mail policy decided for some recipients."""

    policy: str
    recipients: tuple[str, ...]
    action: str  # deliver, quarantine, drop, refuse, defer
    reason: str


class Recorded(NamedTuple):  # and no dataclass: one is made a message, and a frozen dataclass of so many fields costs ten microseconds
    """One message as it was received, judged and decided. Refused connections and refused recipients are no messages: tracking has them."""

    id: str
    session: Session
    envelope: Envelope
    fate: Fate
    answer: str  # code and enhanced code of the reply to the mail data
    reason: str = ""  # why it was refused or deferred
    is_outgoing: bool = False
    spam_check: bool = True  # whether its score counted, by the mail flow policy
    sender_group: str = ""
    because: str = ""  # the HAT entry
    mail_flow_policy: str = ""
    reputation: float | None = None
    names: tuple[str, ...] = ()  # verified names of the client
    reverse: str | None = None  # how looking for them ended (ReverseDns); None: not asked
    listed: tuple[str, ...] = ()  # zones of DNS lists that name the client, of those that were asked
    score: float = 0.0
    logit: float = 0.0
    verdict: str = "clean"  # the gravest of its policies'
    families: Mapping[str, float] = {}  # log-odds
    reasons: tuple[tuple[str, float], ...] = ()  # the heaviest: name and log-odds
    flags: tuple[str, ...] = ()
    subject: str = ""  # decoded, its first SUBJECT_LENGTH characters
    author: str = ""  # mailbox of From, lower case
    reply_to: str = ""
    dictionaries: Mapping[str, Found] = {}
    terms: Heard = NOTHING_HEARD
    policies: tuple[Held, ...] = ()
    hits: tuple[str, ...] = ()  # what acted: "message filters/NAME", "content filters/NAME"
    entries: tuple[str, ...] = ()  # the RAT entry of each recipient, in the order of the envelope; empty: not known
    groups: Mapping[str, tuple[str, ...]] = {}  # of directories, by address, as far as rules asked
    greylist: str = ""
    fingerprint: str = ""  # SHA-256 of its first FINGERPRINT_OCTETS, of a message that was not kept
    fact_row: bytes = b""  # facts that are not zero, as `Report.fact_row` has them
    content: bytes | None = None  # as it came; None: not recorded, over the limit, no longer kept, or without the key

    @property
    def received_at(self) -> float:
        """Unix seconds, end of the mail data."""
        return self.session.received_at

    @property
    def size(self) -> int:
        """Octets of the mail data."""
        return self.envelope.size

    @property
    def recipient_entries(self) -> dict[str, str]:
        """The RAT entry by recipient; empty: not known."""
        return dict(zip(self.envelope.recipients, self.entries, strict=False))

    @property
    def remote_host(self) -> str:
        return self.names[0] if self.names else ""

    @property
    def facts(self) -> dict[int, float]:
        """The facts that the model judged by and that are not zero, by number in `esa_core.FACT_NAMES`."""
        return dict(struct.iter_unpack("<Bf", self.fact_row))

    @property
    def program(self) -> Program:
        """What filters and dictionaries listened for then."""
        return self.terms.program


def encode(recorded: Recorded, *, has_content: bool = False, authors: bytes = b"") -> bytes:
    """One line, with its line feed. Lossless for every text, lone surrogates too.

    `authors`: the From and Reply-To fields as they stand; `decode` reads `author` and `reply_to` there, which costs whoever records nothing.
    """
    counts: list[int] = []
    for pair in recorded.terms.counts.items():
        counts += pair
    if not recorded.terms.is_whole:
        counts.append(0)
    everyone = recorded.envelope.recipients
    values = [
        recorded.id,
        recorded.session.to_list(),
        recorded.envelope.to_list(),
        _FATES.index(recorded.fate),
        *recorded[4:19],
        list(chain.from_iterable(recorded.reasons)),
        *recorded[20:24],
        recorded.dictionaries,
        counts,
        [(one.policy, None if one.recipients == everyone else one.recipients, one.action, one.reason) for one in recorded.policies],
        *recorded[27:33],
        has_content,
        authors.decode("latin-1"),
    ]
    try:
        return to_json(values, bytes_mode="base64") + b"\n"
    except PydanticSerializationError:  # lone surrogates: octets that are no UTF-8
        return json.dumps(values, separators=(",", ":"), default=_plain).encode("ascii") + b"\n"


def _plain(value: object) -> object:
    return base64.urlsafe_b64encode(value).decode() if isinstance(value, bytes) else dict(value)  # type: ignore[call-overload]


def decode(line: bytes, program: Program) -> tuple[Recorded, bool]:
    """Undo `encode`; the content is not there, but whether there was any. Raises ValueError for what it does not write."""
    try:
        values: list[Any] = from_json(line)
    except ValueError:
        values = json.loads(line)
    try:
        (identifier, session, envelope, fate, *told, dictionaries, counts, policies) = values[:27]
        hits, entries, groups, greylist, fingerprint, row, has_content, authors = values[27:]
        sent = Envelope.from_list(envelope)
        (answer, reason, is_outgoing, spam_check, group, because, flow, reputation, names, reverse, listed, score, logit) = told[:13]
        verdict, families, reasons, flags, subject, author, reply_to = told[13:]
        if authors:
            fields = authors.encode("latin-1")
            head = fields.lower()
            author, reply_to = mailbox_of(fields, head, "from"), mailbox_of(fields, head, "reply-to")
        known = len(program.terms)
        heard = {number: times for number, times in zip(counts[::2], counts[1::2], strict=False) if number < known}
        is_whole = program.is_known and len(counts) % 2 == 0
        return Recorded(
            identifier,
            Session.from_list(session),
            sent,
            _FATES[fate],
            answer,
            reason,
            is_outgoing,
            spam_check,
            group,
            because,
            flow,
            reputation,
            tuple(names),
            reverse,
            tuple(listed),
            score,
            logit,
            verdict,
            families,
            tuple(zip(reasons[::2], reasons[1::2], strict=True)),
            tuple(flags),
            subject,
            author,
            reply_to,
            {name: Found(of, terms) for name, (of, terms) in dictionaries.items()},
            Heard(program, heard, is_whole=is_whole),
            tuple([Held(name, sent.recipients if who is None else tuple(who), action, why) for name, who, action, why in policies]),
            tuple(hits),
            tuple(entries),
            {address: tuple(of) for address, of in groups.items()},
            greylist,
            fingerprint,
            base64.urlsafe_b64decode(row),
        ), bool(has_content)
    except (TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"this is no record: {error!r}") from error


class Recordings:
    """What is recorded, oldest first (by identifier, as far as each writer kept that order). May be gone through several times.

    `damaged` counts lines that could not be read and `lost` messages that were not written (disk full, too much at once), both of the last
    time through. Files that limits remove meanwhile are passed over. Raises StoreError.
    """

    def __init__(self, folder: Path, *, since: float | None = None, contents: bool = True) -> None:
        """`since`: Unix seconds; `contents` False spares reading and decrypting what was recorded of contents."""
        self._folder, self._since, self._has_contents = folder, since, contents
        self.damaged = self.lost = 0

    def __iter__(self) -> Iterator[Recorded]:
        self.damaged = self.lost = 0
        return heapq.merge(*map(self._of_writer, writers_of(self._folder)), key=lambda one: one.id)

    def _of_writer(self, writer: Path) -> Iterator[Recorded]:
        programs: dict[str, Program] = {}
        for segment in segments_of(writer):
            if self._since is not None and segment.is_older_than(self._since):
                continue
            if segment.program not in programs:
                octets = program_of(writer, segment.program)
                try:
                    programs[segment.program] = UNKNOWN if octets is None else Program.from_octets(octets)
                except ValueError:
                    programs[segment.program] = UNKNOWN
            yield from self._of_segment(segment, programs[segment.program])

    def _of_segment(self, segment: Segment, program: Program) -> Iterator[Recorded]:
        contents: Contents | None = None
        for line in segment.lines():
            if line.startswith(b"{"):
                self.lost += lost_of(line)
                continue
            try:
                recorded, has_content = decode(line, program)
            except (ValueError, RecursionError):
                self.damaged += not (segment.is_open and not line.endswith(b"\n"))  # the writer is just at it
                continue
            if self._since is not None and recorded.received_at < self._since:
                continue
            if has_content and self._has_contents:
                if contents is None:
                    contents = Contents(segment)
                recorded = recorded._replace(content=contents.get(recorded.id))
            yield recorded


class Status(NamedTuple):
    """What there is. Times are Unix seconds of the oldest and the youngest message, None where there is none; `fates` in the order of `Fate`."""

    messages: int
    since: float | None
    until: float | None
    fates: Mapping[str, int]
    octets: int  # of all files but contents
    contents: int
    content_octets: int
    lost: int
    damaged: int
    writers: int


def status_of(folder: Path) -> Status:
    """Go through all that is recorded. Raises StoreError."""
    found = Recordings(folder, contents=False)
    counts = dict.fromkeys(_FATES, 0)
    since = until = None
    for one in found:
        counts[one.fate] += 1
        since = one.received_at if since is None else min(since, one.received_at)
        until = one.received_at if until is None else max(until, one.received_at)
    octets = contents = content_octets = 0
    writers = writers_of(folder)
    for writer in writers:
        for path in writer.iterdir():
            if path.suffix == CONTENT:
                places = [size for _, _, size in frames_of(path)]
                contents += len(places)
                content_octets += sum(places)
            else:
                octets += size_of(path)
    fates: dict[str, int] = {fate: count for fate, count in counts.items() if count}
    return Status(sum(counts.values()), since, until, fates, octets, contents, content_octets, found.lost, found.damaged, len(writers))


def lost_of(line: bytes) -> int:
    """Messages that a line between records says were not written."""
    try:
        lost = json.loads(line).get("lost", 0)
    except ValueError:
        return 0
    return lost if isinstance(lost, int) else 0


def recordings(folder: Path, *, since: float | None = None, contents: bool = True) -> Recordings:
    """What stands in the folder of a recorder (`state / FOLDER`)."""
    return Recordings(folder, since=since, contents=contents)


def addresses_of(recorded: Recorded) -> Sequence[str]:
    """All addresses that a record has in fields of their own: of envelope, author and reply."""
    return [one for one in (recorded.envelope.reverse_path, *recorded.envelope.recipients, recorded.author, recorded.reply_to) if one]
