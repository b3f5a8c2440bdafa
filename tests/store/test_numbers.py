"""Numbers for logs: each is given once, over processes, restarts and faults of the disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from esa.store.numbers import FILE_NAME, RUN, Kind, Numbers

GIVE = f"""
import sys
from pathlib import Path
from esa.store.numbers import Kind, Numbers
numbers = Numbers(Path(sys.argv[1]))
print(*[numbers.next(Kind.MESSAGE) for _ in range({RUN} + 10)])
"""


def test_numbers_begin_at_one_and_rise_and_kinds_do_not_share_them(tmp_path: Path) -> None:
    numbers = Numbers(tmp_path)
    assert [numbers.next(Kind.CONNECTION) for _ in range(3)] == [1, 2, 3]
    assert numbers.next(Kind.MESSAGE) == 1


def test_processes_that_live_at_one_time_and_their_successors_never_give_one_twice(tmp_path: Path) -> None:
    given: list[int] = []
    for _ in range(2):
        running = [subprocess.Popen([sys.executable, "-c", GIVE, tmp_path], stdout=subprocess.PIPE, text=True) for _ in range(3)]
        for process in running:
            printed, _ = process.communicate(timeout=60)
            own = [int(word) for word in printed.split()]
            assert len(own) == RUN + 10
            assert own == sorted(own)
            given += own
    assert len(set(given)) == 6 * (RUN + 10)
    assert max(given) < 13 * RUN


def test_a_file_that_cannot_be_used_costs_short_numbers_and_is_told(tmp_path: Path) -> None:
    told: list[OSError] = []
    before = Numbers(tmp_path).next(Kind.MESSAGE)
    (tmp_path / FILE_NAME).write_bytes(b"rubbish")
    one, other = Numbers(tmp_path, failed=told.append), Numbers(tmp_path / "nowhere", failed=told.append)
    numbers = [one.next(Kind.MESSAGE) for _ in range(RUN)]
    assert len(told) == 1
    assert "damaged" in str(told[0])
    assert min(numbers) > before
    assert other.next(Kind.MESSAGE) > 1 << 40
    assert isinstance(told[1], FileNotFoundError)
    assert len({*numbers, *(one.next(Kind.MESSAGE) for _ in range(3))}) == RUN + 3
