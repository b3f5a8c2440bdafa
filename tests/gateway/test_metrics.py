"""Counters: every process its row, the parent the sums."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.gateway.cost_metrics import MOST_FILTERS, CostCollector
from esa.gateway.metrics import DESCRIPTIONS, Counter, Counters
from esa.policy.filters.costs import CHOOSING, MESSAGES, Costs, FilterCost
from esa.store.costs import FOLDER, Kept, write


def test_every_counter_has_a_name_of_its_own_and_a_sentence() -> None:
    assert set(DESCRIPTIONS) == set(Counter)
    assert len({name for name, _, _ in DESCRIPTIONS.values()}) == len(Counter)
    assert all(sentence.endswith(".") for _, _, sentence in DESCRIPTIONS.values())


def test_rows_of_two_processes_add_up_and_are_seen_through_another_map(tmp_path: Path) -> None:
    made = Counters.create(tmp_path / "counters")
    opened = Counters(tmp_path / "counters")
    opened.row(2).add(Counter.MESSAGES_KEPT, 3)
    opened.row(5).add(Counter.MESSAGES_KEPT)
    assert made.total(Counter.MESSAGES_KEPT) == 4
    text = made.prometheus_text().decode()
    assert "esa_messages_kept_total 4.0" in text
    assert "# TYPE esa_in_scan gauge" in text


def test_a_process_that_takes_a_row_over_forgets_what_was_open_and_keeps_what_was_counted(tmp_path: Path) -> None:
    row = Counters.create(tmp_path / "counters").row(0)
    row.add(Counter.CONNECTIONS, 7)
    row.set(Counter.IN_SCAN, 3)
    row.reset_gauges()
    assert (row.values[Counter.CONNECTIONS], row.values[Counter.IN_SCAN]) == (7, 0)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 4096])
def test_a_foreign_file_is_told_apart(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "counters").write_bytes(content)
    with pytest.raises(StoreError, match="counters"):
        Counters(tmp_path / "counters")


def test_of_many_filters_the_dearest_are_told_as_shares_of_all_messages(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    filters = tuple(FilterCost(MESSAGES, f"f{number}", "0", number, 5.0, 2, 1_000.0 * number) for number in range(30))
    for worker in ("receive-0", "receive-1"):
        write(tmp_path / FOLDER, worker, Kept("a", Costs(640, 10, {MESSAGES: 50_000.0, CHOOSING: 10_000.0}, filters)))
    text = Counters.create(tmp_path / "counters").prometheus_text(CostCollector(tmp_path)).decode()
    told = [line for line in text.splitlines() if line.startswith("esa_filter_hits_total")]
    assert len(told) == MOST_FILTERS < 30
    assert told[0] == 'esa_filter_hits_total{filter="f29",stage="message filters"} 58.0'
    assert 'esa_policy_microseconds_total{stage="message filters"} 6400.0' in text  # 100 of 20 timed messages, of 1,280
    assert 'esa_filter_microseconds_total{filter="f29",stage="message filters"} 3712.0' in text
    assert 'esa_filter_last_hit_seconds{filter="f29",stage="message filters"} 5.0' in text
    assert "esa_filter" not in Counters(tmp_path / "counters").prometheus_text(CostCollector(tmp_path / "elsewhere")).decode()
