"""Required literals: wherever RE2 finds an expression, one of its literals stands in the folded text."""

from __future__ import annotations

import random

import pytest
import re2

from esa.engine.required import required_clauses
from esa_core import fold


@pytest.mark.parametrize(
    ("expression", "literals"),
    [
        (r"foo\d+barbaz", {"barba"}),
        (r"(?i)Account\s+(suspended|limited)", {"accoun"}),
        (r"\bv[i1]agra\b", {"viagr", "v1agr"}),
        (r"^Dear (Sir|Madam),?$", {"dear si", "dear mada"}),
        (r"x{2}yz{3}", {"xxyzz"}),
        (r"(?<name>hello) world", {"hello worl"}),
        (r"colou?r scheme", {"r schem"}),
        (r"\pL+paypal\x{41}", {"paypa"}),
        (r"[^a]hidden[]x]y", {"hidden]", "hiddenx"}),
        (r"(?:invoice|receipt)+ attached", {" attache"}),
    ],
)
def test_the_longest_literals_are_chosen(expression: str, literals: set[str]) -> None:
    assert set(required_clauses(expression)[0]) == literals


def test_each_stretch_of_letters_is_a_clause() -> None:
    assert set(required_clauses(r"(?i)invoice\s+(due|overdue)\W+payment")) == {("invoic",), ("paymen",)}
    assert set(required_clauses(r"first.*second.*third.*fourth")) == {("secon",), ("fourt",), ("firs",)}


@pytest.mark.parametrize(
    "expression", ["a|b", r"\d{4}-\d{4}", ".*", r"\Qa.b\E", "[[:alpha:]]foobar", "(abc)?", "ab", "(foobar|[0-9]+)", "деньги", "(", ""]
)
def test_no_literals_where_none_is_certain(expression: str) -> None:
    assert required_clauses(expression) == ()


def expression(rng: random.Random, depth: int = 0) -> str:
    def atom() -> str:
        kind = rng.random()
        if kind < 0.6 or depth > 3:
            return rng.choice(["a", "b", "A", "k", "s", "é", "-", r"\.", "ab", "aba", "bab", "Abk"])
        if kind < 0.7:
            return rng.choice([".", r"\w", r"\s", "[ab]", "[^a]", r"\b", r"[\pLk]", "[abks-]", r"\x{e9}"])
        if kind < 0.9:
            return rng.choice(["(", "(?:", "(?i:", "(?P<x>"]) + expression(rng, depth + 2).replace("(?P<x>", "(") + ")"
        return rng.choice(["a", "b", "ab"])

    def piece() -> str:
        repeat = rng.choice(["", "", "", "", "?", "*", "+", "{2}", "{1,2}", "+?", "{2,}", "{,2}"])
        return atom() + repeat

    return rng.choice(["", "", "", "(?i)"]) + "|".join(
        "".join(piece() for _ in range(rng.randint(1, 5))) for _ in range(rng.choice([1, 1, 1, 2]))
    )


def test_what_an_expression_finds_has_one_of_its_literals() -> None:
    rng = random.Random(7)
    options = re2.Options()
    options.log_errors = False
    letters = [
        "a",
        "b",
        "A",
        "B",
        "ab",
        "aba",
        "k",
        "\u212a",
        "s",
        "\u017f",
        "é",
        "e\u0301",
        "\u0301",
        ".",
        "-",
        " ",
        "\u200b",
        "ﬁ",
        "{,2}",
        "а",
    ]
    checked = 0
    for _ in range(5_000):
        source = expression(rng)
        clauses = required_clauses(source)
        if not clauses:
            continue
        try:
            compiled = re2.compile(source.encode(), options)
        except re2.error:
            continue
        for _ in range(8):
            text = "".join(
                rng.choices([*letters, *(literal + rng.choice("abAks") for clause in clauses for literal in clause)], k=100)
            ).encode()
            for searched in (text, fold(text)):
                found = compiled.search(searched)
                if found is not None:
                    checked += 1
                    alone, whole = fold(found.group()), fold(text)
                    for clause in clauses:
                        assert any(literal.encode() in alone and literal.encode() in whole for literal in clause), (source, clause, text)
    assert checked > 500
