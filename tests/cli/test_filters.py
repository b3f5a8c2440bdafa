"""`esa filters`: every change leaves the rest of the files as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import Done, esa

FIRST = """\
# the first file

# outside mail that claims to be ours
spoof: if (recv-listener == "mail" and mail-from == "@example\\\\.org$") {
    drop();   # at once
}

big: if (body-size > 20M) { quarantine("Large"); }
"""
SECOND = """\
# about words
words!
if (subject == "(?i)offer") { tag-message("offer"); }
# behind all
"""
EXPORT = """\
# File exported by the CLI at 20190101T000000
from_appliance: if (mail-from == "@example\\\\.com$") {
    log-entry("seen");
}
look: if (subject == "free(?! of charge)") { quarantine("Policy"); }
pictures: if (image-verdict == "SUSPECT") { drop(); }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "esa.toml").write_text("")
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters" / "010-first.filters").write_text(FIRST)
    (tmp_path / "filters" / "020-second.filters").write_text(SECOND)
    return tmp_path


def filters(folder: Path, verb: str, *arguments: object, stdin: bytes = b"") -> Done:
    return esa("filters", verb, *arguments, "--config", folder / "esa.toml", stdin=stdin)


def names(folder: Path) -> list[str]:
    return [str(line["name"]) for line in filters(folder, "list", "--json").lines]


def text(folder: Path, name: str) -> str:
    return (folder / "filters" / f"{name}.filters").read_text()


def test_filters_are_listed_in_the_order_of_their_files(folder: Path) -> None:
    done = filters(folder, "list", "--json")
    assert done.code == 0
    listed = [(line["number"], line["name"], line["active"], line["valid"], line["line"]) for line in done.lines]
    assert listed == [(1, "spoof", True, True, 4), (2, "big", True, True, 8), (3, "words", False, True, 2)]
    assert "big" in filters(folder, "list").out


def test_a_filter_is_shown_as_it_is_written_with_the_comments_above_it(folder: Path) -> None:
    done = filters(folder, "detail", "spoof", "3")
    assert "# outside mail that claims to be ours\nspoof: if" in done.out
    assert "drop();   # at once\n" in done.out
    assert "words!" in done.out
    assert "big" not in done.out


def test_a_filter_is_made_inactive_by_one_character(folder: Path) -> None:
    assert filters(folder, "set", "spoof", "active", "0").code == 0
    assert text(folder, "010-first") == FIRST.replace("spoof:", "spoof!")
    assert text(folder, "020-second") == SECOND
    assert filters(folder, "set", "all", "active", "1").code == 0
    assert text(folder, "010-first") == FIRST
    assert text(folder, "020-second") == SECOND.replace("words!", "words:")


def test_a_filter_moves_with_its_comments_also_to_another_file(folder: Path) -> None:
    assert filters(folder, "move", "words", "1").code == 0
    assert names(folder) == ["words", "spoof", "big"]
    assert text(folder, "010-first").startswith('# about words\nwords!\nif (subject == "(?i)offer")')
    assert filters(folder, "move", "1", "last").code == 0
    assert names(folder) == ["spoof", "big", "words"]


def test_a_move_that_moves_nothing_is_told(folder: Path) -> None:
    done = filters(folder, "move", "words", "last")
    assert done.code == 2
    assert "it stands there already" in done.err
    assert filters(folder, "move", "spoof", "spoof").code == 2


def test_deleting_takes_the_comments_above_and_asks_first(folder: Path) -> None:
    assert filters(folder, "delete", "big").code == 130
    assert names(folder) == ["spoof", "big", "words"]
    assert filters(folder, "delete", "1-2", "--yes").code == 0
    assert text(folder, "010-first") == ""
    assert names(folder) == ["words"]


def test_a_new_filter_is_checked_before_it_is_added(folder: Path) -> None:
    done = filters(folder, "new", stdin=b'fresh: if (sbject == "x") { drop(); }\n.\nnot read')
    assert done.code == 2
    assert "stdin, line 1, column 12: error in filter 'fresh': no condition is called 'sbject'. Did you mean 'subject'?" in done.err
    assert names(folder) == ["spoof", "big", "words"]
    good = b'# why\nfresh: if (subject == "x") { drop(); }\n'
    assert filters(folder, "new", "--before", "big", stdin=good + b".\n").code == 0
    assert names(folder) == ["spoof", "fresh", "big", "words"]
    assert good.decode() in text(folder, "010-first")
    assert "called 'fresh' already" in filters(folder, "new", stdin=good).err


def test_the_first_filter_makes_the_first_file(tmp_path: Path) -> None:
    (tmp_path / "esa.toml").write_text("")
    assert filters(tmp_path, "new", stdin=b"x: if (true) { no-op(); }").code == 0
    assert text(tmp_path, "100") == "x: if (true) { no-op(); }\n"


