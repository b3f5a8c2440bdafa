"""The word lists that the facts are looked up in, and the name of the feature space they make.

Lists are text files in `lexicons/`, one term a line, `#` comments, written by judgement and never copied from mail. Called by the scanner and by training.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from esa_core import DOMAIN_LISTS, FACT_NAMES, FACT_SPACE, WORD_CATEGORIES, Lexicon

FOLDER: Final = Path(__file__).with_name("lexicons")


@lru_cache(maxsize=1)
def shipped() -> Lexicon:
    """The lexicon of the shipped lists, read once."""
    return Lexicon(
        words={category: _terms(category) for category in WORD_CATEGORIES},
        domains={name: _terms(name) for name in DOMAIN_LISTS},
        brands=_brands(),
    )


@lru_cache(maxsize=1)
def feature_space() -> str:
    """Version of the facts with a digest of their names and of every list: a model belongs to exactly one."""
    digest = hashlib.sha256("\n".join(FACT_NAMES).encode())
    for name in (*WORD_CATEGORIES, *DOMAIN_LISTS, "brands"):
        digest.update(b"\0" + "\n".join((name, *_terms(name))).encode())
    return f"{FACT_SPACE}-{digest.hexdigest()[:12]}"


def _terms(name: str) -> list[str]:
    lines = (FOLDER / f"{name}.txt").read_text("utf-8").splitlines()
    return [term for line in lines if (term := line.partition("#")[0].strip())]


def _brands() -> dict[str, list[str]]:
    pairs = (line.partition(":") for line in _terms("brands"))
    return {names.strip(): domains.split() for names, _, domains in pairs}
