"""Random expressions of few letters, and the letters of texts that they often match: what folding changes is among them."""

from __future__ import annotations

import random

LETTERS = [
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


def expression(rng: random.Random, depth: int = 0) -> str:
    def atom() -> str:
        kind = rng.random()
        if kind < 0.6 or depth > 3:
            return rng.choice(["a", "b", "A", "k", "s", "é", "-", r"\.", "ab", "aba", "bab", "Abk", "b a", " "])
        if kind < 0.7:
            return rng.choice([".", r"\w", r"\s", "[ab]", "[^a]", r"\b", r"[\pLk]", "[abks-]", r"\x{e9}", r"\W", r"[^\w]", r"\x{212a}"])
        if kind < 0.9:
            return rng.choice(["(", "(?:", "(?i:", "(?s:", "(?P<x>"]) + expression(rng, depth + 2).replace("(?P<x>", "(") + ")"
        return rng.choice(["a", "b", "ab"])

    def piece() -> str:
        repeat = rng.choice(["", "", "", "", "?", "*", "+", "{2}", "{1,2}", "+?", "{2,}", "{,2}", "{0,3}"])
        return atom() + repeat

    return rng.choice(["", "", "", "(?i)", "(?s)", "(?m)^"]) + "|".join(
        "".join(piece() for _ in range(rng.randint(1, 5))) for _ in range(rng.choice([1, 1, 1, 2]))
    )
