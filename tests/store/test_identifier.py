"""Message identifiers."""

from __future__ import annotations

import pytest

from esa.store.identifier import LENGTH, is_identifier, new_identifier, time_of


def test_identifiers_strictly_increase_even_when_the_clock_is_set_back() -> None:
    made = [new_identifier(when) for when in (5_000_000_000.0, 5_000_000_000.0, 4_999_999_999.0, 5_000_000_001.0)]
    assert made == sorted(set(made))
    assert all(len(one) == LENGTH and is_identifier(one) for one in made)


def test_an_identifier_tells_its_time_to_the_millisecond() -> None:
    assert time_of(new_identifier(6_000_000_000.123)) == pytest.approx(6_000_000_000.123, abs=0.001)


def test_ten_thousand_identifiers_differ() -> None:
    assert len({new_identifier() for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("text", ["", "0" * 25, "0" * 27, "8" + "0" * 25, "0" * 25 + "U", "0" * 25 + "a", "../" + "0" * 23])
def test_what_is_no_identifier_is_refused(text: str) -> None:
    assert not is_identifier(text)


def test_the_time_of_what_is_no_identifier_is_an_error() -> None:
    with pytest.raises(ValueError, match="no message identifier"):
        time_of("U" * LENGTH)
