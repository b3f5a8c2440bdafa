"""What the recorder keeps of a message: for audits, rehearsals of a configuration, and learning.

Read back by `recorder`, in the form on disk that `recorder_line` has. A record may be lost: nothing that must be right may rest upon it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from esa.engine.check import Term
from esa.engine.verdict import Summary
from esa.message.envelope import Envelope, Session
from esa.policy.filters.note import Note

Fate = Literal["accepted", "refused", "deferred", "greylisted"]
MESSAGE_FILTERS, CONTENT_FILTERS = "message filters", "content filters"  # stages in `hits` and `Program.filters`
FATES: tuple[Fate, ...] = get_args(Fate)


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

    @property
    def summary(self) -> Summary:
        """As `Report.summary`."""
        return tuple(self.families), tuple(self.families.values()), self.fact_row


def addresses_of(recorded: Recorded) -> Sequence[str]:
    """All addresses that a record has in fields of their own: of envelope, author and reply."""
    return [one for one in (recorded.envelope.reverse_path, *recorded.envelope.recipients, recorded.author, recorded.reply_to) if one]
