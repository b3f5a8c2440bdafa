"""Sender groups and mail flow policies in esa.toml: what is left out, what is wrong, what becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.config.load import Fault, check, load
from esa.config.schema import Configuration
from esa.config.sender_groups import SHIPPED_GROUPS, groups_of, policy_of
from esa.config.text import write_text
from esa.errors import ConfigurationError
from esa.policy.host_access import HostAccess, Sender
from esa.policy.mail_flow import SHIPPED, AccessRule
from esa.policy.senders import read_address


def right(text: str) -> Configuration:
    configuration, faults = check(text)
    assert configuration is not None, [str(fault) for fault in faults]
    return configuration


def only_fault(text: str) -> Fault:
    faults = check(text)[1]
    assert len(faults) == 1, [str(fault) for fault in faults]
    return faults[0]


def test_the_shipped_table_is_the_moderate_one_of_the_appliance() -> None:
    configuration = Configuration()
    assert configuration.sender_group == SHIPPED_GROUPS
    assert {name: policy_of(name, policy) for name, policy in configuration.mail_flow_policy.items()} == SHIPPED
    access = HostAccess(groups_of(configuration.sender_group, configuration.mail_flow_policy))
    address = read_address("192.0.2.1")
    assert address is not None
    found = {score: access.match(Sender(address, reputation=score)).group for score in (-10.0, -3.0, -2.9, -1.0, -0.9, 10.0, None)}
    assert found == {
        -10.0: "BLACKLIST",
        -3.0: "BLACKLIST",
        -2.9: "SUSPECTLIST",
        -1.0: "SUSPECTLIST",
        -0.9: "UNKNOWNLIST",
        10.0: "UNKNOWNLIST",
        None: "UNKNOWNLIST",
    }


def test_a_policy_has_what_it_leaves_out_from_the_shipped_one_then_from_default() -> None:
    policies = right(
        "[mail_flow_policy.THROTTLED]\nmax_rcpts_per_msg = 5\n"
        "[mail_flow_policy.DEFAULT]\nmax_msgs_per_session = 7\nmax_rcpts_per_msg = 8\n"
        '[mail_flow_policy."$PARTNER"]\nspam_check = false\n'
    ).mail_flow_policy
    throttled, partner, accepted = policies["THROTTLED"], policies["PARTNER"], policies["ACCEPTED"]
    assert (throttled.max_rcpts_per_msg, throttled.max_msgs_per_session, throttled.max_message_size) == (5, 10, 1 << 20)
    assert (partner.max_rcpts_per_msg, partner.max_msgs_per_session, partner.spam_check) == (8, 7, False)
    assert (accepted.max_rcpts_per_msg, accepted.max_msgs_per_session) == (8, 7)
    assert policy_of("BLOCKED", policies["BLOCKED"]).access is AccessRule.REJECT


def test_groups_and_policies_written_and_read_again_are_equal() -> None:
    configuration = right(
        '[mail_flow_policy.DEFAULT]\nmax_rcpts_per_msg = 8\n[mail_flow_policy.X]\nmax_rcpts_per_msg = 1000\nbanner_text = "Good \\"day\\""\n'
        '[[dns_list]]\nzone = "bl.example.net"\nweight = -3.5\n[dns]\nservers = ["127.0.0.1:5353", "2001:db8::53"]\n'
        '[[sender_group]]\nname = "A"\npolicy = "$X"\nsenders = ["10.1.", "SBRS[-10:-3]"]\nlisteners = ["mail"]\n'
    )
    assert check(write_text(configuration)) == (configuration, [])
    assert Configuration.from_json(configuration.to_json()) == configuration
    assert configuration.dns.servers == ("127.0.0.1:5353", "[2001:db8::53]:53")
    assert configuration.sender_group[0].policy == "X"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('senders = ["10.1.1.1", "x y"]', "senders number 2", "names no sender"),
        ('policy = "ACCEPTD"', "policy", "no mail flow policy is called 'ACCEPTD'"),
        ('listeners = ["other"]', "listeners number 1", "no listener is called 'other'"),
        ('policy = "RELAYED"\nsenders = ["10.1.1.1", "ALL"]', "senders", "open relay"),
        ('policy = "RELAYED"\nsenders = ["SBRS[0:10]"]', "senders", "open relay"),
        ('sender_files = ["none.txt"]', "sender_files", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_group_is_told_where_it_stands(text: str, key: str, words: str) -> None:
    fault = only_fault(f'[[sender_group]]\nname = "A"\n{text}\n')
    assert (fault.table, fault.key) == ('[[sender_group]] "A"', key)
    assert words in fault.what
    assert fault.mend


def test_two_groups_of_one_listener_have_two_names_and_those_of_two_listeners_need_not() -> None:
    assert "two sender groups" in only_fault('[[sender_group]]\nname = "A"\n[[sender_group]]\nname = "A"\n').what
    right(
        '[[listener]]\nname = "in"\n[[listener]]\nname = "out"\nport = 2526\n'
        '[[sender_group]]\nname = "A"\nlisteners = ["in"]\n[[sender_group]]\nname = "A"\nlisteners = ["out"]\n'
    )


def test_what_is_wrong_with_a_policy_is_told_once_and_where_it_stands() -> None:
    fault = only_fault("[mail_flow_policy.DEFAULT]\nmax_rcpts_per_msg = 8\nspam_chek = true\n")
    assert (fault.line, fault.table, fault.key) == (3, "[mail_flow_policy.DEFAULT]", "spam_chek")
    assert "'spam_check'" in fault.mend
    assert only_fault('[mail_flow_policy.X]\nbanner_text = "a\\r\\n250 b"\n').what.endswith("cannot stand in a reply")
    assert only_fault('[mail_flow_policy.X]\naccess = "ACCEP"\n').mend.startswith("did you mean 'ACCEPT'?")
    for odd in ("mail_flow_policy = 3", "[mail_flow_policy]\nX = 3"):
        assert only_fault(odd).mend


@pytest.mark.parametrize(
    ("text", "key"),
    [('tls = "required"', "tls"), ('auth = "required"', "auth"), ('tls_mandatory_for = ["@a.example"]', "tls_mandatory_for")],
)
def test_what_no_listener_of_the_group_can_offer_cannot_be_required(text: str, key: str) -> None:
    fault = only_fault(f'[mail_flow_policy.X]\n{text}\n[[sender_group]]\nname = "A"\npolicy = "X"\nsenders = ["10.1.1.1"]\n')
    assert (fault.table, fault.key) == ("[mail_flow_policy.X]", key)
    assert "listener mail" in fault.what
    assert fault.mend


def test_a_name_server_is_an_address() -> None:
    assert "no name server" in only_fault('[dns]\nservers = ["ns.example.net"]\n').what


def test_senders_of_files_follow_those_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "blocked.txt").write_text("# ours\n192.0.2.0/24\n.example.net # theirs\n")
    (tmp_path / "esa.toml").write_text(
        '[[sender_group]]\nname = "A"\npolicy = "BLOCKED"\nsenders = ["10.1.1.1"]\nsender_files = ["blocked.txt"]\n'
    )
    configuration = load(tmp_path / "esa.toml")
    (group,) = groups_of(configuration.sender_group, configuration.mail_flow_policy)
    assert [entry.text for entry in group.senders] == ["10.1.1.1", "192.0.2.0/24", ".example.net"]


def test_a_wrong_line_of_a_file_is_told_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "blocked.txt").write_text("192.0.2.0/24\n192.0.2.0/33\n")
    (tmp_path / "esa.toml").write_text('[[sender_group]]\nname = "A"\nsender_files = ["blocked.txt"]\n')
    with pytest.raises(ConfigurationError, match=r"blocked\.txt, line 2"):
        load(tmp_path / "esa.toml")
