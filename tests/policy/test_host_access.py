"""Sender groups: the first entry that matches decides, and nothing is asked that no group before the certain one needs."""

from __future__ import annotations

import ipaddress
import random

import pytest

from esa.policy.host_access import HostAccess, Needs, Sender, SenderGroup
from esa.policy.mail_flow import SHIPPED, AccessRule, MailFlowPolicy
from esa.policy.senders import IpAddress, ReverseDns, parse_sender

HERE = ipaddress.ip_address("192.0.2.7")


def group(name: str, *entries: str, policy: str = "ACCEPTED") -> SenderGroup:
    return SenderGroup(name, SHIPPED[policy], tuple(map(parse_sender, entries)))


def address(text: str) -> IpAddress:
    return ipaddress.ip_address(text)


FOUR_RANGES = HostAccess(
    [
        group("WHITELIST", "SBRS[7.5:10]", policy="TRUSTED"),
        group("BLACKLIST", "SBRS[-10:-2]", policy="BLOCKED"),
        group("SUSPECTLIST", "SBRS[-2:0]", policy="THROTTLED"),
        group("UNKNOWNLIST", "SBRS[0:7.5]"),
    ]
)


@pytest.mark.parametrize(
    ("reputation", "name"),
    [
        (-10.0, "BLACKLIST"),
        (-2.0, "BLACKLIST"),
        (-1.9, "SUSPECTLIST"),
        (0.0, "SUSPECTLIST"),
        (0.1, "UNKNOWNLIST"),
        (7.5, "WHITELIST"),
        (9.9, "WHITELIST"),
        (None, "ALL"),
    ],
)
def test_both_ends_of_a_range_are_in_it_and_the_first_range_wins(reputation: float | None, name: str) -> None:
    assert FOUR_RANGES.match(Sender(HERE, reputation=reputation)).group == name


def test_the_first_group_wins_whatever_kind_its_entry_is_of() -> None:
    access = HostAccess(
        [
            group("LISTED", "dnslist[bl.example.net]", policy="BLOCKED"),
            group("NAMED", ".example.org", "relay.example.net"),
            group("NEAR", "192.0.2.0/24"),
            group("UNNAMED", "nx.domain", "serv.fail", "not.double.verified", policy="THROTTLED"),
        ]
    )
    far = address("198.51.100.1")
    assert access.match(Sender(HERE)).group == "NEAR"
    assert access.match(Sender(HERE, names=("mx.example.org",))).group == "NAMED"
    assert access.match(Sender(HERE, names=("mx.example.org",), listed=frozenset(["bl.example.net"]))).group == "LISTED"
    assert access.match(Sender(far, names=("relay.example.net",))).because == "relay.example.net"
    assert access.match(Sender(far, names=("example.org",))).group == "ALL"
    assert access.match(Sender(far, names=("notexample.org",))).group == "ALL"
    assert access.match(Sender(far, reverse=ReverseDns.NO_NAME)).because == "nx.domain"
    assert access.match(Sender(far, reverse=ReverseDns.FAILED)).because == "serv.fail"
    assert access.match(Sender(far, reverse=ReverseDns.MISMATCHED)).because == "not.double.verified"
    assert access.match(Sender(far, reverse=ReverseDns.CONFIRMED)).group == "ALL"


def test_a_group_that_continues_is_passed_over() -> None:
    passed = SenderGroup("HELD", MailFlowPolicy("HOLD", access=AccessRule.CONTINUE), (parse_sender("192.0.2.7"),))
    access = HostAccess([passed, group("NEAR", "192.0.2.")])
    assert access.match(Sender(HERE)).group == "NEAR"


def test_what_stands_behind_all_is_never_reached_and_all_is_always_there() -> None:
    access = HostAccess([group("ALL", "ALL", policy="BLOCKED"), group("NEAR", "192.0.2.7", "SBRS[none]")])
    assert access.match(Sender(HERE)).policy.access is AccessRule.REJECT
    assert not access.needs(HERE)
    assert HostAccess([]).match(Sender(HERE)).policy.name == "ACCEPTED"
    assert HostAccess([]).match(None).group == "ALL"


def test_nothing_is_needed_that_no_group_before_the_certain_one_asks_for() -> None:
    access = HostAccess(
        [
            group("OWN", "192.0.2.7"),
            group("NAMED", ".example.org"),
            group("NEAR", "192.0.2."),
            group("RANGES", "SBRS[-10:-3]", "dnslist[bl.example.net]"),
        ]
    )
    assert access.needs(HERE) == Needs()
    assert access.needs(address("192.0.2.8")) == Needs(reverse=True)
    assert access.needs(address("2001:db8::1")) == Needs(reverse=True, reputation=True, zones=("bl.example.net",))
    assert access.needs(None) == Needs()
    assert access.zones == ("bl.example.net",)


def test_fifty_thousand_networks_give_what_a_walk_gives() -> None:
    chance = random.Random(4)
    texts = [f"{ipaddress.IPv4Address(chance.getrandbits(32))}/{chance.choice((12, 16, 20, 24, 24, 28, 32))}" for _ in range(50_000)]
    entries = tuple(map(parse_sender, texts))
    access = HostAccess([SenderGroup("MANY", SHIPPED["BLOCKED"], entries)])
    for _ in range(100):
        place = chance.getrandbits(32)
        walked = next((entry.text for entry in entries if entry.first <= place <= entry.last), "ALL")  # type: ignore[union-attr]
        assert access.match(Sender(ipaddress.IPv4Address(place))).because == walked


def test_the_shipped_policies_are_those_of_the_appliance() -> None:
    assert {name: policy.access for name, policy in SHIPPED.items()} == {
        "ACCEPTED": "ACCEPT",
        "TRUSTED": "ACCEPT",
        "THROTTLED": "ACCEPT",
        "BLOCKED": "REJECT",
        "RELAYED": "RELAY",
    }
    throttled = SHIPPED["THROTTLED"]
    assert (throttled.max_msgs_per_session, throttled.max_rcpts_per_msg, throttled.max_message_size) == (10, 20, 1 << 20)
    assert (throttled.max_concurrency, throttled.max_rcpts_per_hour, throttled.dhap_limit) == (10, 20, 25)
