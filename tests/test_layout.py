"""What the import contract cannot see: the native sources, and what must never stand in the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "src" / "esa_core"
IMPORT = re.compile(r"^\s*(?:c?import|from)\s+([\w.]+)", re.MULTILINE)
CORE_MAY_IMPORT = {
    "esa_core",
    "cpython",
    "libc",
    "libcpp",
    "cython",
    "numpy",
    "collections",
    "typing",
    "array",
    "_typeshed",
    "typing_extensions",
    "unicodedata",
    "__future__",
}
STUB_MAY_IMPORT = {"typing_extensions", "_typeshed"}  # types only: a stub imports nothing when the program runs
BANNED_IN_PRODUCT = re.compile(
    r"\b(?:pickle|marshal|shelve)\b\s*\.|import (?:pickle|marshal|shelve)\b|shell=True|(?<![\w.])(?:eval|exec)\("
)
MACHINE_PATH = re.compile(r"(?:^|[^A-Za-z0-9_.])/(?:w[o]rk|r[o]ot|f[a]rm)/")


def tracked_files() -> list[Path]:
    """Every file git knows; outside a checkout (an unpacked sdist) every file of the source folders."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return [path for folder in ("src", "tests", "models", "docs") for path in (ROOT / folder).rglob("*") if path.is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (UnicodeDecodeError, FileNotFoundError):
        return ""


def test_the_native_core_imports_nothing_of_esa() -> None:
    for path in sorted(CORE.glob("*.p*")):
        for name in IMPORT.findall(text_of(path)):
            root = name.split(".")[0]
            assert root in (CORE_MAY_IMPORT | STUB_MAY_IMPORT if path.suffix == ".pyi" else CORE_MAY_IMPORT) or (
                name.startswith(".") and not name.startswith("..")
            ), f"{path.name} imports {name}"


def test_the_product_has_no_unsafe_loading_or_shell() -> None:
    for path in tracked_files():
        if path.suffix in {".py", ".pyx", ".pxd"} and path.is_relative_to(ROOT / "src"):
            found = BANNED_IN_PRODUCT.search(text_of(path))
            assert found is None, f"{path.relative_to(ROOT)}: {found.group(0) if found else ''}"


def test_no_path_of_a_machine_stands_in_the_repository() -> None:
    for path in tracked_files():
        found = MACHINE_PATH.search(text_of(path))
        assert found is None, f"{path.relative_to(ROOT)}: {found.group(0) if found else ''}"


def test_rooms_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked_files()
        if path.suffix in {".py", ".pyx"} and path.is_relative_to(ROOT / "src") and (lines := text_of(path).count("\n")) > 600
    }
    assert not long, f"past 600 lines, look for the second noun: {long}"


def test_no_document_says_to_install_the_short_name() -> None:
    for path in tracked_files():
        if path.suffix in {".md", ".toml", ".txt"}:
            assert not re.search(r"pip install esa(?!-appliance)", text_of(path)), path


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "docs/overview.md"])
def test_what_a_newcomer_looks_for_is_there(name: str) -> None:
    assert (ROOT / name).read_text().strip()
