"""`esa train`: a model out of a folder, that `esa evaluate` and `esa scan` then use; and what it says where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import esa


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty messages; the word of an other filter's verdict stands in a leaky field."""
    folder = tmp_path_factory.mktemp("mail") / "mine"
    for label, text in (("ham", "the minutes of the meeting on Monday"), ("spam", "cheap watches, order now and save")):
        (folder / label).mkdir(parents=True)
        for i in range(20):
            message = f"From: a{i}@example.org\nX-Spam-Flag: {label}\nSubject: number {i}\n\nDear reader {i}, {text}.\n"
            (folder / label / f"{i:02}.eml").write_text(message)
    return folder


@pytest.fixture(scope="module")
def model(mailbox: Path) -> Path:
    path = mailbox.parent / "mine.esamodel"
    done = esa("train", "--json", "--out", path, mailbox)
    assert done.code == 0, done.err
    (said,) = done.lines
    assert (said["ham"], said["spam"], said["duplicates"], said["unreadable"]) == (20, 20, 0, 0)
    assert "few messages: a model of fewer than 400 of each kind" in done.err
    assert "next: esa evaluate" in done.err
    return path


def test_equal_mail_gives_an_equal_file_and_the_verdicts_of_others_are_not_learnt(mailbox: Path, model: Path, tmp_path: Path) -> None:
    """The digest covers all that is learnt; a model with the leaky fields is another one."""
    assert esa("train", "--out", tmp_path / "mine.esamodel", mailbox).code == 0
    assert (tmp_path / "mine.esamodel").read_bytes() == model.read_bytes()
    assert esa("train", "--keep-headers", "--name", "mine", "--out", tmp_path / "leaky.esamodel", mailbox).code == 0
    assert (tmp_path / "leaky.esamodel").read_bytes() != model.read_bytes()


def test_evaluate_marks_mail_that_the_model_was_trained_on(mailbox: Path, model: Path) -> None:
    done = esa("evaluate", "--json", "--model", model, mailbox)
    assert done.code == 0, done.err
    (result,) = done.lines
    row = result["corpora"]["mine"]  # type: ignore[index]
    assert (row["in_training"], row["roca_percent"], row["positive_recall"], row["ham_positive"]) == (1.0, 0.0, 100.0, 0.0)
    assert result["macro"]["roca_percent"] is None  # type: ignore[index]
    assert result["model"]["kind"] == "tokens"  # type: ignore[index]


def test_scan_judges_new_mail_and_its_reasons_sum_to_the_logit(model: Path, tmp_path: Path) -> None:
    spam, ham = tmp_path / "spam.eml", tmp_path / "ham.eml"
    spam.write_text("From: x@example.net\nSubject: watches\n\nOrder cheap watches now and save.\n")
    ham.write_text("From: y@example.net\nSubject: Monday\n\nHere are the minutes of the meeting on Monday.\n")
    done = esa("scan", "--json", "--model", model, spam, ham)
    of_spam, of_ham = done.lines
    assert of_spam["score"] > of_ham["score"]  # type: ignore[operator]
    for line in (of_spam, of_ham):
        total = sum(reason["contribution"] for reason in line["reasons"])  # type: ignore[attr-defined]
        assert total == pytest.approx(line["checks"]["spam"]["logit"], abs=1e-6)  # type: ignore[index]


def test_the_file_holds_nothing_of_the_mail(model: Path) -> None:
    content = model.read_bytes()
    for word in (b"watches", b"minutes", b"meeting", b"example.org", b"reader"):
        assert word not in content


def test_a_file_that_is_there_is_not_written_over_unless_asked(mailbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept.esamodel"
    out.write_bytes(b"precious")
    done = esa("train", "--out", out, mailbox)
    assert done.code == 2
    assert "--force" in done.err
    assert out.read_bytes() == b"precious"
    assert esa("train", "--force", "--out", out, mailbox).code == 0
    assert out.read_bytes().startswith(b"ESAMODEL")


def test_too_little_mail_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "m" / "ham").mkdir(parents=True)
    (tmp_path / "m" / "ham" / "1").write_text("Subject: x\n\ny\n")
    done = esa("train", "--out", tmp_path / "m.esamodel", tmp_path / "m")
    assert done.code == 3
    assert "1 ham" in done.err
    assert "at least 10 of each class" in done.err
    assert not (tmp_path / "m.esamodel").exists()


def test_what_cannot_be_read_is_named_and_the_rest_is_learnt(mailbox: Path, tmp_path: Path) -> None:
    done = esa("train", "--json", "--out", tmp_path / "m.esamodel", mailbox, tmp_path / "absent")
    assert done.code == 3
    assert "absent: cannot be read" in done.err
    assert done.lines[0]["unreadable"] == 1
    assert (tmp_path / "m.esamodel").exists()


def test_help_says_what_a_figure_within_one_corpus_is_worth() -> None:
    assert "say nothing of" in esa("train", "--help").out
