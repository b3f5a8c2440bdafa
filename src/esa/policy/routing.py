"""Which destination recipients go to: by SMTP routes, by a host that a policy names, and by the interface that mail leaves from.

The queue asks `Router.groups` as mail comes in, the deliver process asks `Router.of_key` for what a destination is. Pure. A destination is what
has connections, limits and back-off of its own:

- a domain whose mail exchangers are asked for, or that an entry of the destination controls names;
- otherwise a route: all domains that go to the same hosts are one destination, and share transactions.

Its key says so in words ("example.org", "relay.example.net:25", with " via NAME" for an interface), and stands in the queue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from esa.errors import SyntaxFault
from esa.policy.destination_controls import DEFAULT_CONTROL, ControlTable, DestinationControl
from esa.policy.smtp_routes import THROWN_AWAY, TO_MAILDIR, RouteHost, RouteKind, RouteTable, SmtpRoute, parse_route

_VIA = " via "
_REMEMBERED = 20_000  # domains whose key is kept: most mail goes to few


@dataclass(frozen=True, slots=True)
class Destination:
    """Where mail goes, as the configuration has it."""

    key: str
    route: SmtpRoute
    control: DestinationControl
    domain: str = ""  # whose mail exchangers are asked for; empty: of none
    interface: str = ""


class Router:
    """Routes, controls and interfaces of one configuration."""

    def __init__(
        self,
        routes: Iterable[tuple[str, SmtpRoute]] = (),
        otherwise: SmtpRoute = TO_MAILDIR,
        controls: Iterable[tuple[str, DestinationControl]] = (),
        control: DestinationControl = DEFAULT_CONTROL,
        *,
        hostname: str = "localhost",
        interfaces: Sequence[str] = (),
    ) -> None:
        """`otherwise` and `control` hold where no entry does. `hostname` is the domain of who has none ("postmaster")."""
        given, controlled = list(routes), list(controls)
        self._routes = RouteTable(given, otherwise)
        self._controls = ControlTable(controlled, control)
        self._hostname = hostname.lower()
        self._interfaces = frozenset(interfaces)
        self._discards_all = not given and otherwise == THROWN_AWAY
        self._named = {route.name: route for route in (*(route for _, route in given), self._routes.otherwise, TO_MAILDIR, THROWN_AWAY)}
        self._keys: dict[str, str] = {}
        self._destinations: dict[str, Destination] = {}
        told = repr((given, otherwise, controlled, self._controls.otherwise, self._hostname, sorted(self._interfaces)))
        self.digest = hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()[:32]

    def groups(self, recipients: Sequence[str], mailhost: str = "", interface: str = "") -> list[tuple[str, tuple[str, ...]]]:
        """Destinations in order of their first recipient, each with as many recipients as go at once: the same one may stand there again."""
        gathered: dict[str, list[str]] = {}
        for address in dict.fromkeys(recipients):
            gathered.setdefault(self._key(address, mailhost, interface), []).append(address)
        groups: list[tuple[str, tuple[str, ...]]] = []
        for key, addresses in gathered.items():
            count = self.of_key(key).control.recipients_at_once if len(addresses) > 1 else 1
            groups += [(key, tuple(addresses[start : start + count])) for start in range(0, len(addresses), count)]
        return groups

    def _key(self, address: str, mailhost: str, interface: str) -> str:
        domain = address.rpartition("@")[2].lower() if "@" in address else self._hostname
        if mailhost and not self._discards_all:
            key = mailhost
        elif (known := self._keys.get(domain)) is not None:
            key = known
        else:
            key = self._key_of_domain(domain)
            if len(self._keys) >= _REMEMBERED:
                self._keys.clear()
            self._keys[domain] = key
        return f"{key}{_VIA}{interface}" if interface in self._interfaces else key

    def _key_of_domain(self, domain: str) -> str:
        route = self._routes.find(domain)
        if route.kind in (RouteKind.DISCARD, RouteKind.MAILDIR):
            return route.name
        is_by_itself = route.kind is RouteKind.DNS or self._controls.named(domain) is not None
        return domain if is_by_itself else route.name

    def of_key(self, key: str) -> Destination:
        """What a destination is. Of one that only an older configuration knew, what can be made of its name."""
        known = self._destinations.get(key)
        if known is None:
            if len(self._destinations) >= _REMEMBERED:
                self._destinations.clear()
            known = self._destinations[key] = self._read_key(key)
        return known

    def _read_key(self, key: str) -> Destination:
        name, _, interface = key.partition(_VIA)
        if (route := self._named.get(name)) is not None:
            return Destination(key, route, self._controls.otherwise, interface=interface)
        if name.startswith("[") == name.endswith("]") and "/" not in name and (":" not in name or name.startswith("[")):
            return Destination(key, self._routes.find(name), self._controls.find(name), name, interface)
        try:
            route = parse_route([name])
        except SyntaxFault:
            route = SmtpRoute(RouteKind.HOSTS, (RouteHost(name),))  # has no address: mail waits, and its reason says why
        host = route.hosts[0].host if route.hosts else ""
        return Destination(key, route, self._controls.find(host), interface=interface)
