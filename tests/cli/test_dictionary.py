"""`esa dictionary`: files seen and changed, imported, exported and checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from esa.cli.program import run
from esa.engine.dictionary import Dictionary
from esa.store.dictionary_hits import TERMS, DictionaryHits
from esa.store.record import Event, EventName
from tests.store.messages import fill, make_record, read_state


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with a folder of dictionaries, one in it; the working folder."""
    (tmp_path / "esa.toml").write_text('[gateway]\nstate = "state"\n[scan]\ndictionaries = ["dictionaries"]\n')
    (tmp_path / "dictionaries").mkdir()
    (tmp_path / "dictionaries" / "people.txt").write_text("# who left\nanna@example.com  # until 2020-01-01; owner: hr; in May\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def people(folder: Path) -> str:
    return (folder / "dictionaries" / "people.txt").read_text()


def told(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    """JSON objects that a command prints."""
    run(["dictionary", *words, "--json"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_entry_is_added_and_removed_with_all_that_is_said_of_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--until", "2027-01-01", "--owner", "hr", "--comment", "left in May", "--weight", "2"]
    assert run(["dictionary", "add", "people", "bob@example.com", *words]) == 0
    heard = capsys.readouterr().err
    assert "added 'bob@example.com' to people" in heard
    assert "no esa serve runs" in heard
    assert people(folder).splitlines()[-1] == "bob@example.com, 2  # until 2027-01-01; owner: hr; left in May"
    assert run(["dictionary", "add", "people", "bob@example.com", *words]) == 0
    assert "stands in people already" in capsys.readouterr().err
    assert run(["dictionary", "remove", "people", "bob@example.com"]) == 0
    assert run(["dictionary", "remove", "people", "bob@example.com"]) == 1
    assert people(folder).splitlines()[-1].startswith("anna@example.com")


def test_what_stands_there_otherwise_is_changed_only_when_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dictionary", "add", "people", "ANNA@example.com"]) == 2
    heard = capsys.readouterr().err
    assert "line 2" in heard
    assert "give --replace" in heard
    assert [one["outcome"] for one in told(capsys, "add", "people", "anna@example.com", "--replace")] == ["changed"]
    assert people(folder) == "# who left\nanna@example.com\n"


def test_expired_entries_are_shown_told_and_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dictionary", "add", "people", "bob@example.com"]) == 0
    capsys.readouterr()
    assert [one["entry"] for one in told(capsys, "show", "people", "--expired")] == ["anna@example.com"]
    [listed] = told(capsys, "list")
    assert (listed["entries"], listed["expired"], listed["kind"]) == (2, 1, "terms")
    assert [(one["line"], one["kind"]) for one in told(capsys, "check", "people")] == [(2, "expired")]
    assert told(capsys, "remove", "people", "--expired")[0]["entry"] == "anna@example.com"
    assert people(folder) == "# who left\nbob@example.com\n"
    assert run(["dictionary", "check"]) == 0


@pytest.mark.parametrize(
    ("words", "status", "heard"),
    [
        (["add", "nobody", "x"], 2, "These are known: people."),
        (["add", "people", "x", "--until", "soon"], 2, "write the last day that counts as 2027-01-31"),
        (["add", "people", "x", "--weight", "11"], 2, "11 is not in the range"),
        (["add", "people", "/a(?=b)/"], 2, "column 2 of 'a(?=b)': (?= is look-ahead"),
        (["remove", "people"], 2, "name entries, or give --expired"),
        (["import", "people", "esa.toml"], 2, "Give --replace"),
        (["import", "../x", "esa.toml"], 2, "no name of a dictionary"),
        (["import", "x", "absent.txt"], 2, "cannot be read"),
        (["show", "people", "--unused", "--expired", "--config", "absent.toml"], 2, "there is no such file"),
    ],
)
def test_what_cannot_be_done_is_said_with_a_way_out(
    folder: Path, words: list[str], status: int, heard: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = people(folder)
    assert run(["dictionary", *words]) == status
    assert heard in capsys.readouterr().err
    assert people(folder) == before
    assert [one.name for one in (folder / "dictionaries").iterdir()] == ["people.txt"]


def test_a_dictionary_of_asyncos_is_imported_with_the_options_that_its_export_lost(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "export.txt").write_text("code.*name, 3\n*credit, 5\nx(?!y)\n")
    [done] = told(capsys, "import", "finance", "export.txt", "--kind", "expressions", "--parts-of-words", "--case-sensitive")
    assert done["entries"] == 2
    assert str(done["commented"]).count("negative look-ahead") == 1
    dictionary = Dictionary.from_file(folder / "dictionaries" / "finance.txt")
    assert (dictionary.kind, dictionary.whole_words, dictionary.case_sensitive) == ("expressions", False, True)
    assert run(["dictionary", "export", "finance", "--asyncos"]) == 0
    exported = capsys.readouterr().out
    (folder / "exported.txt").write_text(exported)
    assert run(["dictionary", "import", "finance", "exported.txt", "--replace"]) == 0
    assert Dictionary.from_file(folder / "dictionaries" / "finance.txt") == dictionary


def test_an_export_is_imported_as_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dictionary", "export", "people"]) == 0
    (folder / "exported.txt").write_text(capsys.readouterr().out)
    assert run(["dictionary", "import", "again", "exported.txt"]) == 0
    assert (folder / "dictionaries" / "again.txt").read_text() == people(folder)


def test_a_new_dictionary_needs_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.txt").write_text("bank\n")
    (tmp_path / "esa.toml").write_text('[scan]\ndictionaries = ["words.txt"]\n')
    monkeypatch.chdir(tmp_path)
    assert run(["dictionary", "import", "more", "words.txt"]) == 2
    assert "there is no folder for a new dictionary" in capsys.readouterr().err
    assert run(["dictionary", "add", "words", "account"]) == 0


def test_hits_are_shown_beside_the_entries(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dictionary", "add", "people", "bob@example.com"]) == 0
    state = folder / "state"
    event = Event(EventName.ACCEPTED, 1_800_000_000.0, {TERMS: {"people": {"bob@example.com": 3}}})
    fill(state, [replace(make_record(), events=(event,))])
    hits = DictionaryHits(state)
    hits.add(read_state(state))
    hits.close()
    capsys.readouterr()
    [shown] = [one for one in told(capsys, "show", "people") if one["hits"]]
    assert (shown["entry"], shown["hits"], shown["messages"], shown["last_hit"]) == ("bob@example.com", 3, 1, "2027-01-15T08:00:00Z")
    assert [one["entry"] for one in told(capsys, "show", "people", "--unused")] == ["anna@example.com"]
    assert told(capsys, "list")[0]["hits"] == 3
    assert run(["dictionary", "list"]) == 0
    assert "people" in capsys.readouterr().out
