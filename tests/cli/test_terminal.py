"""What commands show people: tables that stay readable on a narrow terminal and whole in a pipe, counts in words."""

from __future__ import annotations

import sys

import pytest

from esa.cli.terminal import counted, print_table

COLUMNS = ("id", "size", "from", "subject")
ROWS = [("A1", "9 B", "<anna@example.net>", "minutes of the meeting"), ("B2", "16.0 KiB", "<>", "漢字 \x1b[31mred")]


def show(patch: pytest.MonkeyPatch, width: int, *, is_terminal: bool = True) -> None:
    with patch.context() as here:
        here.setattr(sys.stdout, "isatty", lambda: is_terminal)
        for name, value in (("TERM", "xterm"), ("NO_COLOR", "1"), ("COLUMNS", str(width))):
            here.setenv(name, value)
        print_table(COLUMNS, ROWS, right=("size",), below=("from", "subject"))


def test_in_a_pipe_a_row_is_one_line_and_nothing_is_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    show(monkeypatch, 20, is_terminal=False)
    assert capsys.readouterr().out.splitlines() == [
        "id      size  from                subject",
        "A1       9 B  <anna@example.net>  minutes of the meeting",
        "B2  16.0 KiB  <>                  漢字 \\x1b[31mred",
    ]


def test_a_wide_terminal_shows_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    show(monkeypatch, 80)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_on_a_narrow_terminal_what_is_long_stands_below(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    show(monkeypatch, 30)
    assert capsys.readouterr().out.splitlines() == [
        "id      size",
        "A1       9 B",
        "  <anna@example.net>  minutes…",
        "B2  16.0 KiB",
        "  <>  漢字 \\x1b[31mred",
    ]


def test_no_rows_are_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [])
    assert capsys.readouterr().out == "id  size  from  subject\n"


def test_counts_are_words() -> None:
    assert [counted(n, "message") for n in (0, 1, 2, 12_345)] == ["0 messages", "1 message", "2 messages", "12,345 messages"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
