"""The tables of who may authenticate: users of a file, users of LDAP directories, and how many failures are borne.

`schema` puts them into the configuration. Whether a file or a filter is any good can only be told by trying it: `esa config check` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from esa.config.ldap import LdapDirectory, contradictions_of_ldap
from esa.config.values import DAY, MINUTE, Duration, Name, Table

UNLIMITED = -1


class Authentication(Table):
    """Who may authenticate, at listeners that offer it, beside [[user_ldap]]. Passwords are only heard inside TLS."""

    users: str = Field(
        default="",
        description="File of users, a line name:hash for each; esa config password prints one. Relative to this file.",
    )
    max_failures: int = Field(
        default=5,
        ge=UNLIMITED,
        description=(
            "Failures of one address (IPv6: one /64) with one name in failure_window; past it 454 to it alone, over all listeners and "
            "processes. -1: any number."
        ),
    )
    max_failures_per_address: int = Field(
        default=20, ge=UNLIMITED, description="Failures of one address with any names in failure_window; past it 454. -1: any number."
    )
    failure_window: Duration = Field(default=15 * MINUTE, ge=MINUTE, le=DAY, description="Time within which failures are counted.")


class UserLdap(LdapDirectory):
    """Users of an LDAP directory: the entry of a name is searched for, and bound as with the password that the client gave."""

    name: Name = Field(default="users", description="Name in logs.")
    filter: str = Field(
        default="(|(uid={a})(mail={a}))",
        min_length=1,
        description=(
            "A name is known if this finds one entry, and only one: {a} is the name as the client gives it, {u} what stands before its "
            "last @, {d} what stands behind (RFC 4515)."
        ),
    )
    timeout: Duration = Field(default=5.0, ge=0.1, le=MINUTE, description="Longest wait for the directory; past it 454.")
    proven_for: Duration = Field(
        default=5 * MINUTE,
        ge=0,
        le=DAY,
        description="How long a password that was right is believed without asking again, in an outage too. 0 s: it is always asked.",
    )


def contradictions_of(given: Authentication, directories: Sequence[UserLdap]) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What cannot stand together, as (place, what, mend)."""
    for key in ("max_failures", "max_failures_per_address"):
        if getattr(given, key) == 0:
            yield ("authentication", key), "nobody could authenticate: not even one may fail", "write at least 1, or -1 for any number"
    names: set[str] = set()
    for number, directory in enumerate(directories):
        if directory.name in names:
            yield ("user_ldap", number, "name"), f"two directories of users are called {directory.name!r}", "give each its own name"
        names.add(directory.name)
        for key, what, mend in contradictions_of_ldap(directory, hears_passwords=True):
            yield ("user_ldap", number, key), what, mend
