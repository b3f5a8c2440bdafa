"""Which mail policy holds for whom: an ordered table, of incoming or of outgoing mail (AsyncOS's Email Security Manager).

Each recipient is held against the policies from the top, and the first that names it holds; whom none names has the default one. A policy that
names the sender, and no recipients, takes all recipients that are left: a message has one sender only. Pure; built once, asked once a message.
Entries lie in dictionaries, so that a hundred policies cost what one costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from esa.errors import SyntaxFault
from esa.policy.mail_policy import MailPolicy
from esa.policy.recipient_access import Form, Recipient, parse_entry, recipient_of

GROUP = "ldap:"  # begins an entry that names a group of a directory
FORMS = (
    'user@example.org, user@ (at every domain), example.org or @example.org, .example.org (all domains below it), "ldap:group", or "ALL"'
)
_NO_GROUPS: Mapping[str, frozenset[str]] = {}
_NO_GROUP: frozenset[str] = frozenset()


class SenderField(Enum):
    """Where a sender is looked for."""

    ENVELOPE = "envelope"  # the reverse-path
    FROM = "from"
    REPLY_TO = "reply-to"


EVERY_FIELD = frozenset(SenderField)


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a policy. `group`: of a directory, then the rest is empty."""

    text: str
    form: Form | None = None
    local_part: str = ""
    domain: str = ""
    group: str = ""


def parse_member(text: str) -> Member:
    """Read an entry. Raises SyntaxFault."""
    text = text.strip()
    if text.lower().startswith(GROUP):
        name = text[len(GROUP) :].strip()
        if not name:
            raise SyntaxFault(f"{text!r} names no group", mend=f"write {FORMS}")
        return Member(text, group=name)
    try:
        entry = parse_entry(text[1:] if text.startswith("@") else text)
    except SyntaxFault as fault:
        raise SyntaxFault(
            f"{text!r} names nobody ({fault.what.partition('(')[2].rstrip(')') or fault.what})", mend=f"write {FORMS}"
        ) from fault
    return Member(text, entry.form, entry.local_part, entry.domain)


@dataclass(frozen=True, slots=True)
class Members:
    """Whom a policy is for. Without recipients: every recipient; without senders: every sender; exceptions are never of it.

    Where both are given both must fit, unless `any_of_both`.
    """

    recipients: tuple[Member, ...] = ()
    senders: tuple[Member, ...] = ()
    except_recipients: tuple[Member, ...] = ()
    except_senders: tuple[Member, ...] = ()
    any_of_both: bool = False
    sender_fields: frozenset[SenderField] = EVERY_FIELD


class Senders(NamedTuple):
    """The addresses that a message names as its sender; empty where it names none."""

    reverse_path: str
    author: str = ""
    reply_to: str = ""


class Match(NamedTuple):
    """A policy and the recipients that it holds for."""

    policy: MailPolicy
    recipients: tuple[str, ...]


class _Entries:
    """Entries by what they name: for each the numbers of the rows that they stand in, ascending."""

    __slots__ = ("_below", "_everyone", "_exact", "_groups", "_users")

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], list[int]] = {}  # (local part, domain); (empty, domain): the whole domain
        self._users: dict[str, list[int]] = {}
        self._below: dict[str, list[int]] = {}
        self._groups: dict[str, list[int]] = {}
        self._everyone: list[int] = []

    def add(self, member: Member, row: int) -> None:
        if member.group:
            rows = self._groups.setdefault(member.group, [])
        else:
            match member.form:
                case Form.USER:
                    rows = self._users.setdefault(member.local_part, [])
                case Form.BELOW:
                    rows = self._below.setdefault(member.domain, [])
                case Form.EVERYONE:
                    rows = self._everyone
                case _:
                    rows = self._exact.setdefault((member.local_part, member.domain), [])
        if row not in rows[-1:]:
            rows.append(row)

    def add_everyone(self, row: int) -> None:
        self._everyone.append(row)

    @property
    def is_empty(self) -> bool:
        return not (self._exact or self._users or self._below or self._groups or self._everyone)

    def rows(self, who: Recipient, groups: frozenset[str]) -> Iterator[list[int]]:
        """Lists of rows whose entries name an address, each ascending."""
        if self._everyone:
            yield self._everyone
        local_part, domain = who.local_part, who.domain
        for key in ((local_part, domain), ("", domain)):
            if key in self._exact:
                yield self._exact[key]
        if local_part in self._users:
            yield self._users[local_part]
        if self._below:
            while domain := domain.partition(".")[2]:
                if domain in self._below:
                    yield self._below[domain]
        if self._groups:
            for group in groups:
                if group in self._groups:
                    yield self._groups[group]


class _Row(NamedTuple):
    policy: MailPolicy
    asks_sender: bool


