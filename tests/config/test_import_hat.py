"""Host Access Tables as AsyncOS exports them become tables of esa.toml that mean the same."""

from __future__ import annotations

import pytest

from esa.config.advice import advise
from esa.config.importers.hat import import_hat
from esa.config.load import check
from esa.config.schema import Configuration
from esa.config.sender_groups import groups_of
from esa.errors import ConfigurationError
from esa.policy.host_access import HostAccess, Sender
from esa.policy.mail_flow import AccessRule
from esa.policy.senders import read_address

EXPORTED = """\
# Exported by the appliance
$ACCEPTED
    ACCEPT {}
$THROTTLED
    ACCEPT {
        tls = "off"
        smtp_auth = "Preferred"
        virus_check = "on"
        max_msgs_per_session = 10
        spam_check = "on"
        max_message_size = 1048576
        max_rcpts_per_msg = 25
    }
$TRUSTED
    ACCEPT {
        max_msgs_per_session = 5000, max_message_size = 20M
    }
$BLOCKED
    REJECT { smtp_banner_code = 550 smtp_banner_text = "Go away {now}" }
RELAYLIST:
    10.20.0.0/16 (branch offices)
    .office.example
    $RELAYED (Relay only systems in this list)
WHITELIST:
    $TRUSTED (My trusted senders have no anti-spam scanning or rate
limiting)
BLACKLIST:
    sbrs[-10.0:-3.0]
    dnslist[bl.example.net] (ours)
    SBO:1234
    $BLOCKED (Spammers are rejected)
SUSPECTLIST: sbrs[-3.0: -1.0], nx.domain $THROTTLED (Suspicious senders are throttled)
spamdomain.com
    REJECT (reject the domain "spamdomain.com")
.spamdomain.com
    REJECT (reject all subdomains of ".spamdomain.com")
251.192.1.
    TCPREFUSE (TCPREFUSE the IP addresses in "251.192.1")
169.254.10.10
    RELAY (RELAY the address 169.254.10.10)
192.0.2.
    ACCEPT { spam_check = "off" }
ALL
    $ACCEPTED
"""


def configured(text: str) -> Configuration:
    configuration, faults = check(text)
    assert configuration is not None, [str(fault) for fault in faults]
    return configuration


def table(configuration: Configuration) -> HostAccess:
    return HostAccess(groups_of(configuration.sender_group, configuration.mail_flow_policy))


@pytest.mark.parametrize(
    ("address", "names", "reputation", "group", "rule"),
    [
        ("10.20.3.4", (), None, "RELAYLIST", AccessRule.RELAY),
        ("198.51.100.1", ("a.office.example",), None, "RELAYLIST", AccessRule.RELAY),
        ("198.51.100.1", (), -5.0, "BLACKLIST", AccessRule.REJECT),
        ("198.51.100.1", (), -2.0, "SUSPECTLIST", AccessRule.ACCEPT),
        ("198.51.100.1", ("spamdomain.com",), None, "ENTRIES-1", AccessRule.REJECT),
        ("198.51.100.1", ("mx.spamdomain.com",), None, "ENTRIES-1", AccessRule.REJECT),
        ("251.192.1.9", (), None, "ENTRIES-2", AccessRule.TCPREFUSE),
        ("169.254.10.10", (), None, "ENTRIES-3", AccessRule.RELAY),
        ("192.0.2.1", (), None, "ENTRIES-4", AccessRule.ACCEPT),
        ("198.51.100.1", (), None, "ALL", AccessRule.ACCEPT),
    ],
)
def test_every_sender_gets_what_the_export_says(
    address: str, names: tuple[str, ...], reputation: float | None, group: str, rule: AccessRule
) -> None:
    where = read_address(address)
    assert where is not None
    match = table(configured(import_hat(EXPORTED).text)).match(Sender(where, names=names, reputation=reputation))
    assert (match.group, match.policy.access) == (group, rule)


def test_parameters_are_taken_over_and_what_is_not_given_is_the_default_and_not_ours() -> None:
    policies = configured(import_hat(EXPORTED).text).mail_flow_policy
    throttled, trusted, blocked = policies["THROTTLED"], policies["TRUSTED"], policies["BLOCKED"]
    assert (throttled.max_msgs_per_session, throttled.max_rcpts_per_msg, throttled.max_message_size) == (10, 25, 1 << 20)
    assert (trusted.max_msgs_per_session, trusted.max_message_size) == (5000, 20 << 20)
    assert (throttled.tls, throttled.auth, trusted.tls) == ("off", "preferred", "listener")
    assert trusted.spam_check, "the export says nothing of it, so it is on"
    assert (blocked.reject_banner_code, blocked.reject_banner_text) == (550, "Go away {now}")


def test_what_has_no_counterpart_is_told() -> None:
    notes = "\n".join(import_hat(EXPORTED).notes)
    for words in ("virus_check = on is kept and has no effect yet: there is no virus engine", "SBO:1234"):
        assert words in notes


def test_virus_check_is_taken_over_and_nobody_is_left_to_believe_that_it_works() -> None:
    configuration = configured(import_hat(EXPORTED.replace('virus_check = "on"', 'virus_check = "off"')).text)
    assert not configuration.mail_flow_policy["THROTTLED"].virus_check
    (finding,) = [finding for finding in advise(configuration) if finding.group == "virus_check"]
    assert "has no effect in THROTTLED: there is no virus engine" in str(finding)
    assert not [finding for finding in advise(Configuration()) if finding.group == "virus_check"]


def test_tls_that_was_required_is_required_and_a_word_that_is_none_is_told() -> None:
    found = import_hat('$A\n ACCEPT { tls = "require" auth = "sometimes" }\nALL\n $A\n')
    assert 'tls = "required"' in found.text
    assert any("auth = sometimes left out" in note for note in found.notes)


def test_the_groups_may_be_for_one_listener() -> None:
    configuration, faults = check('[[listener]]\nname = "in"\n' + import_hat(EXPORTED, listener="in").text)
    assert configuration is not None, faults
    assert {group.listeners for group in configuration.sender_group} == {("in",)}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("$A\n  ACCEPT { x y }", 2),
        ("$A\n$B\n", 1),
        ("GROUP:\n 10.1.1.1\n", 3),
        ("GROUP:\n 10.1.1.1\nOTHER:\n $BLOCKED", 3),
        ("{}", 1),
        ("\n\n]", 3),
    ],
)
def test_what_is_no_export_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigurationError) as told:
        import_hat(text, file="hat.txt")
    assert told.value.where in {f"hat.txt, line {line}", f"hat.txt, line {line - 1}"}


def test_names_that_cannot_stand_here_are_changed_and_told() -> None:
    imported = import_hat("Büro$1:\n  10.1.1.1 $NEW\n")
    assert any("called" in note for note in imported.notes)
    assert any("NEW is used and nowhere described" in note for note in imported.notes)
    configured(imported.text)


def test_an_empty_table_is_nothing() -> None:
    assert import_hat("# nothing\n").text == ""
