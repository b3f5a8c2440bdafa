"""Invariant: whatever octets come in, every parser of the core ends, stays inside its buffers and gives what its target says.

An ordinary run replays what was found before and runs some thousand mutations of each target's seeds, the same ones every time, beside
the ordinary core. `make core-debug` does the same under sanitizers, `make fuzz` half a million mutations guided by coverage.
"""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.conftest import absent
from tests.fuzz import seeds, targets

NAMES = (
    *("structure", "message", "parameters", "file_names", "encoded_words", "mailboxes", "transfer", "charset", "html", "style", "url"),
    *("bare_url", "fold", "cms", "rtf", "tnef", "uuencode", "mail_data", "smtp", "terms", "scan", "arrays", "image", "sheet"),
)
RUNS = 3000


@pytest.fixture(scope="module")
def native() -> ModuleType:
    module = targets.load()
    if module is None:
        absent("the targets of the fuzzer are not built (make build/fuzz/fuzz.stamp)")
    return module


def test_every_target_is_known_here(native: ModuleType) -> None:
    assert native.NAMES == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_was_found_before_stays_mended(native: ModuleType, name: str) -> None:
    for path in seeds.found_before(name):
        assert native.check(name, path.read_bytes()) == 0, path.name


@pytest.mark.parametrize("name", NAMES)
def test_mutations_hold_the_invariant(native: ModuleType, name: str) -> None:
    longest = seeds.LONGEST.get(name, seeds.LONGEST_ELSE)
    last = bytearray(8 + longest)
    result = native.run(name, seeds.seeds_of(name), seeds.words_of(name), runs=RUNS, seconds=0, seed=1, longest=longest, last=last)
    assert result["violated"] == 0, bytes(last[8 : 8 + result["length"]])
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
