"""`esa filters merge` through the real command line: the proposal, its certificate, and what is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.message.envelope import Envelope, Session
from esa.store.recorded import Recorded
from esa.store.recorder_folder import FOLDER
from esa.store.recorder_writer import Limits, Recorder
from tests.cli.command import Done, esa

CONFIG = '[scan]\ndictionaries = ["dictionaries"]\n'
USERS = 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "esa.toml").write_text(CONFIG)
    (tmp_path / "filters").mkdir()
    (tmp_path / "dictionaries").mkdir()
    users = "".join(f"# ticket {n}\nu{n}: if (mail-from == '^user{n}@bad\\.example$') {{ drop(); }}\n\n" for n in range(USERS))
    kept = '# keep me as I am\nbig: if (body-size > 20M) { quarantine("Large"); }  # and me\n'
    (tmp_path / "filters" / "100.filters").write_text(f"{users}{kept}")
    return tmp_path


def merge(folder: Path, *arguments: object) -> Done:
    return esa("filters", "merge", "--config", folder / "esa.toml", *arguments)


def _record(folder: Path) -> None:
    recorder = Recorder(folder / "state" / FOLDER, Limits())
    for number in range(500):
        sender = f"user{number}@bad.example" if number % 2 else f"other{number}@good.example"
        session = Session(client_address="192.0.2.1", listener="mail", received_at=1_700_000_000.0 + number)
        recorder.add(
            Recorded(f"{number:026d}", session, Envelope(sender, ("ann@here.example",), 900), "accepted", "250", subject=f"number {number}")
        )
    recorder.flush()
    recorder.close()


def test_three_hundred_filters_become_one_and_a_dictionary_with_equal_verdicts_on_all_recorded_mail(folder: Path) -> None:
    _record(folder)
    done = merge(folder, "--json")
    assert done.code == 1, done.err
    (one,) = done.lines
    assert one["filters"] == [f"u{n}" for n in range(USERS)]
    assert one["entries"] == [f"user{n}@bad.example" for n in range(USERS)]
    assert 'mail-from-dictionary-match("drop_by_mail_from")' in str(one["filter"])
    assert one["compared"] == {"messages": 500, "acted": 150, "different": 0}
    assert isinstance(one["micros_before"], float) and isinstance(one["micros_after"], float)
    assert "µs a message before" in done.err
    assert not list((folder / "dictionaries").iterdir())


def test_what_is_written_does_what_was_there_before_and_keeps_comments(folder: Path) -> None:
    path = folder / "filters" / "100.filters"
    before = path.read_text()
    done = merge(folder, "--write")
    assert done.code == 0, done.err
    assert path.with_name("100.filters.before-merge").read_text() == before
    assert '# keep me as I am\nbig: if (body-size > 20M) { quarantine("Large"); }  # and me\n' in path.read_text()
    assert path.read_text().index("drop_by_mail_from:") < path.read_text().index("big:")
    assert "user7@bad.example  # u7: ticket 7\n" in (folder / "dictionaries" / "drop_by_mail_from.txt").read_text()
    listed = esa("filters", "list", "--json", "--config", folder / "esa.toml")
    assert [(one["name"], one["valid"]) for one in listed.lines] == [("drop_by_mail_from", True), ("big", True)]
    assert esa("filters", "check", "--config", folder / "esa.toml").code == 0
    again = merge(folder)
    assert again.code == 0 and "can be merged" in again.err


def test_mail_of_ones_own_is_compared(folder: Path) -> None:
    mail = folder / "mail"
    mail.mkdir()
    for number in range(4):
        (mail / f"{number}.eml").write_text(
            f"From: user{number}@{'bad' if number else 'good'}.example\r\nTo: ann@here.example\r\n\r\nhello\r\n"
        )
    (one,) = merge(folder, mail, "--json").lines
    assert one["compared"] == {"messages": 4, "acted": 3, "different": 0}


def test_without_a_folder_for_dictionaries_nothing_is_written(folder: Path) -> None:
    (folder / "esa.toml").write_text("")
    path = folder / "filters" / "100.filters"
    before = path.read_text()
    done = merge(folder, "--write")
    assert done.code == 2 and "there is no folder for a new dictionary" in done.err
    assert path.read_text() == before
