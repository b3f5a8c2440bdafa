"""What a rehearsal notes while the gateway's parts decide: the entry of recipient access, the source of recipients, the case and its decision.

Each of them stands in for a part of the same kind, asks it, and keeps what it said.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass

from esa.gateway.deciding import Asked, Case, Decided, Decider, Refused
from esa.gateway.directory.sources import Directory, Finding
from esa.gateway.receive import Decides
from esa.policy.host_access import Needs
from esa.policy.recipient_access import Recipient, RecipientAccess, RecipientMatch


@dataclass(slots=True)
class Watch:
    """What was said of the recipient that is asked about, and of the message. None: nobody was asked."""

    match: RecipientMatch | None = None
    finding: Finding | None = None
    refused: Refused | None = None  # by a content filter, at RCPT
    case: Case | None = None
    decided: Decided | None = None
    nanoseconds: int = 0  # that deciding took

    def begin_recipient(self) -> None:
        self.match = self.finding = self.refused = None


class WatchedAccess(RecipientAccess):
    """Recipient access of a listener."""

    def __init__(self, access: RecipientAccess, watch: Watch) -> None:
        self._access, self._watch = access, watch

    def match(self, recipient: Recipient) -> RecipientMatch:
        self._watch.match = self._access.match(recipient)
        return self._watch.match

    @property
    def accepts_everyone(self) -> bool:
        return self._access.accepts_everyone


class WatchedDirectory(Directory):
    """The sources of recipients of a listener."""

    def __init__(self, directory: Directory, watch: Watch) -> None:
        self._directory, self._watch = directory, watch

    def find(self, recipient: Recipient, *, is_named: bool) -> Finding | Awaitable[Finding]:
        found = self._directory.find(recipient, is_named=is_named)
        if not isinstance(found, Finding):
            return self._wait(found)
        self._watch.finding = found
        return found

    async def _wait(self, finding: Awaitable[Finding]) -> Finding:
        self._watch.finding = await finding
        return self._watch.finding


class WatchedDecider(Decides):
    """Policy."""

    def __init__(self, decider: Decider, watch: Watch) -> None:
        self._decider, self._watch = decider, watch

    @property
    def needs(self) -> Needs:
        return self._decider.needs

    @property
    def refuses_recipients(self) -> bool:
        return self._decider.refuses_recipients

    def refuse_recipient(self, asked: Asked) -> Refused | None:
        self._watch.refused = self._decider.refuse_recipient(asked)
        return self._watch.refused

    def decide(self, case: Case) -> Decided:
        watch = self._watch
        watch.case = case
        began = time.perf_counter_ns()
        watch.decided = self._decider.decide(case)
        watch.nanoseconds = time.perf_counter_ns() - began
        return watch.decided

    def addresses(self, reverse_path: str, recipients: Iterable[str], header: bytes) -> list[str]:
        return self._decider.addresses(reverse_path, recipients, header)
