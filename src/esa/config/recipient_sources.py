"""The tables of sources of recipients: files, SQLite, LDAP, SMTP call-ahead. `schema` puts them into the configuration.

What stands in all of them stands in `RecipientSource` once. Whether a query, a filter or a server is any good can only be told by trying it:
`esa config check` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from esa.config.ldap import LdapDirectory, contradictions_of_ldap
from esa.config.recipient_access import reply_of
from esa.config.values import DAY, HOUR, MINUTE, Domain, Duration, Name, ReplyText, Route, Table, Texts
from esa.errors import SyntaxFault
from esa.message.reply import Reply


class RecipientSource(Table):
    """What all sources of recipients have in common."""

    name: Name = Field(default="recipients", description="Name in logs and tracking.")
    domains: Annotated[tuple[Domain, ...], Field(strict=False)] = Field(
        default=(),
        description=(
            "Domains whose recipients it knows; .example.org takes all domains below it. Empty: every domain that recipient access names."
        ),
    )
    listeners: Texts = Field(default=(), description="Listeners that ask it, by name. Empty: all.")
    code: int = Field(default=550, ge=400, le=599, description="Code of the reply for a recipient that there is not.")
    text: ReplyText = Field(default="5.1.1 Recipient unknown", description="Text of that reply.")


class AskedSource(RecipientSource):
    """What sources that are asked over the network or the disk have in common."""

    timeout: Duration = Field(default=5.0, ge=0.1, le=MINUTE, description="Longest wait for an answer.")
    known_for: Duration = Field(default=15 * MINUTE, ge=0, le=DAY, description="How long an answer that there is such a recipient is kept.")
    unknown_for: Duration = Field(default=MINUTE, ge=0, le=DAY, description="How long an answer that there is none is kept.")
    kept: int = Field(default=100_000, ge=100, le=10_000_000, description="Answers of each kind that a receiving process keeps.")
    outage: Literal["defer", "accept", "stale"] = Field(
        default="defer",
        description=(
            'What becomes of recipients that it cannot be asked about: put off with 451 ("defer"), taken ("accept"), or treated by an answer '
            'that is kept though it is old, else put off ("stale").'
        ),
    )
    stale_for: Duration = Field(default=DAY, ge=0, le=30 * DAY, description='Age up to which a kept answer does with outage = "stale".')


class RecipientFile(RecipientSource):
    """Recipients of a text file: an address, a domain or a .domain a line. It is read anew when it changes."""

    file: str = Field(default="recipients.txt", min_length=1, description="The file. Relative to this file.")
    extension: str = Field(
        default="", max_length=1, description='Character that begins an extension, as "+": anna+news is known where anna is. Empty: none.'
    )


class RecipientSql(AskedSource):
    """Recipients of an SQLite database."""

    database: str = Field(default="recipients.sqlite", min_length=1, description="The database; it is only read. Relative to this file.")
    query: str = Field(
        default="SELECT 1 FROM recipients WHERE address = :address",
        min_length=1,
        description="A recipient is known if this gives a row. Parameters: :address, :local_part, :domain, in lower case.",
    )


class RecipientLdap(LdapDirectory, AskedSource):
    """Recipients of an LDAP directory."""

    filter: str = Field(
        default="(mail={a})",
        min_length=1,
        description="A recipient is known if this finds an entry: {a} is the address, {u} its local part, {d} its domain (RFC 4515).",
    )


class RecipientCallAhead(AskedSource):
    """Recipients that the next hop knows: it is asked by RCPT, with a null reverse-path."""

    timeout: Duration = Field(default=15.0, ge=0.1, le=5 * MINUTE, description="Longest wait for an answer.")
    known_for: Duration = Field(default=HOUR, ge=0, le=DAY, description="How long an answer that there is such a recipient is kept.")
    unknown_for: Duration = Field(default=5 * MINUTE, ge=0, le=DAY, description="How long an answer that there is none is kept.")
    next_hop: Route = Field(default="", description="Whom to ask, host:port. Empty: the route of [delivery].")
    connections: int = Field(default=5, ge=1, le=100, description="Connections to it at one time, of each receiving process.")


def unknown_of(source: RecipientSource) -> Reply:
    """The reply for a recipient that there is not. Raises SyntaxFault."""
    return reply_of(source.code, source.text, subject=".1.1")


def contradictions_of(
    sources: Sequence[tuple[str, Sequence[RecipientSource]]], listeners: Sequence[str], *, route: str
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What cannot stand together, as (place, what, mend). `sources` are tables by name, `route` that of the delivery."""
    names: set[str] = set()
    for table, given in sources:
        for number, source in enumerate(given):
            place: tuple[str | int, ...] = (table, number)
            if source.name in names:
                yield (*place, "name"), f"two sources of recipients are called {source.name!r}", "give each its own name"
            names.add(source.name)
            for position, name in enumerate(source.listeners):
                if name not in listeners:
                    yield (*place, "listeners", position), f"no listener is called {name!r}", f"choose of {', '.join(listeners)}"
            try:
                unknown_of(source)
            except SyntaxFault as wrong:
                yield (*place, "text"), wrong.what, wrong.mend or "write one line of printable ASCII"
            if isinstance(source, RecipientLdap):
                yield from ((((*place, key)), what, mend) for key, what, mend in contradictions_of_ldap(source))
            if isinstance(source, RecipientCallAhead) and not source.next_hop and not route:
                yield (*place, "next_hop"), "there is nobody to ask", "name the next hop as host:port, or a route under [delivery]"
