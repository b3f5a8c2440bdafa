"""What every test may ask for: shared corpora and packs, real server programs, free ports.

Corpora and packs lie outside the repository, under ESA_SHARED (default: `../shared` beside the repository). What is absent makes the
tests that need it skip, counted and named at the end; with ESA_REQUIRE=all every absence, and every other skip, is a failure.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tarfile
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ESA_SHARED") or ROOT.parent / "shared")
REQUIRE_ALL = os.environ.get("ESA_REQUIRE") == "all"
SERVER_FOLDERS = ("/usr/sbin", "/sbin", "/usr/lib/postfix/sbin", "/usr/local/sbin")  # not on the PATH of an ordinary user


def absent(reason: str) -> NoReturn:
    """Skip the asking test with `reason`; with ESA_REQUIRE=all, fail it."""
    if REQUIRE_ALL:
        pytest.fail(f"ESA_REQUIRE=all, but {reason}", pytrace=False)
    pytest.skip(reason)


def shared_folder() -> Path:
    """The folder of corpora and packs, or the test is skipped."""
    if not SHARED.is_dir():
        absent(f"the shared folder {SHARED} is absent (set ESA_SHARED)")
    return SHARED


def corpora_cache() -> Path:
    """Where archives are unpacked: outside the repository, private to this user, kept between runs."""
    folder = Path(tempfile.gettempdir()) / f"esa-corpora-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RuntimeError(f"{folder} belongs to another user")
    return folder


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack files and folders, and nothing that would lie outside. Python has a filter for that, but not yet that of Debian 12 (3.11.2)."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
        return
    for member in archive:
        if (member.isfile() or member.isdir()) and not Path(member.name).is_absolute() and ".." not in Path(member.name).parts:
            archive.extract(member, folder, set_attrs=False)


def unpack_corpus(archive: Path) -> Path:
    """Unpack `<name>.tar.zst` once and return its folder `<name>`.

    The cache is keyed by the archive's size and time. Several workers may ask at once: one unpacks under a lock into a working folder
    that is renamed when whole, the others wait and reuse it.
    """
    import zstandard

    name = archive.name.removesuffix(".tar.zst")
    status = archive.stat()
    cache = corpora_cache()
    ready = cache / f"{name}-{status.st_size}-{status.st_mtime_ns}"
    if not ready.is_dir():
        with (cache / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not ready.is_dir():
                working = Path(tempfile.mkdtemp(prefix=f"{name}-unpacking-", dir=cache))
                with (
                    archive.open("rb") as packed,
                    zstandard.ZstdDecompressor().stream_reader(packed) as plain,
                    tarfile.open(fileobj=plain, mode="r|") as tar,
                ):
                    unpack(tar, working)
                working.rename(ready)
    return ready / name


def find_program(name: str) -> str | None:
    """The path of a program, also in the folders of servers that are not on an ordinary user's PATH."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(SERVER_FOLDERS))


def unused_port() -> int:
    """A loopback TCP port that was free a moment ago. Prefer binding port 0 yourself where the program under test can."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder that holds `corpora/` and `conformance/`."""
    return shared_folder()


@pytest.fixture(scope="session")
def corpus() -> Callable[[str], Path]:
    """`corpus(name)` is the folder with `ham/` and `spam/` of an unpacked corpus archive. Read only: never write into it."""

    def folder(name: str) -> Path:
        archive = shared_folder() / "corpora" / f"{name}.tar.zst"
        if not archive.is_file():
            absent(f"the corpus archive {archive} is absent")
        return unpack_corpus(archive)

    return folder


@pytest.fixture(scope="session")
def pack() -> Callable[[str], Path]:
    """`pack(name)` is the folder of a conformance pack."""

    def folder(name: str) -> Path:
        path = shared_folder() / "conformance" / name
        if not path.is_dir():
            absent(f"the conformance pack {path} is absent")
        return path

    return folder


@pytest.fixture(scope="session")
def server_program() -> Callable[[str], str]:
    """`server_program("smtp-sink")` is the path of an installed program of the Debian packages that the tests need."""

    def program(name: str) -> str:
        path = find_program(name)
        if path is None:
            absent(f"the program {name} is not installed (`make test` as root installs it)")
        return path

    return program


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """`free_port()` is a loopback port that was free a moment ago."""
    return unused_port


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With ESA_REQUIRE=all nothing is skipped, whatever way a test tries it."""
    report = yield
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"ESA_REQUIRE=all allows no skip: {reason}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count and name what was skipped, by reason, so that nobody mistakes a small run for a whole one."""
    by_reason: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        by_reason.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
    if not by_reason:
        return
    terminalreporter.section(f"{sum(map(len, by_reason.values()))} tests skipped", sep="-")
    for reason, names in sorted(by_reason.items()):
        terminalreporter.write_line(f"{len(names)}: {reason}")
        for name in sorted(names):
            terminalreporter.write_line(f"    {name}")
