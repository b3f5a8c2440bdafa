"""The tables of SMTP routes, destination controls and delivery interfaces. `schema` puts them into the configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from esa.config.sender_groups import MailFlowPolicy
from esa.config.values import DAY, MINUTE, Duration, Name, Table, Texts, domain, fault
from esa.errors import SyntaxFault
from esa.policy.destination_controls import UNLIMITED, DestinationControl, IpPreference
from esa.policy.smtp_routes import ALL, SmtpRoute, parse_key, parse_route
from esa.policy.tls_modes import Mode

ROUTES_LIMIT = 40_000  # as AsyncOS has it; an exported table fits
TlsMode = Literal[
    "none",
    "preferred",
    "required",
    "preferred-verify",
    "required-verify",
    "required-verify-hosted-domains",
    "dane",
    "mta-sts",
    "dane-or-mta-sts",
]  # the words of policy.tls_modes.Mode


def _key(value: str) -> str:
    try:
        return parse_key(value)
    except SyntaxFault as wrong:
        raise fault(wrong.what, wrong.mend or "") from wrong


def _hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    if value:
        try:
            parse_route(value)
        except SyntaxFault as wrong:
            raise fault(wrong.what, wrong.mend or "") from wrong
    return value


def route(value: str) -> str:
    """The route of `[delivery]`: empty, or destinations with commas between them."""
    if value:
        _hosts(tuple(value.split(",")))
    return value


def _ip(version: int, value: str) -> str:
    try:
        if not value or ipaddress.ip_address(value).version == version:
            return value
    except ValueError:
        pass
    raise fault(f"{value!r} is no IPv{version} address", f"write an IPv{version} address of this machine, or leave it empty")


Keys = Annotated[tuple[Annotated[str, AfterValidator(_key)], ...], Field(strict=False)]


class SmtpRouteTable(Table):
    """Where mail for some domains goes. The most specific entry of all tables decides: the domain itself, the longest .domain, ALL."""

    domains: Keys = Field(
        default=(), description="example.org, .example.org (all domains below it), [192.0.2.1], or ALL in the place of [delivery] route."
    )
    hosts: Annotated[Texts, AfterValidator(_hosts)] = Field(
        default=(),
        description=(
            "Destinations: host:port or [host] (its addresses), host alone (its mail exchangers), IP addresses; each may end with /pri=N "
            "(smallest first; equal ones take turns). lmtp:host:port and lmtp:/socket for LMTP. By themselves: USEDNS (mail exchangers of the "
            "domain), /dev/null (thrown away), maildir:NAME (a Maildir in the state folder)."
        ),
    )


class DestinationTable(Table):
    """How much at a time each of some domains gets (destination controls). The most specific entry decides, as of routes."""

    domains: Keys = Field(default=(), description="example.org, .example.org (each domain below it by itself), [192.0.2.1], or ALL.")
    concurrency: int = Field(default=0, ge=0, le=1_000, description="Connections at one time. 0: as [delivery] concurrency.")
    messages_per_connection: int = Field(default=50, ge=1, le=100_000, description="Messages of one connection.")
    recipients_per_message: int = Field(
        default=100, ge=1, le=100_000, description="Most recipients of one transaction; a message for more is sent in several."
    )
    recipients: int = Field(default=UNLIMITED, ge=0, description="Most recipients within interval. 0: any number.")
    interval: Duration = Field(default=60 * MINUTE, ge=1, le=DAY, description="Time that recipients are counted in.")
    ip_preference: IpPreference = Field(
        default="prefer-v6", description="Family of addresses to try first, or only: prefer-v6, prefer-v4, require-v6, require-v4."
    )
    tls: TlsMode = Field(
        default="preferred",
        description=(
            "TLS of connections to it: none, preferred, required, preferred-verify, required-verify, required-verify-hosted-domains, dane, "
            "mta-sts, dane-or-mta-sts. esa help tls-modes tells what each protects from."
        ),
    )
    tls_names: Annotated[tuple[Annotated[str, AfterValidator(domain)], ...], Field(strict=False)] = Field(
        default=(), description="Names that its certificates may stand for in the place of the domain, under the modes that verify."
    )
    bounce_profile: str = Field(default="", max_length=64, description="Bounce profile of its mail. Empty: that of the listener.")
    bounce_verification: bool = Field(
        default=False, description="Whether return paths of our senders are tagged on the way to it, as [bounce_verification] says."
    )


class DeliveryInterface(Table):
    """An address that mail leaves from, with the name said in EHLO: alt-src-host and mail flow policies choose one by its name."""

    name: Name = Field(default="out", description="Its name.")
    ipv4: Annotated[str, AfterValidator(lambda value: _ip(4, value))] = Field(
        default="", description="IPv4 address of this machine. Empty: IPv4 is spoken only if ipv6 is empty too, from any address."
    )
    ipv6: Annotated[str, AfterValidator(lambda value: _ip(6, value))] = Field(default="", description="IPv6 address, likewise.")
    hostname: Annotated[str, AfterValidator(lambda value: domain(value) if value else value)] = Field(
        default="", description="Name said in EHLO. Empty: that of the gateway."
    )


def routes_of(tables: Sequence[SmtpRouteTable]) -> list[tuple[str, SmtpRoute]]:
    """Entries of a route table, in order."""
    entries = []
    for table in tables:
        if table.domains:
            one = parse_route(table.hosts)
            entries += [(key, one) for key in table.domains]
    return entries


def controls_of(tables: Sequence[DestinationTable], concurrency: int) -> list[tuple[str, DestinationControl]]:
    """Entries of a table of controls, in order; `concurrency` is that of `[delivery]`."""
    return [
        (
            key,
            DestinationControl(
                table.concurrency or concurrency,
                table.messages_per_connection,
                table.recipients_per_message,
                table.recipients,
                table.interval,
                table.ip_preference,
                Mode(table.tls),
                table.tls_names,
                table.bounce_profile,
                table.bounce_verification,
            ),
        )
        for table in tables
        for key in table.domains
    ]


def contradictions_of(
    routes: Sequence[SmtpRouteTable], destinations: Sequence[DestinationTable], interfaces: Sequence[DeliveryInterface], route: str
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What cannot stand together, as (place, what, mend). `route` is that of `[delivery]`."""
    seen: set[str] = set()
    for number, table in enumerate(routes):
        place: tuple[str | int, ...] = ("smtp_route", number)
        if table.domains and not table.hosts:
            yield (*place, "hosts"), "the route says not where mail goes", 'name destinations, as hosts = ["mail.example.org:25"]'
        if table.hosts and not table.domains:
            yield (*place, "domains"), "the route is for no domain", 'name domains, as domains = ["example.org"]'
        yield from _repeated((*place, "domains"), table.domains, seen, "routes")
        if ALL in table.domains and route:
            what = f"[delivery] route ({route}) and the route for ALL say two things of the same mail"
            yield (*place, "domains"), what, "leave one of them out"
    if len(seen) > ROUTES_LIMIT:
        yield ("smtp_route",), f"there are {len(seen)} routes", f"keep to {ROUTES_LIMIT}"
    seen = set()
    for number, control in enumerate(destinations):
        place = ("destination", number)
        if not control.domains:
            yield (*place, "domains"), "the control is for no domain", 'name domains, as domains = ["example.org"], or ["ALL"]'
        yield from _repeated((*place, "domains"), control.domains, seen, "controls")
    names: set[str] = set()
    for number, interface in enumerate(interfaces):
        if interface.name in names:
            yield ("delivery_interface", number, "name"), f"two interfaces are called {interface.name!r}", "give each its own name"
        names.add(interface.name)


def _repeated(
    place: tuple[str | int, ...], keys: Sequence[str], seen: set[str], what: str
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    for position, key in enumerate(keys):
        if key in seen:
            yield (*place, position), f"{key} has two {what}", "keep one of them"
        seen.add(key)


def unknown_interfaces(
    policies: Mapping[str, MailFlowPolicy], interfaces: Sequence[DeliveryInterface]
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Mail flow policies that name a delivery interface which is not there, as (place, what, mend)."""
    known = [interface.name for interface in interfaces]
    for name, policy in policies.items():
        if policy.delivery_interface and policy.delivery_interface not in known:
            mend = f"choose of {', '.join(known)}" if known else "name it in a table [[delivery_interface]]"
            yield ("mail_flow_policy", name, "delivery_interface"), f"no delivery interface is called {policy.delivery_interface!r}", mend
