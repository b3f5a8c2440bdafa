"""Zone files of scores: what is written is read back, in either form."""

from __future__ import annotations

import ipaddress
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.policy.reputation_zone import TEST_POINTS, Entry, decode, encode, read_zone, write_zone

FORMS: list[Literal["rbldnsd", "unbound"]] = ["rbldnsd", "unbound"]
networks = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([24, 32])).map(lambda one: ipaddress.IPv4Network(one, strict=False)),
    st.tuples(st.integers(0, 2**128 - 1), st.sampled_from([48, 64])).map(lambda one: ipaddress.IPv6Network(one, strict=False)),
)
tables = st.dictionaries(networks, st.tuples(st.integers(-100, 100), st.text(max_size=300)), max_size=20)


@pytest.mark.parametrize("tenths", range(-100, 101))
def test_a_score_comes_back_from_its_record(tenths: int) -> None:
    answer = encode(tenths / 10)
    assert ipaddress.ip_address(answer) in ipaddress.ip_network("127.0.0.0/8")
    assert decode(answer) == tenths / 10


@pytest.mark.parametrize("answer", ["127.0.0.2", "127.0.1.101", "127.0.3.1", "127.1.1.5", "127.0.1", "127.0.1.x", ""])
def test_other_records_hold_no_score(answer: str) -> None:
    assert decode(answer) is None


@pytest.mark.parametrize("form", FORMS)
@given(table=tables)
def test_what_is_written_is_read_back(form: Literal["rbldnsd", "unbound"], table: dict[object, tuple[int, str]]) -> None:
    entries = [Entry(network, tenths / 10, reason) for network, (tenths, reason) in table.items() if network not in TEST_POINTS]  # type: ignore[arg-type]
    lines = list(write_zone(entries, zone="rep.example.org", serial=7, form=form))
    assert all(line.isascii() and line.isprintable() and len(line) < 400 for line in lines)
    found, faults = read_zone(lines)
    assert faults == []
    scores = {entry.network: entry.score for entry in found}
    for entry in entries:
        assert scores.pop(entry.network) == entry.score
    assert all(network.prefixlen in range(52, 128, 4) for network in scores)  # answers given again below an IPv6 network


def test_a_reason_cannot_leave_its_record() -> None:
    entry = Entry(ipaddress.IPv4Network("192.0.2.1"), -5.0, 'x" 300 IN A 10.0.0.1\n@ NS evil.example. $Q \\')
    (line,) = [line for line in write_zone([entry], zone="rep.example.org", serial=1, form="unbound") if line.startswith("1.2.0.192 TXT")]
    assert line == '1.2.0.192 TXT "x  300 IN A 10.0.0.1   NS evil.example.  Q  "'


def test_a_wildcard_answers_beside_the_longer_names_below_it() -> None:
    entries = [Entry(ipaddress.IPv6Network("2001:db8:0:12::/64"), 4.0), Entry(ipaddress.IPv6Network("2001:db8::/48"), -1.0)]
    lines = list(write_zone(entries, zone="rep.example.org", serial=1, form="unbound"))
    assert "*.1.0.0.0.0.0.0.8.b.d.0.1.0.0.2 A 127.0.1.10" in lines
    assert "*.2.1.0.0.0.0.0.0.8.b.d.0.1.0.0.2 A 127.0.2.40" in lines


def test_wrong_lines_are_told_with_their_number_and_the_rest_is_read() -> None:
    found, faults = read_zone(
        ["$ORIGIN rep.example.org.", "1.2.0.192.rep.example.org. 300 IN A 127.0.1.50", "192.0.2.9 :127.0.0.2:listed", "nonsense", "", "; x"]
    )
    assert [(entry.name, entry.score) for entry in found] == [("192.0.2.1", -5.0)]
    assert [number for number, _ in faults] == [3, 4]
    assert "127.0.1.N is -N/10" in (faults[0][1].mend or "")
