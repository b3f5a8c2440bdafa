"""What an experienced administrator sees in a table of sender groups."""

from __future__ import annotations

from esa.policy.host_access import SenderGroup
from esa.policy.host_access_audit import Finding, audit, relays_to_strangers
from tests.policy.test_host_access import group


def found(*groups: SenderGroup) -> list[str]:
    return [str(finding) for finding in audit(groups)]


def test_the_four_ranges_of_the_seed_are_told_with_the_advice_of_the_expert() -> None:
    findings = audit(
        [
            group("WHITELIST", "SBRS[7.5:10]", policy="TRUSTED"),
            group("BLACKLIST", "SBRS[-10:-2]", policy="BLOCKED"),
            group("SUSPECTLIST", "SBRS[-2:0]", policy="THROTTLED"),
            group("UNKNOWNLIST", "SBRS[0:7.5]"),
        ]
    )
    shared = [finding.what for finding in findings if "shares the endpoint" in finding.what]
    assert len(shared) == 3
    assert {words.split()[3] for words in shared} == {"-2.0", "0.0", "7.5"}
    assert any("without a reputation (none) are in no group" in finding.what for finding in findings)
    (bypass,) = [finding for finding in findings if "buys a scan bypass" in finding.what]
    assert bypass.group == "WHITELIST"
    assert bypass.advice.startswith("extend UNKNOWNLIST to +10 and leave WHITELIST without a range")
    assert len(findings) == 5


def test_after_the_advice_nothing_is_left_but_the_endpoints() -> None:
    findings = audit(
        [
            group("WHITELIST", policy="TRUSTED"),
            group("BLACKLIST", "SBRS[-10:-2]", policy="BLOCKED"),
            group("SUSPECTLIST", "SBRS[-1.9:-0.1]", "SBRS[none]", policy="THROTTLED"),
            group("UNKNOWNLIST", "SBRS[0:10]"),
        ]
    )
    assert findings == []


def test_addresses_that_entries_before_them_cover_together_are_told() -> None:
    (finding,) = audit([group("A", "10.0.0.0/25", "10.0.0.128/25"), group("B", "10.0.0.0/24", "10.0.0.0/23", "2001:db8::1")])
    assert finding == Finding("B", "10.0.0.0/24 never matches: 10.0.0.0/25 stands before it in A", "take it out, or move B before A")


def test_names_lists_and_faults_that_stand_twice_are_told() -> None:
    findings = audit(
        [
            group("A", ".example.org", "dnslist[bl.example.net]", "nx.domain", "SBRS[none]"),
            group("B", "mx.example.org", ".sub.example.org", "example.org", "dnslist[bl.example.net]", "nx.domain", "serv.fail"),
        ]
    )
    assert [finding.what.split()[0] for finding in findings] == [
        "mx.example.org",
        ".sub.example.org",
        "dnslist[bl.example.net]",
        "nx.domain",
    ]


def test_what_stands_behind_all_is_told() -> None:
    assert "10.1.1.1 never matches: ALL stands before it in FIRST" in found(group("FIRST", "ALL"), group("LAST", "10.1.1.1"))[0]


def test_gaps_and_overlaps_and_covered_ranges_are_told() -> None:
    findings = found(
        group("LOW", "SBRS[-10:-4]", policy="BLOCKED"),
        group("MIDDLE", "SBRS[-5:1]"),
        group("AGAIN", "SBRS[-3:0]"),
        group("HIGH", "SBRS[2:9]", "SBRS[none]"),
    )
    assert [words.partition("\n")[0] for words in findings] == [
        "sender group MIDDLE: SBRS[-5:1] overlaps with SBRS[-10:-4] of LOW, which stands before it and gets -5.0 to -4.0.",
        "sender group AGAIN: SBRS[-3:0] never matches: a range of all these scores stands before it in MIDDLE.",
        "sender groups: reputation from 1.1 to 1.9 is in no range.",
        "sender groups: reputation from 9.1 to 10.0 is in no range.",
    ]


def test_trust_in_a_network_wider_than_any_organization_is_told() -> None:
    findings = found(group("WHITELIST", "10.0.0.0/7", policy="TRUSTED"), group("RELAYLIST", "172.0.0.0/7", "20/8", policy="RELAYED"))
    assert len(findings) == 2
    assert "not scanned for spam" in findings[0]
    assert "may relay to anywhere" in findings[1]


def test_whoever_nobody_named_must_not_relay() -> None:
    assert relays_to_strangers(group("RELAYLIST", "10.1.1.1", ".example.org", policy="RELAYED")) is None
    assert relays_to_strangers(group("OPEN", "SBRS[0:10]")) is None
    for text in ("ALL", "SBRS[0:10]", "SBRS[none]", "dnslist[allow.example.net]", "nx.domain", "0.0.0.0/0", "::/0"):
        entry = relays_to_strangers(group("OPEN", "10.1.1.1", text, policy="RELAYED"))
        assert entry is not None
        assert entry.text == text
