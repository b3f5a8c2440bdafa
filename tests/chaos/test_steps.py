"""kill -9 at named steps; `make chaos` does all of them with 100 messages each, this some of them in a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.figures import unmet
from tests.chaos.kills import STEPS, kills_in_a_reroute, kills_in_a_row


@pytest.mark.serial
async def test_a_process_that_dies_at_a_step_loses_nothing_of_what_was_acknowledged(tmp_path: Path) -> None:
    assert unmet(await kills_in_a_row(tmp_path, STEPS[1::6])) == []


@pytest.mark.serial
async def test_entries_whose_destinations_change_survive_kills(tmp_path: Path) -> None:
    assert unmet(await kills_in_a_reroute(tmp_path, messages=4, kills=1)) == []
