"""The tables of directories that know who is in which group. `schema` puts them into the configuration.

Mail policies name groups as "ldap:group", message filters by mail-from-group and rcpt-to-group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from esa.config.ldap import LdapDirectory, contradictions_of_ldap
from esa.config.values import DAY, MINUTE, Duration, Name, Texts

PLACE = "{g}"


class GroupLdap(LdapDirectory):
    """Groups of an LDAP directory. It is asked when mail has come in whose treatment may depend on it, and its answers are kept."""

    name: Name = Field(default="groups", description="Name in logs.")
    groups: Texts = Field(default=(), description="Groups that it knows. Empty: every one that policies and filters name.")
    filter: str = Field(
        default="(&(mail={a})(memberOf=cn={g},ou=groups,dc=example,dc=org))",
        min_length=1,
        description="An address is in a group if this finds an entry: {g} is the group, {a} the address, {u} its local part, {d} its domain.",
    )
    timeout: Duration = Field(default=5.0, ge=0.1, le=MINUTE, description="Longest wait for an answer.")
    known_for: Duration = Field(default=15 * MINUTE, ge=0, le=DAY, description="How long an answer that an address is in a group is kept.")
    unknown_for: Duration = Field(default=5 * MINUTE, ge=0, le=DAY, description="How long an answer that it is not is kept.")
    kept: int = Field(default=100_000, ge=100, le=10_000_000, description="Answers of each kind, for each group, of a receiving process.")
    outage: Literal["defer", "none", "stale"] = Field(
        default="stale",
        description=(
            'What holds where it cannot be asked: mail is put off with 451 ("defer"), nobody is in the group ("none"), or an answer that is '
            'kept though it is old, else mail is put off ("stale").'
        ),
    )
    stale_for: Duration = Field(default=DAY, ge=0, le=30 * DAY, description='Age up to which a kept answer does with outage = "stale".')


def contradictions_of(
    tables: Sequence[GroupLdap], named: Sequence[tuple[tuple[str | int, ...], str]]
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What cannot stand together, as (place, what, mend). `named`: groups that mail policies name, with the places."""
    names: set[str] = set()
    for number, table in enumerate(tables):
        place: tuple[str | int, ...] = ("group_ldap", number)
        if table.name in names:
            yield (*place, "name"), f"two directories of groups are called {table.name!r}", "give each its own name"
        names.add(table.name)
        if PLACE not in table.filter:
            yield (*place, "filter"), "the filter does not ask for a group", f"write {PLACE} where its name goes"
        for key, what, mend in contradictions_of_ldap(table):
            yield (*place, key), what, mend
    for there, group in named:
        if not any(not table.groups or group in table.groups for table in tables):
            yield there, f"no directory knows a group {group!r}", "add a table [[group_ldap]], or the group to one, or name addresses"
