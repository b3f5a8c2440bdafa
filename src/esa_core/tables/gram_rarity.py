"""How rare four octets are side by side, from the text of Python's own library.

Terms of a dictionary are anchored where they are rarest. Mail is not program text, but English prose, names and markup are in both, and a wrong
estimate makes matching slower, never wrong.
"""

from __future__ import annotations

import math
import pydoc_data.topics
import struct
import sysconfig
from collections import Counter
from pathlib import Path

from .c_source import numbers

BITS = 16  # of the hash that finds the frequency of a gram: grams that share one are as frequent as all of them
MULTIPLIER = 0x9E3779B1
EIGHTHS = 8  # of a bit: a value is the negative binary logarithm of a gram's share of all positions
MOST = 255  # stands for all rarer ones
PROSE = 8  # times that the documentation of the language counts: it is more like mail than programs are


def library_text() -> bytes:
    """The documentation of the language, and the modules of the library."""
    library = Path(sysconfig.get_path("stdlib"))
    modules = [*sorted(library.glob("*.py")), *sorted(library.glob("[a-df-z]*/*.py")), *sorted(library.glob("email/*.py"))]
    text = [path.read_bytes() for path in modules if not {"test", "tests", "site-packages", "dist-packages"} & set(path.parts)]
    return b"\n".join([" ".join(pydoc_data.topics.topics.values()).encode() * PROSE, *text]).lower()


def rarities() -> list[int]:
    """For each hash of a gram (2^16) the eighths of bits."""
    text = library_text()
    counts: Counter[int] = Counter()
    for offset in range(4):
        n = (len(text) - offset) // 4
        counts.update(struct.unpack(f"<{n}I", text[offset : offset + 4 * n]))
    shares = [0.0] * (1 << BITS)
    for gram, count in counts.items():
        shares[(gram * MULTIPLIER & 0xFFFFFFFF) >> (32 - BITS)] += count / len(text)
    return [min(MOST, round(-EIGHTHS * math.log2(share))) if share else MOST for share in shares]


def gram_header() -> str:
    return numbers("unsigned char", "gram_rarity", rarities())
