"""The automaton finds what pyahocorasick finds, where it does, in every form, at every size; whole words, addresses and names stand alone."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import ahocorasick
import numpy as np
import pytest

from esa_core import Automaton, fold

FORMS = (False, True)  # hashed: whether single words, addresses and domain names are probed one by one


def automaton(terms: Sequence[str], hashed: bool | None = None, whole_word: bool = False) -> Automaton:
    return Automaton([fold(term.encode()) for term in terms], whole_word=whole_word, hashed=hashed)


def found(terms: Sequence[str], text: str, hashed: bool | None = None, whole_word: bool = True) -> dict[str, int]:
    counts = automaton(terms, hashed, whole_word).counts(fold(text.encode()))
    return {terms[term]: count for term, count in counts.items()}


def places(ours: Automaton, text: bytes, *, plain: bool = False) -> list[tuple[int, int]]:
    terms, starts, capped = ours.find(text, plain=plain)
    assert not capped
    return sorted(zip(terms.tolist(), starts.tolist(), strict=True))


def oracle(terms: Sequence[bytes]) -> Callable[[bytes], list[tuple[int, int]]]:
    """Term and offset of every match by pyahocorasick, each byte as the character of its number."""
    reference = ahocorasick.Automaton()
    for number, term in enumerate(terms):
        reference.add_word(term.decode("latin-1"), number)
    reference.make_automaton()
    return lambda text: sorted((number, end + 1 - len(terms[number])) for end, number in reference.iter(text.decode("latin-1")))


def mixed(words: Sequence[bytes], n: int) -> list[bytes]:
    """A dictionary as people have them: half addresses, a quarter words, a quarter phrases; half of their words are in the mail."""
    rng = random.Random(n)

    def word() -> bytes:
        if rng.random() < 0.5:
            return rng.choice(words)
        return bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(4, 10)))

    terms: set[bytes] = set()
    while len(terms) < n:
        kind = rng.random()
        if kind < 0.5:
            terms.add(word() + b"." + word() + b"@" + word() + b".com")
        else:
            terms.add(word() if kind < 0.75 else b" ".join(word() for _ in range(rng.randint(2, 3))))
    return sorted(terms)


@pytest.fixture(scope="module")
def texts(corpus: Callable[[str], Path]) -> list[bytes]:
    paths = sorted(corpus("spamassassin").glob("*/*"))
    return [path.read_bytes().lower() for path in random.Random(1).sample(paths, 400)]


@pytest.fixture(scope="module")
def words(texts: list[bytes]) -> list[bytes]:
    return sorted(set(re.findall(rb"[a-z]{4,14}", b" ".join(texts))))


@pytest.mark.corpus
@pytest.mark.parametrize("n", [10, 1_000, 10_000, 100_000])
def test_real_mail_has_the_matches_that_pyahocorasick_finds(texts: list[bytes], words: list[bytes], n: int) -> None:
    terms = mixed(words, n)
    ours, expected = Automaton(terms), oracle(terms)
    matches = 0
    for text in texts:
        there = expected(text)
        assert places(ours, text) == there
        assert places(ours, text, plain=True) == there
        matches += len(there)
    assert matches > 0 or n == 10


@pytest.mark.corpus
@pytest.mark.parametrize("n", [1_000, 10_000])
def test_whole_words_are_the_same_in_every_form(texts: list[bytes], words: list[bytes], n: int) -> None:
    terms = mixed(words, n)
    by_gram, hashed = Automaton(terms, whole_word=True, hashed=False), Automaton(terms, whole_word=True, hashed=True)
    assert by_gram.forms["grams"] == n
    assert hashed.forms["tokens"] > 0
    assert hashed.forms["addresses"] > 0
    one, other = by_gram.scan(texts), hashed.scan(texts)
    assert all(np.array_equal(one[i], other[i]) for i in range(len(one)))


def test_random_bytes_have_the_matches_that_pyahocorasick_finds() -> None:
    """Small alphabets make every kind of overlap; terms of every length that has a form of its own; texts end at every place of a block."""
    rng = random.Random(2)
    lengths = (range(1, 2), range(1, 4), range(4, 5), range(4, 8), range(5, 41), range(8, 9), range(9, 12), range(1, 41))
    for alphabet in (b"ab", b"abc", bytes(range(256))):
        for span in lengths:
            terms = list({bytes(rng.choices(alphabet, k=rng.choice(span))) for _ in range(60)})
            ours, expected = Automaton(terms, seed=rng.getrandbits(32)), oracle(terms)
            for n in (*range(80), 255, 256, 257, 420, 1000, 4095, 4096, 4097, 8200):
                text = bytes(rng.choices(alphabet, k=n))
                assert places(ours, text) == places(ours, text, plain=True) == expected(text)


@pytest.mark.parametrize("hashed", FORMS)
def test_random_text_has_the_same_whole_words_in_every_form(hashed: bool) -> None:
    rng = random.Random(3)
    pieces = ["a", "b", "ab", "ba", ".", "-", "+", "@", " ", "é", "中", "_", "“"]
    terms = list({"".join(rng.choices(pieces, k=rng.randint(1, 6))) for _ in range(400)})
    reference = automaton(terms, whole_word=True)
    ours = automaton(terms, hashed, whole_word=True)
    for _ in range(300):
        text = fold("".join(rng.choices(pieces, k=rng.randint(0, 400))).encode())
        assert ours.counts(text) == reference.counts(text)


@pytest.mark.parametrize("hashed", FORMS)
def test_no_terms_match_nothing(hashed: bool) -> None:
    assert automaton([], hashed).counts(b"anything") == {}


@pytest.mark.parametrize("hashed", FORMS)
def test_a_word_stands_alone(hashed: bool) -> None:
    text = "Cheap CHEAP cheaper ecocheap «cheap» “cheap” cheap-cheap cheap_ cheap2 cheap."
    assert found(["cheap"], text, hashed) == {"cheap": 7}
    assert found(["cheap"], text, hashed, whole_word=False) == {"cheap": 11}


@pytest.mark.parametrize("hashed", FORMS)
def test_a_phrase_stands_alone(hashed: bool) -> None:
    assert found(["act now"], "act now, react now; act nowhere: ACT NOW", hashed) == {"act now": 2}


@pytest.mark.parametrize("hashed", FORMS)
def test_other_scripts_have_word_boundaries_where_they_have_words(hashed: bool) -> None:
    assert found(["деньги"], "Деньги, безденьги деньгинет ДЕНЬГИ", hashed) == {"деньги": 2}
    assert found(["发票"], "代开发票联系", hashed) == {"发票": 1}
    assert found(["naïve"], "naïve naïveté naïve", hashed) == {"naïve": 2}


@pytest.mark.parametrize("hashed", FORMS)
def test_a_term_that_ends_in_other_characters_needs_no_boundary_there(hashed: bool) -> None:
    assert found(["$$$"], "make $$$fast and $$$", hashed) == {"$$$": 2}
    assert found(["100% free"], "100% free! 100% freedom 2100% free", hashed) == {"100% free": 1}


@pytest.mark.parametrize("hashed", FORMS)
def test_an_address_is_not_found_in_a_longer_one(hashed: bool) -> None:
    text = "<john@example.com> not.john@example.com, john@example.com. mailto:john@example.com? john@example.com.au big-john@example.com"
    assert found(["john@example.com"], text, hashed) == {"john@example.com": 3}
    assert found(["a+b@example.com"], "a+b@example.com b@example.com xa+b@example.com", hashed) == {"a+b@example.com": 1}


@pytest.mark.parametrize("hashed", FORMS)
def test_a_domain_name_matches_itself_and_its_subdomains(hashed: bool) -> None:
    text = "example.com www.example.com joe@mail.example.com http://example.com/x notexample.com my-example.com example.com.evil.net"
    assert found(["example.com"], text, hashed) == {"example.com": 4}


@pytest.mark.parametrize("hashed", FORMS)
def test_terms_of_the_same_bytes_are_counted_each(hashed: bool) -> None:
    terms = [b"free", b"other", b"free", b"free"]
    options = [True, True, False, True]
    ours = Automaton(terms, whole_word=options, hashed=hashed)
    assert ours.counts(b"free freedom") == {0: 1, 2: 2, 3: 1}


def test_scan_gives_sparse_rows() -> None:
    starts, terms, counts, capped = Automaton([b"a", b"b", b"c"]).scan([b"ca", b"", b"bbb"])
    assert starts.tolist() == [0, 2, 2, 3]
    assert (terms.tolist(), counts.tolist(), capped.tolist()) == ([0, 2, 1], [1, 1, 3], [False, False, False])


def test_matches_of_one_text_are_capped_and_the_next_text_is_whole_again() -> None:
    terms = [b"a" * n for n in range(1, 101)]
    ours = Automaton(terms)
    _, _, counts, capped = ours.scan([b"a" * 100_000, b"aa"])
    assert capped.tolist() == [True, False]
    assert counts.sum() < 1_100_000
    assert ours.counts(b"aa") == {0: 2, 1: 1}


def test_odd_terms_are_refused_by_number() -> None:
    with pytest.raises(ValueError, match="term 1 has 0 bytes"):
        Automaton([b"a", b""])
    with pytest.raises(ValueError, match="term 0 has 4097 bytes"):
        Automaton([b"a" * 4097])
    with pytest.raises(ValueError, match="2 terms, but 1 answers"):
        Automaton([b"a", b"b"], whole_word=[True])


def test_a_million_entries_take_under_seventy_bytes_each() -> None:
    rng = random.Random(4)
    hosts = [f"{rng.getrandbits(32):x}.example" for _ in range(500)]
    terms = [f"{number:x}@{rng.choice(hosts)}".encode() for number in range(1_000_000)]
    ours = Automaton(terms, whole_word=True)
    assert ours.forms["addresses"] == 1_000_000
    assert ours.nbytes < 70 * len(terms)
    text = b"to " + terms[7] + b", x" + terms[8] + b" and " + terms[999_999] + b"."
    assert ours.counts(text) == {7: 1, 999_999: 1}


def test_threads_share_one_automaton() -> None:
    ours = Automaton([b"one", b"two", b"three"], whole_word=True)
    text = b"one two three two " * 500
    results: list[dict[int, int]] = []
    threads = [threading.Thread(target=lambda: results.extend(ours.counts(text) for _ in range(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [{0: 500, 1: 1000, 2: 500}] * 200
