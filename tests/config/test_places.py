"""Places of tables and entries, as people look for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.config.places import Places, line_of

TEXT = """\
# a comment
[mail_policy]
positive = "drop"
[[sender_group]]
name = "A"
senders = [
    "192.0.2.0/24",   # first
    '198.51.100.1',
]
sender_files = ["more.txt"]
[[sender_group]]
name = "B"
senders = ["192.0.2.0/24"]
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.chdir(tmp_path)
    Path("esa.toml").write_text(TEXT)
    Path("more.txt").write_text("# senders\n203.0.113.5 # far\n\n.example.net\n")
    return Places.of(None)


def test_tables_are_found_by_number(places: Places) -> None:
    assert [places.table("sender_group", number) for number in range(3)] == ["esa.toml:4", "esa.toml:11", ""]
    assert places.table("mail_policy", 0) == "esa.toml:2"


def test_entries_are_found_in_their_own_table_or_its_files(places: Places) -> None:
    assert places.entry("sender_group", 0, "192.0.2.0/24") == "esa.toml:7"
    assert places.entry("sender_group", 0, "198.51.100.1") == "esa.toml:8"
    assert places.entry("sender_group", 1, "192.0.2.0/24") == "esa.toml:13"
    assert places.entry("sender_group", 0, "203.0.113.5", [str(Path("more.txt").absolute())]) == "more.txt:2"
    assert places.entry("sender_group", 1, "203.0.113.5") == "esa.toml:11"


def test_what_is_not_there_has_no_place(tmp_path: Path) -> None:
    assert Places().table("sender_group", 0) == ""
    assert Places.of(tmp_path / "gone.toml").entry("sender_group", 0, "x", [str(tmp_path / "gone.txt")]) == ""
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    assert (line_of(tmp_path / "odd", "x"), Places.of(tmp_path / "odd").table("listener", 0)) == (0, "")
