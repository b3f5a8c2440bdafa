"""The batch driver: arrays of the right shapes, equal results for every batch size and number of threads, and memory that is given back."""

from __future__ import annotations

import random
import re
import struct
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from esa.engine.judge import native_engine
from esa.engine.model import Model
from esa_core import FACT_NAMES, Automaton, Batch, Engine, Program, flag_names, parse

PLAIN = b"From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: lunch\r\n\r\nHi Bob, shall we meet on Monday?\r\n"
TERMS = [b"free", b"money", b"the", b"linux", b"click here", b"http"]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return native_engine(Model.load(), Program(TERMS))


@pytest.fixture(scope="module")
def mail(corpus: Callable[[str], Path]) -> list[bytes]:
    paths = sorted(corpus("spamassassin").glob("*/*"))
    return [path.read_bytes() for path in random.Random(0).sample(paths, 600)]


def arrays(batch: Batch) -> list[np.ndarray]:
    return [batch.logits, batch.flags, batch.facts, batch.match_starts, batch.match_terms, batch.match_counts]


def test_an_empty_batch_has_empty_arrays(engine: Engine) -> None:
    batch = engine.scan([])
    assert len(batch) == 0
    assert batch.logits.shape == (0,)
    assert batch.facts.shape == (0, len(FACT_NAMES))
    assert batch.match_starts.tolist() == [0]


def test_shapes_and_types_are_as_promised(engine: Engine) -> None:
    batch = engine.scan([b"Subject: free money\r\n\r\nfree\r\n", b""])
    assert batch.logits.dtype == np.float64
    assert batch.logits.shape == (2,)
    assert batch.flags.dtype == np.uint64
    assert batch.flags.shape == (2,)
    assert batch.facts.dtype == np.float32
    assert batch.facts.shape == (2, len(FACT_NAMES))
    assert batch.micros.dtype == np.float32
    assert batch.micros.shape == (2,)
    assert batch.match_starts.dtype == np.int64
    assert batch.match_starts.tolist() == [0, 3, 3]  # free and money in the subject, free in the text
    assert batch.match_terms.tolist() == [0, 0, 1]
    assert batch.match_counts.tolist() == [1, 1, 1]
    assert [batch.counts(0), batch.counts(1)] == [{0: 2, 1: 1}, {}]
    with pytest.raises(IndexError):
        batch.counts(2)


def test_arrays_cannot_be_written(engine: Engine) -> None:
    with pytest.raises(ValueError, match="read-only"):
        engine.scan([b""]).logits[0] = 1.0


def test_contributions_sum_to_the_logit(engine: Engine) -> None:
    batch = engine.scan([b"From: a@example.org\r\nSubject: free\r\n\r\nClick here!\r\n"])
    assert batch.contributions(0).sum() == pytest.approx(batch.logits[0], abs=1e-9)
    assert batch.contributions(0).shape == (len(FACT_NAMES) + 1,)


def test_contributions_are_summed_by_place_as_they_add_up_one_by_one(engine: Engine) -> None:
    batch = engine.scan([PLAIN, b"", PLAIN])
    values = batch.contributions(2).tolist()
    places = bytes(number % 7 for number in range(len(values)))
    assert batch.summed(2, places, 7) == pytest.approx([sum(values[place::7]) for place in range(7)], abs=1e-12)
    for row, given, n in ((3, places, 7), (0, places, 6), (0, places[1:], 7), (0, places, 257)):
        with pytest.raises(IndexError):
            batch.summed(row, given, n)


def test_what_is_told_in_one_look_is_what_is_told_one_by_one(engine: Engine) -> None:
    batch = engine.scan([PLAIN, b""])
    places = bytes(number % 7 for number in range(len(batch.contributions(0))))
    for row in range(2):
        for most in (-1, 0, 5):
            assert batch.told(row, most, places, 7) == (*batch.ranked(row, most), batch.summed(row, places, 7), batch.fact_row(row))


def test_a_row_of_facts_has_those_that_are_not_zero(engine: Engine) -> None:
    batch = engine.scan([PLAIN, b"", PLAIN])
    for row in range(3):
        facts = batch.facts[row].tolist()
        assert dict(struct.iter_unpack("<Bf", batch.fact_row(row))) == {number: fact for number, fact in enumerate(facts) if fact}
    assert batch.fact_row(0)
    with pytest.raises(IndexError):
        batch.fact_row(3)


def test_ranked_contributions_fall_in_size_and_leave_out_what_says_nothing(engine: Engine) -> None:
    batch = engine.scan([b"From: a@example.org\r\nSubject: free\r\n\r\nClick here!\r\n", b""])
    for row in range(2):
        values = batch.contributions(row)
        order, ranked = batch.ranked(row)
        for most in (0, 1, 5, len(order), len(order) + 1):
            assert batch.ranked(row, most) == (order[:most], ranked[:most])
        assert order == np.argsort(-np.abs(values), kind="stable")[: np.count_nonzero(values)].tolist()
        assert ranked == values[order].tolist()


