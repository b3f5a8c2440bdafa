"""`esa scan`: what it reads, what it prints, and its exit codes."""

from __future__ import annotations

import io
import mailbox
import os
import tarfile
from pathlib import Path

import pytest
import zstandard

from esa.engine.checks.markers import GTUBE
from tests.cli.command import esa

CLEAN = b"From: Ann <ann@example.org>\nTo: Bob <bob@example.net>\nSubject: lunch\n\nHi Bob, shall we meet on Monday?\n\nAnn\n"
SPAM = f"From: a@example.org\nSubject: test\n\n{GTUBE}\n".encode()


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    path = tmp_path / "clean.eml"
    path.write_bytes(CLEAN)
    return path


@pytest.fixture
def spam(tmp_path: Path) -> Path:
    path = tmp_path / "spam.eml"
    path.write_bytes(SPAM)
    return path


def test_a_clean_message_exits_0(clean: Path) -> None:
    done = esa("scan", clean)
    assert done.code == 0
    assert done.out.startswith("clean")
    assert "1 scanned: 0 positive, 0 suspect, 1 clean" in done.err


def test_spam_exits_1(spam: Path) -> None:
    done = esa("scan", spam)
    assert done.code == 1
    assert done.out.startswith("positive")
    assert "gtube=+30.0" in done.out


def test_json_has_the_documented_fields(clean: Path, spam: Path) -> None:
    done = esa("scan", "--json", clean, spam)
    assert done.code == 1
    assert [line["path"] for line in done.lines] == [str(clean), str(spam)]
    for line in done.lines:
        assert list(line) == ["path", "verdict", "score", "reasons", "flags", "checks", "micros"]
    first = done.lines[1]["reasons"]
    assert isinstance(first, list)
    assert first[0] == {"name": "gtube", "family": "markers", "contribution": 30.0}


def test_reasons_can_be_fewer(spam: Path) -> None:
    line = esa("scan", "--json", "--reasons", 1, spam).lines[0]
    assert line["reasons"] == [{"name": "gtube", "family": "markers", "contribution": 30.0}]


def test_standard_input_is_a_dash() -> None:
    done = esa("scan", "--json", "-", stdin=SPAM)
    assert (done.code, done.lines[0]["path"], done.lines[0]["verdict"]) == (1, "-", "positive")


def test_folders_mboxes_maildirs_archives_and_trec_indexes_are_read(tmp_path: Path, clean: Path, spam: Path) -> None:
    folder = tmp_path / "folder" / "deeper"
    folder.mkdir(parents=True)
    (folder / "1.eml").write_bytes(CLEAN)
    (folder.parent / "2.eml").write_bytes(SPAM)
    box = mailbox.mbox(tmp_path / "box.mbox")
    box.add(CLEAN)
    box.add(SPAM)
    box.close()
    maildir = mailbox.Maildir(tmp_path / "Maildir")
    maildir.add(SPAM)
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        with tarfile.open(str(tmp_path / f"mail.{suffix}"), mode) as archive:  # type: ignore[call-overload]  # a mode of tarfile
            member = tarfile.TarInfo("mail/ham/1")
            member.size = len(CLEAN)
            archive.addfile(member, io.BytesIO(CLEAN))
    trec = tmp_path / "trec"
    (trec / "full").mkdir(parents=True)
    (trec / "data").mkdir()
    (trec / "data" / "inmail.1").write_bytes(SPAM)
    (trec / "full" / "index").write_text("spam ../data/inmail.1\n")
    paths = [tmp_path / name for name in ("folder", "box.mbox", "Maildir", "mail.tar", "mail.tar.gz", "trec/full/index")]
    done = esa("scan", "--json", *paths)
    verdicts = sorted(str(line["verdict"]) for line in done.lines)
    assert verdicts == ["clean"] * 4 + ["positive"] * 4
    assert done.code == 1


def test_a_zstandard_archive_is_read(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        member = tarfile.TarInfo("mail/spam/1")
        member.size = len(SPAM)
        archive.addfile(member, io.BytesIO(SPAM))
    path = tmp_path / "mail.tar.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(plain.getvalue()))
    assert [line["verdict"] for line in esa("scan", "--json", path).lines] == ["positive"]


def test_a_zstandard_archive_without_the_package_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "mail.tar.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(600))
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "zstandard.py").write_text("raise ImportError('not installed')\n")
    done = esa("scan", path, environment={"PYTHONPATH": os.pathsep.join([str(blocked), os.environ.get("PYTHONPATH", "")])})
    assert done.code == 3
    assert "esa-appliance[learning]" in done.err


def test_dictionaries_are_reported(tmp_path: Path, clean: Path) -> None:
    dictionary = tmp_path / "food.txt"
    dictionary.write_text("lunch, 3\n")
    line = esa("scan", "--json", "--dictionary", dictionary, clean).lines[0]
    assert line["checks"]["dictionaries"] == {"food": {"score": 3, "terms": {"lunch": 1}, "places": {"subject": 3}}}  # type: ignore[index]
    assert "dictionary food, score 3: lunch × 1" in esa("scan", "--dictionary", dictionary, clean).out


def test_a_wrong_dictionary_is_used_wrongly_and_its_line_named(tmp_path: Path, clean: Path) -> None:
    dictionary = tmp_path / "food.txt"
    dictionary.write_text("lunch, 99\n")
    done = esa("scan", "--dictionary", dictionary, clean)
    assert done.code == 2
    assert f"{dictionary}, line 1: a term weighs 0 to 10" in done.err


def test_a_file_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31mb.eml"
    path.write_bytes(CLEAN)
    done = esa("scan", path)
    assert "\x1b" not in done.out + done.err
    assert "\\x1b" in done.out


def test_a_file_name_that_is_no_text_is_scanned(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.eml"
    with open(path, "wb") as file:
        file.write(CLEAN)
    done = esa("scan", "--json", tmp_path)
    assert (done.code, len(done.lines)) == (0, 1)
    assert esa("scan", tmp_path).code == 0


@pytest.mark.corpus
def test_a_corpus_archive_is_scanned_whole(shared: Path) -> None:
    done = esa("scan", "--json", "--reasons", 0, shared / "corpora" / "foff-2025.tar.zst")
    assert done.code == 1
    assert len(done.lines) == 303
    assert "303 scanned" in done.err
    assert all("error" not in line for line in done.lines)


def test_scanning_needs_no_extra(tmp_path: Path, clean: Path) -> None:
    """A plain install has none of these packages."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("uvloop", "aiosmtpd", "pydantic", "tomlkit", "sqlalchemy", "prometheus_client", "sklearn", "scipy", "zstandard"):
        (blocked / f"{name}.py").write_text("raise ImportError('not installed')\n")
    environment = {"PYTHONPATH": os.pathsep.join([str(blocked), os.environ.get("PYTHONPATH", "")])}
    assert esa("scan", clean, environment=environment).code == 0
