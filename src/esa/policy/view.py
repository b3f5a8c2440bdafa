"""What a rule may see of a message: facts that were gathered before, and the message as earlier actions left it.

The receive route fills a `View`, `esa.policy.filters.plan` and conditions read it. Nothing here asks anybody anything: a fact that nobody gathered is
None, and conditions about it are unscanned. A View is of one message (or of one splinter) and of one thread.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from types import MappingProxyType

from esa.engine.verdict import Report
from esa.message.content import Message
from esa.message.envelope import Envelope, Session

CHECK = "filters"  # name of the check that listens for what filters look for; its facts stand in `Report.checks`
COUNTS = "counts"  # key in its facts: {number of a term in `FilterPlan.terms`: times it stands there}

_NO_COUNTS: Mapping[int, int] = MappingProxyType({})


class View:
    """All facts of one message.

    `content` is the message as it came; `envelope.recipients` are those it still has. `groups`: by address (lower case), the directory groups it is
    in, for the addresses and groups that were asked about. `dns_lists`: of the lists that rules name, those that name the client; None: not asked.
    `seed` makes what is random the same every time. Times are Unix seconds.
    """

    __slots__ = (
        "_message",
        "content",
        "counts",
        "dns_lists",
        "envelope",
        "groups",
        "hostname",
        "identifier",
        "interface",
        "mail_flow_policy",
        "mail_policy",
        "now",
        "queue_length",
        "remote_host",
        "report",
        "reputation",
        "sender_group",
        "session",
    )

    def __init__(
        self,
        content: bytes | mmap.mmap,
        session: Session,
        envelope: Envelope,
        report: Report,
        *,
        identifier: str = "",
        hostname: str = "",
        interface: str = "",
        sender_group: str = "",
        mail_flow_policy: str = "",
        mail_policy: str = "",
        reputation: float | None = None,
        remote_host: str = "",
        groups: Mapping[str, frozenset[str]] | None = None,
        dns_lists: frozenset[str] | None = None,
        queue_length: int | None = None,
        now: float | None = None,
        message: Message | None = None,
    ) -> None:
        """`identifier` is the message's ($MID, and the seed of what is random); `message` spares parsing where somebody has it already."""
        self.content, self.session, self.envelope, self.report = content, session, envelope, report
        self.identifier, self.hostname, self.interface = identifier, hostname, interface
        self.sender_group, self.mail_flow_policy, self.mail_policy = sender_group, mail_flow_policy, mail_policy
        self.reputation, self.remote_host = reputation, remote_host
        self.groups, self.dns_lists, self.queue_length = groups, dns_lists, queue_length
        self.now = session.received_at if now is None else now
        self._message = message
        facts = report.checks.get(CHECK)
        counts = None if facts is None else facts.get(COUNTS)
        self.counts: Mapping[int, int] = counts if isinstance(counts, Mapping) else _NO_COUNTS

    @property
    def message(self) -> Message:
        """The message as earlier actions left it, parsed on first use."""
        if self._message is None:
            self._message = Message(self.content)
        return self._message
