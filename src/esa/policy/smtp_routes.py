"""SMTP routes: where mail for a domain goes. Keys and destinations are AsyncOS's; those that it has not are LMTP and a Maildir.

A `RouteTable` is made of entries of the configuration and asked by the deliver process. The most specific entry decides: the domain itself,
then `.example.org` (all below it, the longest first), then ALL. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Literal, TypeVar

from esa.errors import SyntaxFault
from esa.message.address import parse_domain

ALL = "ALL"
USE_DNS, DISCARD = "USEDNS", "/dev/null"  # AsyncOS's words
SMTP_PORT = 25
LMTP_PORT = 24  # RFC 2033 names none; 24 is the one in use
PRIORITIES = 65_535
HOSTS_LIMIT = 100  # of one route: each costs an attempt
_PRIORITY = re.compile(r"\s*/pri=(\d{1,5})\s*\Z", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\Z")
_MEND = 'write host, host:port, "[2001:db8::25]:25", "lmtp:host:port", "lmtp:/run/lmtp", "maildir:NAME", "USEDNS" or "/dev/null"'


class RouteKind(Enum):
    """What a route is."""

    HOSTS = "hosts"  # one or several next hops
    DNS = "dns"  # the mail exchangers of the domain itself
    DISCARD = "discard"
    MAILDIR = "maildir"


@dataclass(frozen=True, slots=True)
class RouteHost:
    """One next hop of a route. The smallest priority goes first; equal ones take turns."""

    host: str = ""  # name or IP address without brackets
    port: int = SMTP_PORT
    priority: int = 0
    speaks: Literal["smtp", "lmtp"] = "smtp"
    path: str = ""  # of a unix socket, in the place of host and port
    asks_exchangers: bool = False  # the host is a name whose mail exchangers are asked for first

    @property
    def name(self) -> str:
        """As people write it, without the priority."""
        if self.path:
            return f"{self.speaks}:{self.path}"
        prefix = "lmtp:" if self.speaks == "lmtp" else ""
        if self.asks_exchangers:
            return f"mx:{self.host}"  # so that it is not taken for the domain of recipients
        return f"{prefix}[{self.host}]:{self.port}" if ":" in self.host else f"{prefix}{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SmtpRoute:
    """Where mail of some domains goes. `name` tells routes apart and is shown to people."""

    kind: RouteKind
    hosts: tuple[RouteHost, ...] = ()
    maildir: str = ""  # empty: the usual one

    @property
    def name(self) -> str:
        match self.kind:
            case RouteKind.DNS:
                return USE_DNS
            case RouteKind.DISCARD:
                return DISCARD
            case RouteKind.MAILDIR:
                return f"maildir:{self.maildir}" if self.maildir else "maildir"
            case RouteKind.HOSTS:
                return ", ".join(f"{one.name}/pri={one.priority}" if one.priority else one.name for one in self.hosts)


BY_DNS, THROWN_AWAY, TO_MAILDIR = SmtpRoute(RouteKind.DNS), SmtpRoute(RouteKind.DISCARD), SmtpRoute(RouteKind.MAILDIR)


def parse_route(destinations: Iterable[str]) -> SmtpRoute:
    """A route of its destinations, as AsyncOS writes them. Raises SyntaxFault."""
    texts = [text.strip() for text in destinations]
    if not texts:
        raise SyntaxFault("a route needs a destination", mend=_MEND)
    for text in texts:
        alone = _alone(text)
        if alone is not None and len(texts) > 1:
            raise SyntaxFault(f"{text} stands by itself, not beside other destinations", mend="name it alone, or hosts only")
        if alone is not None:
            return alone
    if len(texts) > HOSTS_LIMIT:
        raise SyntaxFault(f"a route may have {HOSTS_LIMIT} hosts", mend="name fewer")
    hosts = tuple(dict.fromkeys(parse_host(text) for text in texts))
    return SmtpRoute(RouteKind.HOSTS, tuple(sorted(hosts, key=lambda one: one.priority)))


def _alone(text: str) -> SmtpRoute | None:
    """A destination that is no host."""
    if text.upper() == USE_DNS:
        return BY_DNS
    if text == DISCARD:
        return THROWN_AWAY
    word, colon, name = text.partition(":")
    if word.lower() == "maildir" and (not colon or not name.isdecimal()):
        if name.startswith("/") or ".." in name.split("/"):
            raise SyntaxFault(f"{text!r} lies outside the state folder", mend='name a folder in it, as "maildir:archive"')
        return SmtpRoute(RouteKind.MAILDIR, maildir=name)
    return None


def parse_host(text: str) -> RouteHost:
    """One host of a route. Raises SyntaxFault.

    `example.org` is a name whose mail exchangers are asked for, and its addresses where it has none; `[example.org]` and everything with a
    port is a host whose addresses are asked for, whatever mail exchangers it has.
    """
    priority = 0
    rest = text.strip()
    if found := _PRIORITY.search(rest):
        priority, rest = int(found.group(1)), rest[: found.start()].rstrip()
        if priority > PRIORITIES:
            raise SyntaxFault(f"{text!r}: a priority is at most {PRIORITIES}", mend="write /pri=0 to /pri=65535")
    speaks: Literal["smtp", "lmtp"] = "smtp"
    if rest.lower().startswith("lmtp:"):
        speaks, rest = "lmtp", rest[5:]
        if rest.startswith("/"):
            return RouteHost(priority=priority, speaks="lmtp", path=rest)
    if rest.startswith("/") and rest != DISCARD:
        return RouteHost(priority=priority, speaks="lmtp", path=rest)
    host, port, is_exact = _place(rest, text)
    try:
        host = str(ipaddress.ip_address(host))
        is_exact = True
    except ValueError:
        if not _HOST.match(host) or len(host) > 253:
            raise SyntaxFault(f"{text!r} is no destination of a route", mend=_MEND) from None
        host = host.lower()
    usual = LMTP_PORT if speaks == "lmtp" else SMTP_PORT
    return RouteHost(host, port or usual, priority, speaks, asks_exchangers=not is_exact and port is None and speaks == "smtp")


def _place(text: str, whole: str) -> tuple[str, int | None, bool]:
    """Host, port if one is named, and whether the host stands in brackets."""
    is_exact = text.startswith("[")
    if is_exact:
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise SyntaxFault(f"{whole!r} is no destination of a route", mend=_MEND)
        port = port[1:]
    elif text.count(":") > 1:  # an IPv6 address by itself
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if port and not (port.isdecimal() and 1 <= int(port) <= 65_535):
        raise SyntaxFault(f"{whole!r}: {port!r} is no port", mend="write a port from 1 to 65535")
    return host, int(port) if port else None, is_exact


_Value = TypeVar("_Value")


class DomainTable(Generic[_Value]):
    """What holds for a domain: an entry for itself, the longest `.suffix`, or the value for ALL."""

    def __init__(self, entries: Iterable[tuple[str, _Value]], otherwise: _Value) -> None:
        """`entries`: keys as `parse_key` gives them. Of equal keys the first holds."""
        self._exact: dict[str, _Value] = {}
        self._below: dict[str, _Value] = {}
        self.otherwise = otherwise
        has_all = False
        for key, value in entries:
            if key == ALL:
                if not has_all:
                    self.otherwise, has_all = value, True
            elif key.startswith("."):
                self._below.setdefault(key[1:], value)
            else:
                self._exact.setdefault(key, value)

    def find(self, domain: str) -> _Value:
        """`domain` in lower case."""
        return found if (found := self.named(domain)) is not None else self.otherwise

    def named(self, domain: str) -> _Value | None:
        """As `find`, but None where only ALL is meant for it."""
        if (found := self._exact.get(domain)) is not None:
            return found
        if self._below and not domain.startswith("["):
            place = domain.find(".")
            while place >= 0:
                if (found := self._below.get(domain[place + 1 :])) is not None:
                    return found
                place = domain.find(".", place + 1)
        return None


RouteTable = DomainTable[SmtpRoute]


def parse_key(text: str) -> str:
    """The domains that a route or a control is for: `example.org`, `.example.org`, `[192.0.2.1]` or ALL. Raises SyntaxFault."""
    if text.upper() == ALL:
        return ALL
    try:
        parse_domain(text.removeprefix("."))
    except SyntaxFault as fault:
        raise SyntaxFault(f"{text!r} is no domain", mend="write example.org, .example.org for all below it, [192.0.2.1] or ALL") from fault
    return text.lower()


def turned(hosts: Iterable[RouteHost], turn: int, left_alone: Mapping[str, float], now: float) -> list[RouteHost]:
    """The order to try hosts in: by priority, equal ones by turns, and behind them all those that are left alone after a failure.

    `left_alone`: until when, by name.
    """
    by_priority: dict[int, list[RouteHost]] = {}
    for one in hosts:
        by_priority.setdefault(one.priority, []).append(one)
    ordered = [one for _, equals in sorted(by_priority.items()) for one in (*equals[turn % len(equals) :], *equals[: turn % len(equals)])]
    return sorted(ordered, key=lambda one: left_alone.get(one.name, 0.0) > now)
