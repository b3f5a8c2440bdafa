"""The n-th system call of a kind fails; `make chaos` does every n, this some of them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.chaos.calls import failing_calls
from tests.chaos.faults import Call
from tests.chaos.figures import unmet


@pytest.mark.serial
async def test_a_receiver_whose_calls_fail_refuses_for_a_while_and_loses_nothing(tmp_path: Path) -> None:
    assert unmet(await failing_calls(tmp_path, "receive", step=3)) == []


@pytest.mark.serial
@pytest.mark.parametrize("process", ["deliver", "keep"])
async def test_a_process_behind_the_receiver_whose_calls_fail_does_it_later(tmp_path: Path, process: str) -> None:
    kinds = [(Call.WRITE, (errno.ENOSPC, errno.EIO))]
    assert unmet(await failing_calls(tmp_path, process, step=40, kinds=kinds)) == []
