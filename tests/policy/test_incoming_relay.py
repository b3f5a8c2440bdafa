"""Incoming relays: which hosts they are, and whom their header tells; what can be read in two ways tells nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.policy.incoming_relay import IncomingRelay, IncomingRelays
from esa.policy.senders import Addresses, parse_sender, read_address


def hosts(*entries: str) -> tuple[Addresses, ...]:
    found = tuple(map(parse_sender, entries))
    assert all(isinstance(entry, Addresses) for entry in found)
    return tuple(entry for entry in found if isinstance(entry, Addresses))


def relay(header: str = "Received", hops: int = 1, after: str = "", up_to: str = "") -> IncomingRelay:
    return IncomingRelay("RELAY", hosts("10.2.3.5", "2001:db8:f::/48"), header, hops, after, up_to)


def found(relay: IncomingRelay, *values: str) -> str | None:
    address = relay.true_client([value.encode() for value in values])
    return None if address is None else str(address)


GUIDE = (  # the order of AsyncOS's guide: the relay's own field on top
    "from moon.example.com (moon.example.com [10.2.3.6]) by mx.example.com with ESMTP id 1; Wed, 21 Sep 2005 13:46:07 -0700",
    "from sending-machine.example.net (sending-machine.example.net [7.8.9.1])\r\n\tby moon.example.com with ESMTP id 2;\r\n\tWed",
)


def test_the_hop_says_which_received_field_counts() -> None:
    assert found(relay(hops=1), *GUIDE) == "10.2.3.6"
    assert found(relay(hops=2), *GUIDE) == "7.8.9.1"
    assert found(relay(hops=3), *GUIDE) is None
    assert found(relay(hops=2, after="["), *GUIDE) == "7.8.9.1"
    assert found(relay(hops=2, after=")"), *GUIDE) is None


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("from a (b [192.0.2.1]) by c with ESMTPS id 1; date", "192.0.2.1"),
        ("from a ([192.0.2.1]) by c with SMTP", "192.0.2.1"),
        ("from a ([192.0.2.1]:51234 helo=a) by c", "192.0.2.1"),
        ("from a (unknown [IPv6:2001:db8::7]) by c with ESMTP", "2001:db8::7"),
        ("from a (b [::ffff:192.0.2.1]) by c", "192.0.2.1"),
        ("from [192.0.2.9] (unknown [192.0.2.1]) by c", "192.0.2.1"),  # a HELO that is an address is not the peer's
        ("from [192.0.2.9] by y (b [192.0.2.1]) by c", "192.0.2.1"),
        ("from x (y [6.6.6.6]) by z (b [192.0.2.1]) by c", None),  # a HELO that imitates the rest
        ('from a (b [192.0.2.1]) by c for <"a (b [6.6.6.6]) by d"@example.org>', None),  # so does a recipient
        ("from a (b [999.1.1.1]) by c", None),
        ("from a (b [192.0.2.1 ]) by c", None),
        ("from a (b [0.0.0.0]) by c", None),
        ("from a (b [224.0.0.1]) by c", None),
        ("from a (b [10.2.3.5]) by c", None),  # the relay itself: the hops are wrong
        ("by c with local id 7", None),
        ("", None),
        ("\xff\x00[", None),
    ],
)
def test_a_received_field_tells_the_peer_or_nobody(value: str, address: str | None) -> None:
    assert found(relay(), value) == address


def test_a_field_of_the_relay_tells_its_value_unless_there_are_two() -> None:
    own = relay("X-Sender-IP")
    assert found(own, " 7.8.9.1 ") == "7.8.9.1"
    assert found(own, "IPv6:2001:db8::1") == "2001:db8::1"
    assert found(own, "[7.8.9.1]") == "7.8.9.1"
    assert found(own, "7.8.9.1", "6.6.6.6") is None
    assert found(own) is None
    assert found(own, "none of your business") is None
    assert found(own, "7.8.9.1.example.net") is None


def test_text_before_and_behind_cuts_the_value() -> None:
    own = relay("X-Origin", after="client=", up_to=";")
    assert found(own, "proxy=10.9.9.9; client=7.8.9.1; helo=8.8.8.8") == "7.8.9.1"
    assert found(own, "proxy=10.9.9.9; client=unknown; helo=8.8.8.8") is None
    assert found(relay(after="["), "from [6.6.6.6] (b [192.0.2.1]) by c") is None
    assert found(relay(after="["), "from [192.0.2.1] (b [192.0.2.1]) by c") == "192.0.2.1"


@given(st.lists(st.binary(max_size=200), max_size=3), st.sampled_from(["", "[", "("]), st.sampled_from(["", "]", " "]))
def test_whatever_a_field_holds_it_tells_an_address_or_nobody(values: list[bytes], after: str, up_to: str) -> None:
    for header in ("Received", "X-Sender-IP"):
        found = relay(header, after=after, up_to=up_to).true_client(values)
        assert found is None or not (found.is_unspecified or found.is_multicast)


def test_the_first_relay_that_has_a_host_counts_and_strangers_have_none() -> None:
    one, other = IncomingRelay("ONE", hosts("10.2.3.0/24")), IncomingRelay("OTHER", hosts("10.2.0.0/16", "2001:db8::/32"))
    relays = IncomingRelays([one, other])
    names = {}
    for text in ("10.2.3.4", "10.2.4.4", "2001:db8::1", "10.3.0.1", "2001:db9::1"):
        address = read_address(text)
        assert address is not None
        match = relays.find(address)
        names[text] = None if match is None else match.name
    assert names == {"10.2.3.4": "ONE", "10.2.4.4": "OTHER", "2001:db8::1": "OTHER", "10.3.0.1": None, "2001:db9::1": None}
    assert not IncomingRelays()
