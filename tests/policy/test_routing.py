"""Which destination recipients go to, and what a destination is when it is asked for by its key."""

from __future__ import annotations

import pytest

from esa.policy.destination_controls import DestinationControl
from esa.policy.routing import Router
from esa.policy.smtp_routes import BY_DNS, THROWN_AWAY, TO_MAILDIR, RouteKind, parse_route

RELAY = parse_route(["relay.example.net:25"])
SLOW = DestinationControl(2)


def router(**given: object) -> Router:
    routes = [("inside.example", RELAY), (".inside.example", RELAY), ("nowhere.example", THROWN_AWAY), ("here.example", TO_MAILDIR)]
    return Router(routes, BY_DNS, [("sub.inside.example", SLOW), ("big.example", SLOW)], hostname="mx.example.org", interfaces=["out"])


def test_domains_of_one_route_go_together_and_those_of_dns_apart() -> None:
    recipients = ["a@inside.example", "b@X.inside.example", "c@other.example", "d@Other.Example", "e@third.example"]
    assert router().groups(recipients) == [
        ("relay.example.net:25", ("a@inside.example", "b@X.inside.example")),
        ("other.example", ("c@other.example", "d@Other.Example")),
        ("third.example", ("e@third.example",)),
    ]


def test_a_domain_with_a_control_is_a_destination_by_itself() -> None:
    assert router().groups(["a@sub.inside.example"]) == [("sub.inside.example", ("a@sub.inside.example",))]
    there = router().of_key("sub.inside.example")
    assert (there.route, there.control) == (RELAY, SLOW)


def test_a_recipient_without_a_domain_is_one_of_ours() -> None:
    assert router().groups(["postmaster"]) == [("mx.example.org", ("postmaster",))]


def test_a_named_host_and_an_interface_make_a_destination() -> None:
    assert router().groups(["a@inside.example"], "other.example.net:26", "out") == [("other.example.net:26 via out", ("a@inside.example",))]
    there = router().of_key("other.example.net:26 via out")
    assert (there.route.name, there.interface, there.domain) == ("other.example.net:26", "out", "")
    assert router().groups(["a@x.example"], "", "unknown") == [("x.example", ("a@x.example",))]


def test_a_host_named_by_a_policy_that_makes_no_sense_keeps_mail_waiting_and_sends_it_nowhere_else() -> None:
    [(key, _)] = router().groups(["a@inside.example"], "no host at all:25")
    there = router().of_key(key)
    assert there.route.kind is RouteKind.HOSTS
    assert there.route.hosts[0].host == "no host at all:25"


def test_no_more_recipients_than_the_control_allows_go_at_once() -> None:
    few = Router([], BY_DNS, [("x.example", DestinationControl(recipients_per_message=3))])
    groups = few.groups([f"{number}@x.example" for number in range(7)])
    assert [len(addresses) for _, addresses in groups] == [3, 3, 1]
    assert {key for key, _ in groups} == {"x.example"}
    limited = Router([], BY_DNS, [("x.example", DestinationControl(recipients=2))])
    assert [len(addresses) for _, addresses in limited.groups(["a@x.example", "b@x.example", "c@x.example", "a@x.example"])] == [2, 1]


@pytest.mark.parametrize("domain", ["x.example", "[192.0.2.1]", "[ipv6:2001:db8::1]", "nowhere.example", "inside.example"])
def test_the_key_of_a_destination_leads_to_its_route(domain: str) -> None:
    [(key, _)] = router().groups([f"a@{domain}"])
    there = router().of_key(key)
    assert there.key == key
    assert there.route == (BY_DNS if domain.startswith(("x", "[")) else THROWN_AWAY if "nowhere" in domain else RELAY)
    assert there.domain == (domain if there.route is BY_DNS else "")


def test_where_all_mail_is_thrown_away_no_policy_sends_it_elsewhere() -> None:
    assert Router([], THROWN_AWAY).groups(["a@x.example"], "relay.example.net:25") == [("/dev/null", ("a@x.example",))]


def test_the_digest_changes_with_the_routes_only() -> None:
    assert router().digest == router().digest
    assert router().digest != Router([], BY_DNS).digest