class PolicyTable:
    """The policies of one direction in order, the default one last."""

    def __init__(self, policies: Sequence[tuple[MailPolicy, Members]], default: MailPolicy | None = None) -> None:
        self.default = default or MailPolicy()
        self.policies = (*(policy for policy, _ in policies), self.default)
        self._rows: list[_Row] = []
        self._recipients, self._except_recipients = _Entries(), _Entries()
        self._senders = {field: _Entries() for field in SenderField}
        self._except_senders = {field: _Entries() for field in SenderField}
        self._any_sender: list[int] = []  # rows that ask for no sender but may except some
        for policy, members in policies:
            if members.any_of_both and members.recipients and members.senders:
                self._add(policy, members, recipients=(), senders=members.senders)
                self._add(policy, members, recipients=members.recipients, senders=())
            else:
                self._add(policy, members, recipients=members.recipients, senders=members.senders)
        given = [member for _, one in policies for member in (*one.recipients, *one.senders, *one.except_recipients, *one.except_senders)]
        self.groups = frozenset(member.group for member in given if member.group)
        asked = [one for _, one in policies if one.senders or one.except_senders]
        self.asks_senders = bool(asked)
        self.asks_authors = any(one.sender_fields - {SenderField.ENVELOPE} for one in asked)

    def _add(self, policy: MailPolicy, members: Members, *, recipients: Sequence[Member], senders: Sequence[Member]) -> None:
        row = len(self._rows)
        self._rows.append(_Row(policy, bool(senders or members.except_senders)))
        for member in recipients:
            self._recipients.add(member, row)
        if not recipients:
            self._recipients.add_everyone(row)
        for member in members.except_recipients:
            self._except_recipients.add(member, row)
        for field in members.sender_fields:
            for member in senders:
                self._senders[field].add(member, row)
            for member in members.except_senders:
                self._except_senders[field].add(member, row)
        if members.except_senders and not senders:
            self._any_sender.append(row)

    @property
    def is_plain(self) -> bool:
        """Whether the default policy holds for everybody."""
        return not self._rows

    def match(self, senders: Senders, recipients: Sequence[str], groups: Mapping[str, frozenset[str]] = _NO_GROUPS) -> tuple[Match, ...]:
        """Every recipient once, under the policy that holds for it; policies in the order of their first recipient.

        `groups`: by address in lower case the groups it is in, of those that the table asks about.
        """
        if not self._rows:
            return (Match(self.default, tuple(recipients)),)
        of_sender = self._of_sender(senders, groups) if self.asks_senders else frozenset()
        found: dict[int, list[str]] = {}
        names: dict[int, MailPolicy] = {}
        for forward_path in recipients:
            policy = self._first(
                recipient_of(forward_path), groups.get(forward_path.lower(), _NO_GROUP) if groups else _NO_GROUP, of_sender
            )
            found.setdefault(id(policy), []).append(forward_path)
            names[id(policy)] = policy
        return tuple(Match(names[key], tuple(who)) for key, who in found.items())

    def _of_sender(self, senders: Senders, groups: Mapping[str, frozenset[str]]) -> frozenset[int]:
        """Rows that ask for a sender, and for this one."""
        rows: set[int] = set(self._any_sender)
        excepted: set[int] = set()
        seen: dict[str, Recipient] = {}
        for field, address in zip(SenderField, senders, strict=True):
            named, excluded = self._senders[field], self._except_senders[field]
            if named.is_empty and excluded.is_empty:
                continue
            who = seen.get(address)
            if who is None:
                who = seen[address] = recipient_of(address)
            its_groups = groups.get(address.lower(), _NO_GROUP) if groups else _NO_GROUP
            for found in named.rows(who, its_groups):
                rows.update(found)
            if not excluded.is_empty:
                for found in excluded.rows(who, its_groups):
                    excepted.update(found)
        return frozenset(rows - excepted if excepted else rows)

    def _first(self, who: Recipient, groups: frozenset[str], of_sender: frozenset[int]) -> MailPolicy:
        best = end = len(self._rows)
        excepted: set[int] | None = None
        for rows in self._recipients.rows(who, groups):
            for row in rows:
                if row >= best:
                    break
                if self._rows[row].asks_sender and row not in of_sender:
                    continue
                if excepted is None:
                    excepted = {one for found in self._except_recipients.rows(who, groups) for one in found}
                if row not in excepted:
                    best = row
                    break
        return self.default if best == end else self._rows[best].policy


@dataclass(frozen=True, slots=True)
class MailPolicies:
    """Both tables: of mail that comes in, and of mail that hosts and users send out (RELAY, or authenticated)."""

    incoming: PolicyTable
    outgoing: PolicyTable

    @classmethod
    def of_one(cls, policy: MailPolicy | None = None) -> MailPolicies:
        """One policy for all mail."""
        table = PolicyTable((), policy)
        return cls(table, table)

    def of(self, *, is_outgoing: bool) -> PolicyTable:
        return self.outgoing if is_outgoing else self.incoming
