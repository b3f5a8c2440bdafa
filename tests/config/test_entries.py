"""Files of entries are read with their comments, and what is wrong is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.config.entries import read_entries
from esa.errors import ConfigurationError
from esa.policy.senders import parse_sender


def test_comments_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "hosts.txt"
    file.write_text("# ours\n10.1.1.1  # gateway\n\n.example.org\n")
    assert [entry.text for entry in read_entries(file, parse_sender, "the senders")] == ["10.1.1.1", ".example.org"]


def test_the_first_wrong_line_is_told_with_its_number_and_a_mend(tmp_path: Path) -> None:
    file = tmp_path / "hosts.txt"
    file.write_text("10.1.1.1\n\nnot an entry\n")
    with pytest.raises(ConfigurationError) as caught:
        read_entries(file, parse_sender, "the senders")
    assert caught.value.where == f"{file}, line 3"
    assert caught.value.mend


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "hosts.txt"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="the senders cannot be read: it is not UTF-8"):
        read_entries(file, parse_sender, "the senders")
