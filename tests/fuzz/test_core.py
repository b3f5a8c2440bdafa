"""Invariant: no matter what octets come in, parsing, everything that can be asked of the parsed message, and scanning return.

They never crash, never read or write outside their buffers, never raise for content, and what they return is consistent: parts lie within
the message, a parent comes before its children, text is UTF-8, reasons sum to the logit. Through the public interface; `make fuzz` drives the
parsers themselves (test_targets).
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import esa
from esa_core import fold
from tests.fuzz import interfaces, seeds

WORDS = seeds.words_of("message")


def hold(raw: bytes) -> None:
    """Ask everything of one message and check that the answers fit together."""
    interfaces.parsed(raw)
    report = esa.scan(raw)
    assert math.isfinite(report.logit)
    assert math.isclose(sum(reason.contribution for reason in report.reasons), report.logit, abs_tol=1e-6)


def test_our_own_mail_and_that_of_the_packs_holds_the_invariant() -> None:
    for raw in seeds.seeds_of("message"):
        hold(raw)


def test_what_was_found_before_stays_mended() -> None:
    for target in ("structure", "message", "parsed", "scan"):
        for path in seeds.found_before(target):
            hold(path.read_bytes())


@given(st.sampled_from(seeds.seeds_of("message")), st.data())
def test_mail_with_pieces_moved_removed_and_put_in_holds_the_invariant(raw: bytes, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 6))):
        at, gone = data.draw(st.integers(0, len(raw))), data.draw(st.sampled_from([0, 0, 1, 40, 400]))
        put_in = data.draw(st.sampled_from(WORDS)) * data.draw(st.sampled_from([1, 1, 30, 600]))
        raw = raw[:at] + put_in + raw[at + gone :]
    hold(raw)


@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=40).map(b"".join))
def test_any_mixture_of_meaningful_octets_holds_the_invariant(raw: bytes) -> None:
    hold(raw)


@given(st.binary(max_size=200))
def test_folding_any_octets_ends(octets: bytes) -> None:
    assert fold(fold(octets)) == fold(octets) or not octets.isascii()


@pytest.mark.parametrize("raw", [b"", b"\0", b"\n", b"\r", b":", b"\r\n" * 1000, b"\xff" * 1000, b"a" * 100_000, bytes(range(256)) * 16])
def test_tiny_and_empty_mail_holds_the_invariant(raw: bytes) -> None:
    hold(raw)
