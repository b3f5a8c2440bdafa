"""What filters are told by the gateway: facts of the client, of the relay's client where there is one, of the listener and of the queue."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from esa.engine.scanner import Scanner
from esa.gateway.deciding import Case, Decider
from esa.gateway.origin import Origin
from esa.gateway.visit import Visit
from esa.message.envelope import Envelope, Session
from esa.policy.content_filter import Rules
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.read import read
from esa.policy.filters.scope import Scope
from esa.policy.host_access import Match, Needs, Sender
from esa.policy.mail_flow import SHIPPED
from esa.policy.policy_table import MailPolicies

MAIL = b"From: a@example.net\r\nSubject: hello\r\n\r\nbody\r\n"
CLIENT, ORIGIN = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("198.51.100.7")
VISIT = Visit(Match("RELAYS", SHIPPED["TRUSTED"], "x"), Sender(CLIENT, names=("relay.example.org",), reputation=4.0), {})
BEHIND = Origin(
    "Relay1",
    "Received",
    Sender(ORIGIN, names=("mx.example.net",), reputation=-2.0, listed=frozenset({"bl.example.net"})),
    Match("SUSPECTLIST", SHIPPED["THROTTLED"], "y"),
)


def decider(condition: str, **facts: Any) -> Decider:
    scope = Scope()
    messages = FilterPlan(read(f"x: if ({condition}) {{ drop(); }}").filters, scope)
    assert not messages.problems
    return Decider(MailPolicies.of_one(), Rules(messages, {}, scope), **facts)


def holds(condition: str, *, origin: Origin | None = None, **facts: Any) -> bool:
    session = Session(client_address=str(CLIENT), listener="public", relayed_from="" if origin is None else origin.address)
    case = Case("1", MAIL, MAIL.lower(), Scanner().scan(MAIL), session, Envelope("a@example.net", ("b@example.org",)), VISIT, origin=origin)
    messages = decider(condition, **facts).decide(case).plan.messages
    return messages is not None and not messages.is_empty


@pytest.mark.parametrize(
    "condition",
    [
        "remote-ip == '192.0.2.1'",
        "remote-ip == 'relay.example.org'",
        "sendergroup == 'RELAYS'",
        "reputation > 3",
        "not dnslist('bl.example.net')",
    ],
)
def test_the_client_is_who_has_connected(condition: str) -> None:
    assert holds(condition)
    assert not holds(condition, origin=BEHIND)


@pytest.mark.parametrize(
    "condition",
    [
        "remote-ip == '198.51.100.7'",
        "remote-ip == '.example.net'",
        "sendergroup == 'SUSPECTLIST'",
        "reputation < -1",
        "dnslist('bl.example.net')",
    ],
)
def test_the_client_of_a_relay_is_who_the_relay_took_it_from(condition: str) -> None:
    assert holds(condition, origin=BEHIND)
    assert not holds(condition)


def test_an_interface_is_that_of_the_listener() -> None:
    assert holds("recv-int == 'Data 2'", interfaces={"public": "Data 2"})
    assert not holds("recv-int == 'Data 2'", interfaces={"public": "Data 1"})


def test_messages_in_work_are_asked_for_only_where_a_filter_asks() -> None:
    asked: list[int] = []

    def in_work() -> int:
        asked.append(1)
        return 7

    assert holds("workqueue-count == 7", queue_length=in_work)
    assert len(asked) == 1
    assert holds("mail-from == '@example.net'", queue_length=in_work)
    assert len(asked) == 1


def test_what_filters_need_of_a_client_is_found_out_when_it_connects() -> None:
    assert decider("subject == 'x'").needs == Needs()
    assert decider("remote-ip == 'mx.example.net'").needs == Needs(reverse=True)
    assert decider("no-reputation or dnslist('bl.example.net')").needs == Needs(reputation=True, zones=("bl.example.net",))
    assert (Needs(zones=("a",)) | Needs(reverse=True, zones=("b", "a"))) == Needs(reverse=True, zones=("a", "b"))


def test_a_variable_asks_too() -> None:
    scope = Scope()
    FilterPlan(read("x: if (true) { log-entry('from $Remote_Host'); insert-header('X', '$REPUTATION'); }").filters, scope)
    assert Rules(FilterPlan((), scope), {}, scope).needs == Needs(reverse=True, reputation=True)
