"""What filters name that is not there: people who have left, domains without mail, hosts without an address, groups that nobody knows.

First `questions` tells what has to be found out, somebody asks the directory and DNS, then `dead` tells what is not there. What was not asked, or what
nobody could answer, is not in `Known` and nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from esa.errors import SyntaxFault
from esa.message.address import Address, parse_domain
from esa.policy.audit.finding import Finding, Kind
from esa.policy.filters.comparing import text_of
from esa.policy.filters.expression import plain_of, split_case
from esa.policy.filters.gates import network_atoms
from esa.policy.filters.tree import At, Filter, Test, Text, calls_of, statements_of, tests_of

_LOOKING_UP = frozenset({"rcpt-to-dictionary-match", "mail-from-dictionary-match", "header-dictionary-match", "remote-ip-dictionary-match"})
_TO_PEOPLE = ("alt-rcpt-to", "bcc", "bcc-scan", "notify", "notify-copy")  # actions whose first argument is addresses


class Named(NamedTuple):
    """Something that a filter names, and where. `kind`: address, domain (of mail), host, sender group or group."""

    kind: str
    name: str
    filter: str
    at: At


@dataclass(frozen=True, slots=True)
class Known:
    """What was found out: names of each kind that are not there, and why that is certain (`how`)."""

    gone: dict[tuple[str, str], str] = field(default_factory=dict)

    def is_gone(self, named: Named) -> str | None:
        return self.gone.get((named.kind, named.name.lower() if named.kind in ("address", "domain", "host") else named.name))


def named_in(filters: Iterable[Filter]) -> Iterator[Named]:
    """What filters name plainly: an address, a domain or a host in an expression that is anything else is none of them."""
    for one in filters:
        for statement in statements_of(one.statement):
            for test in tests_of(statement.condition):
                yield from _in_test(one, test)
        for call in calls_of(one.statement):
            if call.word.lower() in _TO_PEOPLE and call.arguments and isinstance(call.arguments[0], Text):
                for piece in call.arguments[0].value.split(","):
                    if (address := _address(piece.strip(" <>"))) is not None:
                        yield Named("address", address, one.name, call.at)


def looked_up_in(filters: Iterable[Filter]) -> frozenset[str]:
    """Dictionaries in which filters look up addresses and header fields: what is found so is told of by no report."""
    tests = (test for one in filters for statement in statements_of(one.statement) for test in tests_of(statement.condition))
    return frozenset(text_of(test.arguments[0]) for test in tests if test.word.lower() in _LOOKING_UP)


def _in_test(one: Filter, test: Test) -> Iterator[Named]:
    word, value = test.word.lower(), test.value
    if word in ("mail-from", "rcpt-to") and isinstance(value, Text):
        yield from (Named(kind, name, one.name, value.at) for kind, name in _people(value.value))
    elif word == "remote-ip" and isinstance(value, Text) and network_atoms(value.value) is None and not value.value.startswith("."):
        yield Named("host", value.value.lower(), one.name, value.at)
    elif word == "sendergroup" and isinstance(value, Text):
        yield Named("sender group", value.value, one.name, value.at)
    elif word in ("mail-from-group", "rcpt-to-group"):
        yield Named("group", text_of(value), one.name, test.at)


def _people(expression: str) -> Iterator[tuple[str, str]]:
    """The address or the domain that an expression is."""
    plain = plain_of(split_case(expression)[0])
    if plain is None or not plain.at_end:
        return
    local_part, at, domain = plain.text.rpartition("@")
    if not at or (local_part and not plain.at_start):
        return
    if local_part and (address := _address(plain.text)) is not None:
        yield "address", address
    try:
        yield "domain", parse_domain(domain)
    except SyntaxFault:
        return


def _address(text: str) -> str | None:
    try:
        return str(Address.parse(text)).lower()
    except SyntaxFault:
        return None


_WHAT: dict[str, Callable[[str], str]] = {
    "address": lambda name: f"there is nobody {name}",
    "domain": lambda name: f"{name} has no mail any more",
    "host": lambda name: f"there is no host {name} any more",
    "sender group": lambda name: f"there is no sender group {name!r}",
    "group": lambda name: f"no directory knows a group {name!r}",
}
_MENDS = {
    "address": "take the address out, or the filter if it is for nobody else",
    "domain": "take the domain out, or the filter if it is for no other",
    "host": "take the host out, or the filter if it is for no other",
    "sender group": "name a group of the host access table, or take the test out",
    "group": "add a table [[group_ldap]], or the group to one, or take the test out",
}


def dead(filters: Iterable[Filter], known: Known, table: str) -> Iterator[Finding]:
    """One finding for each thing that a filter names and that is not there."""
    told: set[tuple[str, str, str]] = set()
    filters = list(filters)
    places = {one.name: one.at for one in filters}
    for named in named_in(filters):
        how = known.is_gone(named)
        key = named.kind, named.name, named.filter
        if how is None or key in told:
            continue
        told.add(key)
        yield Finding(
            Kind.DEAD,
            table,
            named.filter,
            _WHAT[named.kind](named.name),
            how,
            _MENDS[named.kind],
            named.at if named.at.file else places[named.filter],
        )
