"""Editing dictionary files: what is added and removed, what stays as it was, writers beside one another, and a million entries."""

from __future__ import annotations

import multiprocessing
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.config.dictionary_file import ENDING, Text, add, files_of, is_over, remove, remove_where, write
from esa.engine.dictionary import Dictionary, Entry, Options, key_of, make_entry, read_entry
from esa.errors import ConfigurationError, SyntaxFault

WRITTEN = """# of finance

ABA, 3   # until 2027-01-01; owner: audit; asked for
  account , 2
"dear sir, 1"
[#]1 offer
/inv\\d+/
*card
Straße
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "finance.txt"
    path.write_text(WRITTEN)
    return path


def test_an_entry_is_added_at_the_end_and_all_else_stays(path: Path) -> None:
    assert [one.outcome for one in add(path, [Entry("bank", 2, comment="new"), Entry("x # y")])] == ["added", "added"]
    assert path.read_text() == f"{WRITTEN}bank, 2  # new\nx [#] y\n"


def test_a_last_line_without_an_end_gets_one(path: Path) -> None:
    path.write_text("bank")
    add(path, [Entry("account")])
    assert path.read_text() == "bank\naccount\n"


def test_what_stands_there_is_found_however_it_is_written(path: Path) -> None:
    for entry in (
        Entry("aba", 3, comment="asked for", owner="audit", until=date(2027, 1, 1)),
        Entry("account", 2),
        Entry("dear sir, 1"),
        Entry("#1 offer"),
        Entry("inv\\d+", 1, "expression"),
        Entry("*card", 1, "identifier"),
        Entry("Straße"),
    ):
        [done] = add(path, [entry], replace=True)
        assert done.before is not None, entry
        assert done.outcome == ("changed" if entry.text == "aba" else "unchanged"), entry
    assert path.read_text() == WRITTEN.replace("ABA, 3   #", "aba, 3  #")
    for entry in (Entry("STRASSE"), Entry("*credit", 1, "identifier")):
        assert Text.read(path).find(entry) is not None


def test_what_only_looks_alike_is_another_entry(path: Path) -> None:
    file = Text.read(path)
    for text in ("AB", "sir", "dear sir", "audit", "inv", "of finance", "1 offer", "card"):
        assert file.find(Entry(text)) is None, text


def test_an_entry_that_stands_there_otherwise_is_refused_and_nothing_is_written(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="stands there already, otherwise: account, 2") as caught:
        add(path, [Entry("bank"), Entry("Account", 5)])
    assert caught.value.where == f"{path}, line 4"
    assert path.read_text() == WRITTEN


def test_an_entry_that_the_file_cannot_hold_is_refused(path: Path) -> None:
    path.write_text("# esa: kind = networks\n192.0.2.0/24\n2001:db8:0::/32\n")
    with pytest.raises(SyntaxFault, match="cannot hold this term"):
        add(path, [Entry("bank")])
    assert [one.outcome for one in add(path, [Entry("192.0.2.0/24", 1, "network"), Entry("2001:db8::/32", 1, "network")])] == [
        "unchanged"
    ] * 2


def test_removing_takes_the_line_and_nothing_else(path: Path) -> None:
    assert [was_there for _, was_there in remove(path, [Entry("ABA"), Entry("nobody"), Entry("strasse")])] == [True, False, True]
    assert path.read_text() == "".join(line for line in WRITTEN.splitlines(True) if not line.startswith(("ABA", "Stra")))


def test_what_has_expired_is_removed_together(path: Path) -> None:
    assert remove_where(path, is_over(date(2027, 1, 1))) == []
    assert [one.text for one in remove_where(path, is_over(date(2027, 1, 2)))] == ["ABA"]
    assert path.read_text() == WRITTEN.replace("ABA, 3   # until 2027-01-01; owner: audit; asked for\n", "")


def test_the_file_keeps_its_mode_and_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    path.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    add(link, [Entry("bank")])
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.read_text().endswith("bank\n")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["finance.txt", "link.txt"]


def _add_many(path: Path, writer: int) -> None:
    for number in range(20):
        add(path, [Entry(f"entry {writer} {number}")])


def test_writers_beside_one_another_lose_nothing(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add_many, args=(path, writer)) for writer in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join(60)
        assert one.exitcode == 0
    lines = path.read_text().removeprefix(WRITTEN).splitlines()
    assert sorted(lines) == sorted(f"entry {writer} {number}" for writer in range(3) for number in range(20))


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write(tmp_path / "absent" / "d.txt", "a\n")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        add(tmp_path / "absent" / "d.txt", [Entry("a")])


def test_a_folder_is_all_its_dictionaries(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", ".hidden.txt", "notes.md"):
        (tmp_path / name).write_text("")
    assert [one.name for one in files_of(tmp_path)] == ["a.txt", "b.txt"]
    assert files_of(tmp_path / "absent.txt") == [tmp_path / "absent.txt"]
    assert ENDING == ".txt"


TEXTS = st.sampled_from(["a", "A", "ab", "a b", "#", "a#b", '"a"', 'a"b', "a, 5", "/a/", "ß", "ss", "İ", "*card", "é", "a.b@c.example"])


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=8), TEXTS, st.booleans())
def test_one_entry_is_found_as_reading_all_finds_it(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], wanted: str, case: bool
) -> None:
    options = Options("terms", True, case)
    made = {key_of(Entry(text), options): Entry(text) for text in texts}
    dictionary = Dictionary("d", list(made.values()), True, case)
    file = Text(Path("d.txt"), dictionary.to_text(), options)
    place = file.find(Entry(wanted))
    expected = made.get(key_of(Entry(wanted), options))
    assert (place and place.entry) == expected
    if place is not None:
        assert read_entry(file.text.split("\n")[place.number - 1]) == expected


def test_an_entry_of_a_command_is_read_with_the_marks_of_a_file() -> None:
    assert make_entry(' "/usr/bin/" ') == Entry("/usr/bin/")
    assert make_entry("a # b, 3", weight=2, comment=" c ") == Entry("a # b, 3", 2, comment="c")
    assert make_entry("192.0.2.7/32", "networks") == Entry("192.0.2.7", 1, "network")
    for text in ("", "a\nb", "x" * 2000, "/a(?=b)/"):
        with pytest.raises(SyntaxFault):
            make_entry(text)


def test_of_a_million_entries_one_is_added_found_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_text("".join(f"user{number}@example.com\n" for number in range(1_000_000)))
    add(path, [Entry("user1000000@example.com", comment="the last")])
    assert [one.outcome for one in add(path, [Entry("user999999@example.com")])] == ["unchanged"]
    assert remove(path, [Entry("user500000@example.com")]) == [(Entry("user500000@example.com"), True)]
    file = Text.read(path)
    assert file.text.count("\n") == 1_000_000
    assert file.find(Entry("user500000@example.com")) is None
