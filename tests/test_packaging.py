"""The distribution: what a stranger gets from the sdist and the wheel, installed into an empty environment."""

from __future__ import annotations

import email.parser
import json
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, absent

PLAIN = {"numpy", "cryptography", "click", "rich", "google-re2"}
CLEAN = b"From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: lunch\r\n\r\nLunch at noon?\r\n"
GTUBE = CLEAN.replace(b"Lunch at noon?", b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X")


def run(command: list[str | Path], *, cwd: Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program outside the checkout's environment; its output is shown if it fails."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    return subprocess.run(command, cwd=cwd, env=environment, input=given, capture_output=True, check=False)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    checkout = folder / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode or not listed.stdout:
        absent("this is no git checkout, so there is nothing to build a distribution from")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    done = run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "out", "."], cwd=checkout)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()[-4000:]
    (sdist,) = (folder / "out").glob("*.tar.gz")
    (wheel,) = (folder / "out").glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that holds the plain install and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    done = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", distributions[1]],
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode and re.search(r"NewConnectionError|NameResolutionError|Temporary failure|No matching distribution", done.stderr):
        absent("no package index can be reached, so the wheel cannot be installed with what it needs")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_the_wheel_holds_what_the_library_needs_and_no_more(distributions: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(distributions[1]).namelist()
    assert any(name.endswith(".esamodel") for name in names), "the default model"
    assert any("/lexicons/" in name and name.endswith(".txt") for name in names), "the lexicons"
    for name in ("esa/py.typed", "esa_core/py.typed", "esa_core/__init__.pyi"):
        assert name in names
    for part in ("_mime", "_text", "_automaton", "_program", "_features", "_linear", "_smtp"):
        assert any(name.startswith(f"esa_core/{part}.") and name.endswith(".so") for name in names), part
    assert not [name for name in names if name.endswith((".pyx", ".c", ".h", ".eml")) or "tables/" in name]
    assert {name.split("/")[0] for name in names} <= {"esa", "esa_core", next(name.split("/")[0] for name in names if "dist-info" in name)}


def test_the_sdist_holds_sources_and_tests_and_nothing_generated(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    for name in ("src/esa_core/_mime.pyx", "src/esa_core/_types.pxd", "src/esa_core/tables/generate.py", "tests/conftest.py", "LICENSE"):
        assert name in names
    assert "tests/fuzz/native/engine.c" in names
    assert not [name for name in names if name.endswith((".so", ".pyc")) or (name.startswith("src/") and name.endswith(".c"))]
    assert not [name for name in names if name.startswith("src/esa_core/tables/") and name.endswith(".h")]


def test_a_plain_install_asks_for_nothing_heavier_than_said(distributions: tuple[Path, Path]) -> None:
    wheel = zipfile.ZipFile(distributions[1])
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.parser.Parser().parsestr(wheel.read(name).decode())
    plain = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.split(r"[^\w-]", line)[0].lower() for line in plain} == PLAIN
    assert metadata["Name"] == "esa-appliance"
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_installed_library_gives_verdicts(installed: Path, tmp_path: Path) -> None:
    program = f"import esa; print(esa.scan({CLEAN!r}).verdict, esa.scan({GTUBE!r}).verdict)"
    done = run([installed / "python", "-c", program], cwd=tmp_path)
    assert done.stdout.decode().split() == ["clean", "positive"], done.stderr.decode()


def test_the_installed_command_scans(installed: Path, tmp_path: Path) -> None:
    done = run([installed / "esa", "scan", "--json", "-"], cwd=tmp_path, given=GTUBE)
    assert done.returncode == 1, done.stderr.decode()
    assert json.loads(done.stdout)["verdict"] == "positive"


def test_the_installed_command_names_the_extra_that_the_gateway_needs(installed: Path, tmp_path: Path) -> None:
    done = run([installed / "esa", "serve"], cwd=tmp_path)
    assert done.returncode == 3
    assert b"esa-appliance[gateway]" in done.stderr
    assert b"Traceback" not in done.stderr
