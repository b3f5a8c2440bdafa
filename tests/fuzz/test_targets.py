"""Invariant: whatever octets come in, every parser of the core ends, stays inside its buffers and gives what its target says.

An ordinary run replays what was found before and runs some thousand mutations of each target's seeds, the same ones every time, beside
the ordinary core. `make core-debug` does the same under sanitizers, `make fuzz` half a million mutations guided by coverage.
"""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.conftest import ROOT, absent
from tests.fuzz import seeds, targets

BUILT = targets.load()
NAMES = BUILT.NAMES if BUILT else ()
RUNS = 3000
# Which targets drive each source of the core that reads octets from outside.
READ_BY = {
    "structure message parsed": "_boundary _document _header _media _mime _reading _tree",
    "parameters file_names": "_field_text _parameter",
    "encoded_words mailboxes": "_field",
    "transfer": "_transfer",
    "charset": "_charset _east_asian _unicode_forms _utf8",
    "html style sheet": "_colour _element _entity _html _inner _look _raw _reader _sheet _style",
    "url bare_url": "_link _text _text_links",
    "fold": "_compose _disguise _fold _place",
    "cms": "_cms",
    "zlib": "_inflate",
    "rtf": "_rtf",
    "tnef": "_tnef",
    "uuencode": "_uuencode",
    "identifiers": "_identifiers",
    "registrable domain": "_domain",
    "normal_url": "_url",
    "mail_data": "_mail_data _smtp_content",
    "smtp": "_smtp _smtp_parameters",
    "parsed": "_parsed",
    "scan": "_batch _cards _facts _features _lexicon _link_facts _masked _names _results _tally _tokens",
    "terms": "_automaton _grams _terms",
    "image program raw_image": "_anchors _image _program _shapes",
    "fields": "_addresses _fields _header_lines",
    "arrays": "_linear",
}
READ_NOTHING = {  # octets as they are; texts of whatever code points; numbers of our own; a door for benchmarks to what is driven above
    "_group_writer",
    "_json_lines",
    "_rates",
    "_steps",
}


@pytest.fixture(scope="module")
def native() -> ModuleType:
    if BUILT is None:
        absent("the targets of the fuzzer are not built (make build/fuzz/fuzz.stamp)")
    return BUILT


def test_every_source_of_the_core_has_a_target(native: ModuleType) -> None:
    sources = [source for listed in READ_BY.values() for source in listed.split()]
    assert {path.stem for path in (ROOT / "src" / "esa_core").glob("*.pyx")} <= {*sources, *READ_NOTHING}
    assert {name for listed in READ_BY for name in listed.split()} == set(native.NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_found_before_stays_mended(native: ModuleType, name: str) -> None:
    for path in seeds.found_before(name):
        assert native.check(name, path.read_bytes()) == 0, path.name


@pytest.mark.parametrize("name", NAMES)
def test_mutations_hold_the_invariant(native: ModuleType, name: str) -> None:
    longest = seeds.LONGEST.get(name, seeds.LONGEST_ELSE)
    last = bytearray(native.LAST + longest)
    result = native.run(name, seeds.seeds_of(name), seeds.words_of(name), runs=RUNS, seconds=0, seed=1, longest=longest, last=last)
    assert result["violated"] == 0, bytes(last[native.LAST :][: result["length"]])
    assert result["executions"] >= RUNS


@pytest.mark.parametrize("name", NAMES)
def test_memory_may_end_anywhere(native: ModuleType, name: str) -> None:
    """Under `make core-debug` and `make coverage` every allocation from some one on fails; nothing is lost or kept, and only MemoryError raised.

    The ordinary core's allocations cannot be made to fail: there each seed is run once.
    """
    for seed in seeds.seeds_of(name)[:40]:
        native.exhaust(name, seed[:1500])


@pytest.mark.parametrize("octets", [b"", b"\0", b"\n", b"\r", b"\xff" * 100, b"a" * 5000, bytes(range(256)) * 8])
@pytest.mark.parametrize("name", NAMES)
def test_tiny_and_odd_inputs_hold_the_invariant(native: ModuleType, name: str, octets: bytes) -> None:
    assert native.check(name, octets) == 0


def test_odd_requests_are_refused(native: ModuleType) -> None:
    with pytest.raises(ValueError):
        native.check("no such target", b"")
    with pytest.raises(ValueError):
        native.run("fold", [b"x"], [], runs=1, seconds=0, seed=1, longest=100, last=memoryview(bytearray(50)))
