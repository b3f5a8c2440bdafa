"""A sample of every shared corpus is read as Python's `email` reads it, but for the classes that differential.py argues for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.differential import CORPORA, REASONS, Tally, compare, holds, messages
from tests.conftest import REQUIRE_ALL

EVERY = 7 if REQUIRE_ALL else 29


@pytest.mark.corpus
def test_header_names_and_texts_are_those_of_python_email(corpus: Callable[[str], Path]) -> None:
    whole = Tally()
    for name in CORPORA:
        for path, raw in messages(corpus(name), EVERY):
            tally = compare(raw)
            assert set(tally.classes) <= set(REASONS), path
            whole += tally
    assert whole.messages > 500
    assert holds(whole)


def test_a_difference_without_a_class_does_not_hold() -> None:
    assert not holds(Tally(messages=1, names_equal=0))
    assert not holds(Tally(messages=1, names_equal=1, texts=100, equal=99))
    assert holds(Tally(messages=1, names_explained=1, texts=1000, equal=999))


def test_octets_without_a_charset_are_no_text_of_python() -> None:
    tally = compare(b"Subject: x\nContent-Type: text/plain\n\nGr\xc3\xbc\xc3\x9fe\n")
    assert (tally.texts, tally.unlabelled, tally.equal) == (1, 1, 0)
