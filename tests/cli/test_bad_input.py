"""Hostile and broken input, given to the real command: each ends as a result or a sentence, with its exit code and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NoReturn

import pytest

from esa.cli.program import run
from esa.engine.model import DEFAULT_MODEL
from tests.cli.command import Done, esa

HEADER = b"From: a@example.org\r\nSubject: x\r\n"


def scan(path: Path, content: bytes) -> Done:
    path.write_bytes(content)
    return esa("scan", "--json", path)


def nested(depth: int) -> bytes:
    """Multiparts inside multiparts."""
    return (
        HEADER + b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (i, i) for i in range(depth)) + b"\r\nin\r\n"
    )


@pytest.mark.parametrize(
    ("content", "flag"),
    [
        (b"", "empty"),
        (b"x", None),
        (b"\n", None),
        (b"\0" * 1000, "nul_bytes"),
        (HEADER + b"\r\n" + b"a\0b\r\n", "nul_bytes"),
        (b"Subject: \xe4\xf6\xfc\r\nX-\xff: y\r\n\r\nbody\r\n", "eight_bit_header"),
        (HEADER, "no_header_end"),
        (HEADER + b"".join(b"X-%d: y\r\n" % i for i in range(10_000)) + b"\r\nbody\r\n", None),
        (HEADER + b"X: y\r\n" * 20_000 + b"\r\nbody\r\n", "too_many_fields"),
        (nested(1_000), "too_deep"),
        (HEADER + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n\r\n" * 10_000, "too_many_parts"),
    ],
    ids=[
        "empty",
        "one byte",
        "one line end",
        "NULs",
        "NUL in text",
        "8-bit header",
        "no body",
        "10,000 fields",
        "20,000 fields",
        "1,000 deep",
        "parts",
    ],
)
def test_odd_messages_are_scanned_and_flagged(tmp_path: Path, content: bytes, flag: str | None) -> None:
    done = scan(tmp_path / "odd.eml", content)
    assert done.code in (0, 1)
    (line,) = done.lines
    assert flag is None or flag in line["flags"]  # type: ignore[operator]
    assert 0 <= line["score"] <= 100  # type: ignore[operator]


@pytest.mark.parametrize("header", [HEADER + b"\r\n", b"", b"Subject: "], ids=["body", "no header", "field"])
def test_fifty_megabytes_of_one_line_are_scanned(tmp_path: Path, header: bytes) -> None:
    done = scan(tmp_path / "long.eml", header + b"a" * 50_000_000)
    assert done.code in (0, 1)
    assert len(done.lines) == 1


def test_an_mbox_with_broken_from_lines_is_read(tmp_path: Path) -> None:
    content = (
        b"From \n"
        + HEADER
        + b"\none\n\nFrom nobody knows when\n"
        + HEADER
        + b"\nFrom here on it is text\n\nFrom a@b Thu Jan  1 00:00:00 2026\n\n"
    )
    done = scan(tmp_path / "broken.mbox", content)
    assert done.code in (0, 1)
    assert done.lines


def test_a_cut_archive_gives_what_stands_before_the_damage_and_exits_3(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    message = tmp_path / "m.eml"
    message.write_bytes(HEADER + b"\r\n" + b"text\r\n" * 1_000)
    with tarfile.open(whole, "w") as archive:
        for i in range(4):
            archive.add(message, f"mail/ham/{i}.eml")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole.read_bytes()[:17_000])
    done = esa("scan", "--json", cut)
    assert done.code == 3
    assert len([line for line in done.lines if "error" not in line]) >= 1
    assert str(cut) in done.err
    assert "damaged or cut short" in done.err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tar.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 600),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd" + b"\xff" * 600),
        ("a.tar", b"a" * 257 + b"ustar" + b"\xff" * 600),
    ],
)
def test_an_archive_that_is_none_exits_3(tmp_path: Path, name: str, content: bytes) -> None:
    done = scan(tmp_path / name, content)
    assert done.code == 3
    assert "unreadable:" in done.err
    assert [line["path"] for line in done.lines if "error" in line] == [str(tmp_path / name)]


def test_what_is_not_there_is_named_and_the_rest_is_scanned(tmp_path: Path) -> None:
    good = tmp_path / "good.eml"
    good.write_bytes(HEADER + b"\r\nhello\r\n")
    done = esa("scan", "--json", tmp_path / "absent.eml", good)
    assert done.code == 3
    assert [sorted(line)[:2] for line in done.lines] == [["error", "path"], ["checks", "flags"]]
    assert "absent.eml: cannot be read: No such file or directory" in done.err


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0)
    if os.access(folder, os.R_OK):  # the superuser may read everything: let the system say no all the same

        def refuse(path: object) -> NoReturn:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(os, "scandir", refuse)
        assert run(["scan", str(folder)]) == 3
        said = capsys.readouterr().err
    else:
        done = esa("scan", folder)
        assert done.code == 3
        said = done.err
    assert f"{folder}: cannot be read: Permission denied" in said


def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = esa("scan", tmp_path / "pipe", timeout=30)
    assert done.code == 3
    assert "not a regular file" in done.err


def test_a_full_device_ends_with_a_sentence(tmp_path: Path) -> None:
    good = tmp_path / "good.eml"
    good.write_bytes(HEADER + b"\r\nhello\r\n")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "esa.cli", "scan", str(good)], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 3
    assert b"the output cannot be written: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.fixture
def message(tmp_path: Path) -> Path:
    path = tmp_path / "m.eml"
    path.write_bytes(HEADER + b"\r\nhello\r\n")
    return path


def test_an_altered_model_is_refused(tmp_path: Path, message: Path) -> None:
    content = bytearray(DEFAULT_MODEL.read_bytes())
    content[-1] ^= 1
    altered = tmp_path / "altered.esamodel"
    altered.write_bytes(content)
    done = esa("scan", "--model", altered, message)
    assert done.code == 3
    assert f"{altered}: the model file is cut short or was altered" in done.err


@pytest.mark.parametrize("size", [0, 8, 47, 48, 100, -1])
def test_a_cut_model_is_refused(tmp_path: Path, message: Path, size: int) -> None:
    cut = tmp_path / "cut.esamodel"
    cut.write_bytes(DEFAULT_MODEL.read_bytes()[:size])
    done = esa("scan", "--model", cut, message)
    assert done.code == 3
    assert str(cut) in done.err
    assert done.out == ""


def test_a_model_that_is_not_there_is_named(tmp_path: Path, message: Path) -> None:
    done = esa("scan", "--model", tmp_path / "absent.esamodel", message)
    assert done.code == 3
    assert "absent.esamodel: the model cannot be read: No such file or directory" in done.err


def test_no_path_is_used_wrongly() -> None:
    done = esa("scan")
    assert done.code == 2
    assert "Missing argument" in done.err


def test_an_empty_folder_is_no_fault(tmp_path: Path) -> None:
    done = esa("scan", tmp_path)
    assert done.code == 0
    assert "0 scanned" in done.err
