"""Counts that processes share: a window slides, limits hold exactly over all processes, and what a dead process held is given back."""

from __future__ import annotations

import mmap
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core._rates import Rates, memory_size, prepare

HOUR = 3600.0
KEY = 0x1234_5678_9ABC_DEF0


def memory(slots: int = 1024, processes: int = 2) -> bytearray:
    made = bytearray(memory_size(slots, processes))
    prepare(made, slots, processes)
    return made


@pytest.fixture
def rates() -> Rates:
    return Rates(memory(), 0)


def test_what_passes_the_limit_is_not_counted(rates: Rates) -> None:
    assert [rates.take(KEY, 1, 3, 1000.0, HOUR) for _ in range(5)] == [1, 2, 3, -4, -4]
    assert rates.total(KEY, 1000.0, HOUR) == 3
    assert rates.take(KEY, 5, -1, 1000.0, HOUR) == 8
    assert rates.take(KEY + 1, 1, 0, 1000.0, HOUR) == -1


def test_a_window_slides(rates: Rates) -> None:
    for minute in range(0, 60, 10):
        rates.take(KEY, 1, -1, minute * 60.0, HOUR)
    assert rates.total(KEY, 3599.0, HOUR) == 6
    assert rates.total(KEY, 3600.0 + 240.0, HOUR) == 5
    assert rates.total(KEY, 3600.0 + 50 * 60.0, HOUR) in (1, 0)
    assert rates.total(KEY, 3 * HOUR, HOUR) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 900), st.integers(1, 3)), max_size=60), st.integers(0, 8))
def test_a_sum_is_never_less_than_the_window_and_never_more_than_one_period_over(steps: list[tuple[int, float, int]], limit: int) -> None:
    rates = Rates(memory(), 0)
    taken: list[tuple[int, float, int]] = []
    now = 0.0
    for key, wait, amount in steps:
        now += wait
        least = sum(count for other, at, count in taken if other == key and at > now - HOUR)
        most = sum(count for other, at, count in taken if other == key and at >= now - HOUR - 2 * HOUR / 15)
        total = rates.total(KEY + key, now, HOUR)
        assert least <= total <= most
        answer = rates.take(KEY + key, amount, limit, now, HOUR)
        assert answer == (total + amount if total + amount <= limit else -total - 1)
        if answer > 0:
            taken.append((key, now, amount))


def test_a_slot_is_taken_over_when_its_counts_are_past_and_they_are_not_inherited() -> None:
    rates = Rates(memory(16), 0)
    for key in range(1, 17):
        assert rates.take(key << 40, 7, -1, 100.0, 60.0) == 7
    assert rates.take(99 << 40, 1, -1, 100.0, 60.0) == 0
    assert rates.overflows == 1
    for key in range(100, 116):
        assert rates.take(key << 40, 1, -1, 100.0 + 65.0, 60.0) == 1
    chance = random.Random(1)
    now = 1000.0
    for _ in range(2000):
        now += 5000.0
        assert rates.take(chance.getrandbits(64), 1, -1, now, chance.choice((60.0, HOUR, 300.0))) == 1


def test_a_key_without_room_is_allowed() -> None:
    rates = Rates(memory(16), 0)
    for key in range(1, 17):
        assert rates.hold(key << 40, 1, 10.0) > 0
    assert rates.hold(99 << 40, 1, 1e6) == -1
    rates.release(-1)
    assert rates.take(99 << 40, 1, 0, 1e6, HOUR) == 0


def test_what_is_held_is_limited_until_it_is_given_back() -> None:
    shared = memory()
    one, other = Rates(shared, 0), Rates(shared, 1)
    tickets = [one.hold(KEY, 3, 1.0), other.hold(KEY, 3, 1.0), one.hold(KEY, 3, 1.0)]
    assert all(ticket > 0 for ticket in tickets)
    assert other.hold(KEY, 3, 1.0) == 0
    other.release(tickets[1])
    other.release(tickets[1])
    assert one.held(KEY) == 2
    assert other.hold(KEY, -1, 1.0) > 0


def test_what_a_dead_process_held_is_given_back_by_its_successor() -> None:
    shared = memory()
    one, other = Rates(shared, 0), Rates(shared, 1)
    for _ in range(3):
        one.hold(KEY, -1, 1.0)
    other.hold(KEY, -1, 1.0)
    Rates(shared, 0).recover()
    assert other.held(KEY) == 1


@pytest.mark.parametrize("broken", [b"", b"\0" * 64, bytes(memory())[:-1]])
def test_memory_that_holds_no_counts_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match="memory"):
        Rates(bytearray(broken), 0)


def test_numbers_out_of_range_are_refused(rates: Rates) -> None:
    for amount, now, window in ((0, 1.0, HOUR), (1 << 31, 1.0, HOUR), (1, -1.0, HOUR), (1, 1.0, 0.001)):
        with pytest.raises(ValueError, match="range"):
            rates.take(KEY, amount, 1, now, window)
    with pytest.raises(ValueError, match="power of two"):
        memory_size(100, 1)
    with pytest.raises(ValueError, match="fewer processes"):
        Rates(memory(processes=2), 2)
    assert rates.take(KEY, (1 << 31) - 1, -1, 1.0, HOUR) == (1 << 31) - 1
    assert rates.take(KEY, 5, -1, 1.0, HOUR) == (1 << 31) - 1


TAKER = """
import mmap, sys, time
from esa_core._rates import Rates
with open(sys.argv[1], "r+b") as file:
    rates = Rates(mmap.mmap(file.fileno(), 0), int(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
limit, keys = int(sys.argv[3]), int(sys.argv[4])
taken = held = 0
for step in range(limit * keys):
    taken += rates.take((step % keys + 2) << 33, 1, limit, 5000.0, 3600.0) > 0
    held += rates.hold((step % keys + 2) << 33 | 7, limit, 5000.0) > 0
print(taken, held, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def takers(tmp_path: Path) -> Iterator[tuple[Path, list[subprocess.Popen[str]]]]:
    path = tmp_path / "rates"
    path.write_bytes(memory(1024, 4))
    started: list[subprocess.Popen[str]] = []
    for number in range(3):
        command = [sys.executable, "-c", TAKER, str(path), str(number), "2000", "5"]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    yield path, started
    for process in started:
        process.kill()
        process.communicate()


def test_limits_hold_exactly_over_processes_and_a_killed_one_gives_back_what_it_held(
    takers: tuple[Path, list[subprocess.Popen[str]]],
) -> None:
    path, processes = takers
    results = []
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        results.append([int(word) for word in process.stdout.readline().split()])
    assert [sum(column) for column in zip(*results, strict=True)] == [10_000, 10_000]
    with path.open("r+b") as file:
        rates = Rates(mmap.mmap(file.fileno(), 0), 1)
    os.kill(processes[1].pid, signal.SIGKILL)
    processes[1].wait()
    before = sum(rates.held((key + 2) << 33 | 7) for key in range(5))
    rates.recover()
    assert before - sum(rates.held((key + 2) << 33 | 7) for key in range(5)) == results[1][1]