@pytest.mark.corpus
@pytest.mark.parametrize("size", [1, 7, 256])
def test_results_do_not_depend_on_the_size_of_the_batch(engine: Engine, mail: list[bytes], size: int) -> None:
    whole = engine.scan(mail)
    parts = [engine.scan(mail[i : i + size]) for i in range(0, len(mail), size)]
    for name in ("logits", "flags", "facts", "match_terms", "match_counts"):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts])), name
    starts = np.concatenate([np.diff(part.match_starts) for part in parts])
    assert np.array_equal(np.diff(whole.match_starts), starts)


@pytest.mark.corpus
@pytest.mark.parametrize("n", [2, 8, 24])
def test_results_do_not_depend_on_the_number_of_threads(engine: Engine, mail: list[bytes], n: int) -> None:
    expected = arrays(engine.scan(mail))
    results: list[list[np.ndarray]] = []
    threads = [threading.Thread(target=lambda: results.append(arrays(engine.scan(mail)))) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == n
    for result in results:
        assert all(np.array_equal(a, b) for a, b in zip(result, expected, strict=True))


@pytest.mark.corpus
def test_the_order_of_messages_leaves_no_trace(engine: Engine, mail: list[bytes]) -> None:
    """A workspace that has seen one message gives the next the same result as a fresh one."""
    order = list(range(len(mail)))
    random.Random(2).shuffle(order)
    expected, shuffled = engine.scan(mail), engine.scan([mail[i] for i in order])
    assert np.array_equal(expected.logits[order], shuffled.logits)
    assert np.array_equal(expected.facts[order], shuffled.facts)
    assert np.array_equal(expected.flags[order], shuffled.flags)


@pytest.mark.corpus
def test_the_batch_finds_what_the_rooms_find_one_by_one(engine: Engine, mail: list[bytes]) -> None:
    batch = engine.scan(mail)
    automaton = Automaton(TERMS, whole_word=False)
    for row, raw in enumerate(mail[:200]):
        parsed = parse(raw)
        expected: Counter[int] = Counter()
        for region in parsed.regions:
            if region.kind != "disguised":
                expected.update(automaton.counts(re.sub(rb"\s+", b" ", region.folded)))
        found: Counter[int] = Counter()
        for pattern, kind, _, _, times in batch.table(row):
            if kind != "disguised":
                found[pattern] += times
        assert found == expected
        assert set(parsed.flags) <= set(flag_names(int(batch.flags[row])))


def test_an_engine_without_parts_only_reads() -> None:
    batch = Engine().scan([b"Subject: x\r\n\r\n\0\r\n"])
    assert batch.logits.tolist() == [0.0]
    assert batch.facts.shape == (1, 0)
    assert "nul_bytes" in flag_names(int(batch.flags[0]))
    assert batch.contributions(0).shape == (0,)


def test_what_is_no_buffer_is_a_type_error_and_the_engine_goes_on(engine: Engine) -> None:
    for bad in ("text", 1, None):
        with pytest.raises(TypeError):
            engine.scan([b"", bad])  # type: ignore[list-item]
    with pytest.raises(BufferError):
        engine.scan([memoryview(b"abcdef")[::2]])
    assert len(engine.scan([b""])) == 1


def test_buffers_are_given_back(engine: Engine) -> None:
    content = bytearray(b"Subject: x\r\n\r\n")
    engine.scan([content])
    content.extend(b"more")  # BufferError if it were still held


@pytest.mark.parametrize(
    "great",
    [
        b"Subject: x\n\n" + b"free money the linux " * 1_500_000,
        b"Content-Type: text/html\n\n" + b"<p>free <a href='http://x.example/" * 800_000,
        b"Content-Transfer-Encoding: base64\n\n" + b"ZnJlZSBtb25leSBmcmVlIG1vbmV5IGZyZWUgbW9uZXkgZnJlZSBtb25leSBmcmVl\n" * 450_000,
        b"".join(b"X-%d: free money\n" % number for number in range(1_000_000)) + b"\n",
    ],
    ids=["text", "HTML", "base64", "fields"],
)
def test_a_message_of_thirty_megabytes_leaves_no_great_memory_behind(great: bytes) -> None:
    engine = native_engine(Model.load(), Program(TERMS))
    assert engine.nbytes == 0
    engine.scan([great])
    assert 0 < engine.nbytes < 16 * 2**20


def test_many_matches_of_one_batch_leave_no_great_memory_behind() -> None:
    engine = Engine(program=Program([b"%d" % number for number in range(1000)]))
    engine.scan([b"\n\n" + b" ".join(b"%d" % number for number in range(1000))] * 500)
    assert engine.nbytes < 2 * 2**20


def test_a_term_is_capped_not_endless() -> None:
    engine = Engine(program=Program([b"a", b"aaaa"]))
    batch = engine.scan([b"\r\n" + b"a" * 3_000_000, b"\r\naaaa"])
    assert ["too_many_matches" in flag_names(int(flags)) for flags in batch.flags] == [True, False]
    assert batch.counts(0)[0] == 65_535
    assert batch.counts(1) == {0: 4, 1: 1}


def test_flag_names_are_in_the_order_of_their_bits() -> None:
    assert flag_names(0) == ()
    assert flag_names(1) == ("oversized",)
    assert flag_names(0b101) == ("oversized", "too_many_parts")
