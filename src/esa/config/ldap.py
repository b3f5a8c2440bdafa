"""What every table that asks an LDAP directory has in common: recipients do, and users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from esa.config.values import Table, Texts


class LdapDirectory(Table):
    """Which servers are asked, as whom, and where the search begins."""

    servers: Texts = Field(
        default=("ldap://ldap.example.org",),
        description='Servers in order, as "ldap://host:389" or "ldaps://host". The next is asked if one fails.',
    )
    tls: Literal["starttls", "off"] = Field(
        default="starttls", description='For ldap:// servers: TLS by StartTLS, or "off". ldaps:// has TLS from the first octet.'
    )
    authorities: str = Field(
        default="",
        description="File of the authorities that vouch for the servers, in PEM. Empty: those of the machine. Relative to this file.",
    )
    bind_dn: str = Field(default="", description="Name to bind with for the search. Empty: anonymous.")
    password_file: str = Field(default="", description="File that holds its password and nothing else. Relative to this file.")
    base: str = Field(default="", description="Where the search begins, as dc=example,dc=org.")
    scope: Literal["subtree", "one", "base"] = Field(default="subtree", description="How deep it goes.")


def contradictions_of_ldap(given: LdapDirectory, *, hears_passwords: bool = False) -> Iterator[tuple[str, str, str]]:
    """What cannot stand together in one table, as (key, what, mend). `hears_passwords`: it is asked to verify those of users."""
    if not given.servers:
        yield "servers", "there is nobody to ask", 'name a server, as "ldap://ldap.example.org"'
    if bool(given.bind_dn) != bool(given.password_file):
        mend = "give both bind_dn and password_file, or neither for an anonymous search"
        yield "bind_dn", "a name and a password belong together: an empty password proves nothing (RFC 4513 section 5.1.2)", mend
    clear = [one for one in given.servers if one.lower().startswith("ldap://")]
    if (hears_passwords or given.password_file) and given.tls == "off" and any(not _is_near(one) for one in clear):
        whose = "passwords of users" if hears_passwords else "the password"
        yield "tls", f"{whose} would cross the network in the clear", 'leave tls at "starttls", or use ldaps://'


def _is_near(server: str) -> bool:
    return server.partition("://")[2].startswith(("127.", "localhost", "[::1]"))