def test_a_dry_run_shows_and_writes_nothing(folder: Path) -> None:
    done = filters(folder, "set", "spoof", "active", "0", "--dry-run")
    assert "spoof! if" in done.out
    assert text(folder, "010-first") == FIRST


def test_an_export_of_an_appliance_is_taken_over_unchanged_and_what_cannot_be_used_is_kept_inactive(folder: Path) -> None:
    (folder / "appliance.txt").write_text(EXPORT)
    done = filters(folder, "import", folder / "appliance.txt", "--as", "030-appliance", "--json")
    assert done.code == 1
    assert text(folder, "030-appliance") == EXPORT.replace("look:", "look!").replace("pictures:", "pictures!")
    told = {line["filter"]: line for line in done.lines}
    assert set(told) == {"look", "pictures"}
    assert told["look"]["mend"] == 'write two tests: … == "free" and not … == "free of charge"'
    assert (told["look"]["line"], told["look"]["column"]) == (5, 27)
    assert names(folder)[-3:] == ["from_appliance", "look", "pictures"]
    assert filters(folder, "check").code == 0
    assert "called 'from_appliance' already" in filters(folder, "import", folder / "appliance.txt").err


def test_an_import_in_the_place_of_all_asks_first(folder: Path) -> None:
    (folder / "appliance.txt").write_text("a: if (true) { no-op(); }\n")
    assert filters(folder, "import", folder / "appliance.txt", "--replace").code == 130
    assert filters(folder, "import", folder / "appliance.txt", "--replace", "--yes").code == 0
    assert names(folder) == ["a"]


def test_an_export_reads_as_what_it_was(folder: Path) -> None:
    done = filters(folder, "export")
    assert done.out.count("# outside mail that claims to be ours") == 1
    (folder / "again.txt").write_text(done.out)
    assert filters(folder, "import", folder / "again.txt", "--replace", "--yes").code == 0
    assert filters(folder, "export").out == done.out
    assert filters(folder, "export", folder / "out.txt").code == 0
    assert (folder / "out.txt").read_text() == done.out


def test_check_tells_what_is_wrong_by_its_exit_code(folder: Path) -> None:
    assert filters(folder, "check").code == 0
    (folder / "new.txt").write_text('a: if (dictionary-match("gone")) { drop(); }\nb: if (spf-passed) { drop(); }\n')
    done = esa("filters", "check", folder / "new.txt", "--json")
    assert done.code == 0  # without a configuration nobody knows which dictionaries there are
    assert [line["severity"] for line in done.lines] == ["unscanned"]
    assert filters(folder, "new", folder / "new.txt").code == 0
    done = filters(folder, "check")
    assert done.code == 1
    assert "there is no dictionary 'gone', so the filter does not run" in done.out


def test_a_syntax_error_is_told_with_file_line_and_column(folder: Path) -> None:
    (folder / "filters" / "030-bad.filters").write_text("x: if (true) {\n    drop()\n    drop();\n}\n")
    done = filters(folder, "list")
    assert done.code == 2
    assert "030-bad.filters, line 3, column 5: 'drop' cannot stand here\nwrite ';' or '}'" in done.err


def test_an_unusable_filter_is_a_fault_of_the_configuration(folder: Path) -> None:
    (folder / "filters" / "030-bad.filters").write_text("x: if (tru) { drop(); }\n")
    done = esa("config", "check", folder / "esa.toml")
    assert done.code == 1
    assert "no condition is called 'tru'" in done.out + done.err
    assert filters(folder, "set", "x", "active", "0").code == 0
    assert esa("config", "check", folder / "esa.toml").code == 0


def test_an_unknown_filter_is_told_with_the_nearest(folder: Path) -> None:
    done = filters(folder, "detail", "spof")
    assert done.code == 2
    assert "did you mean 'spoof'?" in done.err
    assert "write numbers from 1 to 3" in filters(folder, "detail", "7").err


def test_words_are_explained() -> None:
    done = esa("filters", "words", "header", "image-verdict", "--json")
    assert done.code == 0
    assert [line["usage"] for line in map(json.loads, done.out.splitlines())] == [
        "header(the name of a header field) [==|!= a regular expression]",
        "image-verdict ==|!= a text",
    ]
    assert "no word is called 'hedder'" in esa("filters", "words", "hedder").err
    assert "drop-attachments-by-name" in esa("filters", "words").out


def test_the_cost_of_each_filter_is_measured_on_the_mail_given(folder: Path) -> None:
    (folder / "a.eml").write_bytes(b"From: x@example.org\r\nTo: b@example.net\r\nSubject: an offer\r\n\r\nHello.\r\n")
    assert filters(folder, "set", "words", "active", "1").code == 0
    done = filters(folder, "cost", folder / "a.eml", "--all", "--json")
    assert done.code == 0
    told = {str(line["name"]): (line["hits"], line["evaluated"]) for line in done.lines}
    assert told == {"spoof": (1, 1), "big": (0, 0), "words": (0, 0)}  # the first one drops, and ends it
    assert "1 message, of which 1 timed: " in done.err
