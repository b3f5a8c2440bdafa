"""How well scores tell spam from ham: the figures of `esa evaluate`, per corpus and as macro average.

Called by `esa evaluate`, `train` and the scripts in models/ and benchmarks/. A corpus is measured by itself, never pooled with another: the
year, the site's header fields or the list tags would give the label away. All rates are percent.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from esa.engine.verdict import POSITIVE_ABOVE, SUSPECT_ABOVE
from esa.errors import CorpusError
from esa.learning.corpora import Item, Label

Scorer = Callable[[Sequence[bytes]], Sequence[float] | npt.NDArray[np.float64]]

HAM_FOR_ONE_IN_A_THOUSAND = 3_000  # under three allowed errors the figure is chance
CALIBRATION_BINS = 10
BATCH_MESSAGES = 256
BATCH_BYTES = 16 << 20

FIGURES = (
    "roca_percent",
    "fn_at_fp_0_1",
    "positive_recall",
    "suspect_or_positive_recall",
    "ham_positive",
    "ham_suspect",
    "calibration_error",
    "messages_per_second",
    "cpu_us_per_message",
)


def message_digest(content: bytes) -> bytes:
    """The first eight bytes of SHA-256 of a message as it lies in its corpus: what a lineage remembers."""
    return hashlib.sha256(content).digest()[:8]


@dataclass(slots=True)
class _Tally:
    scores: list[float] = field(default_factory=list)
    spam: list[bool] = field(default_factory=list)
    unlabelled: int = 0
    known: int = 0  # messages of the model's own training
    wall: float = 0.0
    cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures per corpus, their macro average over the corpora that the model was not trained on, and what could not be read."""

    corpora: Mapping[str, Mapping[str, float | int | None]]
    macro: Mapping[str, float | None]
    errors: Sequence[CorpusError]

    def to_json(self, model: Mapping[str, object] | None = None) -> dict[str, object]:
        return {"corpora": {name: dict(row) for name, row in self.corpora.items()}, "macro": dict(self.macro), "model": dict(model or {})}


def evaluate(
    items: Iterable[Item],
    score: Scorer,
    *,
    clean: Callable[[bytes], bytes] | None = None,
    lineage: Container[bytes] = frozenset(),
    positive_above: float = POSITIVE_ABOVE,
    suspect_above: float = SUSPECT_ABOVE,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Score every labelled item and measure.

    `score` maps messages to scores 0–100 (calibrated probability × 100), in order. `clean` removes header fields that give the label away
    before the scorer sees a message. `lineage` holds the `message_digest`s the model was trained on. `on_progress` gets the number of
    items read. Nothing is raised for unreadable items; they are in `errors`.
    """
    tallies: dict[str, _Tally] = {}
    errors: list[CorpusError] = []
    for batch in _batches(items, tallies, errors, on_progress):
        contents = [clean(content) if clean else content for _, content, _ in batch]
        wall, cpu = time.perf_counter(), time.process_time()
        scores = score(contents)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size = sum(map(len, contents)) or 1
        for (corpus, content, label), value, cleaned in zip(batch, scores, contents, strict=True):
            tally = tallies[corpus]
            tally.scores.append(float(value))
            tally.spam.append(label == "spam")
            tally.known += message_digest(content) in lineage
            tally.wall += wall * len(cleaned) / size
            tally.cpu += cpu * len(cleaned) / size
    rows = {name: _figures(tally, positive_above, suspect_above) for name, tally in tallies.items()}
    return Evaluation(rows, macro_average(rows.values()), errors)


def _batches(
    items: Iterable[Item], tallies: dict[str, _Tally], errors: list[CorpusError], on_progress: Callable[[int], None] | None
) -> Iterator[list[tuple[str, bytes, Label]]]:
    """Labelled messages in batches of one corpus each."""
    batch: list[tuple[str, bytes, Label]] = []
    size = 0
    for item in items:
        if on_progress is not None:
            on_progress(1)
        if item.error is not None or item.content is None:
            errors.append(item.error or CorpusError("no content", where=item.path))
            continue
        tally = tallies.setdefault(item.corpus, _Tally())
        if item.label is None:
            tally.unlabelled += 1
            continue
        if batch and (batch[0][0] != item.corpus or len(batch) >= BATCH_MESSAGES or size >= BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((item.corpus, item.content, item.label))
        size += len(item.content)
    if batch:
        yield batch


def _figures(tally: _Tally, positive_above: float, suspect_above: float) -> dict[str, float | int | None]:
    scores = np.asarray(tally.scores, np.float64)
    spam = np.asarray(tally.spam, np.bool_)
    of_ham, of_spam, n = scores[~spam], scores[spam], len(scores)
    both = len(of_ham) > 0 and len(of_spam) > 0
    positive = scores > positive_above
    suspect = (scores > suspect_above) & ~positive
    return {
        "ham": len(of_ham),
        "spam": len(of_spam),
        "unlabelled": tally.unlabelled,
        "in_training": tally.known / n if n else 0.0,
        "roca_percent": roca_percent(scores, spam) if both else None,
        "fn_at_fp_0_1": fn_at_fp(scores, spam, 0.001) if both and len(of_ham) >= HAM_FOR_ONE_IN_A_THOUSAND else None,
        "positive_recall": _percent(positive[spam]),
        "suspect_or_positive_recall": _percent((positive | suspect)[spam]),
        "ham_positive": _percent(positive[~spam]),
        "ham_suspect": _percent(suspect[~spam]),
        "calibration_error": calibration_error(scores / 100.0, spam) if both else None,
        "messages_per_second": n / tally.wall if n and tally.wall else None,
        "cpu_us_per_message": 1e6 * tally.cpu / n if n else None,
    }


def _percent(hits: npt.NDArray[np.bool_]) -> float | None:
    return 100.0 * float(hits.mean()) if len(hits) else None


def roca_percent(scores: npt.NDArray[np.float64], spam: npt.NDArray[np.bool_]) -> float:
    """(1 − area under the ROC curve) × 100: the chance that a ham outranks a spam; ties count half. Both classes must be present."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, len(ordered)])
    ranks = np.empty(len(scores), np.float64)
    ranks[order] = np.repeat(starts + (sizes + 1) / 2.0, sizes)
    n_spam = int(spam.sum())
    n_ham = len(spam) - n_spam
    area = (float(ranks[spam].sum()) - n_spam * (n_spam + 1) / 2.0) / (n_spam * n_ham)
    return 100.0 * (1.0 - area)


def fn_at_fp(scores: npt.NDArray[np.float64], spam: npt.NDArray[np.bool_], rate: float) -> float:
    """Percent of spam missed at the loosest threshold that flags at most `rate` of the ham; ties count as flagged."""
    ham = np.sort(scores[~spam])[::-1]
    allowed = int(rate * len(ham))
    limit = ham[allowed] if allowed < len(ham) else -np.inf
    return 100.0 * float(np.mean(scores[spam] <= limit))


def calibration_error(probabilities: npt.NDArray[np.float64], spam: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error, 0–1: |mean probability − share of spam| over ten equal bins, weighted by their size."""
    bins = np.clip((probabilities * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)
    gap = np.bincount(bins, probabilities - spam, CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(spam))


def macro_average(rows: Iterable[Mapping[str, float | int | None]]) -> dict[str, float | None]:
    """Plain mean of each figure over the corpora that have it and have no message in the model's training."""
    unseen = [row for row in rows if not row["in_training"]]
    macro: dict[str, float | None] = {}
    for name in FIGURES:
        values = [value for row in unseen if (value := row[name]) is not None]
        macro[name] = sum(values) / len(values) if values else None
    return macro
