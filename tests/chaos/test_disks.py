"""A disk that takes nothing any more; `make chaos` also has full ones, slow ones and those out of inodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.disks import unwritable_disk
from tests.chaos.figures import unmet


@pytest.mark.serial
async def test_mail_is_put_off_while_the_disk_is_read_only_and_taken_again_afterwards(tmp_path: Path) -> None:
    assert unmet(await unwritable_disk(tmp_path, seconds=2.0)) == []
