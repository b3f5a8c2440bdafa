"""Which mail policy holds for whom: an ordered table, of incoming or of outgoing mail (AsyncOS's Email Security Manager).

Each recipient is held against the policies from the top, and the first that names it holds; whom none names has the default one. A policy that
names the sender, and no recipients, takes all recipients that are left: a message has one sender only. Pure; built once, asked once a message.
Entries lie in dictionaries, so that a hundred policies cost what one costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from esa.errors import SyntaxFault
from esa.policy.mail_policy import MailPolicy
from esa.policy.recipient_access import Form, Recipient, parse_entry, recipient_of
from esa_core._addresses import AddressIndex

GROUP = "ldap:"  # begins an entry that names a group of a directory
FORMS = (
    'user@example.org, user@ (at every domain), example.org or @example.org, .example.org (all domains below it), "ldap:group", or "ALL"'
)
_NO_GROUPS: Mapping[str, frozenset[str]] = {}
_NO_GROUP: frozenset[str] = frozenset()
_NO_ROWS: frozenset[int] = frozenset()


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

    __slots__ = ("_everyone", "_exact", "_groups", "_index", "_indexed", "is_empty")

    def __init__(self, entries: Iterable[tuple[Member, int]]) -> None:
        """With the row of each; rows rise."""
        self._exact: dict[str, list[int]] = {}  # by local@domain, local@, @domain, or .domain for those below it
        self._groups: dict[str, list[int]] = {}
        self._everyone: list[int] = []
        for member, row in entries:
            if member.group:
                rows = self._groups.setdefault(member.group, [])
            else:
                rows = self._everyone if _is_everyone(member) else self._exact.setdefault(_key_of(member), [])
            if row not in rows[-1:]:
                rows.append(row)
        self.is_empty = not (self._exact or self._groups or self._everyone)
        plain = [key for key in self._exact if key.isascii()]
        self._index = AddressIndex([key.encode() for key in plain])
        self._indexed = tuple(self._exact[key] for key in plain)

    @property
    def keys(self) -> Iterable[str]:
        """What they name, groups left out."""
        return self._exact

    def rows(self, address: str, groups: frozenset[str]) -> Sequence[list[int]]:
        """Lists of rows whose entries name an address, each ascending. `groups` are those it is in."""
        keys = self._index.find(address) if address else ()
        if keys is None:
            found = self._odd(recipient_of(address))
        else:
            found = [self._indexed[key] for key in keys] if keys else []
        if groups and self._groups:
            found += [self._groups[group] for group in groups if group in self._groups]
        if self._everyone:
            found.append(self._everyone)
        return found

    def _odd(self, who: Recipient) -> list[list[int]]:
        """Of an address that the index does not read."""
        domain = who.domain
        keys = [f"{who.local_part}@{domain}", f"{who.local_part}@", f"@{domain}"]
        while domain := domain.partition(".")[2]:
            keys.append(f".{domain}")
        return [self._exact[key] for key in dict.fromkeys(keys) if key in self._exact]


def _key_of(member: Member) -> str:
    if member.form is Form.BELOW:
        return f".{member.domain}"
    return f"{member.local_part}@{member.domain}"


class _Row(NamedTuple):
    policy: MailPolicy
    asks_sender: bool


class _SenderEntries(NamedTuple):
    """Of one field in which a sender is looked for."""

    named: _Entries
    excepted: _Entries

    @classmethod
    def of(cls, who: Sequence[Members], field: SenderField) -> _SenderEntries:
        asking = [(row, members) for row, members in enumerate(who) if field in members.sender_fields]
        return cls(
            _Entries((member, row) for row, members in asking for member in members.senders if not _is_everyone(member)),
            _Entries((member, row) for row, members in asking for member in members.except_senders),
        )


class PolicyTable:
    """The policies of one direction in order, the default one last."""

    def __init__(self, policies: Sequence[tuple[MailPolicy, Members]], default: MailPolicy | None = None) -> None:
        self.default = default or MailPolicy()
        self.policies = (*(policy for policy, _ in policies), self.default)
        rows = [(policy, one) for policy, members in policies for one in _alternatives(members)]
        self._rows = [_Row(policy, bool(members.senders or members.except_senders)) for policy, members in rows]
        who = [members for _, members in rows]
        self._recipients = _Entries(
            (member, row) for row, members in enumerate(who) for member in members.recipients if not _is_everyone(member)
        )
        self._except_recipients = _Entries((member, row) for row, members in enumerate(who) for member in members.except_recipients)
        everyone = [row for row, members in enumerate(who) if not members.recipients or any(map(_is_everyone, members.recipients))]
        self._everyone = [row for row in everyone if not self._rows[row].asks_sender]
        self._everyone_asking = frozenset(everyone).difference(self._everyone)
        self._senders = tuple(_SenderEntries.of(who, field) for field in SenderField)
        # rows that any sender fulfils, unless it is excepted
        self._any_sender = frozenset(
            row
            for row, members in enumerate(who)
            if self._rows[row].asks_sender and (not members.senders or any(map(_is_everyone, members.senders)))
        )
        # whether a policy holds only for those that an entry names; and what all entries name
        self._is_named = not (self._everyone or self._any_sender)
        entries = (self._recipients, *(one.named for one in self._senders))
        self._named = AddressIndex([key.encode() for key in dict.fromkeys(key for one in entries for key in one.keys) if key.isascii()])
        given = [member for _, one in policies for member in (*one.recipients, *one.senders, *one.except_recipients, *one.except_senders)]
        self.groups = frozenset(member.group for member in given if member.group)
        asked = [one for _, one in policies if one.senders or one.except_senders]
        self.asks_senders = bool(asked)
        self.asks_authors = any(one.sender_fields - {SenderField.ENVELOPE} for one in asked)

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
        if self._is_named and not groups and self._named.finds_none(senders if self.asks_senders else (), recipients):  # most mail
            return (Match(self.default, tuple(recipients)),)
        of_sender = self._of_sender(senders, groups) if self.asks_senders else _NO_ROWS
        everyone = [self._everyone] if self._everyone else []
        if of_sender and (asking := of_sender & self._everyone_asking):
            everyone.append(sorted(asking))
        found: dict[int, list[str]] = {}
        names: dict[int, MailPolicy] = {}
        for forward_path in recipients:
            its_groups = groups.get(forward_path.lower(), _NO_GROUP) if groups else _NO_GROUP
            rows = self._recipients.rows(forward_path, its_groups)
            policy = self._first((*rows, *everyone), forward_path, its_groups, of_sender) if rows or everyone else self.default
            found.setdefault(id(policy), []).append(forward_path)
            names[id(policy)] = policy
        return tuple([Match(names[key], tuple(who)) for key, who in found.items()])

    def _of_sender(self, senders: Senders, groups: Mapping[str, frozenset[str]]) -> frozenset[int]:
        """Rows that ask for a sender, and for this one."""
        rows: set[int] = set()
        excepted: set[int] = set()
        for (named, excluded), address in zip(self._senders, senders, strict=True):
            if named.is_empty and excluded.is_empty:
                continue
            its_groups = groups.get(address.lower(), _NO_GROUP) if groups else _NO_GROUP
            for found in named.rows(address, its_groups):
                rows.update(found)
            if not excluded.is_empty:
                for found in excluded.rows(address, its_groups):
                    excepted.update(found)
        if not (rows or self._any_sender):
            return _NO_ROWS
        return (self._any_sender | rows) - excepted

    def _first(self, lists: Iterable[list[int]], forward_path: str, groups: frozenset[str], of_sender: frozenset[int]) -> MailPolicy:
        """The policy of the first of these rows, of which none but the sender and exceptions are left to ask."""
        best = end = len(self._rows)
        excepted: set[int] | None = None
        for rows in lists:
            for row in rows:
                if row >= best:
                    break
                if self._rows[row].asks_sender and row not in of_sender:
                    continue
                if excepted is None:
                    excepted = {one for found in self._except_recipients.rows(forward_path, groups) for one in found}
                if row not in excepted:
                    best = row
                    break
        return self.default if best == end else self._rows[best].policy


def _alternatives(members: Members) -> tuple[Members, ...]:
    """As rows, in each of which all that is given must fit."""
    if members.any_of_both and members.recipients and members.senders:
        return replace(members, recipients=()), replace(members, senders=())
    return (members,)


def _is_everyone(member: Member) -> bool:
    return member.form is Form.EVERYONE


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
