"""What a rule may see of a message: facts that were gathered before, and the message as earlier actions left it.

The receive route fills a `View`, `esa.policy.filters.plan` and conditions read it. Nothing here asks anybody anything: a fact that nobody gathered is
None, and conditions about it are unscanned. A View is of one message (or of one splinter) and of one thread.
"""

from __future__ import annotations

import functools
import ipaddress
import mmap
import socket  # for the form of addresses alone
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from esa.message.content import Message
from esa_core._fields import has_field

if TYPE_CHECKING:
    from esa.engine.verdict import Report
    from esa.message.envelope import Envelope, Session
    from esa_core import Parsed, Part
    from esa_core._fields import FieldGate

CHECK = "filters"  # name of the check that listens for what filters look for; its facts stand in `Report.checks`
COUNTS = "counts"  # key in its facts: {number of a term in `Terms`: times it stands there}
DICTIONARIES = "dictionaries"  # the check of dictionaries, and its facts: dictionary → score, terms, places

Content: TypeAlias = bytes | mmap.mmap
Place: TypeAlias = tuple[int, int]  # version of IP, and the address as a number
_NO_COUNTS: Mapping[int, int] = MappingProxyType({})
_NO_FACTS: Mapping[str, Any] = MappingProxyType({})


class Score(Protocol):
    """What of one dictionary stands in a text."""

    @property
    def score(self) -> int: ...

    @property
    def terms(self) -> Mapping[str, int]: ...


class Lookup(Protocol):
    """Finds entries of dictionaries in texts that stand outside of messages; the scanner gives it."""

    def text(self, text: str) -> Mapping[str, Score]:
        """By name of a dictionary; those of which nothing stands there are left out."""
        ...

    def client(self, address: str) -> Mapping[str, Score]:
        """The same of networks that an IP address is in."""
        ...

    def content(self, content: bytes) -> Mapping[str, Score]:
        """The same for a file, by its hashes."""

    def message(self, raw: Content) -> Mapping[str, Any]:
        """The facts of a message, as the check of dictionaries tells them in a report."""


