"""Next hops that fail: every recipient ends right. `make chaos` has more of them, and more mail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.figures import unmet
from tests.chaos.hops import HOPS, failing_hops


@pytest.mark.serial
async def test_each_recipient_ends_right_whatever_its_next_hop_does_first(tmp_path: Path) -> None:
    assert unmet(await failing_hops(tmp_path, messages=1, hops=HOPS)) == []
