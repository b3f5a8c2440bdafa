"""Every form that an entry of a sender group may have, and what is none."""

from __future__ import annotations

import ipaddress

import pytest

from esa.errors import SyntaxFault
from esa.policy.senders import (
    Addresses,
    DnsListed,
    Everyone,
    HostName,
    NoReputation,
    ReputationRange,
    ReverseDns,
    ReverseFault,
    parse_sender,
    read_address,
)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("10.1.1.10", "10.1.1.10", "10.1.1.10"),
        ("10.1.1.0/24", "10.1.1.0", "10.1.1.255"),
        ("10.1.1.7/24", "10.1.1.0", "10.1.1.255"),
        ("10.1/16", "10.1.0.0", "10.1.255.255"),
        ("10/8", "10.0.0.0", "10.255.255.255"),
        ("10.1.1.", "10.1.1.0", "10.1.1.255"),
        ("10.1.", "10.1.0.0", "10.1.255.255"),
        ("10.1", "10.1.0.0", "10.1.255.255"),
        ("10.", "10.0.0.0", "10.255.255.255"),
        ("10.1.1.10-20", "10.1.1.10", "10.1.1.20"),
        ("10.1.1-5.", "10.1.1.0", "10.1.5.255"),
        ("10.1.1-5", "10.1.1.0", "10.1.5.255"),
        ("10.1-5.", "10.1.0.0", "10.5.255.255"),
        ("10.1.1.10-10.1.2.3", "10.1.1.10", "10.1.2.3"),
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::1"),
        ("2001:db8::/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
        ("2001:db8::1-2001:db8::ff", "2001:db8::1", "2001:db8::ff"),
        ("a::-b::ff", "a::", "b::ff"),
    ],
)
def test_addresses_in_all_forms(text: str, first: str, last: str) -> None:
    entry = parse_sender(text)
    assert isinstance(entry, Addresses)
    low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
    assert (entry.version, entry.first, entry.last) == (low.version, int(low), int(high))
    assert entry.text == text


def test_names_reputation_lists_and_faults() -> None:
    assert parse_sender("Mail.Example.ORG") == HostName("Mail.Example.ORG", "mail.example.org", False)
    assert parse_sender(".example.org") == HostName(".example.org", "example.org", True)
    assert parse_sender("SBRS[-10.0:-3]") == ReputationRange("SBRS[-10.0:-3]", -10.0, -3.0)
    assert parse_sender("sbrs[ 7.5 : 10 ]") == ReputationRange("sbrs[ 7.5 : 10 ]", 7.5, 10.0)
    assert parse_sender("sbrs[none]") == NoReputation("sbrs[none]")
    assert parse_sender("dnslist[bl.example.net]") == DnsListed("dnslist[bl.example.net]", "bl.example.net")
    assert parse_sender("nx.domain") == ReverseFault("nx.domain", ReverseDns.NO_NAME)
    assert parse_sender("serv.fail") == ReverseFault("serv.fail", ReverseDns.FAILED)
    assert parse_sender("not.double.verified") == ReverseFault("not.double.verified", ReverseDns.MISMATCHED)
    assert parse_sender("ALL") == Everyone("ALL")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.1.1.256",
        "10.1.1.1.1",
        "10.1.1.1/33",
        "10.1.1.1-2/24",
        "10.1.1.20-10",
        "10.1.1.1-10.1",
        "10..1",
        "2001:db8::/129",
        "2001:db8::2-2001:db8::1",
        "2001:db8::g",
        "SBRS[3:1]",
        "SBRS[-11:0]",
        "SBRS[]",
        "dnslist[]",
        "dnslist[a b]",
        "user@example.org",
        "host name",
        "SBO:12345",
        ".",
        "-",
    ],
)
def test_what_names_no_sender_is_told(text: str) -> None:
    with pytest.raises(SyntaxFault) as told:
        parse_sender(text)
    assert told.value.mend


def test_an_ipv4_address_in_ipv6_clothes_is_ipv4() -> None:
    assert read_address("::ffff:192.0.2.1") == ipaddress.IPv4Address("192.0.2.1")
    assert read_address("") is None
