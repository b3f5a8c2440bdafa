"""Conditions on the connection: who sends, from where, to which listener, and what is thought of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esa.policy.filters.comparing import by_operator, equal_rule, number_rule, text_of
from esa.policy.filters.gates import Clause, EqualAtom, NetworkAtom, network_atoms
from esa.policy.filters.scope import Fact, Severity, Unusable
from esa.policy.filters.words import COMPARES, MATCHES, Condition, Cost, Kind, Rule, Signature

if TYPE_CHECKING:
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Test
    from esa.policy.view import View

_NAME = Signature(operators=MATCHES, value=Kind.TEXT)
_BARE = Signature(is_bare=True)
_TARGETS = ("*EnvelopeFrom", "*FromAddress", "*Sender", "*Any", "*None")


def _remote_ip(test: Test, scope: Scope) -> Rule:
    text = text_of(test.value)
    clause = network_atoms(text)
    if clause is None:
        return _remote_host(test, text, scope)
    (network,) = clause
    assert isinstance(network, NetworkAtom)

    def evaluate(view: View) -> bool:
        place = view.client
        return place is not None and place[0] == network.version and network.first <= place[1] <= network.last

    return by_operator(test, Rule(evaluate, Cost.NETWORK, clause))


def _remote_host(test: Test, text: str, scope: Scope) -> Rule:
    """A host's name, or .domain for all in it."""
    name = text.lower()
    if (
        not all(label.replace("-", "").replace("_", "").isalnum() for label in name.removeprefix(".").split("."))
        or name.replace(".", "").isdigit()
    ):
        mend = "write an address, a network as 192.0.2.0/24, a range as 192.0.2.1-192.0.2.9, a host name or .domain"
        assert test.value is not None
        raise Unusable(Severity.ERROR, test.value.at, f"{text!r} is no address, network, range or host name", mend)
    scope.facts.add(Fact.NAMES)
    clause: Clause | None = None if name.startswith(".") else frozenset({EqualAtom("remote_host", name)})
    if clause is None:
        return by_operator(test, Rule(lambda view: view.remote_host.lower().endswith(name), Cost.FACT))
    return by_operator(test, Rule(lambda view: view.remote_host.lower() == name, Cost.FACT, clause))


def _listener(test: Test, scope: Scope) -> Rule:
    return equal_rule(test, "listener", Cost.FACT)


def _interface(test: Test, scope: Scope) -> Rule:
    return equal_rule(test, "interface", Cost.FACT)


def _sender_group(test: Test, scope: Scope) -> Rule:
    return equal_rule(test, "sender_group", Cost.FACT)


def _reputation(test: Test, scope: Scope) -> Rule:
    """Without a score neither < nor > is true; nor is a filter held up, as no-reputation can ask for it."""
    scope.facts.add(Fact.REPUTATION)
    rule = number_rule(test, lambda view: view.reputation, Cost.FACT)
    inner = rule.evaluate
    return Rule(lambda view: bool(inner(view)), rule.cost)


def _no_reputation(test: Test, scope: Scope) -> Rule:
    scope.facts.add(Fact.REPUTATION)
    return Rule(lambda view: view.reputation is None, Cost.FACT)


def _dns_list(test: Test, scope: Scope) -> Rule:
    zone = text_of(test.arguments[0]).lower().rstrip(".")
    scope.dns_lists.add(zone)
    return Rule(lambda view: None if view.dns_lists is None else zone in view.dns_lists, Cost.FACT)


def _smtp_auth_id(test: Test, scope: Scope) -> Rule:
    target = text_of(test.arguments[0])
    if target not in _TARGETS:
        raise Unusable(Severity.ERROR, test.arguments[0].at, f"{target!r} is no target", f"write one of {', '.join(_TARGETS)}")
    sieve = text_of(test.arguments[1]) if len(test.arguments) > 1 else ""

    def plain(address: str) -> str:
        local, at, domain = address.lower().rpartition("@")
        return (local.partition(sieve)[0] if sieve and at else local) + at + domain

    def evaluate(view: View) -> bool:
        user = view.session.user.lower()
        if target == "*None":
            return not user
        if not user or target == "*Any":
            return bool(user)
        parsed = view.parsed if target != "*EnvelopeFrom" else None
        if parsed is None:
            address = view.envelope.reverse_path
        else:
            address = parsed.from_address if target == "*FromAddress" else parsed.sender_address
        address = plain(address)
        return user in (address, address.rpartition("@")[0])

    reads = frozenset({"header:from", "header:sender"}) if target in ("*FromAddress", "*Sender") else frozenset[str]()
    return Rule(evaluate, Cost.HEADER if reads else Cost.FACT, None, reads)


conditions = (
    Condition(
        "remote-ip",
        Signature(operators=MATCHES, value=Kind.NETWORK),
        "The client's address is in a network or range, or its name is this.",
        _remote_ip,
        is_early=True,
    ),
    Condition(
        "recv-listener", Signature(operators=MATCHES, value=Kind.LISTENER), "The message came to this listener.", _listener, is_early=True
    ),
    Condition(
        "recv-int", Signature(operators=MATCHES, value=Kind.INTERFACE), "The message came to this interface.", _interface, is_early=True
    ),
    Condition("sendergroup", _NAME, "The client is in this sender group of the host access table.", _sender_group, is_early=True),
    Condition(
        "reputation",
        Signature(operators=COMPARES, value=Kind.NUMBER),
        "The sender's score, -10 to +10, compared; false without one.",
        _reputation,
        is_early=True,
    ),
    Condition("no-reputation", _BARE, "The sender has no score.", _no_reputation, is_early=True),
    Condition("dnslist", Signature((Kind.TEXT,), 1, is_bare=True), "A DNS list names the client.", _dns_list, is_early=True),
    Condition(
        "smtp-auth-id-matches",
        Signature((Kind.TEXT, Kind.TEXT), 1, is_bare=True),
        f"The authenticated user is the sender: one of {', '.join(_TARGETS)}; a second text begins what is left out of an address.",
        _smtp_auth_id,
    ),
)
