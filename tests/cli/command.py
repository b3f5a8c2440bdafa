"""The real command line, each run a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, object]]:
        """The JSON objects of stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def esa(*arguments: object, stdin: bytes = b"", environment: Mapping[str, str] | None = None, timeout: float = 120) -> Done:
    """Run `esa ARGUMENTS`; no traceback may ever come out of it."""
    done = subprocess.run(
        [sys.executable, "-m", "esa.cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        env={**os.environ, **(environment or {})},
    )
    result = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.err, result.err
    return result
