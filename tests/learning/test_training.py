"""`esa train`: what it learns, that it repeats itself byte for byte, that its scores are probabilities, and what it refuses."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from esa.engine.model import Model
from esa.engine.scanner import Scanner
from esa.errors import CorpusError, ModelError
from esa.learning.corpora import Item, iter_corpus
from esa.learning.evaluation import evaluate, message_digest, roca_percent
from esa.learning.leaks import LeakList
from esa.learning.training import MARGINS, MORE_MARGIN, RAW4_WHDR, best_margin, body_digest, in_two_stages, train


def letters(n: int) -> list[Item]:
    """Half ham about lunch, half spam about pills, every body of its own."""
    rng = random.Random(n)
    words = {
        "ham": ("lunch", "monday", "agenda", "meeting", "minutes", "regards"),
        "spam": ("pills", "cheap", "offer", "winner", "free", "casino"),
    }
    items = []
    for number in range(n):
        label = "ham" if number % 2 else "spam"
        body = " ".join(rng.choices(words[label], k=12))
        items.append(Item(f"{number}", "letters", label, f"From: a{number}@example.org\nSubject: {body[:8]}\n\n{body} {number}\n".encode()))  # type: ignore[arg-type]
    return items


@pytest.fixture(scope="module")
def mail(corpus: Callable[[str], Path]) -> list[Item]:
    """Real mail without leaks and without repeated bodies."""
    clean = LeakList.load().strip
    seen: dict[bytes, Item] = {}
    for item in iter_corpus(corpus("spamassassin")):
        content = clean(item.content or b"")
        seen.setdefault(body_digest(content), Item(item.path, item.corpus, item.label, content))
    return list(seen.values())


def halves(items: list[Item], seed: int) -> tuple[list[Item], list[Item]]:
    shuffled = random.Random(seed).sample(items, len(items))
    middle = {label: sum(item.label == label for item in items) // 2 for label in ("ham", "spam")}
    first: list[Item] = []
    second: list[Item] = []
    for item in shuffled:
        assert item.label is not None
        middle[item.label] -= 1
        (first if middle[item.label] >= 0 else second).append(item)
    return first, second


def ranked(scanner: Scanner, items: list[Item]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    reports = scanner.scan_many(item.content or b"" for item in items)
    return np.array([report.logit for report in reports]), np.array([item.label == "spam" for item in items])


def test_a_model_tells_what_it_was_taught(tmp_path: Path) -> None:
    training = train(letters(200), name="mine")
    assert (training.ham, training.spam, training.duplicates, training.errors) == (100, 100, 0, [])
    training.model.save(tmp_path / "mine.esamodel")
    scanner = Scanner(model=tmp_path / "mine.esamodel")
    spam = scanner.scan(b"From: x@example.org\nSubject: pills\n\ncheap pills free casino winner\n")
    ham = scanner.scan(b"From: x@example.org\nSubject: lunch\n\nmonday lunch agenda meeting\n")
    assert spam.score > 74
    assert ham.score < 36
    assert sum(reason.contribution for reason in spam.reasons) == pytest.approx(spam.logit, abs=1e-6)
    assert {reason.name for reason in spam.reasons} >= {"header_tokens", "body_words", "bias"}


def test_equal_mail_and_seed_give_equal_files() -> None:
    one, other = (train(letters(100), seed=3).model.to_bytes() for _ in range(2))
    assert one == other
    assert train(letters(100), seed=4).model.to_bytes() != one


def test_repeated_bodies_are_learnt_once_and_unlabelled_mail_not_at_all() -> None:
    items = letters(60)
    again = [Item("again", "letters", "spam", item.content) for item in items if item.label == "spam"]
    wrapped = Item("wrapped", "letters", "spam", (items[0].content or b"").replace(b" ", b"  \n "))
    unlabelled = Item("u", "letters", None, b"Subject: x\n\nnew body\n")
    training = train([*items, *again, wrapped, unlabelled])
    assert (training.ham, training.spam, training.duplicates) == (30, 30, 31)


def test_lineage_names_the_messages_as_they_lie_in_their_corpus() -> None:
    items = letters(40)
    model = train(items, clean=lambda raw: raw.replace(b"Subject", b"Topic")).model
    lineage = {bytes(row) for row in model.arrays["lineage"]}
    assert lineage == {message_digest(item.content or b"") for item in items}
    scanner = Scanner(model=model)
    result = evaluate(items, lambda raws: [report.score for report in scanner.scan_many(raws)], lineage=lineage)
    assert result.corpora["letters"]["in_training"] == 1.0
    assert result.macro["roca_percent"] is None


def test_too_few_messages_of_a_class_are_refused_with_the_reason() -> None:
    few = [item for item in letters(60) if item.label == "ham" or int(item.path) < 10]
    with pytest.raises(CorpusError, match="there are 5 spam messages") as caught:
        train(few)
    assert caught.value.mend
    with pytest.raises(CorpusError, match="the first: gone"):
        train([Item("x", "c", error=CorpusError("gone"))])


def test_unreadable_items_are_told_and_the_rest_is_learnt() -> None:
    training = train([*letters(40), Item("x", "c", error=CorpusError("gone"))])
    assert [str(error) for error in training.errors] == ["gone"]


def test_a_model_of_another_feature_space_or_of_odd_numbers_is_refused() -> None:
    model = train(letters(40)).model
    for change in (
        replace(model, feature_space="tokens-0"),
        replace(model, facts={**model.facts, "families": 64}),
        replace(model, facts={}),
        replace(model, facts={**model.facts, "second_families": 0b1101}),  # not those of the first stage
        replace(model, facts={**model.facts, "margin": "wide"}),
        replace(model, facts={**model.facts, "margin": -1}),
        replace(model, arrays={name: array for name, array in model.arrays.items() if name != "second_bias"}),
        replace(model, arrays={**model.arrays, "second_weights": np.zeros(8, np.float32)}),
        replace(model, arrays={**model.arrays, "weights": np.zeros(8, np.float32)}),
        replace(model, arrays={**model.arrays, "bias": np.zeros(2)}),
    ):
        with pytest.raises(ModelError):
            Scanner(model=change)


def test_a_model_of_one_stage_is_loaded_as_before() -> None:
    """Files that were made before there was a second stage have no arrays for it."""
    model = train(letters(100), families=RAW4_WHDR, second_families=0).model
    assert set(model.arrays) == {"weights", "bias", "lineage"}
    assert "margin" not in model.facts
    report = Scanner(model=Model.from_bytes(model.to_bytes(), where="here")).scan(letters(1)[0].content or b"")
    assert report.score > 50
    assert {reason.name for reason in report.reasons} >= {"header_grams", "body_grams"}


def test_the_margin_is_the_best_on_held_out_mail_and_some_more() -> None:
    """The first stage ranks one ham above the spam, with log-odds of 3; the second ranks all mail rightly."""
    spam = np.array([True, True, False, False])
    first, second = np.array([2.5, 6.0, -6.0, 3.0]), np.array([9.0, 9.0, -9.0, -9.0])
    assert best_margin(first, second, spam) == 3.0 + MORE_MARGIN
    assert best_margin(second, first, spam) == MORE_MARGIN  # the second has nothing to add
    assert in_two_stages(first, second, 3.0).tolist() == [9.0, 6.0, -6.0, 3.0]
    assert MARGINS[0] == 0.0


def test_the_engine_judges_in_two_stages_as_the_training_says() -> None:
    items = letters(200)
    model = train(items).model
    margin = model.facts["margin"]
    assert isinstance(margin, float)
    scanner = Scanner(model=model)
    narrow = replace(model, facts={**model.facts, "margin": 0.0})
    wide = replace(model, facts={**model.facts, "margin": 1e9})
    raws = [item.content or b"" for item in items]
    logits, first, second = (
        np.array([report.logit for report in s.scan_many(raws)]) for s in (scanner, Scanner(model=narrow), Scanner(model=wide))
    )
    assert np.array_equal(logits, in_two_stages(first, second, margin))


@pytest.mark.corpus
def test_scores_of_unseen_mail_are_probabilities(mail: list[Item]) -> None:
    learnt, unseen = halves(mail, 0)
    scanner = Scanner(model=train(learnt).model)
    result = evaluate(unseen, lambda raws: [report.score for report in scanner.scan_many(raws)])
    row = result.corpora["spamassassin"]
    assert (row["calibration_error"] or 1.0) < 0.02
    assert (row["ham_positive"] or 0.0) < 1.0
    assert (row["suspect_or_positive_recall"] or 0.0) > 97.0


@pytest.mark.corpus
@pytest.mark.servers
def test_a_local_model_ranks_better_than_bogofilter(mail: list[Item], server_program: Callable[[str], str], tmp_path: Path) -> None:
    """Three of the ten splits that the benchmark runs are enough here."""
    bogofilter = server_program("bogofilter")
    paths: dict[str, Path] = {}
    for number, item in enumerate(mail):
        paths[item.path] = tmp_path / f"{number:06d}.eml"
        paths[item.path].write_bytes(item.content or b"")
    ours: list[float] = []
    theirs: list[float] = []
    for seed in range(3):
        learnt, unseen = halves(mail, seed)
        ours.append(roca_percent(*ranked(Scanner(model=train(learnt).model), unseen)))
        command = [bogofilter, "-C", "-d", str(tmp_path / f"db{seed}")]
        (tmp_path / f"db{seed}").mkdir()
        for flag, label in (("-s", "spam"), ("-n", "ham")):
            names = "".join(f"{paths[item.path]}\n" for item in learnt if item.label == label)
            subprocess.run([*command, flag, "-b"], input=names.encode(), check=True)
        names = "".join(f"{paths[item.path]}\n" for item in unseen)
        done = subprocess.run([*command, "-TT", "-b"], input=names.encode(), stdout=subprocess.PIPE, check=False)
        scores = dict(line.rsplit(None, 1) for line in done.stdout.decode().splitlines())
        truth = np.array([item.label == "spam" for item in unseen])
        theirs.append(roca_percent(np.array([float(scores[str(paths[item.path])]) for item in unseen]), truth))
        shutil.rmtree(tmp_path / f"db{seed}")
    assert np.mean(ours) < np.mean(theirs)
