"""From what a handshake showed to whether mail goes: every mode against every showing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from esa.policy.tls_modes import EXPLAINED, Dane, Demand, Mode, MtaSts, Shown, decide, decide_required, mode_for

GOOD = Shown(matches_host=True)
ABSENT = Shown(is_offered=False)
BROKEN = Shown(fault="the handshake failed: no protocols available")
EXPIRED = replace(GOOD, refusal="certificate has expired")
OTHER = Shown()
HOSTED = Shown(matches_domain=True)
EVERYTHING = [
    Shown(is_offered, fault, refusal, host, domain, dane, sts)
    for is_offered, fault, refusal, host, domain, dane, sts in itertools.product(
        (True, False), ("", "the handshake failed"), ("", "certificate has expired"), (True, False), (True, False), Dane, MtaSts
    )
]


@pytest.mark.parametrize(
    ("mode", "ways"),
    [
        # good, no STARTTLS, handshake broken, expired, other name, the domain's own name
        (Mode.NONE, "plain plain plain plain plain plain"),
        (Mode.PREFERRED, "secure plain plain secure secure secure"),
        (Mode.REQUIRED, "secure defer defer secure secure secure"),
        (Mode.PREFERRED_VERIFY, "secure plain plain secure secure secure"),
        (Mode.REQUIRED_VERIFY, "secure defer defer defer defer secure"),
        (Mode.REQUIRED_VERIFY_HOSTED_DOMAINS, "defer defer defer defer defer secure"),
        (Mode.DANE, "secure plain plain secure secure secure"),
        (Mode.MTA_STS, "secure plain plain secure secure secure"),
        (Mode.DANE_OR_MTA_STS, "secure plain plain secure secure secure"),
    ],
)
def test_each_mode_decides_as_it_says(mode: Mode, ways: str) -> None:
    shown = (GOOD, ABSENT, BROKEN, EXPIRED, OTHER, HOSTED)
    assert [decide(mode, one).way for one in shown] == ways.split()


def test_verifying_modes_never_send_in_the_clear_or_to_who_failed() -> None:
    for shown in EVERYTHING:
        for mode in (Mode.REQUIRED_VERIFY, Mode.REQUIRED_VERIFY_HOSTED_DOMAINS):
            decision = decide(mode, shown)
            assert decision.way != "plain"
            if decision.way == "secure":
                assert shown.is_offered and not shown.fault and not shown.refusal
                assert shown.matches_domain or (shown.matches_host and mode is Mode.REQUIRED_VERIFY)


def test_dane_and_mta_sts_never_send_in_the_clear_where_there_is_a_promise() -> None:
    for shown in EVERYTHING:
        if shown.dane is not Dane.ABSENT:
            assert decide(Mode.DANE, shown).way != "plain"
        if shown.dane in (Dane.MISMATCHED, Dane.UNKNOWN):
            assert decide(Mode.DANE, shown).way == "defer"
        if shown.mta_sts in (MtaSts.MATCHED, MtaSts.MISMATCHED):
            assert decide(Mode.MTA_STS, shown).way != "plain"
        if shown.mta_sts is MtaSts.MISMATCHED:
            assert decide(Mode.MTA_STS, shown).way == "defer"


def test_what_waits_says_why_and_required_needs_tls() -> None:
    for shown, mode in itertools.product(EVERYTHING, Mode):
        decision = decide(mode, shown)
        assert decision.reason or decision.way != "defer"
        if mode is Mode.REQUIRED:
            assert (decision.way == "secure") == (shown.is_offered and not shown.fault)


def test_a_verification_that_failed_is_told_where_mail_goes_all_the_same() -> None:
    assert decide(Mode.PREFERRED_VERIFY, EXPIRED) == ("secure", "the certificate is not trusted: certificate has expired")
    assert decide(Mode.PREFERRED_VERIFY, ABSENT) == ("plain", "STARTTLS is not offered")


def test_every_mode_is_explained_with_what_an_attacker_can_do() -> None:
    assert list(EXPLAINED) == list(Mode)
    assert all(one.does.endswith(".") and one.attacker.endswith(".") for one in EXPLAINED.values())


def test_requiretls_is_tls_with_a_server_whose_name_nobody_can_have_forged_and_that_is_who_it_says() -> None:
    for shown in EVERYTHING:
        for is_sure in (True, False):
            decision = decide_required(shown, is_host_sure=is_sure)
            is_verified = shown.dane is Dane.MATCHED or (
                shown.dane in (Dane.ABSENT, Dane.UNUSABLE) and not shown.refusal and shown.matches_host
            )
            assert (decision.way == "secure") == (is_sure and shown.is_offered and not shown.fault and is_verified)
            assert decision.way == ("defer" if decision.reason else "secure")


def test_what_a_message_asks_changes_only_what_recipients_publish() -> None:
    assert {mode: mode_for(mode, Demand.RELAXED) for mode in Mode} == {
        mode: Mode.PREFERRED if mode in (Mode.DANE, Mode.MTA_STS, Mode.DANE_OR_MTA_STS) else mode for mode in Mode
    }
    assert all(mode_for(mode, demand) is mode for mode in Mode for demand in (Demand.USUAL, Demand.REQUIRED))


def test_records_go_before_a_policy_and_a_policy_counts_where_there_are_none() -> None:
    for shown in EVERYTHING:
        single = Mode.MTA_STS if shown.dane is Dane.ABSENT else Mode.DANE
        assert decide(Mode.DANE_OR_MTA_STS, shown) == decide(single, shown)
