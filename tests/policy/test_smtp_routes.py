"""SMTP routes: what destinations mean, which entry decides for a domain, in which order hosts are tried."""

from __future__ import annotations

import pytest

from esa.errors import SyntaxFault
from esa.policy.smtp_routes import (
    BY_DNS,
    THROWN_AWAY,
    RouteHost,
    RouteKind,
    RouteTable,
    SmtpRoute,
    parse_host,
    parse_key,
    parse_route,
    turned,
)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("mail.Example.org:2525", RouteHost("mail.example.org", 2525)),
        ("[mail.example.org]", RouteHost("mail.example.org")),
        ("mail.example.org", RouteHost("mail.example.org", asks_exchangers=True)),
        ("mail.example.org/pri=10", RouteHost("mail.example.org", priority=10, asks_exchangers=True)),
        ("192.0.2.1", RouteHost("192.0.2.1")),
        ("2001:db8::25", RouteHost("2001:db8::25")),
        ("[2001:DB8::25]:26/pri=7", RouteHost("2001:db8::25", 26, 7)),
        ("[192.0.2.1]:26", RouteHost("192.0.2.1", 26)),
        ("lmtp:store.example.org", RouteHost("store.example.org", 24, speaks="lmtp")),
        ("lmtp:[2001:db8::1]:2400", RouteHost("2001:db8::1", 2400, speaks="lmtp")),
        ("lmtp:/run/store/lmtp/pri=3", RouteHost(priority=3, speaks="lmtp", path="/run/store/lmtp")),
        ("/run/store/lmtp", RouteHost(speaks="lmtp", path="/run/store/lmtp")),
    ],
)
def test_a_host_is_read_in_all_its_forms(text: str, host: RouteHost) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize("text", ["", "a b", "host:0", "host:70000", "host:x", "[host", "[host]26", "host/pri=65536", "-x", "ho$t:25"])
def test_what_is_no_host_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(SyntaxFault) as fault:
        parse_host(text)
    assert fault.value.mend


def test_words_that_stand_by_themselves() -> None:
    assert parse_route(["usedns"]) == BY_DNS
    assert parse_route(["/dev/null"]) == THROWN_AWAY
    assert parse_route(["maildir:archive"]) == SmtpRoute(RouteKind.MAILDIR, maildir="archive")
    for beside in (["USEDNS", "host:25"], ["host:25", "/dev/null"], [], ["maildir:../out"], ["maildir:/etc"]):
        with pytest.raises(SyntaxFault):
            parse_route(beside)


def test_the_most_specific_entry_decides() -> None:
    routes = {
        text: parse_route([f"{number}.example.net:25"]) for number, text in enumerate(("example.org", ".example.org", ".a.example.org"))
    }
    table = RouteTable([(parse_key(key), route) for key, route in routes.items()], BY_DNS)
    assert table.find("example.org") == routes["example.org"]
    assert table.find("b.example.org") == routes[".example.org"]
    assert table.find("x.a.example.org") == routes[".a.example.org"]
    assert table.find("a.example.org") == routes[".example.org"]
    assert table.find("notexample.org") == BY_DNS
    assert table.named("notexample.org") is None
    assert RouteTable([("ALL", THROWN_AWAY)], BY_DNS).find("example.org") == THROWN_AWAY
    assert RouteTable([("[192.0.2.1]", THROWN_AWAY), (".1]", THROWN_AWAY)], BY_DNS).find("[192.0.2.2]") == BY_DNS


def test_equal_priorities_take_turns_and_a_host_that_failed_stands_last() -> None:
    route = parse_route(["c:25/pri=20", "a:25/pri=10", "b:25/pri=10"])
    assert [one.host for one in turned(route.hosts, 0, {}, 0.0)] == ["a", "b", "c"]
    assert [one.host for one in turned(route.hosts, 1, {}, 0.0)] == ["b", "a", "c"]
    assert [one.host for one in turned(route.hosts, 0, {"a:25/pri=10": 1.0, "a:25": 1.0}, 0.5)] == ["b", "c", "a"]
    assert [one.host for one in turned(route.hosts, 0, {"a:25": 1.0}, 1.5)] == ["a", "b", "c"]
