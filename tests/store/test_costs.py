"""What deciding cost, kept in files of the processes that decide."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from esa.policy.filters.costs import CONTENT, MESSAGES, ConditionCost, Costs, FilterCost
from esa.store.costs import NOTHING, Kept, read, read_all, write

SLOW = FilterCost(MESSAGES, "slow", "1f", 3, 20.5, 2, 4_000.0, (ConditionCost('subject == "é"', 2, 3_000.0),))
OTHER = FilterCost(CONTENT, "other", "2f", 1, 10.0, 0, 0.0)
COSTS = Costs(128, 2, {MESSAGES: 5_000.0, "rest": 1_000.0}, (SLOW, OTHER))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, "receive-0", Kept("a", COSTS))
    assert read(tmp_path, "receive-0") == Kept("a", COSTS)
    assert [path.name for path in tmp_path.iterdir()] == ["receive-0.json"]
    assert (tmp_path / "receive-0.json").stat().st_mode & 0o777 == 0o600


def test_all_processes_are_added_up_and_times_are_of_the_filters_that_there_are(tmp_path: Path) -> None:
    write(tmp_path, "receive-0", Kept("a", COSTS))
    write(tmp_path, "receive-1", Kept("b", COSTS))
    os.utime(tmp_path / "receive-0.json", (1, 1))
    for total in (read_all(tmp_path, "b"), read_all(tmp_path)):  # the last file is of b
        assert (total.messages, total.timed, total.total) == (128, 2, 6_000.0)
        assert [(one.name, one.hits, one.run, one.nanoseconds) for one in total.filters] == [("slow", 6, 2, 4_000.0), ("other", 2, 0, 0.0)]
    assert read_all(tmp_path, "c").timed == 0


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"version": 2}', '{"version": 1}', '{"version": 1, "filters": [[1]]}', "[" * 100_000, "\ud800"]
)
def test_a_file_that_is_none_of_ours_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "receive-0.json").write_text(content, "utf-8", "surrogatepass")
    assert read(tmp_path, "receive-0") == NOTHING
    assert read_all(tmp_path) == Costs()


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    assert read_all(tmp_path / "costs") == Costs()
    assert read(tmp_path / "costs", "receive-0") == NOTHING
