"""What the tests themselves stand on: absence is named, and is a failure where everything is required."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROBE = """
def test_needs_a_corpus(corpus):
    corpus("spamassassin")

def test_needs_a_server(server_program):
    server_program("no-such-server-program")
"""


def run_without_shared(folder: Path, require: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (folder / "test_probe.py").write_text(PROBE)
    environment = {**os.environ, "ESA_SHARED": str(folder / "nowhere"), "ESA_REQUIRE": require}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, check=False)


def test_absent_things_are_skipped_counted_and_named(tmp_path: Path) -> None:
    done = run_without_shared(tmp_path, "")
    assert done.returncode == 0, done.stdout
    assert "2 tests skipped" in done.stdout
    assert "the program no-such-server-program is not installed" in done.stdout
    assert "test_needs_a_corpus" in done.stdout


def test_absent_things_are_failures_when_everything_is_required(tmp_path: Path) -> None:
    done = run_without_shared(tmp_path, "all")
    assert done.returncode == 1
    assert "2 failed" in done.stdout


def test_a_corpus_has_ham_and_spam(corpus: Callable[[str], Path]) -> None:
    folder = corpus("spamassassin")
    assert len(list((folder / "ham").iterdir())) > 4_000
    assert len(list((folder / "spam").iterdir())) > 1_800
