"""`esa train`: a token model for whoever has labelled mail of their own.

Called by `esa train` and benchmarks/local_model.py. Two linear support vector machines: the first weighs the words of header and body, the
second these and the 4-grams of octets, which cost more and are asked for only where the first is not sure. Each machine's margin becomes
log-odds by a curve fitted to messages that the machine of their fold had not seen, so that thresholds on the score mean what they say. How
sure the first must be is chosen on the same held-out messages. Equal mail in equal order, equal seed: equal model, byte for byte.

Memory: four octets a feature and no second copy for the folds: some 20 KiB a message of ordinary mail (measured: 19 KiB, all included,
over 17,000 messages), so about 2 GiB for 100,000 messages; 800 KiB for a message that is all different words. Contents are not kept.

How well a model does on mail like that it was trained on says nothing of another mailbox: an error of some hundredths of a percent within
a corpus was one of several percent on the next, and the calibration falls with it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from esa.engine.model import Model
from esa.engine.verdict import POSITIVE_ABOVE, SUSPECT_ABOVE
from esa.errors import CorpusError
from esa.learning.corpora import Item
from esa.learning.evaluation import BATCH_BYTES, BATCH_MESSAGES, calibration_error, message_digest, roca_percent
from esa_core import FAMILY_NAMES, N_FEATURES, TOKEN_SPACE, extract_features, fit_platt, fit_svm

HEADER_TOKENS, BODY_WORDS, HEADER_GRAMS, BODY_GRAMS, MASKED_GRAMS, TEXT_WORDS = (1 << bit for bit in range(6))
WHDR: Final = HEADER_TOKENS | BODY_WORDS
RAW4_WHDR: Final = WHDR | HEADER_GRAMS | BODY_GRAMS

LEAST_OF_A_CLASS: Final = 10  # messages; with fewer there is nothing to fit a calibration to
FOLDS: Final = 5
COST: Final = 100.0  # of a message on the wrong side; rows have length 1, so the margin must be let to be narrow
EPOCHS: Final = 100
TOLERANCE: Final = 0.01

MARGINS: Final = np.arange(0.0, 12.5, 0.5)  # of the first stage's log-odds, tried on held-out messages
# Added to the best of them: few held-out messages are near the edge, so that the best one is often too narrow for the next mail. Over 20
# halves of training halves of spamassassin 1-ROCA was 0.066 % without, 0.064 % with 1, 0.058 % with 2; 0.057 % if all mail is weighed twice.
MORE_MARGIN: Final = 2.0

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Training:
    """What `train` made, and what it saw."""

    model: Model  # of the kind "tokens"; save with model.save(path)
    ham: int
    spam: int
    duplicates: int  # messages left out because another has the same body
    errors: Sequence[CorpusError]


@dataclass(frozen=True, slots=True)
class Rows:
    """Messages as rows of a sparse matrix and their labels (true: spam). All entries of a row are equal and make it of length 1."""

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    spam: Labels

    def __len__(self) -> int:
        return len(self.spam)

    def score(self, row: int, weights: Floats, bias: float) -> float:
        """Weights · row + bias."""
        entries = self.indices[self.indptr[row] : self.indptr[row + 1]]
        return float(weights[entries].sum()) / math.sqrt(max(len(entries), 1)) + bias


@dataclass(slots=True)
class _Matrix:
    """The features of one stage on their way to Rows."""

    starts: list[int] = field(default_factory=lambda: [0])
    indices: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(1 << 16, np.int32))  # the first starts[-1] are used

    def add(self, indptr: npt.NDArray[np.int64], indices: npt.NDArray[np.int32]) -> None:
        """Append the features of a batch; the array grows by an eighth at a time, in place where the allocator can."""
        used = self.starts[-1]
        needed = used + len(indices)
        if needed > len(self.indices):
            self.indices.resize(needed + needed // 8, refcheck=False)
        self.indices[used:needed] = indices
        self.starts.extend((indptr[1:] + used).tolist())

    def rows(self, spam: Sequence[bool]) -> Rows:
        self.indices.resize(self.starts[-1], refcheck=False)
        return Rows(np.asarray(self.starts, np.int64), self.indices, np.asarray(spam, np.bool_))


@dataclass(slots=True)
class _Collected:
    """What is known of the labelled mail that was read, beside its features."""

    spam: list[bool] = field(default_factory=list)
    lineage: list[bytes] = field(default_factory=list)
    bodies: set[bytes] = field(default_factory=set)
    duplicates: int = 0
    errors: list[CorpusError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Machine:
    """A fitted support vector machine in log-odds, and what it said of the messages it learnt from while they were held out."""

    weights: npt.NDArray[np.float32]
    bias: float
    held_out: Floats


def train(
    items: Iterable[Item],
    *,
    clean: Callable[[bytes], bytes] | None = None,
    name: str = "local",
    seed: int = 0,
    families: int = WHDR,
    second_families: int = RAW4_WHDR,
    on_progress: Callable[[int], None] | None = None,
) -> Training:
    """Train on every labelled item.

    `clean` removes what gives the label away before anything is learnt. Of messages with one body only the first is learnt. `families`
    are the bits of hashed features that the first stage weighs, `second_families` those of the second (the same and others of higher bits;
    0: there is no second stage). `on_progress` gets the number of items read. Raises CorpusError if a class has fewer than ten
    messages; what cannot be read is in `errors` of the result.
    """
    collected = _Collected()
    stages = {wanted: _Matrix() for wanted in (families, second_families) if wanted}
    for batch in _batches(items, collected, clean, on_progress):
        for wanted, matrix in stages.items():
            indptr, indices, _ = extract_features(batch, families=wanted)
            matrix.add(indptr, indices)
    spam = np.asarray(collected.spam, np.bool_)
    _check_classes(spam, collected)
    first, *further = [learn(matrix.rows(collected.spam), seed=seed) for matrix in stages.values()]
    arrays = {"weights": first.weights, "bias": np.array([first.bias]), "lineage": _lineage(collected.lineage)}
    facts: dict[str, object] = {"families": families}
    held_out = first.held_out
    for second in further:
        margin = best_margin(first.held_out, second.held_out, spam)
        held_out = in_two_stages(first.held_out, second.held_out, margin)
        arrays |= {"second_weights": second.weights, "second_bias": np.array([second.bias])}
        share = float(np.mean(np.abs(first.held_out) < margin))
        facts |= {"second_families": second_families, "margin": margin, "second_stage_percent": round(100.0 * share, 1)}
    model = Model(
        name=name,
        kind="tokens",
        feature_space=TOKEN_SPACE,
        arrays=arrays,
        names=(*FAMILY_NAMES, "bias"),
        families=(*FAMILY_NAMES, "bias"),
        facts=facts | _facts(spam, held_out, seed=seed, duplicates=collected.duplicates),
    )
    return Training(model, int((~spam).sum()), int(spam.sum()), collected.duplicates, collected.errors)


def learn(rows: Rows, *, seed: int) -> Machine:
    """A machine of all rows, calibrated on folds that it had not seen."""
    scores = cross_validate(rows, seed=seed)
    slope, intercept = fit_platt(scores, rows.spam)
    weights, bias = fit(rows, seed=seed)
    return Machine((slope * weights).astype(np.float32), slope * bias + intercept, slope * scores + intercept)


def in_two_stages(first: Floats, second: Floats, margin: float) -> Floats:
    """The log-odds of the first stage where they are `margin` from 0 or more, of the second elsewhere: as the engine judges."""
    return np.where(np.abs(first) < margin, second, first)


def best_margin(first: Floats, second: Floats, spam: Labels) -> float:
    """How sure the first stage must be, from the log-odds of messages that neither had seen."""
    misranked = [round(roca_percent(in_two_stages(first, second, float(margin)), spam), 9) for margin in MARGINS]
    return float(MARGINS[int(np.argmin(misranked))]) + MORE_MARGIN


def fit(rows: Rows, *, seed: int, chosen: npt.NDArray[np.int64] | None = None) -> tuple[Floats, float]:
    """Weights float64 [2^20] and bias of the support vector machine of all rows, or of the chosen ones."""
    return fit_svm(
        rows.indptr,
        rows.indices,
        None,
        rows.spam,
        n_weights=N_FEATURES,
        rows=chosen,
        cost=COST,
        epochs=EPOCHS,
        tolerance=TOLERANCE,
        seed=seed,
    )


def cross_validate(rows: Rows, *, seed: int) -> Floats:
    """Scores of all rows, each by a machine that has not seen it; every fold has its share of both classes."""
    fold = np.empty(len(rows), np.int64)
    random = np.random.default_rng(seed)
    for label in (False, True):
        members = np.flatnonzero(rows.spam == label)
        fold[random.permutation(members)] = np.arange(len(members)) % FOLDS
    scores = np.empty(len(rows), np.float64)
    for k in range(FOLDS):
        weights, bias = fit(rows, seed=seed, chosen=np.flatnonzero(fold != k))
        for row in np.flatnonzero(fold == k).tolist():
            scores[row] = rows.score(row, weights, bias)
    return scores


def body_digest(content: bytes) -> bytes:
    """Equal for messages whose bodies differ only in white space."""
    head, separator, body = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    return hashlib.sha256(re.sub(rb"\s+", b" ", body if separator else head)).digest()[:16]


def _batches(
    items: Iterable[Item], collected: _Collected, clean: Callable[[bytes], bytes] | None, on_progress: Callable[[int], None] | None
) -> Iterator[list[bytes]]:
    """Labelled messages with new bodies, in batches; the rest is noted."""
    batch: list[bytes] = []
    size = 0
    for item in items:
        if on_progress is not None:
            on_progress(1)
        if item.error is not None:
            collected.errors.append(item.error)
        if item.content is None or item.label is None:
            continue
        content = clean(item.content) if clean else item.content
        body = body_digest(content)
        if body in collected.bodies:
            collected.duplicates += 1
            continue
        collected.bodies.add(body)
        collected.lineage.append(message_digest(item.content))
        collected.spam.append(item.label == "spam")
        batch.append(content)
        size += len(content)
        if len(batch) >= BATCH_MESSAGES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _check_classes(spam: Labels, collected: _Collected) -> None:
    for label, count in (("ham", int((~spam).sum())), ("spam", int(spam.sum()))):
        if count < LEAST_OF_A_CLASS:
            reason = f" ({len(collected.errors)} inputs could not be read, the first: {collected.errors[0]})" if collected.errors else ""
            raise CorpusError(
                f"there are {count} {label} messages with bodies of their own, "
                f"training needs at least {LEAST_OF_A_CLASS} of each class{reason}",
                mend="Labels are the folder names ham and spam, or the lines of a TREC index.",
            )


def _lineage(digests: Iterable[bytes]) -> npt.NDArray[np.uint8]:
    """[n, 8] in rising order: which messages the model has seen, without telling what they say."""
    return np.frombuffer(b"".join(sorted(digests)), np.uint8).reshape(-1, 8)


def _facts(spam: Labels, logits: Floats, *, seed: int, duplicates: int) -> dict[str, object]:
    """The model's card: recipe, counts, and how the held-out messages were judged."""
    probabilities = 0.5 * (1.0 + np.tanh(logits / 2.0))
    of_spam, of_ham = 100.0 * probabilities[spam], 100.0 * probabilities[~spam]
    return {
        "recipe": "linear support vector machine, squared hinge, rows of length 1; Platt calibration on held-out folds",
        "cost": COST,
        "seed": seed,
        "ham": len(of_ham),
        "spam": len(of_spam),
        "duplicates": duplicates,
        "thresholds": {"positive_above": POSITIVE_ABOVE, "suspect_above": SUSPECT_ABOVE},
        "held_out": {
            "folds": FOLDS,
            "roca_percent": round(roca_percent(logits, spam), 4),
            "calibration_error": round(calibration_error(probabilities, spam), 4),
            "positive_recall": round(100.0 * float(np.mean(of_spam > POSITIVE_ABOVE)), 2),
            "suspect_or_positive_recall": round(100.0 * float(np.mean(of_spam > SUSPECT_ABOVE)), 2),
            "ham_positive": round(100.0 * float(np.mean(of_ham > POSITIVE_ABOVE)), 2),
            "ham_suspect": round(100.0 * float(np.mean((of_ham > SUSPECT_ABOVE) & (of_ham <= POSITIVE_ABOVE))), 2),
        },
    }
