"""Anchors: the rarest literal of an expression, and what must stand beside it. That they are true shows in test_expressions."""

from __future__ import annotations

import random

import pytest
import re2

from esa.engine.required import find_anchor
from esa_core import UNBOUNDED, Stretch, fold
from tests.engine.random_expressions import LETTERS, expression

ALL = (1 << 256) - 1


def octets(text: bytes) -> int:
    return sum(1 << octet for octet in set(text))


@pytest.mark.parametrize(
    ("expression", "literals"),
    [
        (r"foo\d+barbaz", {b"barbaz"}),
        (r"(?i)Account\s+(suspended|limited)", {b"account"}),
        (r"\bv[i1]agra\b", {b"viagra", b"v1agra"}),
        (r"^Dear (Sir|Madam),?$", {b"dear sir", b"dear sir,", b"dear madam", b"dear madam,"}),
        (r"x{2}yz{3}", {b"xxyzzz"}),
        (r"(?<name>hello) world", {b"hello world"}),
        (r"colou?r scheme", {b"color scheme", b"colour scheme"}),
        (r"\pL+paypal\x{41}", {b"paypal"}),
        (r"[^a]hidden[]x]y", {b"hidden]y", b"hiddenxy"}),
        (r"(?:the|and)+ xylophone", {b"xylophone"}),
        (r"(zebra \d+|receipt [a-z]+) now", {b"zebra", b"receipt"}),
        (r"\d+ +spaces +\d+", {b"spaces"}),
    ],
)
def test_the_rarest_literals_are_the_anchor(expression: str, literals: set[bytes]) -> None:
    found = find_anchor(expression)
    assert found is not None
    assert set(found.literals) == literals


def test_its_neighbours_stand_beside_it() -> None:
    found = find_anchor(r"the\s+(xylophone|zebrafish)\d{2,3}was.{0,9}")
    assert found is not None
    assert (set(found.literals), found.heads, found.tails) == ({b"xylophone", b"zebrafish"}, (b"the",), (b"was",))
    assert found.before == Stretch(1, UNBOUNDED, octets(b" \t\n\f\r"))
    assert found.after == Stretch(2, 3, octets(b"0123456789"))
    assert found.lead == Stretch(4, UNBOUNDED, octets(b" \t\n\f\rthe"))
    assert found.trail == Stretch(5, 3 + 3 + 4 * 9, ALL & ~(1 << 10))


def test_a_set_is_never_smaller_than_what_the_class_matches() -> None:
    def behind(text: str, *, case: bool) -> Stretch:
        found = find_anchor(f"needle{text}", case=case)
        assert found is not None
        return found.trail

    assert behind("[a-j]", case=True) == Stretch(1, 1, octets(b"abcdefghij"))
    assert behind("[a-j]", case=False) == Stretch(1, 1, octets(b"abcdefghijABCDEFGHIJ"))
    assert behind(r"[\xa0-\xff\x20]", case=True) == Stretch(1, 4, octets(b" ") | ALL & ~((1 << 128) - 1))
    assert behind(r"[^\dx]", case=True) == Stretch(1, 4, ALL & ~octets(b"0123456789x"))
    assert behind(r"[^\pL]", case=True) == Stretch(1, 4, ALL)
    assert behind(".", case=True) == Stretch(1, 4, ALL & ~octets(b"\n"))
    assert behind("(?s:.)", case=True) == Stretch(1, 4, ALL)


def test_octets_of_few_kinds_side_by_side_are_an_anchor_where_there_is_no_literal() -> None:
    digits, hyphen = octets(b"0123456789"), octets(b"-")
    found = find_anchor(r"x?\d{3}-\d{2}-\d{4}\b.{0,3}")
    assert found is not None
    assert (found.literals, found.shape, found.rarest) == ((), (*[digits] * 3, hyphen, *[digits] * 2, hyphen, *[digits] * 4), 3)
    assert (found.lead, found.trail) == (Stretch(0, 1, octets(b"xX")), Stretch(0, 12, ALL & ~(1 << 10)))
    loose = find_anchor(r"(?i)\d\d-\d", case=True)
    assert loose is not None
    assert (loose.exact, loose.shape) == (False, (digits, digits, hyphen))  # a mark may follow the last digit


def test_where_letters_stand_in_other_text_than_they_are_looked_for_in_only_the_region_is_told() -> None:
    exact = [(r"Dear Sirs", True), (r"dear sirs", False)]
    loose = [(r"(?i)Dear Sirs", True), (r"straße dear sirs", False)]
    assert [found.exact for text, case in exact if (found := find_anchor(text, case=case))] == [True, True]
    assert [found.exact for text, case in loose if (found := find_anchor(text, case=case))] == [False, False]
    cased, blind = find_anchor("Dear Sirs", case=True), find_anchor("(?i)Dear Sirs", case=True)
    assert cased is not None and cased.literals == (b"Dear Sirs",)
    assert blind is not None and blind.literals == (b"dear sir",)  # a mark may follow the last letter


@pytest.mark.parametrize(
    "expression",
    ["a|b", r"\w{4}-?\w{4}", ".*", r"\Qa.b\E", "[[:alpha:]]foobar", "(abc)?", "ab", "(foobar|[0-9]+)", "деньги", "(", "", "needle{,2}"],
)
def test_no_anchor_where_none_is_certain(expression: str) -> None:
    assert find_anchor(expression) is None


def test_what_an_expression_finds_has_one_of_its_literals() -> None:
    rng = random.Random(7)
    options = re2.Options()
    options.log_errors = False
    checked = 0
    for _ in range(5_000):
        source = expression(rng)
        anchor = find_anchor(source)
        if anchor is None or not anchor.literals:
            continue
        try:
            compiled = re2.compile(source.encode(), options)
        except re2.error:
            continue
        for _ in range(4):
            pieces = [*LETTERS, *(literal.decode() + rng.choice("abAks") for literal in anchor.literals)]
            text = fold("".join(rng.choices(pieces, k=100)).encode())
            for found in compiled.finditer(text):
                checked += 1
                assert any(literal in found.group() for literal in anchor.literals), (source, text)
    assert checked > 500


def test_folded_text_has_no_letter_that_only_ignoring_case_makes_ascii() -> None:
    for text in ("\u212a", "\u017f", "s\u212ai", "а\u017f", "\u212a\u0301", "\u017f\u0307"):
        assert not {"\u212a", "\u017f"} & set(fold(text.encode()).decode())
