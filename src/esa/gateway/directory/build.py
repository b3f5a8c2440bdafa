"""Makes the sources of recipients and of users that a configuration names, and the directory of recipients of each listener.

Receiving processes do, and `esa config check` and `esa recipient` to try them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from esa.config.groups import PLACE, GroupLdap
from esa.config.policies import groups_named
from esa.config.recipient_sources import AskedSource, RecipientCallAhead, RecipientLdap, RecipientSource, RecipientSql, unknown_of
from esa.config.schema import Configuration
from esa.config.users import UserLdap
from esa.config.values import split_route
from esa.errors import ConfigurationError, SyntaxFault
from esa.gateway.authentication import Users, UserSource
from esa.gateway.directory.call_ahead import CallAhead, NextHop
from esa.gateway.directory.file import FileSource, read_known
from esa.gateway.directory.groups import Groups
from esa.gateway.directory.kept import Asker, Keeping, KeptSource, Outage
from esa.gateway.directory.ldap import LdapAsker, LdapSettings, make_context, read_server
from esa.gateway.directory.ldap_filter import Filter
from esa.gateway.directory.sources import Directory, Scope, Source
from esa.gateway.directory.sql import SqlAsker, check_query
from esa.gateway.directory.users import LdapUsers
from esa.gateway.patience import FailureLimits, Patience
from esa.gateway.rates import NodeRates
from esa.gateway.user_file import UserFile
from esa.policy.recipient_access import recipient_of


class Placed(NamedTuple):
    """A source, and the listeners that ask it; none named: all."""

    source: Source
    listeners: tuple[str, ...]


def make_sources(configuration: Configuration, *, instead: Callable[[Scope], Source] | None = None) -> list[Placed]:
    """All sources, in the order that they are asked in: files, SQLite, LDAP, call-ahead. Raises ConfigurationError.

    `instead`: what stands in for those that are asked over the network.
    """
    placed = [
        Placed(FileSource(_scope(one), Path(one.file), delimiter=one.extension), one.listeners) for one in configuration.recipient_file
    ]
    asked: list[AskedSource] = [*configuration.recipient_sql, *configuration.recipient_ldap, *configuration.recipient_call_ahead]
    for one in asked:
        is_replaced = instead is not None and not isinstance(one, RecipientSql)
        source = instead(_scope(one)) if instead and is_replaced else KeptSource(_scope(one), _asker(configuration, one), _keeping(one))
        placed.append(Placed(source, one.listeners))
    return placed


def directory_of(sources: Sequence[Placed], listener: str) -> Directory | None:
    """What a listener asks; None if nothing."""
    own = [placed.source for placed in sources if not placed.listeners or listener in placed.listeners]
    return Directory(own) if own else None


def _scope(given: RecipientSource) -> Scope:
    domains = ["." * domain.startswith(".") + recipient_of(f"x@{domain.removeprefix('.')}").domain for domain in given.domains]
    return Scope.of(given.name, domains, unknown_of(given))


def _keeping(given: AskedSource) -> Keeping:
    return Keeping(given.timeout, given.known_for, given.unknown_for, given.kept, given.outage, given.stale_for)


def _asker(configuration: Configuration, given: AskedSource) -> Asker:
    match given:
        case RecipientSql():
            check_query(Path(given.database), given.query)
            return SqlAsker(Path(given.database), given.query, timeout=given.timeout)
        case RecipientLdap():
            return LdapAsker(_ldap_settings("recipient_ldap", given))
        case RecipientCallAhead():
            route = split_route(given.next_hop) or configuration.route
            assert route is not None
            hop = NextHop(*route, configuration.gateway.hostname, connections=given.connections, timeout=given.timeout)
            return CallAhead(given.name, hop)
    raise TypeError(type(given))


def _ldap_settings(table: str, given: RecipientLdap | UserLdap | GroupLdap) -> LdapSettings:
    where = f'[[{table}]] "{given.name}"'
    servers = []
    for text in given.servers:
        server = read_server(text, starttls=given.tls == "starttls")
        if server is None:
            raise ConfigurationError(
                f"{text!r} is no LDAP server", where=f"{where}, servers", mend='write "ldap://host:389" or "ldaps://host"'
            )
        servers.append(server)
    try:
        condition = Filter(given.filter)
    except SyntaxFault as fault:
        raise ConfigurationError(fault.what, where=f"{where}, filter", mend=fault.mend) from fault
    if not condition.has_places:
        raise ConfigurationError(
            "the filter does not ask for anybody", where=f"{where}, filter", mend="write {a} where the address or the name goes"
        )
    authorities = Path(given.authorities) if given.authorities else None
    try:
        make_context(authorities)
        password = Path(given.password_file).read_text("utf-8").rstrip("\r\n") if given.password_file else ""
    except (OSError, UnicodeDecodeError) as wrong:
        name = given.password_file if isinstance(wrong, UnicodeDecodeError) or wrong.filename == given.password_file else given.authorities
        raise ConfigurationError(f"the file cannot be read: {wrong}", where=name, mend="Check its path, mode and content.") from wrong
    if given.bind_dn and not password:
        raise ConfigurationError("the password is empty, which proves nothing (RFC 4513)", where=given.password_file, mend="write it there")
    return LdapSettings(tuple(servers), given.base, condition, given.scope, given.bind_dn, password, authorities, given.timeout)


def make_users(configuration: Configuration, rates: NodeRates | None) -> Users | None:
    """Those who may authenticate; None if nobody may. Raises ConfigurationError.

    `rates`: where failures are counted; None: in this process alone.
    """
    sources = make_user_sources(configuration)
    given = configuration.authentication
    limits = FailureLimits(given.max_failures, given.max_failures_per_address, given.failure_window)
    return Users(sources, Patience(rates, limits) if rates is not None else Patience.of_one_process(limits)) if sources else None


def make_user_sources(configuration: Configuration) -> list[UserSource]:
    """Who is asked for users, in order: the file, then the directories. Raises ConfigurationError."""
    users = configuration.authentication.users
    directories = [LdapUsers(one.name, _ldap_settings("user_ldap", one), proven_for=one.proven_for) for one in configuration.user_ldap]
    return [*([UserFile(Path(users))] if users else []), *directories]


def make_groups(configuration: Configuration, names: Iterable[str]) -> Groups | None:
    """What knows who is in these groups; None where no group is named, or nobody knows any. Raises ConfigurationError."""
    sources: dict[str, list[KeptSource]] = {}
    for given in configuration.group_ldap:
        outage: Outage = "accept" if given.outage == "none" else given.outage
        keeping = Keeping(given.timeout, given.known_for, given.unknown_for, given.kept, outage, given.stale_for)
        for name in names:
            if not given.groups or name in given.groups:
                its_own = given.model_copy(update={"filter": given.filter.replace(PLACE, _escaped(name))})
                asker = LdapAsker(_ldap_settings("group_ldap", its_own))
                sources.setdefault(name, []).append(KeptSource(Scope(f"{given.name}:{name}"), asker, keeping))
    return Groups(sources) if sources else None


def _escaped(value: str) -> str:
    """As it stands for itself in a filter (RFC 4515 section 3)."""
    return "".join(f"\\{ord(c):02x}" if c in "*()\\\0{}" else c for c in value)


def check_sources(configuration: Configuration) -> None:
    """Look at everything that can be looked at without asking anybody. Raises ConfigurationError for the first that cannot be served."""
    make_sources(configuration)
    make_users(configuration, None)
    make_groups(configuration, [group for _, group in groups_named(configuration.mail_policy)] or ["group"])
    for given in configuration.recipient_file:
        read_known(Path(given.file))
