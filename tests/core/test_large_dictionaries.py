"""Large and whole: whole words of real mail against an independent count, and a million entries in bounded memory."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import ahocorasick
import pytest

from esa_core import Automaton, parse

FORMS = pytest.mark.parametrize("hashed", [False, True], ids=["grams", "hashes"])

Spans = list[tuple[int, int, int]]  # term, start, end


@pytest.fixture(scope="module")
def texts(corpus: Callable[[str], Path]) -> list[bytes]:
    """What is scanned of 1,000 real messages."""
    paths = sorted(corpus("spamassassin").glob("*/*"))
    return [parse(path.read_bytes()).folded for path in random.Random(2).sample(paths, 1_000)]


def oracle(terms: Sequence[bytes]) -> Callable[[bytes], Spans]:
    """Every occurrence of each term, overlapping ones too, by pyahocorasick. It reads str, so each byte becomes one character."""
    automaton = ahocorasick.Automaton()
    for number, term in enumerate(terms):
        automaton.add_word(term.decode("latin-1"), number)
    automaton.make_automaton()

    def spans(text: bytes) -> Spans:
        return [(number, end + 1 - len(terms[number]), end + 1) for end, number in automaton.iter(text.decode("latin-1"))]

    return spans


def found(automaton: Automaton, texts: Sequence[bytes]) -> list[dict[int, int]]:
    indptr, terms, counts, capped = automaton.scan(texts)
    assert not capped.any()
    return [dict(zip(terms[a:b].tolist(), counts[a:b].tolist(), strict=True)) for a, b in pairwise(indptr.tolist())]


@pytest.mark.corpus
@FORMS
def test_whole_words_on_real_mail_are_those_with_no_word_character_beside_them(texts: list[bytes], hashed: bool) -> None:
    words = Counter(word for text in texts for word in re.findall(rb"(?<![\w.@-])[a-z]{2,12}(?: [a-z]{2,12})?(?![\w.@-])", text))
    terms = [word for word, _ in sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))[:3_000]]
    western = [text for text in texts if all(ord(c) < 0x250 for c in text.decode("utf-8", "replace"))]
    assert len(western) > 900
    spans = oracle(terms)

    def is_word(text: bytes, *, before: int = -1, at: int = -1) -> bool:
        piece = text[max(0, before - 1) : before].decode("latin-1") if before >= 0 else text[at : at + 1].decode("latin-1")
        if piece >= "\x80":  # a longer character
            whole = text[:before].decode()[-1:] if before >= 0 else text[at : at + 4].decode("utf-8", "ignore")[:1]
            piece = whole
        return piece.isalnum() or piece == "_"

    expected = []
    for text in western:
        whole = [term for term, start, end in spans(text) if not is_word(text, before=start) and not is_word(text, at=end)]
        expected.append(dict(Counter(whole)))
    assert found(Automaton(terms, whole_word=True, hashed=hashed), western) == expected


MILLION = """
import re, sys
from pathlib import Path
from esa_core import Automaton

def peak():  # of this program; getrusage would begin with the size of the process that started it
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

kind, n = sys.argv[1], 1_000_000
make = {
    "addresses": lambda i: b"user%d.%d@host%d.example" % (i % 977, i, i % 5003),
    "domains": lambda i: b"host%d.zone%d.example" % (i, i % 701),
    "tokens": lambda i: b"word%dx" % (i * 7919),
    "phrases": lambda i: b"offer %d of list %d" % (i, i % 97),
}[kind]
terms = [make(i) for i in range(n)]
before = peak()
automaton = Automaton(terms, whole_word=True)
grew = peak() - before
wanted = {i: 1 for i in (0, 1, 4_321, n // 2, n - 1)}
text = b" ; ".join([b"nobody@nowhere.example", *(make(i) for i in wanted), make(n)])
assert automaton.counts(text) == wanted, automaton.counts(text)
form = "grams" if kind == "phrases" else kind
print(automaton.nbytes, grew, automaton.forms[form])
"""


IS_SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")  # ASan puts red zones around memory and keeps what was freed for a while


@pytest.mark.parametrize(("kind", "octets"), [("addresses", 70), ("domains", 70), ("tokens", 70), ("phrases", 100)])
def test_a_million_entries_take_so_many_octets_each(kind: str, octets: int) -> None:
    done = subprocess.run([sys.executable, "-c", MILLION, kind], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept, grew, n = map(int, done.stdout.split())
    assert n == 1_000_000
    assert kept < octets * n
    assert kept / 4 < grew < (700 if IS_SANITIZED else 300) * n
