"""Recipient access: for whom mail is accepted, and with which words it is refused (AsyncOS's RAT).

Entries stand in order; the first that matches decides, as AsyncOS does it: `postmaster@example.org` has to stand before `example.org`. Whom no
entry matches is refused. Pure; built once, asked once for each RCPT.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from esa.errors import SyntaxFault
from esa.message.a_labels import as_a_labels
from esa.message.address import Address, parse_domain
from esa.message.reply import Reply

POSTMASTER = "postmaster"  # accepted without a domain and for every domain that is accepted: RFC 5321 section 4.5.1
EVERYONE = "ALL"
REFUSED = Reply(550, "5.7.1", "relaying denied")
FORMS = 'user@example.org, example.org, .example.org (all domains below it), user@ (at every domain), [192.0.2.1], or "ALL"'


class Form(Enum):
    """What an entry names."""

    ADDRESS = "address"
    USER = "user"  # at every domain
    DOMAIN = "domain"  # or an address literal
    BELOW = "below"  # every domain below one
    EVERYONE = "everyone"


@dataclass(frozen=True, slots=True)
class RecipientEntry:
    """One entry. `text` as written; `local_part` and `domain` in the form that is compared, empty where the form has none."""

    text: str
    form: Form
    local_part: str = ""
    domain: str = ""

    @property
    def names_a_domain(self) -> bool:
        """Whether the entry says of a domain that its mail comes here; `user@` and ALL do not."""
        return self.form in (Form.ADDRESS, Form.DOMAIN, Form.BELOW)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A forward-path in the form that is compared: lower case, no needless quotes, domains in their ASCII form (RFC 5890)."""

    local_part: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"


@dataclass(frozen=True, slots=True)
class RecipientRule:
    """What entries bring about. Of a refusal `reply` is said; of an acceptance it is said if the recipient is taken, else the usual one."""

    accepts: bool = True
    reply: Reply | None = None
    bypass_recipient_check: bool = False  # no source of recipients is asked
    bypass_receiving_control: bool = False  # the recipient does not count to the rates of the sender


@dataclass(frozen=True, slots=True)
class RecipientMatch:
    """The rule of a recipient; `entry` None: no entry matched."""

    rule: RecipientRule
    entry: RecipientEntry | None

    @property
    def because(self) -> str:
        """The entry as written, for tracking and the log."""
        return self.entry.text if self.entry is not None else EVERYONE


def recipient_of(forward_path: str) -> Recipient:
    """The compared form of an addr-spec (no angle brackets); without @ the domain is empty."""
    local_part, at, domain = forward_path.rpartition("@")
    if not at:
        local_part, domain = domain, ""
    if local_part[:1] == '"' == local_part[-1:] and len(local_part) > 1:
        local_part = _unquoted(local_part)
    return Recipient(local_part.lower(), domain.lower() if domain.isascii() else as_a_labels(domain))


def _unquoted(local_part: str) -> str:
    """A quoted string that could stand without its quotes is the same mailbox (RFC 5321 section 4.1.2)."""
    bare = local_part[1:-1].replace("\\", "")
    try:
        return Address.parse(f"{bare}@x").local_part if not bare.startswith('"') else local_part
    except SyntaxFault:
        return local_part


def parse_entry(text: str) -> RecipientEntry:
    """Read an entry. Raises SyntaxFault."""
    text = text.strip()
    if text.upper() == EVERYONE:
        return RecipientEntry(text, Form.EVERYONE)
    local_part, at, domain = text.rpartition("@")
    try:
        if at and not domain:
            return RecipientEntry(text, Form.USER, recipient_of(f"{Address.parse(f'{local_part}@x').local_part}@x").local_part)
        if at:
            known = recipient_of(str(Address.parse(text)))
            return RecipientEntry(text, Form.ADDRESS, known.local_part, known.domain)
        below = text.startswith(".")
        return RecipientEntry(
            text, Form.BELOW if below else Form.DOMAIN, "", recipient_of(f"x@{parse_domain(text.removeprefix('.'))}").domain
        )
    except SyntaxFault as fault:
        raise SyntaxFault(f"{text!r} names no recipients ({fault.what})", mend=f"write {FORMS}") from fault


class RecipientAccess:
    """The entries of a listener, in order; without any, nobody is accepted."""

    def __init__(self, entries: Sequence[tuple[RecipientEntry, RecipientRule]]) -> None:
        self._matches = [RecipientMatch(rule, entry) for entry, rule in entries]
        self._addresses: dict[tuple[str, str], int] = {}
        self._users: dict[str, int] = {}
        self._domains: dict[str, int] = {}
        self._below: dict[str, int] = {}
        self._end = len(self._matches)
        for number, (entry, _) in enumerate(entries):
            match entry.form:
                case Form.ADDRESS:
                    self._addresses.setdefault((entry.local_part, entry.domain), number)
                case Form.USER:
                    self._users.setdefault(entry.local_part, number)
                case Form.DOMAIN:
                    self._domains.setdefault(entry.domain, number)
                case Form.BELOW:
                    self._below.setdefault(entry.domain, number)
                case Form.EVERYONE:
                    self._end = min(self._end, number)
        self._matches.append(RecipientMatch(RecipientRule(accepts=False, reply=REFUSED), None))
        self._bare_postmaster = RecipientMatch(RecipientRule(), RecipientEntry(POSTMASTER, Form.USER, POSTMASTER))

    @classmethod
    def of_domains(cls, domains: Iterable[str]) -> RecipientAccess:
        """A table that accepts these: `example.org` exactly, `.example.org` for every domain below it. Raises SyntaxFault."""
        return cls([(parse_entry(domain), RecipientRule()) for domain in domains])

    def match(self, recipient: Recipient) -> RecipientMatch:
        """The first entry that matches, or what holds where none does."""
        domain = recipient.domain
        if not domain:
            return self._bare_postmaster if recipient.local_part == POSTMASTER else self._matches[-1]
        best = min(self._end, self._domains.get(domain, self._end))
        if self._addresses:
            best = min(best, self._addresses.get((recipient.local_part, domain), best))
        if self._users:
            best = min(best, self._users.get(recipient.local_part, best))
        if self._below:
            while domain := domain.partition(".")[2]:
                best = min(best, self._below.get(domain, best))
        return self._matches[best]

    @property
    def accepts_everyone(self) -> bool:
        """Whether a recipient of a domain that nobody named is accepted: on a public listener that relays, an open relay."""
        return self._matches[self._end].rule.accepts