class View:
    """All facts of one message.

    `content` is the message as it came, or as earlier actions left it; `envelope.recipients` are those it still has. `groups`: by address in lower
    case, the directory groups it is in, of the addresses and groups that were asked about; None: nobody was asked. `dns_lists`: of the lists that
    rules name, those that name the client; None: not asked. `lookup` finds entries of dictionaries in addresses. `queue_length`: messages in
    work; None: not known. Times are Unix seconds.
    """

    __slots__ = (
        "_attachments",
        "_dictionaries",
        "_looked_up",
        "_message",
        "content",
        "counts",
        "dns_lists",
        "dropped",
        "envelope",
        "groups",
        "hits",
        "hostname",
        "identifier",
        "interface",
        "listener",
        "lookup",
        "mail_flow_policy",
        "mail_policy",
        "matched",
        "now",
        "queue_length",
        "recipient_count",
        "remote_host",
        "report",
        "reputation",
        "sender_group",
        "session",
    )

    def __init__(
        self,
        content: Content,
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
        lookup: Lookup | None = None,
        now: float | None = None,
        message: Message | None = None,
    ) -> None:
        """`identifier` is the message's ($MID, and the seed of what is random); `message` spares parsing where somebody has it already.

        `remote_host` is the verified name of the client, empty if it has none; `interface` the name of the address that it reached us at.
        """
        self.content, self.session, self.envelope, self.report = content, session, envelope, report
        self.identifier, self.hostname, self.interface = identifier, hostname, interface
        self.sender_group, self.mail_flow_policy, self.mail_policy = sender_group, mail_flow_policy, mail_policy
        self.reputation, self.remote_host = reputation, remote_host.lower()
        self.groups, self.dns_lists, self.queue_length = groups, dns_lists, queue_length
        self.lookup = lookup
        self.now = session.received_at if now is None else now
        self.listener = session.listener
        self.recipient_count = len(envelope.recipients)  # of the splinter, where each of its recipients is looked at by itself
        checks = report.checks
        facts = checks.get(CHECK)
        self.counts: Mapping[int, int] = _NO_COUNTS if facts is None else facts[COUNTS]  # type: ignore[assignment]
        self._dictionaries: Mapping[str, Any] | None = checks.get(DICTIONARIES, _NO_FACTS)
        self.matched: list[Callable[[], str | None]] = []  # of conditions that were true: what gives the text they found
        self.dropped: list[Part] = []  # attachments that earlier actions took away
        self.hits: dict[tuple[str, str, str], Mapping[str, int]] = {}  # (where, address, dictionary): entries that conditions found
        self._looked_up: dict[str, Mapping[str, Score]] = {}
        self._message = message
        self._attachments: list[Part] | None = None

    # --- the session ------------------------------------------------------------------------------------------------------------------

    @property
    def client_address(self) -> str:
        """The address of the client as text, IPv4 in IPv6 as IPv4; empty if it has none."""
        place = self.client
        return "" if place is None else str((ipaddress.IPv4Address if place[0] == 4 else ipaddress.IPv6Address)(place[1]))

    @property
    def client(self) -> Place | None:
        """The address of the client, or of the one that an incoming relay took the message from; IPv4 in IPv6 is IPv4. None: it is none."""
        return place_of(self.session.relayed_from or self.session.client_address)

    def not_heard(self, dictionary: str, terms: Mapping[str, int]) -> Mapping[str, int]:
        """Those of its entries that were not found in the message as it came: the others are counted as found there."""
        heard = self.report.checks.get(DICTIONARIES, _NO_FACTS).get(dictionary)
        told = heard["terms"] if isinstance(heard, Mapping) else {}
        return {entry: times for entry, times in terms.items() if entry not in told}

    def scores(self, text: str) -> Mapping[str, Score]:
        """What stands in an address or the value of a header field, by dictionary. There is a lookup, or nothing is found."""
        found = self._looked_up.get(text)
        if found is None:
            found = self._looked_up[text] = self.lookup.text(text) if self.lookup is not None else _NO_FACTS
        return found

    # --- the message ------------------------------------------------------------------------------------------------------------------

    def replace(self, content: Content, counts: Mapping[int, int]) -> None:
        """Go on with an edited message and the counts of its terms: those it had, where nothing was edited that they are counted in."""
        if counts is not self.counts and self.lookup is not None:
            self._dictionaries = None
        self.content, self.counts = content, counts
        self._message = self._attachments = None

    @property
    def dictionaries(self) -> Mapping[str, Any]:
        """What of dictionaries stands in the message: dictionary → score, terms, places. Of an edited one it is counted when it is asked for."""
        if self._dictionaries is None:
            self._dictionaries = _NO_FACTS if self.lookup is None else self.lookup.message(self.content)
        return self._dictionaries

    @property
    def parsed(self) -> Parsed:
        if self._message is None:
            self._message = Message(self.content)
        return self._message.parsed

    def has_field(self, name: bytes) -> bool:
        """Whether its own header has a field of this name, given in lower case."""
        return has_field(self.parsed, name)

    def fields_in(self, gate: FieldGate, more: bytes) -> Sequence[int] | None:
        """Which fields and literals of a gate may stand in the header and in `more`; None: any."""
        return gate.find(self.parsed, more)

    @property
    def size(self) -> int:
        """Octets of the message, header and attachments included."""
        return len(self.content)

    def header(self, name: str) -> list[str]:
        """The decoded values of all fields of this name, from the top."""
        return self.parsed.header(name)

    def texts(self, field: str) -> Sequence[str]:
        """Short texts by name: mail-from, rcpt-to or header:<name in lower case>."""
        if field == "mail-from":
            return (self.envelope.reverse_path,)
        return self.envelope.recipients if field == "rcpt-to" else self.header(field.removeprefix("header:"))

    @property
    def attachments(self) -> Sequence[Part]:
        """The parts that are attachments: said to be so, or named, and no containers of other parts."""
        if self._attachments is None:
            self._attachments = self.parsed.attachments
        return self._attachments


def place_of(text: str) -> Place | None:
    """An IP address as version and number; IPv4 in IPv6 is IPv4."""
    try:
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text))
    except (OSError, ValueError):
        return _odd_place_of(text)


@functools.lru_cache(maxsize=4096)
def _odd_place_of(text: str) -> Place | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).version, int(mapped or address)
