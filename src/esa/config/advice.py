"""What is odd about a configuration that can be served; `esa config check` prints it. Nothing here keeps anybody from serving."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

from esa.config.content_filters import oddities_of
from esa.config.destinations import routes_of
from esa.config.filters import plan_of
from esa.config.policies import members_of
from esa.config.recipient_access import entries_of, says_anything
from esa.config.relays import relays_of
from esa.config.reputation import makes_points
from esa.config.schema import Configuration
from esa.config.sender_groups import SHIPPED_GROUPS, WITHOUT_EFFECT, groups_of
from esa.policy.filters.scope import Severity
from esa.policy.host_access import EVERYONE, HostAccess, Sender
from esa.policy.host_access_audit import Finding, audit
from esa.policy.mail_flow import UNLIMITED
from esa.policy.mail_policy import DEFAULT
from esa.policy.policy_audit import audit as audit_policies
from esa.policy.recipient_access_audit import audit as audit_recipients
from esa.policy.senders import NoReputation, ReputationRange
from esa.policy.smtp_routes import ALL, RouteKind, RouteTable
from esa.policy.tls_modes import Mode

ANTI_SPAM_OFF = "reputation is off, because anti-spam is ([scan] anti_spam = false): every sender is none"
USERS_UNASKED = 'set authentication = "offered" or "required" at a [[listener]]'


def advise(configuration: Configuration, base: Path = Path()) -> list[Finding]:
    """All findings, in order; of the shipped groups only what other settings make odd. `base` is the folder that names of files start from."""
    return list(dict.fromkeys(_findings(configuration, base)))


def _findings(configuration: Configuration, base: Path) -> Iterator[Finding]:
    if configuration.has_users and all(listener.authentication == "off" for listener in configuration.listener):
        yield Finding("[authentication]", "users are named, and no listener offers AUTH", USERS_UNASKED, table="table")
    yield from _without_effect(configuration)
    yield from _relays(configuration, base)
    yield from _of_destinations(configuration)
    yield from _of_senders(configuration, base)
    yield from _of_policies(configuration, base)
    yield from _of_filters(configuration, base)
    for listener in configuration.listener:
        given = configuration.recipient_access, listener.accept_domains
        if says_anything(*given, listener=listener.name):
            yield from audit_recipients(entries_of(*given, listener=listener.name, base=base), listener.name)


def _without_effect(configuration: Configuration) -> Iterator[Finding]:
    """Parameters that somebody may rely on, and that nothing looks at yet."""
    for key, why in WITHOUT_EFFECT.items():
        names = [name for name, policy in configuration.mail_flow_policy.items() if key in policy.model_fields_set]
        if names:
            yield Finding(key, f"has no effect in {', '.join(names)}: {why}", "do not rely on it", table="parameter")


def _of_destinations(configuration: Configuration) -> Iterator[Finding]:
    """Policies of domains (MTA-STS) are of their mail exchangers: a route to named hosts leaves them nothing to say."""
    routes = RouteTable(routes_of(configuration.smtp_route), configuration.default_route)
    for table in configuration.destination:
        for domain in table.domains:
            route = routes.otherwise if domain == ALL else routes.find(domain.removeprefix("."))
            if table.tls == Mode.MTA_STS.value and not (route.kind is RouteKind.DNS or any(one.asks_exchangers for one in route.hosts)):
                what = f'tls = "mta-sts" has no effect on mail that goes to {route.name}: it goes as under preferred'
                yield Finding(domain, what, "write required-verify for hosts that you name", table="destination")


def _of_policies(configuration: Configuration, base: Path) -> Iterator[Finding]:
    """Mail policies that never match, content filters that nobody names or that cannot run, switches without effect."""
    policies = configuration.mail_policy
    for table in ("incoming", "outgoing"):
        placed = [(one.name, members_of(one)) for one in policies if one.table in (table, "both") and one.name != DEFAULT]
        yield from audit_policies(placed, table)
    for policy in policies:
        if not policy.anti_virus:
            what = "anti_virus = false has no effect: there is no anti-virus engine yet"
            yield Finding(policy.name, what, "take it out, and let no one rely on a scan", "mail policy")
    named = {name for policy in policies for name in policy.content_filters}
    for one in configuration.content_filter:
        if one.name not in named:
            yield Finding(
                one.name, "no mail policy names it, so that it never runs", "name it in content_filters of a policy", "content filter"
            )
    for name, what, mend in oddities_of(configuration, base):
        yield Finding(name, what, mend, "content filter")


def _of_filters(configuration: Configuration, base: Path) -> Iterator[Finding]:
    """What message filters name that is not there, and what is odd in them. Errors are faults, and were told as such."""
    for problem in plan_of(configuration, base).problems:
        if problem.severity in (Severity.INVALID, Severity.WARNING):
            yield Finding(problem.filter, f"{problem.what} ({problem.at})", problem.mend or "mend it", table="message filter")


def _of_senders(configuration: Configuration, base: Path) -> Iterator[Finding]:
    is_shipped = configuration.sender_group == SHIPPED_GROUPS
    if not configuration.scan.anti_spam:
        yield Finding("", ANTI_SPAM_OFF, "set [scan] anti_spam = true, or take the ranges of reputation (SBRS) out of the groups")
    for listener in configuration.listener:
        groups = groups_of(configuration.sender_group, configuration.mail_flow_policy, listener=listener.name, base=base)
        if not is_shipped:
            yield from audit(groups)
        asking = [group for group in groups if any(isinstance(entry, ReputationRange | NoReputation) for entry in group.senders)]
        if asking and not configuration.reputation.learn and not makes_points(configuration.dns_list):
            what = "groups ask for a reputation, and nothing gives one: every sender is none"
            yield Finding("", what, "leave [reputation] learn on, or name DNS lists with their weights, as [[dns_list]]")


def _relays(configuration: Configuration, base: Path) -> Iterator[Finding]:
    """Incoming relays that are held to limits for a sender though many senders stand behind them."""
    relays = relays_of(configuration.incoming_relay)
    if not relays:
        return
    for listener in configuration.listener:
        groups = groups_of(configuration.sender_group, configuration.mail_flow_policy, listener=listener.name, base=base)
        hosts = HostAccess(groups)
        for relay in relays:
            address = ipaddress.ip_address(relay.hosts[0].first.to_bytes(4 if relay.hosts[0].version == 4 else 16, "big"))
            match = hosts.match(Sender(address))
            policy = match.policy
            limits = [f"dhap_limit = {policy.dhap_limit}"] if policy.dhap_limit > 0 else []
            limits += [f"max_rcpts_per_hour = {policy.max_rcpts_per_hour}"] if policy.max_rcpts_per_hour != UNLIMITED else []
            if policy.is_open and limits:
                what = f"the incoming relay {relay.name} gets policy {policy.name} ({', '.join(limits)}), so others could use up what it may do"
                yield Finding(
                    "" if match.group == EVERYONE else match.group, what, "put its hosts into a group of their own without these limits"
                )
