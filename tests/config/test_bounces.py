"""Bounce profiles, limits and bounce verification in esa.toml: what they come to, and what is told of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.config.bounces import profiles_of
from esa.config.load import check
from esa.policy.bounce_profile import Letter, RetrySchedule

TAGS = '[[destination]]\ndomains = ["ALL"]\nbounce_verification = true\n'


def faults(text: str, base: Path = Path()) -> list[tuple[str, str, str]]:
    """(table, key, what) of each."""
    return [(fault.table, fault.key, f"{fault.what}; {fault.mend}") for fault in check(text, base=base)[1]]


def test_a_profile_has_the_defaults_of_the_appliance_and_takes_times_from_delivery() -> None:
    configuration, found = check('[delivery]\nretry_max = "30 min"\n[[bounce_profile]]\nname = "Bulk"\nmax_retries = 5\n')
    assert configuration is not None and not found
    profiles = profiles_of(configuration.bounce_profile, configuration.delivery)
    assert profiles["Default"].schedule == RetrySchedule(60.0, 1_800.0, 259_200.0, 100)
    assert profiles["Bulk"].schedule == RetrySchedule(60.0, 1_800.0, 259_200.0, 5)
    default = profiles["Default"]
    assert (default.send_hard_bounces, default.delay_warnings, default.delay_interval, default.delay_count) == (True, False, 14_400.0, 1)
    assert (default.is_dsn, default.max_copy, default.letters) == (True, 10_240, {})


def test_the_usual_profile_can_be_changed_by_its_name() -> None:
    configuration, found = check(
        '[[bounce_profile]]\nname = "Default"\ninitial_retry = "2 min"\nbounce_text = """Hello\n$Recipients\n"""\n'
    )
    assert configuration is not None and not found
    [(name, profile)] = profiles_of(configuration.bounce_profile, configuration.delivery).items()
    assert (name, profile.schedule.initial, profile.letters["failed"]) == ("Default", 120.0, Letter("", "Hello\n$Recipients\n"))


@pytest.mark.parametrize(
    ("text", "table", "key", "words"),
    [
        (
            '[[destination]]\ndomains = ["ALL"]\nbounce_profile = "Blk"\n',
            "[[destination]]",
            "bounce_profile",
            "no bounce profile is called 'Blk'",
        ),
        ('[[listener]]\nname = "in"\nbounce_profile = "X"\n', '[[listener]] "in"', "bounce_profile", "choose one of Default"),
        ('[[bounce_profile]]\nname = "A"\n[[bounce_profile]]\nname = "A"\n', "", "name", "two bounce profiles are called 'A'"),
        ("[[bounce_profile]]\n[[bounce_profile]]\n", "", "name", "two bounce profiles are called 'Default'"),
        ('[[bounce_profile]]\ninitial_retry = "2 h"\n', "", "initial_retry", "the waits are out of order: 7200 s, at most 3600 s"),
        ('[[bounce_profile]]\ndelay_warnings = true\ndelay_interval = "4 d"\n', "", "delay_interval", "given up before a warning is due"),
        ('[[bounce_profile]]\nsender = "nobody"\n', "", "sender", "'nobody' is no mailbox"),
        ('[[bounce_profile]]\nalternate_address = "x y@z"\n', "", "alternate_address", "is no address"),
        ('[[bounce_profile]]\nbounce_subject = "a\\nb"\n', "", "bounce_subject", "a subject is one line"),
        ('[[bounce_profile]]\nbounce_text = "a\\u0007b"\n', "", "bounce_text", "control characters"),
        ('[[bounce_profile]]\nformat = "html"\n', "", "format", 'choose one of "dsn", "text"'),
        ("[bounce_verification]\nenabled = true\n", "[bounce_verification]", "enabled", "all bounces would be refused"),
        (TAGS + '[bounce_verification]\nheader = "no header"\n', "[bounce_verification]", "header", "is no header field"),
        (TAGS + '[bounce_verification]\nexempt = ["not a domain"]\n', "[bounce_verification]", "exempt", "no domain name"),
        ("[bounces]\nper_hour = -1\n", "[bounces]", "per_hour", "too small"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_a_mend(text: str, table: str, key: str, words: str) -> None:
    [(where, name, told)] = faults(text)
    assert (table in where, name.split(".")[0]) == (True, key)
    assert words in told


def test_a_filter_that_names_a_profile_that_is_not_there_does_not_run_and_is_told(tmp_path: Path) -> None:
    from esa.config.filters import plan_of

    (tmp_path / "filters").mkdir()
    (tmp_path / "filters/a.filters").write_text("a: if (true) { bounce-profile('Blk'); }\nb: if (true) { bounce-profile('Bulk'); }\n")
    configuration, found = check('[[bounce_profile]]\nname = "Bulk"\n', base=tmp_path)
    assert configuration is not None and not found
    [problem] = plan_of(configuration, tmp_path).problems
    assert (problem.filter, problem.what, problem.mend) == (
        "a",
        "there is no profile 'Blk', so the filter does not run",
        "did you mean 'Bulk'?",
    )
