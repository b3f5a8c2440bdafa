"""One message on its way through the route, with what each stage made of it. `receive` owns it; `judging`, `records` and `recording` read it."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from esa.engine.verdict import Reason, Report, Verdict
from esa.gateway.receiver import Transaction
from esa.gateway.visit import Visit
from esa.message.envelope import Envelope, Session
from esa.message.reply import Reply
from esa.message.subject import subject_of
from esa.policy.disposition import NOTHING, Plan
from esa.store.record import Record

if TYPE_CHECKING:
    from esa.gateway.records import Contents


@dataclass(slots=True)
class Arrival:
    """One message on its way through the route."""

    id: str
    transaction: Transaction
    session: Session
    envelope: Envelope
    content: bytes | mmap.mmap
    path: Path | None  # of content that arrived as a file; the route owns it until the spool takes it
    began: float  # time.monotonic() at the end of the mail data
    omitted: tuple[tuple[int, int], ...] = ()  # forged result fields of mapped content
    verdict: Verdict = Verdict.CLEAN
    report: Report | None = None
    head: bytes = b""  # the header in lower case, as far as HEAD_LIMIT
    reasons: tuple[Reason, ...] = ()  # the heaviest of the report's, for the result field and tracking
    plan: Plan = NOTHING
    hits: Mapping[str, Mapping[str, int]] | None = None  # entries of dictionaries that filters found in addresses
    record: Record | None = None
    more: list[Record] = field(default_factory=list)  # of splinters whose content is another; in the same commit
    reply: Reply | None = None  # the reply to give: a 250 once committed
    greylist: str = ""  # why it passed greylisting, or waits
    visit: Visit | None = None  # of the connection: its sender group and mail flow policy
    end: int = 0  # octets of the header
    contents: Contents | None = None  # what of it was made beforehand
    again: list[Arrival] = field(default_factory=list)  # copies of it that go through all stages themselves
    copy_of: str = ""  # identifier of the message that it is such a copy of
    is_outgoing: bool = field(init=False)  # of a host or user who may send to any domain
    is_checked: bool = field(
        init=False
    )  # treated by its score: as the policy of its sender says, which for mail of an incoming relay is the relay's client
    _subject: str | None = None
    _told_reasons: list[tuple[str, float]] | None = None

    def __post_init__(self) -> None:
        visit, origin = self.visit, self.transaction.origin
        self.is_outgoing = visit is not None and visit.may_relay(self.session.user)
        match = origin.match if origin is not None else None
        self.is_checked = match.policy.spam_check if match is not None else visit is None or visit.policy.spam_check

    @property
    def subject(self) -> str:
        """The subject as `subject_of` gives it; looked for once, while the content is there."""
        if self._subject is None:
            self._subject = subject_of(self.content, self.head)
        return self._subject

    @property
    def told_reasons(self) -> list[tuple[str, float]]:
        """`reasons` as they are told: name and log-odds of each."""
        if self._told_reasons is None:
            self._told_reasons = [(name, round(weight * 1000) / 1000) for name, _, weight in self.reasons]  # round(x, 3) takes far longer
        return self._told_reasons

    @property
    def is_signed(self) -> bool:
        """Whether it leaves with a DKIM signature, if there is a key for its author."""
        return self.is_outgoing and self.visit is not None and self.visit.policy.dkim_signing

    def discard(self) -> None:
        """Give content back that nobody takes over."""
        if self.contents is not None:
            self.contents.discard()
            self.contents = None
        self.unmap()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def unmap(self) -> None:
        """Let go of the map; it ends when nothing of the report looks at it any more."""
        if self.path is not None:
            self.content = b""
