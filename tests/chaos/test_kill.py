"""kill -9 under load, the short form; benchmarks/crash.py does it fifty times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.crash import run


@pytest.mark.serial
async def test_no_acknowledged_message_is_lost_when_processes_are_killed_under_load(tmp_path: Path) -> None:
    outcome = await run(tmp_path, kills=5, sessions=20, messages=300)
    assert outcome.lost == []
    assert outcome.unfinished == []
    assert outcome.unlogged == []
    assert outcome.kills.total == 5
    assert outcome.kills.by_name["parent"] == 1
    assert len(outcome.sent.acknowledged) >= 300
    assert outcome.stop_seconds < 10
