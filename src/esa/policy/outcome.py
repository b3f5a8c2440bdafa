"""What rules bring about for a message: they add to an `Outcome`, and whoever runs them reads it at the end.

Filled by `esa.policy.filters.plan`, for message filters and content filters alike; carried out by the receive route. Actions accumulate in the order
they ran in. Of an action that can hold only once (an alternate host, a bounce profile) the last one holds; others are kept once for each target.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from esa.message.edits import Edit


class Final(StrEnum):
    """Actions after which no filter runs any more."""

    DROP = "drop"
    BOUNCE = "bounce"
    REFUSE = "refuse"  # answered 5xx; not a word of AsyncOS's message filters
    ENCRYPT = "encrypt"  # to be delivered encrypted: held where that cannot be done
    DELIVER = "deliver"  # as skip, under its old name
    SKIP = "skip"  # skip-filters: the message goes on to the next stage


class Skip(StrEnum):
    """Stages that a message passes by."""

    SPAM = "spamcheck"
    VIRUS = "viruscheck"
    REPUTATION_OF_FILES = "ampcheck"
    OUTBREAK = "vofcheck"
    MARKETING = "marketingcheck"
    SOCIAL = "socialcheck"
    BULK = "bulkcheck"


@dataclass(frozen=True, slots=True)
class BlindCopy:
    """bcc and bcc-scan. Empty strings: as the message has it."""

    addresses: tuple[str, ...]
    subject: str = ""
    return_path: str = ""
    mailhost: str = ""
    is_scanned: bool = False  # whether it goes through all rules as a new message


@dataclass(frozen=True, slots=True)
class Notice:
    """notify and notify-copy: a message about the message."""

    addresses: tuple[str, ...]
    subject: str = ""
    return_path: str = ""
    template: str = ""
    with_copy: bool = False


class Step(NamedTuple):
    """One action that ran: for tracking and trace."""

    filter: str
    action: str


@dataclass(slots=True)
class Outcome:
    """What to do; accumulates while rules run. All texts are final: variables are filled in."""

    final: Final | None = None
    final_filter: str = ""  # the filter whose action was final
    refusal: str = ""  # words of a refusal, perhaps with an enhanced code before them; empty: the usual ones
    edits: list[Edit] = field(default_factory=list)
    quarantines: list[str] = field(default_factory=list)
    duplicate_quarantines: list[str] = field(default_factory=list)
    recipients: tuple[str, ...] = ()  # alt-rcpt-to: in the place of all; empty: as they are
    mailhost: str = ""  # alt-mailhost; empty: as routed
    source_host: str = ""  # alt-src-host
    bounce_profile: str = ""
    blind_copies: list[BlindCopy] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)  # names of mbox logs
    skips: set[Skip] = field(default_factory=set)
    tags: list[str] = field(default_factory=list)
    log_entries: list[str] = field(default_factory=list)
    encrypts: bool = False  # encrypt-deferred: as Final.ENCRYPT, but filters go on
    trail: list[Step] = field(default_factory=list)

    @property
    def only_tells(self) -> bool:
        """Whether nothing happened that the message or its way would show: log entries, tags, copies."""
        changes = self.edits or self.quarantines or self.recipients or self.mailhost or self.encrypts
        return not changes and self.final is not Final.ENCRYPT

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened."""
        return not self.trail


NOTHING_DONE = Outcome()  # of most messages, shared by all of them: nobody adds to an outcome when its filters have run
