"""Bounce address tag validation: tags, their time, their keys, and who has none."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.errors import SyntaxFault
from esa.message.address import Address
from esa.policy.bounce_verification import DAY, LIFETIME, Exceptions, Finding, Key, check, parse_exception, tagged, untagged

NOW = 1_800_000_000.0
KEY = Key(3, b"a secret", NOW - 30 * DAY)


def test_a_tag_is_that_of_the_draft() -> None:
    day = f"{(int(NOW) // 86_400 + 7) % 1000:03d}"
    mac = hmac.new(b"a secret", f"3{day}joe@example.com".encode(), hashlib.sha1).hexdigest()[:6]
    assert tagged("joe@example.com", [KEY], NOW) == f"prvs=3{day}{mac}=joe@example.com"


def test_a_bounce_to_a_tagged_address_is_valid_and_for_the_address_without_the_tag() -> None:
    assert check(tagged("joe@example.com", [KEY], NOW), [KEY], NOW + DAY) == (Finding.VALID, "joe@example.com")


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_letters_may_have_changed_on_the_way(change: object) -> None:
    address = tagged("Joe@example.com", [KEY], NOW)
    assert check(change(address), [KEY], NOW).finding is Finding.VALID  # type: ignore[operator]


@pytest.mark.parametrize(
    ("days", "finding"), [(0, Finding.VALID), (LIFETIME, Finding.VALID), (LIFETIME + 1, Finding.EXPIRED), (500, Finding.EXPIRED)]
)
def test_a_tag_is_good_for_a_week(days: int, finding: Finding) -> None:
    assert check(tagged("joe@example.com", [KEY], NOW), [KEY], NOW + days * DAY).finding is finding


def test_the_count_of_days_begins_anew_after_a_thousand() -> None:
    turn = (int(NOW // DAY) // 1000 + 1) * 1000 * DAY
    for before in range(9):
        now = float(turn - before * DAY)
        address = tagged("joe@example.com", [KEY], now)
        assert check(address, [KEY], now + LIFETIME * DAY).finding is Finding.VALID
        assert check(address, [KEY], now + (LIFETIME + 1) * DAY).finding is Finding.EXPIRED


@pytest.mark.parametrize("wrong", ["jim@example.com", "joe@example.org", "joe2@example.com"])
def test_a_tag_is_good_for_one_address_only(wrong: str) -> None:
    tag = tagged("joe@example.com", [KEY], NOW).partition("=joe")[0]
    assert check(f"{tag}={wrong}", [KEY], NOW).finding is Finding.FORGED


def test_a_later_day_written_into_a_tag_makes_it_forged() -> None:
    address = tagged("joe@example.com", [KEY], NOW)
    day = int(address[6:9])
    assert check(f"{address[:6]}{(day + 1) % 1000:03d}{address[9:]}", [KEY], NOW).finding is Finding.FORGED


def test_what_an_old_key_made_is_accepted_for_the_time_of_a_tag_and_no_longer() -> None:
    address = tagged("joe@example.com", [KEY], NOW)
    old = Key(KEY.number, KEY.secret, KEY.made_at, retired_at=NOW)
    keys = [Key(4, b"another", NOW), old]
    assert tagged("joe@example.com", keys, NOW).startswith("prvs=4")
    assert check(address, keys, NOW + LIFETIME * DAY).finding is Finding.VALID
    assert check(tagged("joe@example.com", [KEY], NOW + 8 * DAY), keys, NOW + 8 * DAY).finding is Finding.FORGED


def test_without_a_key_nothing_is_tagged() -> None:
    assert tagged("joe@example.com", [], NOW) == "joe@example.com"
    assert tagged("joe@example.com", [Key(1, b"x", NOW, retired_at=NOW)], NOW) == "joe@example.com"


def test_what_has_a_tag_gets_no_second_one() -> None:
    foreign = "prvs=1234abcdef=joe@elsewhere.example"
    assert tagged(foreign, [KEY], NOW) == foreign


@pytest.mark.parametrize("address", ["postmaster@example.com", '"a b"@example.com', f"{'x' * 60}@example.com", "MAILER-DAEMON"])
def test_what_cannot_have_a_tag_is_not_asked_for_one(address: str) -> None:
    assert tagged(address, [KEY], NOW) == address
    assert check(address, [KEY], NOW).finding is Finding.EXEMPT


def test_an_address_of_no_exception_without_a_tag_is_told() -> None:
    assert check("joe@example.com", [KEY], NOW) == (Finding.UNTAGGED, "joe@example.com")


@pytest.mark.parametrize(
    ("entry", "address", "is_exempt"),
    [
        ("list@example.com", "List@Example.com", True),
        ("list@example.com", "other@example.com", False),
        ("example.com", "joe@example.com", True),
        ("example.com", "joe@sub.example.com", False),
        (".example.com", "joe@deep.sub.example.com", True),
        (".example.com", "joe@example.com", False),
    ],
)
def test_exceptions(entry: str, address: str, is_exempt: bool) -> None:
    exceptions = Exceptions([parse_exception(entry)])
    assert (tagged(address, [KEY], NOW, exceptions) == address) is is_exempt
    assert check(address, [KEY], NOW, exceptions).finding is (Finding.EXEMPT if is_exempt else Finding.UNTAGGED)


def test_a_forged_tag_of_an_exempt_address_does_no_harm() -> None:
    exceptions = Exceptions(["example.com"])
    assert check("prvs=3000abcdef=joe@example.com", [KEY], NOW, exceptions) == (Finding.EXEMPT, "joe@example.com")


def test_an_exception_that_is_no_address_and_no_domain_is_refused() -> None:
    with pytest.raises(SyntaxFault):
        parse_exception("not a domain")


def test_a_tag_is_taken_off_whoever_made_it() -> None:
    assert untagged("prvs=3000abcdef=joe=smith@example.com") == "joe=smith@example.com"
    assert untagged("prvs=joe@example.com") == "prvs=joe@example.com"


@given(st.text(alphabet="abcXYZ019.=+-_\u00e9", min_size=1, max_size=48), st.integers(0, 2_000 * int(DAY)))
def test_every_tag_that_is_made_is_valid_and_an_address(local_part: str, later: int) -> None:
    address = f"{local_part}@example.com"
    made = tagged(address, [KEY], NOW + later)
    found = check(made, [KEY], NOW + later)
    assert found.is_good
    assert found.address == address or made == address
    try:
        Address.parse(address)
    except SyntaxFault:
        return
    Address.parse(made)
