"""Real mail for the benchmarks: a shared corpus with the leaky header fields dropped, and dictionary terms made from it at run time."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from esa.learning.corpora import iter_corpus
from esa.learning.leaks import LeakList

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ESA_SHARED") or ROOT.parent / "shared")


def corpus_path(name: str) -> Path:
    """The archive of a shared corpus; ends the program with a sentence if it is absent."""
    path = SHARED / "corpora" / f"{name}.tar.zst"
    if not path.exists():
        raise SystemExit(f"{path} is absent: set ESA_SHARED to the folder that holds corpora/")
    return path


def read(path: Path, limit: int | None = None, seed: int = 0) -> tuple[list[bytes], list[bool]]:
    """Messages without leaky fields and whether each is spam; a fixed random choice of `limit` of them, in its order."""
    clean = LeakList.load().strip
    pairs = [(clean(item.content), item.label == "spam") for item in iter_corpus(path) if item.content is not None]
    if limit is not None and limit < len(pairs):
        pairs = random.Random(seed).sample(pairs, limit)
    return [raw for raw, _ in pairs], [spam for _, spam in pairs]


def literals(texts: Sequence[bytes], n: int = 1_000, share: float = 0.01, seed: int = 0) -> list[bytes]:
    """`n` literals of the kind a filter holds, 8 to 24 octets: pieces of folded texts so that `share` of these hit one, the rest in none."""
    chosen = random.Random(seed)
    whole = b"\0".join(texts)
    found: list[bytes] = []
    hit: set[int] = set()
    for row in chosen.sample(range(len(texts)), len(texts)):
        if len(hit) >= share * len(texts) or len(found) == n:
            break
        length = chosen.randrange(8, 25)
        start = chosen.randrange(max(1, len(texts[row]) - length))
        piece = texts[row][start : start + length].strip()
        if len(piece) >= 8 and piece.isascii() and b"\0" not in piece and whole.count(piece) == texts[row].count(piece):
            found.append(piece)
            hit.add(row)
    while len(found) < n:
        absent = "".join(chosen.choices("abcdefghijklmnopqrstuvwxyz 0123456789", k=chosen.randrange(8, 25))).strip().encode()
        if len(absent) >= 8 and absent not in whole:
            found.append(absent)
    return found


def dictionary_terms(messages: Sequence[bytes], n: int = 10_000, seed: int = 0) -> list[str]:
    """`n` terms of the kind dictionaries hold: half rare words of this mail, half phrases of two of them."""
    seen: Counter[str] = Counter()
    for raw in messages:
        seen.update(set(re.findall(r"[a-z]{5,14}", raw.decode("latin-1").lower())))
    rare = sorted(word for word, count in seen.items() if 2 <= count <= 20)
    chosen = random.Random(seed)
    words = chosen.sample(rare, min(n // 2, len(rare)))
    phrases: set[str] = set()
    while len(words) + len(phrases) < n:
        phrases.add(f"{chosen.choice(rare)} {chosen.choice(rare)}")
    return [*words, *sorted(phrases)]
