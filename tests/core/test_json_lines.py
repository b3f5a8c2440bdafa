"""Lines of JSON from attributes, against the standard library: every text and number comes back, and what fails leaves no trace."""

from __future__ import annotations

import base64
import json
import math
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core._json_lines import JsonLines

LONGEST, MOST = 10_000, 20_000


class Colour(StrEnum):
    RED = "red"


class Pair(NamedTuple):
    left: object
    right: object


@dataclass(frozen=True, slots=True)
class Holder:
    value: object

    @property
    def asked(self) -> object:
        return self.value

    @property
    def fails(self) -> object:
        raise RuntimeError("no")


def lines(*columns: Any) -> JsonLines:
    return JsonLines(columns, longest=LONGEST, most=MOST)


def written(value: object) -> Any:
    """What stands on a line of this one value, read by the standard library."""
    made = lines("value")
    assert made.add(Holder(value)) == made.octets
    [line] = made.piece(0, 1).splitlines(keepends=True)
    assert line.endswith(b"\n")
    [found] = json.loads(line)
    return found


def plain(value: object) -> Any:
    """What a reader of JSON is to find."""
    if isinstance(value, float):
        rounded = round(value, 3)
        is_short = (
            abs(value) < 1e12
            and rounded == value
            and math.copysign(1, value) == math.copysign(1, rounded)
            and (value or math.copysign(1, value) > 0)
        )
        return value if is_short else list(struct.unpack("<Q", struct.pack("<d", value)))
    if isinstance(value, bytes):
        return base64.urlsafe_b64encode(value).decode()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats()
    | st.decimals(-9, 9, places=3).map(float)
    | TEXTS
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_values_are_found_again_by_the_standard_library(value: object) -> None:
    assert written(value) == plain(value)


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_every_code_point_survives_as_the_standard_library_reads_its_own(text: str) -> None:
    assert written(text) == json.loads(json.dumps(text))
    assert written("x" * 7 + text + "y" * 9) == json.loads(json.dumps("x" * 7 + text + "y" * 9))


@given(st.text(st.characters(max_codepoint=127), max_size=40))
def test_octets_that_need_escapes_are_found_wherever_they_stand(text: str) -> None:
    assert written(text) == text


@pytest.mark.parametrize("number", [0.0, -0.0, 1e-4, 0.001, -0.125, 1e12, 1e300, 5e-324, math.inf, -math.inf, 0.1 + 0.2, 1764035229.123456])
def test_floats_come_back_to_the_last_bit(number: float) -> None:
    found = written(number)
    back = struct.unpack("<d", struct.pack("<Q", found[0]))[0] if isinstance(found, list) else found
    assert struct.pack("<d", back) == struct.pack("<d", number)


def test_paths_lead_through_attributes_and_end_at_none() -> None:
    made = lines("value.value", ("value", ("value", "asked")), ("", ("value.value",)), ("value[]", ("left", "right.value")), "value.asked")
    with pytest.raises(TypeError):
        made.add(Holder(Holder(1)))  # a holder is no sequence
    made = lines("value.value", ("value", ("value", ("", ("asked",)))), "value.value.value")
    assert made.add(Holder(Holder(None))) > 0
    assert made.add(Holder(None)) > 0
    assert [json.loads(line) for line in made.piece(0, 2).splitlines()] == [[None, [None, [None]], None], [None, None, None]]
    made = lines(("value[]", ("left", "right.value")))
    assert made.add(Holder([Pair(1, Holder("a")), Pair(2, None)]), ("beside", Colour.RED)) > 0
    assert json.loads(made.piece(0, 1)) == [[[1, "a"], [2, None]], "beside", "red"]


def test_sets_are_lists() -> None:
    assert written(frozenset({"a"})) == ["a"]
    assert sorted(written({"a", "b"})) == ["a", "b"]


@pytest.mark.parametrize("value", [1j, {1: 2}, 1 << 64, object()])
def test_what_json_has_not_is_refused_and_leaves_the_lines_before(value: object) -> None:
    made = lines("value")
    made.add(Holder("first"))
    before = made.octets
    with pytest.raises((TypeError, OverflowError)):
        made.add(Holder(["begun", value]))
    assert (len(made), made.octets) == (1, before)


def test_a_fault_of_an_attribute_is_raised_and_leaves_the_lines_before() -> None:
    made = lines("value", "fails")
    with pytest.raises(RuntimeError, match="no"):
        made.add(Holder("x"))
    assert (len(made), made.octets) == (0, 0)


def test_what_is_nested_without_end_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested"):
        lines("value").add(Holder(endless))


def test_lines_over_the_limits_are_not_taken() -> None:
    made = lines("value")
    assert made.add(Holder("x" * LONGEST)) < -LONGEST
    assert made.add(Holder("y" * 100), room=50) < 0
    assert made.octets == 0
    while made.add(Holder("z" * 900)) > 0:
        pass
    assert MOST - 1000 < made.octets <= MOST


def test_lines_are_cut_where_they_end_and_the_memory_is_used_again() -> None:
    made = lines("value")
    for number in range(3):
        made.add(Holder(number))
    assert [made.end(number) for number in range(3)] == [4, 8, 12]
    assert made.piece(1, 3) == b"[1]\n[2]\n"
    assert made.piece(1, 1) == b""
    for wrong in (3, -1):
        with pytest.raises(IndexError):
            made.end(wrong)
    with pytest.raises(IndexError):
        made.piece(2, 4)
    made.clear()
    assert (len(made), made.octets, made.piece(0, 0)) == (0, 0, b"")
    made.add(Holder("again"))
    assert made.piece(0, 1) == b'["again"]\n'


def test_columns_that_say_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no columns"):
        lines("value[]")
    with pytest.raises(ValueError, match="a line of"):
        JsonLines((), longest=2, most=1)
