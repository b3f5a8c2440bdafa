"""Values with units are read exactly and written back as the same value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.config.units import format_duration, format_size, parse_duration, parse_size
from esa.errors import SyntaxFault


@pytest.mark.parametrize(
    ("text", "seconds"), [("500 ms", 0.5), ("20 s", 20), ("20s", 20), ("5 min", 300), ("1.5 h", 5400), ("30 d", 2_592_000)]
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "octets"), [("100 B", 100), ("64 KiB", 65_536), ("0.5 KiB", 512), ("25 MiB", 26_214_400), ("2 GiB", 1 << 31)]
)
def test_a_size_is_read_in_octets(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "20", "s", "-1 s", "20 sec", "1e3 s", "20 s s", "inf s", "٣ s", "5 MiB"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SyntaxFault) as caught:
        parse_duration(text)
    assert caught.value.mend is not None
    assert '"20 s"' in caught.value.mend


@pytest.mark.parametrize("text", ["25", "25 MB", "25 mib", "0.3 B", "0.0001 KiB", "1 s"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SyntaxFault):
        parse_size(text)


@given(st.integers(0, 1 << 40))
def test_a_size_written_and_read_again_is_the_same(octets: int) -> None:
    assert parse_size(format_size(octets)) == octets


@given(st.integers(0, 10_000_000))
def test_a_duration_written_and_read_again_is_the_same(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
