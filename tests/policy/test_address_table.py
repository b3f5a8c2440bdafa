"""A lookup gives what a walk through the list would give."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from esa.policy.address_table import NOTHING, AddressTable

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=25)


@given(RANGES)
def test_the_first_range_that_covers_a_place_is_found_and_covered_ranges_win_nowhere(ranges: list[tuple[int, int]]) -> None:
    table = AddressTable((first, last, order) for order, (first, last) in enumerate(ranges))
    won = set()
    for place in range(-1, 90):
        expected = next((order for order, (first, last) in enumerate(ranges) if first <= place <= last), NOTHING)
        assert table.find(place) == expected
        won.add(expected)
    assert table.winners() == won - {NOTHING}
