"""Advice on configurations that can be served."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.config.advice import advise
from esa.config.load import check
from esa.config.schema import Configuration
from esa.config.sender_groups import groups_of
from esa.policy.host_access import HostAccess, Sender
from esa.policy.senders import read_address

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "hat-reputation-ranges.toml"


def example(text: str) -> Configuration:
    configuration, faults = check(text)
    assert configuration is not None, faults
    return configuration


def group_of(configuration: Configuration, reputation: float | None) -> str:
    address = read_address("192.0.2.1")
    assert address is not None
    access = HostAccess(groups_of(configuration.sender_group, configuration.mail_flow_policy))
    return access.match(Sender(address, reputation=reputation)).group


@pytest.mark.parametrize(("reputation", "group"), [(-2.0, "BLACKLIST"), (0.0, "SUSPECTLIST"), (7.5, "WHITELIST"), (None, "ALL")])
def test_the_example_puts_shared_endpoints_into_the_group_that_stands_first(reputation: float | None, group: str) -> None:
    assert group_of(example(EXAMPLE.read_text()), reputation) == group


def test_of_the_example_three_shared_endpoints_and_the_experts_advice_are_told() -> None:
    findings = advise(example(EXAMPLE.read_text()))
    assert sum("shares the endpoint" in finding.what for finding in findings) == 3
    assert sum("without a reputation (none)" in finding.what for finding in findings) == 1
    assert [finding.group for finding in findings if "buys a scan bypass" in finding.what] == ["WHITELIST"]
    assert len(findings) == 5


def test_after_the_experts_advice_a_good_score_is_scanned_like_any_other() -> None:
    text = EXAMPLE.read_text().replace('["SBRS[7.5:10.0]"]', "[]").replace('["SBRS[0.0:7.5]"]', '["SBRS[0.1:10.0]", "SBRS[none]"]')
    configuration = example(text)
    assert group_of(configuration, 9.9) == "UNKNOWNLIST"
    assert configuration.mail_flow_policy["ACCEPTED"].spam_check
    assert [finding.what.split()[0] for finding in advise(configuration)] == ["shares"]


def test_the_shipped_groups_need_no_advice() -> None:
    assert advise(Configuration()) == []


def test_ranges_without_anything_that_gives_a_reputation_are_told() -> None:
    text = '[[sender_group]]\nname = "A"\nsenders = ["SBRS[-10:10]", "SBRS[none]"]\n'
    assert advise(example(text)) == []
    text += "[reputation]\nlearn = false\n"
    assert [finding.what for finding in advise(example(text))] == [
        "groups ask for a reputation, and nothing gives one: every sender is none"
    ]
    assert advise(example(text + '[[dns_list]]\nzone = "bl.example.net"\nweight = -3.0\n')) == []


def test_an_incoming_relay_that_is_held_to_the_limits_of_one_sender_is_told() -> None:
    relay = '[[incoming_relay]]\nname = "EDGE"\nhosts = ["10.2.3.4"]\n'
    (finding,) = advise(example(relay))
    assert "EDGE" in finding.what
    assert "dhap_limit = 25" in finding.what
    own = '[[sender_group]]\nname = "RELAYS"\npolicy = "TRUSTED"\nsenders = ["10.2.3.4"]\n'
    assert not any("EDGE" in finding.what for finding in advise(example(relay + own)))


def test_it_is_told_that_reputation_goes_with_anti_spam() -> None:
    (finding,) = advise(example("[scan]\nanti_spam = false\n"))
    assert "reputation is off, because anti-spam is" in finding.what
    assert "anti_spam = true" in finding.advice
