"""Expressions in the one program find what RE2 alone finds, searching every expression over every region: as many matches, the first at the same place."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from esa.engine.expressions import Match, ignoring_case
from esa.engine.program import Pattern, Program
from esa.message.content import Message
from esa_core import Engine, parse
from tests.engine.random_expressions import LETTERS, expression

Case = tuple[str, bool]


def compiled(text: str, case: bool) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = case
    return re2.compile(text.encode(), options)


def usable(text: str, case: bool) -> bool:
    try:
        return compiled(text, case).search(b"") is None
    except re2.error:
        return False


def alone(expressions: Sequence[Case], raw: bytes) -> list[Match]:
    """The match table by RE2, without anchors and windows."""
    regions = parse(raw).regions
    rows = []
    for pattern, (text, case) in enumerate(expressions):
        text, case = ignoring_case(text, case=case)
        one = compiled(text, case)
        found = set()
        for number, region in enumerate(regions):
            written = b"" if region.kind == "disguised" else region.text
            for searched in (written,) if case else (region.folded,) if text.isascii() else (region.folded, written):
                places = [match.start() for match in one.finditer(searched)]
                if places and region.origin not in found:
                    found.add(number)
                    rows.append(Match(pattern, region.kind, region.part, places[0], len(places)))
                    break
    return rows


def together(program: Program, raw: bytes) -> list[Match]:
    return program.table(Engine(program=program.native).scan([raw]), 0, Message(raw))


def mail(text: str) -> bytes:
    return b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode("utf-8", "surrogatepass")


def page(text: str) -> bytes:
    return b"Subject: a bab\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>ab<b>a b</b></p>" + text.encode("utf-8", "surrogatepass")


def test_random_expressions_find_in_random_texts_what_re2_finds() -> None:
    rng = random.Random(3)
    compared = matches = 0
    for _ in range(250):
        cases: list[Case] = []
        while len(cases) < 12:
            case = (expression(rng), rng.random() < 0.4)
            if usable(*case) and case not in cases:
                cases.append(case)
        program = Program([Pattern(text, "expression", case) for text, case in cases])
        for make in (mail, page):
            raw = make("".join(rng.choices(LETTERS, k=rng.choice([20, 100, 600]))))
            expected = alone(cases, raw)
            assert together(program, raw) == expected, cases
            compared += len(cases)
            matches += len(expected)
    assert matches > compared // 10


# expressions as people write them: all have an anchor, and neighbours of every kind
WRITTEN = [
    (r"\binvoice\s+(due|overdue)\W+payment\b", False),
    (r"invoice[ #:]*[0-9]{2,4}", False),
    (r"(account|acct)s?\s+suspended", False),
    (r"Dear (Sir|Madam),?\s", True),
    (r"pay.{0,10}now", False),
    (r"pay.*now", False),
    (r"(?s)pay.*now", False),
    (r"^urgent:.*payment$", False),
    (r"(?m)^urgent.*payment$", False),
    (r"wire\s*transfers?", False),
    (r"(?i)Wire\s*Transfers?", True),
    (r"[Ww]ire [Tt]ransfer", True),
    (r"(buy|sell)[a-z]* (now|today)", False),
    (r"click.{1,3}here", False),
    (r"  click  here", False),
    (r"\bpass(word)?\b.*expire[sd]?", False),
    (r"v[i1!l]agra", False),
    (r"pay[ -]{1,3}[0-9]{1,5}[ .]{1,3}viagra", False),
    (r"(?i:needle)", True),
    (r"(invoice )+payment", False),
    (r"(invoice\s+){2,3}payment", False),
    (r"n[^a-c]w offer", False),
    (r"(?:pay\d+|sell\w+) now", False),
    (r"straße \d+", False),
    (r"now\x{2019}s", False),
    (r"Kelvin skis", False),
    (r"\$\d+(\.\d\d)? off", False),
    (r"\d{3}-\d{2,3}", False),
    (r"\b[A-Z]{2}\d{2,}", True),
    (r"(?i)[a-z]\d{3}", True),
    (r"(?i:wire)\s*Transfers?", True),
    (r"(?i:[a-z])\d{3}", True),
    (r"\$[^x]{1,3}\d", False),
    (r"\d(\d|\s)*\.\d", True),
    (r"[a-z0-9._]+@[a-z0-9]+\.[a-z]+", False),
]
WORDS = [
    *(
        "invoice",
        "Invoice",
        "due",
        "overdue",
        "payment",
        "account",
        "accts",
        "suspended",
        "Dear",
        "Sir",
        "Madam,",
        "pay",
        "now",
        "urgent:",
        "wire",
    ),
    *(
        "transfer",
        "Wire",
        "Transfers",
        "buy",
        "sell",
        "selling",
        "today",
        "click",
        "here",
        "pass",
        "password",
        "expired",
        "viagra",
        "v1agra",
        "offer",
    ),
    *(
        "new",
        "nbw",
        "needle",
        "needle\u0301",
        "pay7",
        "sell_x",
        "Straße",
        "12",
        "now’s",
        "Kelvin",
        "s\u212ais",
        "\u017fki\u017f",
        "s\u212ai\u017f",
        "$12.50",
        "off",
        "p\u0430yment",
    ),
    *("\u0301", "é", "#:", "123", "12345", "12-34", "123-456", "AB123", "x.y@b", "@", ".", "\u200b", "ﬁ"),
]
GAPS = [" ", " ", " ", "  ", "\r\n", "\t", "", ".", "-", " \r\n ", "\u00a0", "x" * 300, " " * 300]
ALL_WRITTEN = Program([Pattern(text, "expression", case) for text, case in WRITTEN])


def test_all_of_these_have_an_anchor() -> None:
    assert not ALL_WRITTEN.tries_all


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=40), st.sampled_from([mail, page]))
def test_written_expressions_find_what_re2_finds(pieces: list[tuple[str, str]], make: Callable[[str], bytes]) -> None:
    raw = make("".join(word + gap for word, gap in pieces))
    assert together(ALL_WRITTEN, raw) == alone(WRITTEN, raw)


@pytest.mark.parametrize(("text", "case"), WRITTEN)
def test_a_mail_of_all_words_finds_what_re2_finds(text: str, case: bool) -> None:
    rng = random.Random(text)
    program = Program([Pattern(text, "expression", case)])
    raw = mail("".join(rng.choice(WORDS) + rng.choice(GAPS[:8]) for _ in range(60_000)))
    expected = alone([(text, case)], raw)
    assert [match._replace(times=min(match.times, 1000)) for match in expected] == together(program, raw)


@pytest.mark.parametrize(
    ("text", "widest"),
    [
        (r"pay[ -]{1,3}[0-9]{1,5}[ .]{1,3}viagra", "pay-  12345 . viagra"),
        (r"viagra[ .]{1,3}[0-9]{1,5}.{0,3}pay", "viagra . 12345\U0001f600\U0001f600\U0001f600pay"),
        (r"(a[^b]|bb){2,3}viagra(\s+\d){0,2}", "a\u20aca\u20aca\u20acviagra 1    2"),
        (r"\$\d{1,3}[^x]{0,2}\d?", "$123\u20ac\u20ac4"),
    ],
)
def test_a_match_of_the_greatest_width_lies_in_its_window(text: str, widest: str) -> None:
    for case in (False, True):
        assert together(Program([Pattern(text, "expression", case)]), mail(f". {widest} .")) == [Match(0, "plain", 0, 2, 1)]
