"""Copies of messages in mbox files."""

from __future__ import annotations

import mailbox
from pathlib import Path

import pytest

from esa.store import archives as module
from esa.store.archives import Archives
from esa.store.record import Record, Splinter
from esa.store.segments import read_message
from tests.store.messages import commit, make_record, mode, read_state

TO = Splinter(("b@example.org",), "deliver")


def add(state: Path, *records: Record) -> int:
    commit(state, *records)
    return Archives(state).add(read_state(state), lambda location: read_message(state / "spool", location))


def subjects(path: Path) -> list[str]:
    box = mailbox.mbox(path)
    found = [str(message["Subject"]) for message in box]
    box.close()
    return found


def test_a_copy_goes_into_the_mbox_of_its_name_and_is_private(tmp_path: Path) -> None:
    content = b"Subject: one\r\n\r\nFrom here on\r\n>From there\r\n"
    record = make_record(splinters=(TO, Splinter((), "archive", "kept")), content=content)
    assert add(tmp_path, record) == 1
    path = tmp_path / "archives" / "kept.mbox"
    text = path.read_bytes()
    assert text.startswith(b"From ")
    assert b"\r" not in text
    assert b"\n>From here on\n>>From there\n" in text
    assert subjects(path) == ["one"]
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_copies_follow_one_another_and_names_have_files_of_their_own(tmp_path: Path) -> None:
    both = (TO, Splinter((), "archive", "a"), Splinter((), "archive", "b"))
    one = make_record(splinters=both, content=b"Subject: one\r\n\r\nx")
    two = make_record(splinters=both[:2], content=b"Subject: two\r\n\r\nx\r\n\r\n")
    three = make_record(splinters=(TO,), content=b"Subject: three\r\n\r\n")
    assert add(tmp_path, one, two, three) == 3
    assert subjects(tmp_path / "archives" / "a.mbox") == ["one", "two"]
    assert subjects(tmp_path / "archives" / "b.mbox") == ["one"]


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_LIMIT", 1)
    monkeypatch.setattr(module, "FILES", 3)
    archives = Archives(tmp_path)
    for name in ("one", "two", "three", "four"):
        state = tmp_path / name
        commit(state, make_record(splinters=(Splinter((), "archive", "a"),), content=f"Subject: {name}\r\n\r\nx".encode()))
        archives.add(read_state(state), lambda location, state=state: read_message(state / "spool", location))  # type: ignore[misc]
    folder = tmp_path / "archives"
    assert [subjects(folder / f"a{number}.mbox") for number in ("", ".1", ".2")] == [["four"], ["three"], ["two"]]
    assert not (folder / "a.3.mbox").exists()
