"""`esa queue hosts` tells of each destination, with and without a running service."""

from __future__ import annotations

import json
import time
from pathlib import Path

from click.testing import CliRunner

from esa.cli.queue import command
from tests.cli.states import make_state, processes


def test_destinations_are_listed_with_what_waits(tmp_path: Path) -> None:
    make_state(tmp_path)
    with processes(tmp_path):
        deadline = time.monotonic() + 20
        while True:
            told = CliRunner().invoke(command, ["hosts", "--json", "--state", str(tmp_path)])
            assert told.exit_code == 0, told.output
            [one] = [json.loads(line) for line in told.stdout.splitlines()]
            if one["destination"] or time.monotonic() > deadline:  # who starts gives old entries their destinations
                break
    assert one["destination"].startswith("127.0.0.1:")
    assert (one["entries"], one["recipients"]) == (1, 1)
    alone = CliRunner().invoke(command, ["hosts", "--state", str(tmp_path)])
    assert "unknown" in alone.output
