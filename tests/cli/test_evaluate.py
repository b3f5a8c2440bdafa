"""`esa evaluate`: its JSON, its table, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.engine.checks.markers import GTUBE
from tests.cli.command import esa

FIGURES = {
    "roca_percent",
    "fn_at_fp_0_1",
    "positive_recall",
    "suspect_or_positive_recall",
    "ham_positive",
    "ham_suspect",
    "calibration_error",
    "messages_per_second",
    "cpu_us_per_message",
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A corpus of six messages."""
    for label, text in (("ham", "Shall we meet on Monday?"), ("spam", GTUBE)):
        folder = tmp_path / "small" / label
        folder.mkdir(parents=True)
        for i in range(3):
            (folder / f"{i}.eml").write_text(f"From: Ann <a{i}@example.org>\nTo: Bob <b@example.net>\nSubject: lunch {i}\n\n{text}\n")
    return tmp_path / "small"


def test_json_has_the_documented_shape(small: Path) -> None:
    done = esa("evaluate", "--json", small)
    assert done.code == 0
    (result,) = done.lines
    assert list(result) == ["corpora", "macro", "model"]
    row = result["corpora"]["small"]  # type: ignore[index]
    assert set(row) >= FIGURES
    assert (row["ham"], row["spam"], row["in_training"]) == (3, 3, 0.0)
    assert (row["roca_percent"], row["positive_recall"], row["fn_at_fp_0_1"]) == (0.0, 100.0, None)
    assert result["macro"]["positive_recall"] == 100.0  # type: ignore[index]
    assert len(result["model"]["digest"]) == 64  # type: ignore[index]


def test_people_get_a_table(small: Path) -> None:
    done = esa("evaluate", small)
    assert done.code == 0
    assert "small" in done.out
    assert "macro average" in done.out


def test_leaky_headers_are_dropped_unless_they_are_to_be_kept(tmp_path: Path, small: Path) -> None:
    """The list given here drops the subject, in which the marker stands."""
    leaks = tmp_path / "leaks.txt"
    leaks.write_text("[verdicts]\nsubject\n")
    for path in (small / "ham").iterdir():
        path.write_text(f"From: a@example.org\nSubject: {GTUBE}\n\nx\n")
    assert esa("evaluate", "--json", "--leaky-headers", leaks, small).lines[0]["corpora"]["small"]["ham_positive"] == 0.0  # type: ignore[index]
    kept = esa("evaluate", "--json", "--keep-headers", "--leaky-headers", leaks, small)
    assert kept.lines[0]["corpora"]["small"]["ham_positive"] == 100.0  # type: ignore[index]


def test_an_unreadable_corpus_is_named_and_exits_3(tmp_path: Path, small: Path) -> None:
    done = esa("evaluate", "--json", small, tmp_path / "absent")
    assert done.code == 3
    assert "absent: cannot be read" in done.err
    assert "small" in done.lines[0]["corpora"]  # type: ignore[operator]


def test_unlabelled_mail_alone_cannot_be_measured(tmp_path: Path) -> None:
    (tmp_path / "m.eml").write_text("Subject: x\n\ny\n")
    done = esa("evaluate", tmp_path / "m.eml")
    assert done.code == 3
    assert "no labelled message" in done.err


def test_a_wrong_list_of_leaks_is_named(tmp_path: Path, small: Path) -> None:
    leaks = tmp_path / "leaks.txt"
    leaks.write_text("[verdicts]\n(\n")
    done = esa("evaluate", "--leaky-headers", leaks, small)
    assert done.code == 3
    assert f"{leaks}, line 2" in done.err
