"""What holds of every message: it is read without an exception, spans nest so that untouched octets can be written back unchanged, its score
depends on nothing but itself, and what is said for it sums to it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.engine.judge import native_engine
from esa.engine.model import Model
from esa_core import FAMILY_NAMES, N_FEATURES, Engine, LinearModel, Parsed, Part, Program, parse
from tests.fuzz import seeds

WORDS = seeds.words_of("message")
MAIL = [path.read_bytes() for path in sorted((Path(__file__).resolve().parent.parent / "mail").glob("*/*.eml"))]
LINE_ENDS = (b"\n", b"\r\n")


def spliced(pieces: list[tuple[int, int, int]], words: list[bytes], line_end: bytes) -> bytes:
    """Pieces of our golden mail and words that mean something to a parser, one after the other in turn."""
    out = bytearray()
    for at, (number, start, length) in enumerate(pieces):
        message = MAIL[number % len(MAIL)]
        out += message[start % (len(message) + 1) :][:length]
        out += words[at] if at < len(words) else b""
    return bytes(out).replace(b"\n", line_end)


messages = st.builds(
    spliced,
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 4000), st.integers(0, 2000)), min_size=1, max_size=4),
    st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=4),
    st.sampled_from(LINE_ENDS),
)


def usual(parsed: Parsed) -> list[Part]:
    """The parts of the usual reading that stand in the raw message, in their order."""
    return [part for part in parsed.parts if part.origin < 0 and not part.another]


def written_back(raw: bytes, parsed: Parsed) -> bytes:
    """The message put together again of its parts: each header, then its body, whose octets are those between and within its children."""
    children: dict[int, list[Part]] = {}
    parts = usual(parsed)
    for part in parts[1:]:
        children.setdefault(part.parent, []).append(part)

    def body(part: Part) -> bytes:
        out, at = b"", part.body_start
        for child in children.get(part.index, []):
            assert at <= child.start <= child.end <= part.end
            out += raw[at : child.start] + raw[child.start : child.body_start] + body(child)
            at = child.end
        return out + raw[at : part.end]

    return raw[: parts[0].start] + raw[parts[0].start : parts[0].body_start] + body(parts[0]) + raw[parts[0].end :]


@given(messages)
def test_a_message_that_nobody_touched_is_written_back_octet_by_octet(raw: bytes) -> None:
    assert written_back(raw, parse(raw)) == raw


@pytest.mark.parametrize("line_end", LINE_ENDS, ids=["LF", "CRLF"])
def test_golden_mail_is_written_back_octet_by_octet(line_end: bytes) -> None:
    for message in MAIL:
        raw = message.replace(b"\n", line_end)
        assert written_back(raw, parse(raw)) == raw


@given(messages)
def test_fields_are_named_and_valued_as_written(raw: bytes) -> None:
    """Each field's name and first word stand in the header's octets, in the order of the fields."""
    parsed = parse(raw)
    for part in usual(parsed):
        octets, at = raw[part.start : part.body_start], 0
        for name, value in part.headers:
            at = octets.find(name.encode("latin-1"), at)
            assert at >= 0
            assert value.split(b" ")[0][:1] in octets[at:]
            at += len(name)


@given(messages)
def test_offsets_lie_in_what_they_count_in(raw: bytes) -> None:
    parsed = parse(raw)
    parts = parsed.parts
    for part in parts:
        assert 0 <= part.start <= part.body_start <= part.end
        assert part.parent < part.index
        if part.origin < 0:
            assert part.end <= len(raw)
            assert raw[part.body_start : part.end] == part.content() or part.encoding not in ("identity", "unknown")
    for link in parsed.links:
        assert 0 <= link.part < len(parts)


# ---- scores ----


@pytest.fixture(scope="module")
def engines() -> list[Engine]:
    """The shipped model with terms, and a linear model over every family of features."""
    rng = np.random.default_rng(0)
    model = Model.load()
    weights = rng.normal(size=N_FEATURES).astype(np.float32)
    terms = Program([b"free", b"the", b"subject", b"example.org", b"\xc3\xa4"])
    return [
        native_engine(model, terms),
        Engine(linear=LinearModel(weights, -0.5, normalised=True), families=(1 << len(FAMILY_NAMES)) - 1, program=terms),
    ]


def results(engine: Engine, batch: list[bytes], sizes: list[int]) -> list[tuple[object, ...]]:
    """What is said of each message when the batch is cut into batches of these sizes."""
    found: list[tuple[object, ...]] = []
    at, turn = 0, 0
    while at < len(batch):
        size = sizes[turn % len(sizes)] if sizes else len(batch)
        scanned = engine.scan(batch[at : at + size])
        for row in range(len(scanned)):
            said = scanned.contributions(row).tobytes()
            found.append((scanned.logits[row], scanned.flags[row], said, tuple(scanned.counts(row).items()), scanned.facts[row].tobytes()))
        at, turn = at + size, turn + 1
    return found


@settings(max_examples=40)
@given(st.lists(messages, min_size=1, max_size=8), st.lists(st.integers(1, 4), max_size=3), st.integers(2, 4))
def test_what_is_said_of_a_message_depends_neither_on_its_batch_nor_on_threads(
    engines: list[Engine], batch: list[bytes], sizes: list[int], n_threads: int
) -> None:
    for engine in engines:
        alone = results(engine, batch, [1])
        assert results(engine, batch, sizes) == alone
        assert results(engine, batch[::-1], [])[::-1] == alone
        with ThreadPoolExecutor(n_threads) as pool:
            assert list(pool.map(results, [engine] * n_threads, [batch] * n_threads, [sizes] * n_threads)) == [alone] * n_threads


@given(st.lists(messages, max_size=4))
def test_contributions_sum_to_the_logit(engines: list[Engine], batch: list[bytes]) -> None:
    for engine in engines:
        scanned = engine.scan(batch)
        for row in range(len(batch)):
            assert abs(scanned.contributions(row).sum() - scanned.logits[row]) <= 1e-6
            indices, values = scanned.ranked(row)
            assert abs(sum(values) - scanned.logits[row]) <= 1e-6
            assert len(set(indices)) == len(indices)
