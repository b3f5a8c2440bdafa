"""The tables of recipient access. Entries and switches are AsyncOS's; `schema` puts them into the configuration, `entries_of` makes values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from esa.config.entries import read_entries
from esa.config.values import ReplyText, Table, Texts, fault
from esa.errors import ConfigurationError, SyntaxFault
from esa.message.reply import Reply
from esa.policy.recipient_access import EVERYONE, Form, RecipientEntry, RecipientRule, parse_entry
from esa.policy.recipient_access import RecipientAccess as Access

_ENHANCED = re.compile(r"([245])(\.\d{1,3}\.\d{1,3})(?: |\Z)")


def _entry(value: str) -> str:
    try:
        parse_entry(value)
    except SyntaxFault as wrong:
        raise fault(wrong.what, wrong.mend or "") from wrong
    return value


class RecipientAccess(Table):
    """For whom mail is accepted. Tables stand in order: the first entry that matches decides. Whom none matches is refused."""

    recipients: Annotated[tuple[Annotated[str, AfterValidator(_entry)], ...], Field(strict=False)] = Field(
        default=(),
        description=(
            "Entries: user@example.org, example.org, .example.org (all domains below it), user@ (at every domain), [192.0.2.1], ALL."
        ),
    )
    recipient_files: Texts = Field(default=(), description="Files of more entries, one a line. Relative to this file.")
    access: Literal["ACCEPT", "REJECT"] = Field(default="ACCEPT", description='"ACCEPT" or "REJECT".')
    code: int = Field(
        default=0, ge=0, le=599, description="Code of the reply: 2xx where accepted, 4xx or 5xx where rejected. 0: the usual one."
    )
    text: ReplyText = Field(default="", description='Text of the reply, with or without an enhanced code, as "5.1.6 We have moved".')
    bypass_recipient_check: bool = Field(
        default=False,
        description="Whether these are accepted without asking any source of recipients (AsyncOS: bypass LDAP and call-ahead).",
    )
    bypass_receiving_control: bool = Field(
        default=False, description="Whether these do not count to the hourly rates of a sender (AsyncOS: bypass receiving control)."
    )
    listeners: Texts = Field(default=(), description="Listeners that the table is for, by name. Empty: all.")


def reply_of(code: int, text: str, *, subject: str = ".7.1") -> Reply:
    """A reply whose text may begin with an enhanced code; without one it is the class of the code and `subject`. Raises SyntaxFault."""
    given = _ENHANCED.match(text)
    if given:
        return Reply(code, given.group(1) + given.group(2), text[given.end() :])
    return Reply(code, f"{code // 100}{subject}", text)


def rule_of(table: RecipientAccess) -> RecipientRule:
    """What the entries of a table bring about."""
    accepts = table.access == "ACCEPT"
    reply = None
    if accepts and (table.code or table.text):
        reply = reply_of(table.code or 250, table.text or "Recipient ok", subject=".1.5")
    elif not accepts:
        reply = reply_of(table.code or 550, table.text or ("relaying denied" if not table.code else "Recipient refused"))
    return RecipientRule(accepts, reply, table.bypass_recipient_check, table.bypass_receiving_control)


def entries_of(
    tables: Sequence[RecipientAccess], accept_domains: Sequence[str], *, listener: str, base: Path = Path()
) -> list[tuple[RecipientEntry, RecipientRule]]:
    """The entries of one listener in order; its `accept_domains` come after those of the tables, and before an ALL that ends them.

    A listener that nothing is said of accepts everyone: that is the shipped state, where the gateway listens on loopback and delivers to a
    Maildir or one fixed route, and so cannot be used as an open relay. Reads files; raises ConfigurationError for one that cannot be read.
    """
    if not says_anything(tables, accept_domains, listener=listener):
        return [(parse_entry(EVERYONE), RecipientRule())]
    entries = [
        (entry, rule_of(table))
        for table in tables
        if not table.listeners or listener in table.listeners
        for entry in (*map(parse_entry, table.recipients), *entries_of_files(table, base))
    ]
    own = [(parse_entry(domain), RecipientRule()) for domain in accept_domains]
    last = len(entries)
    if entries and entries[-1][0].form is Form.EVERYONE:
        last -= 1
    return [*entries[:last], *own, *entries[last:]]


def says_anything(tables: Sequence[RecipientAccess], accept_domains: Sequence[str], *, listener: str) -> bool:
    """Whether the configuration says for whom this listener accepts mail."""
    return bool(accept_domains) or any(not table.listeners or listener in table.listeners for table in tables)


def accepts_everyone(tables: Sequence[RecipientAccess], accept_domains: Sequence[str], *, listener: str) -> bool:
    """Whether mail for domains that nobody named is accepted; files, in which no ALL may stand, are not looked at."""
    bare = [table.model_copy(update={"recipient_files": ()}) for table in tables]
    return Access(entries_of(bare, accept_domains, listener=listener)).accepts_everyone


def entries_of_files(table: RecipientAccess, base: Path = Path()) -> list[RecipientEntry]:
    """Entries of a table's files. Raises ConfigurationError that names file, line and mend."""
    found: list[RecipientEntry] = []
    for name in table.recipient_files:
        path = base / name
        entries = read_entries(path, parse_entry, "the recipients")
        if any(entry.form is Form.EVERYONE for entry in entries):
            raise ConfigurationError("ALL cannot stand in a file", where=str(path), mend="write it in esa.toml, where it is seen")
        found += entries
    return found


def contradictions_of(tables: Sequence[RecipientAccess], listeners: Sequence[str]) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What cannot stand together, as (place, what, mend)."""
    for number, table in enumerate(tables):
        place: tuple[str | int, ...] = ("recipient_access", number)
        for position, name in enumerate(table.listeners):
            if name not in listeners:
                yield (*place, "listeners", position), f"no listener is called {name!r}", f"choose of {', '.join(listeners)}"
        kinds = (2,) if table.access == "ACCEPT" else (4, 5)
        if table.code and table.code // 100 not in kinds:
            mend = "choose a code from 200 to 299" if table.access == "ACCEPT" else "choose a code from 400 to 599"
            yield (*place, "code"), f"{table.code} does not fit {table.access}", mend
            continue
        try:
            rule_of(table)
        except SyntaxFault as wrong:
            yield (*place, "text"), wrong.what, wrong.mend or "write one line of printable ASCII"
