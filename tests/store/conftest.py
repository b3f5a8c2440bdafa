"""Small disks for the tests of the store."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import absent


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB of its own, which root alone can mount."""
    with mounted(tmp_path / "disk") as folder:
        yield folder


@contextmanager
def mounted(folder: Path, mib: int = 4) -> Iterator[Path]:
    """A file system of so many MiB at `folder` for as long as the body runs; where it cannot be mounted, the test is skipped."""
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", folder], check=False).returncode:
        absent("a small file system can be mounted only by root, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def make_read_only(folder: Path) -> None:
    """Remount what `mounted` gave."""
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Fill the file system but for about `leave` octets; returns the file to remove."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leave))
    return ballast
