"""Trains the default model: two hand-signed cards, one calibration curve. Run by `make model`; equal corpora give equal bytes.

Usage: python models/train_default.py [--out models/default.esamodel] [--check]

A card is Σ sign · clip((fact − mean) / scale, ±2) over its facts (`signs.py`), with mean and scale under weights that make the classes
equal inside each mail type, then one slope and offset by logistic regression. The logit adds both cards with weights by mail type (0 no
HTML, 1 HTML with few links, 2 HTML with many): content 1, ½, ¼ and relation ½, 1, 1, on one Platt curve fitted to scores of corpora that
the scoring model had left out, at a prior of 35 % spam. Everything is measured with a corpus left out first; those figures stand in
default.json and in the model's card. phishing_pot is read for one figure only and never trained on: its terms forbid it.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from signs import CONTENT, RELATION
from sklearn.linear_model import LogisticRegression

from esa.engine.lexicons import feature_space, shipped
from esa.engine.model import Model
from esa.engine.verdict import POSITIVE_ABOVE, SUSPECT_ABOVE
from esa.learning.corpora import iter_corpus
from esa.learning.evaluation import calibration_error, message_digest, roca_percent
from esa.learning.leaks import LeakList
from esa_core import FACT_NAMES, extract_facts

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("ESA_SHARED") or HERE.parent.parent / "shared")
TRAINING: Final = ("spamassassin", "list-nvdimm", "foff-2025", "list-usrp", "bounces")  # what the default model may be trained on
TWO_CLASSES: Final = ("spamassassin", "list-nvdimm", "foff-2025")  # the corpora that give a ranking figure
PHISHING: Final = "phishing_pot"
GROUP_LIMIT = 500  # messages of a group (corpus × class) in a fit; groups weigh the same per class however large they are
CALIBRATION_LIMIT = 1500  # of a group in a calibration curve
PHISHING_LIMIT = 1500  # of phishing_pot in its one figure
PRIOR = 0.35  # share of spam the curve is calibrated to: a suspect is cheap, a lost newsletter is not
BALANCED = 0.5
TYPES = 3
GATE: Final = np.array([[1.0, 0.5, 0.25], [0.5, 1.0, 1.0]])  # weight of content and relation by mail type
MAIL_TYPE = FACT_NAMES.index("mail_type")
CARD: Final = np.array([0 if name in CONTENT else 1 if name in RELATION else -1 for name in FACT_NAMES], dtype=np.int8)
SIGN: Final = np.array([CONTENT.get(name, RELATION.get(name, 0)) for name in FACT_NAMES], dtype=np.int8)
SMALLEST_SCALE = 0.05  # added to the deviation, so that a fact that hardly ever moves cannot shout
DECIMALS = 9  # arrays are rounded to it: what differs beyond is the order of additions

Floats = npt.NDArray[np.float64]


class Group(NamedTuple):
    """A class of a corpus, or a part of one that is told apart."""

    corpus: str
    part: str
    spam: bool


@dataclass(frozen=True, slots=True)
class Mail:
    """The facts of a group's messages [n, n_facts], in an order that has nothing to do with time, and their digests."""

    facts: npt.NDArray[np.float32]
    digests: tuple[bytes, ...]


Mails = Mapping[Group, Mail]


# --- reading ----------------------------------------------------------------------------------------------------------------------


def archive(name: str) -> Path:
    """The archive of a corpus, or the folder it was unpacked to."""
    for path in (SHARED / "corpora" / f"{name}.tar.zst", SHARED / "corpora" / name):
        if path.exists():
            return path
    raise SystemExit(f"the corpus {name} is absent: set ESA_SHARED to the folder that holds corpora/")


def group_of(corpus: str, path: str, label: str | None) -> Group | None:
    """The group of a message; None for what is not labelled and no bounce."""
    if corpus == "mime-fixtures":
        return Group("bounces", "bounce", False) if "sisimai-bounces" in path else None
    if label is None:
        return None
    if corpus == "spamassassin" and label == "ham":
        return Group(corpus, "hard ham" if "hard" in path.rsplit("/", 1)[-1] else "easy ham", False)
    return Group(corpus, label, label == "spam")


def read(names: Iterable[str]) -> dict[Group, Mail]:
    """All messages of the corpora by group, leaky header fields dropped, as facts."""
    clean = LeakList.load().strip
    found: dict[Group, list[tuple[bytes, bytes]]] = {}
    for name in names:
        for item in iter_corpus(archive("mime-fixtures" if name == "bounces" else name)):
            if item.content is None:
                continue
            group = group_of("mime-fixtures" if name == "bounces" else name, item.path, item.label)
            if group is not None:
                found.setdefault(group, []).append((hashlib.sha256(item.content).digest(), item.content))
    mails = {}
    for group, messages in sorted(found.items()):
        messages.sort()
        if group.corpus == PHISHING:
            del messages[PHISHING_LIMIT:]
        facts = extract_facts([clean(content) for _, content in messages], shipped())
        mails[group] = Mail(facts, tuple(message_digest(content) for _, content in messages))
    return mails


# --- fitting ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fitted:
    """The cards before calibration: mean and scale of each fact, and a slope and an offset for each card."""

    mean: Floats
    scale: Floats
    regressions: tuple[LogisticRegression, LogisticRegression]

    def cards(self, facts: npt.ArrayLike) -> Floats:
        """The sums of both cards [n, 2]."""
        steps = np.clip((np.asarray(facts, dtype=np.float64) - self.mean) / self.scale, -2.0, 2.0) * SIGN
        return np.stack([steps[:, card == CARD].sum(axis=1) for card in (0, 1)], axis=1)

    def scores(self, facts: npt.NDArray[np.float32]) -> Floats:
        """Uncalibrated log-odds [n]: both regressions' decision functions under the gate of the mail type."""
        sums = self.cards(facts)
        decided = np.stack([one.decision_function(sums[:, [card]]) for card, one in enumerate(self.regressions)], axis=1)
        return np.asarray((decided * GATE.T[types_of(facts)]).sum(axis=1))


def types_of(facts: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    return np.clip(np.rint(facts[:, MAIL_TYPE]), 0, TYPES - 1).astype(np.int64)


def fit(groups: Mails) -> Fitted:
    """Fit both cards on at most GROUP_LIMIT messages of each group."""
    facts, spam, weight = [], [], []
    for label in (False, True):
        chosen = [mail.facts[:GROUP_LIMIT] for group, mail in sorted(groups.items()) if group.spam is label]
        for one in chosen:
            facts.append(one)
            spam.append(np.full(len(one), label))
            weight.append(np.full(len(one), 1.0 / len(chosen) / len(one)))
    x, y, w = np.vstack(facts).astype(np.float64), np.concatenate(spam), np.concatenate(weight)
    balanced = w.copy()
    kinds = np.clip(np.rint(x[:, MAIL_TYPE]), 0, TYPES - 1)
    for kind in range(TYPES):
        for label in (False, True):
            cell = (kinds == kind) & (y == label)
            if cell.any():
                balanced[cell] *= w[kinds == kind].sum() / 2.0 / w[cell].sum()
    balanced /= balanced.sum()
    mean = balanced @ x
    scale = np.sqrt(balanced @ (x - mean) ** 2) + SMALLEST_SCALE
    sums = Fitted(mean, scale, (regression(), regression())).cards(x)
    return Fitted(mean, scale, tuple(regression().fit(sums[:, [card]], y, sample_weight=w * len(y)) for card in (0, 1)))


def regression() -> LogisticRegression:
    return LogisticRegression(C=1e6, tol=1e-8, max_iter=1000)


def platt(parts: Sequence[tuple[Floats, bool]], prior: float) -> LogisticRegression:
    """The curve from score to probability; each part (scores, class) weighs the same within its class."""
    x = np.concatenate([scores for scores, _ in parts])
    y = np.concatenate([np.full(len(scores), spam) for scores, spam in parts])
    count = {label: sum(spam is label for _, spam in parts) for label in (False, True)}
    share = {True: prior, False: 1.0 - prior}
    w = np.concatenate([np.full(len(scores), share[spam] / count[spam] / len(scores)) for scores, spam in parts])
    return regression().fit(x[:, None], y, sample_weight=w * len(y))


def without(groups: Mails, *corpora: str) -> dict[Group, Mail]:
    return {group: mail for group, mail in groups.items() if group.corpus not in corpora}


def calibrate(groups: Mails, prior: float, left_out: str = "") -> LogisticRegression:
    """The curve for a model that leaves `left_out` out: every other corpus is scored by cards that saw neither it nor `left_out`."""
    parts: list[tuple[Floats, bool]] = []
    for corpus in sorted({group.corpus for group in groups} - {left_out}):
        fitted = fit(without(groups, left_out, corpus))
        parts += [
            (fitted.scores(mail.facts[:CALIBRATION_LIMIT]), group.spam) for group, mail in sorted(groups.items()) if group.corpus == corpus
        ]
    return platt(parts, prior)


# --- figures ----------------------------------------------------------------------------------------------------------------------


def probabilities(curve: LogisticRegression, scores: Floats) -> Floats:
    return np.asarray(curve.predict_proba(scores[:, None])[:, 1], dtype=np.float64)


def balanced_rows(spam: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Rows in which the rarer class is repeated until both are as many."""
    classes = [np.flatnonzero(spam == label) for label in (False, True)]
    most = max(map(len, classes))
    return np.concatenate([np.resize(rows, most) for rows in classes])


def describe(scored: Mapping[Group, Floats], curve: LogisticRegression, balanced: LogisticRegression | None) -> dict[str, object]:
    """Figures of one corpus in percent: ranking, and each group's share above the thresholds."""
    row: dict[str, object] = {}
    for group, scores in scored.items():
        p = 100.0 * probabilities(curve, scores)
        row[group.part] = {
            "messages": len(p),
            "positive": round(100.0 * float((p > POSITIVE_ABOVE).mean()), 2),
            "suspect_or_positive": round(100.0 * float((p > SUSPECT_ABOVE).mean()), 2),
        }
    spam = np.concatenate([np.full(len(scores), group.spam) for group, scores in scored.items()])
    if spam.any() and not spam.all():
        scores = np.concatenate(list(scored.values()))
        row["roca_percent"] = round(roca_percent(scores, spam), 3)
        if balanced is not None:
            even = balanced_rows(spam)
            row["calibration_error"] = round(calibration_error(probabilities(balanced, scores)[even], spam[even]), 3)
    return row


def leave_one_out(groups: Mails, phishing: Mails) -> dict[str, dict[str, object]]:
    """For each corpus, what a model says of it that never saw it, with a curve from corpora that it never saw either."""
    result = {}
    for corpus in TRAINING:
        fitted = fit(without(groups, corpus))
        scored = {group: fitted.scores(mail.facts) for group, mail in sorted(groups.items()) if group.corpus == corpus}
        result[corpus] = describe(scored, calibrate(groups, PRIOR, corpus), calibrate(groups, BALANCED, corpus))
    if not phishing:
        return result
    fitted = fit(groups)
    result[PHISHING] = describe({group: fitted.scores(mail.facts) for group, mail in phishing.items()}, calibrate(groups, PRIOR), None)
    return result


def within(groups: Mails) -> dict[str, dict[str, object]]:
    """For each corpus of two classes, one half scored by cards fitted on the other half of the same corpus: what not to quote."""
    result = {}
    for corpus in TWO_CLASSES:
        mine = {group: mail for group, mail in groups.items() if group.corpus == corpus}
        first = {group: Mail(mail.facts[0::2], mail.digests[0::2]) for group, mail in mine.items()}
        fitted = fit(first)
        curve = platt([(fitted.scores(mail.facts), group.spam) for group, mail in first.items()], PRIOR)
        result[corpus] = describe({group: fitted.scores(mail.facts[1::2]) for group, mail in sorted(mine.items())}, curve, None)
    return result


def macro(rows: Mapping[str, Mapping[str, object]]) -> float:
    return round(float(np.mean([float(str(rows[corpus]["roca_percent"])) for corpus in TWO_CLASSES])), 3)


# --- the model --------------------------------------------------------------------------------------------------------------------


def build(groups: Mails, fitted: Fitted, curve: LogisticRegression) -> Model:
    """The model file's arrays: the regressions, the gate and the curve multiplied into one weight per card and mail type."""
    slope, offset = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    slopes = np.array([float(one.coef_[0, 0]) for one in fitted.regressions])
    offsets = np.array([float(one.intercept_[0]) for one in fitted.regressions])
    arrays = {
        "card": CARD,
        "sign": SIGN,
        "mean": np.round(fitted.mean, DECIMALS),
        "scale": np.round(fitted.scale, DECIMALS),
        "weights": np.round(slope * slopes[:, None] * GATE, DECIMALS),
        "prior": np.round(offset + slope * (offsets[:, None] * GATE).sum(axis=0), DECIMALS),
    }
    families = {0: "content", 1: "relation", -1: "none"}
    return Model(
        name="default",
        kind="cards",
        feature_space=feature_space(),
        arrays=arrays,
        names=(*FACT_NAMES, "prior"),
        families=(*(families[int(card)] for card in CARD), "prior"),
        facts={
            "lineage": {f"{group.corpus}, {group.part}": len(mail.digests) for group, mail in sorted(groups.items())},
            "prior": PRIOR,
            "positive_above": POSITIVE_ABOVE,
            "suspect_above": SUSPECT_ABOVE,
            "licence": "Apache-2.0; numbers only, no text of any message",
        },
    )


def used(groups: Mails) -> bytes:
    """The digests of all messages that the fit or the curve has seen, eight octets each, sorted: what `in_training` is told from."""
    return b"".join(sorted({digest for mail in groups.values() for digest in mail.digests[:CALIBRATION_LIMIT]}))


def card_text(figures: Mapping[str, object], model: Model) -> str:
    """The model's card, for people."""
    loco: Mapping[str, Mapping[str, object]] = figures["leave_one_corpus_out"]  # type: ignore[assignment]
    inside: Mapping[str, Mapping[str, object]] = figures["within_corpus"]  # type: ignore[assignment]

    def rows(table: Mapping[str, Mapping[str, object]]) -> str:
        lines = [
            "| corpus | group | messages | positive % | suspect or positive % | (1−ROCA) % | calibration error |",
            "|---|---|---|---|---|---|---|",
        ]
        for corpus, row in table.items():
            for part, share in row.items():
                if isinstance(share, dict):
                    told = [row.get(key, "–") if part == "spam" else "" for key in ("roca_percent", "calibration_error")]
                    cells = [corpus, part, f"{share['messages']:,}", share["positive"], share["suspect_or_positive"], *told]
                    lines.append(f"| {' | '.join(map(str, cells))} |")
        return "\n".join(lines)

    template = (HERE / "card.md").read_text("utf-8")
    lineage: Mapping[str, int] = model.facts["lineage"]  # type: ignore[assignment]
    return template.format(
        date=figures["date"],
        feature_space=model.feature_space,
        content=int((CARD == 0).sum()),
        relation=int((CARD == 1).sum()),
        lineage="\n".join(f"| {name} | {count:,} |" for name, count in lineage.items()),
        leave_one_out=rows(loco),
        within=rows(inside),
        macro=figures["macro_roca_percent"],
        macro_within=figures["macro_within_roca_percent"],
    )


def date_of(figures: Mapping[str, object], written: Path) -> str:
    """The day these figures were first written: the same corpora make the same files, whenever they are made again."""
    if written.exists():
        before = json.loads(written.read_text())
        date = str(before.pop("date", ""))
        if date and before == json.loads(json.dumps(figures)):
            return date
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "default.esamodel")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file would change")
    options = parser.parse_args()
    groups, phishing = read(TRAINING), read((PHISHING,))
    model = build(groups, fit(groups), calibrate(groups, PRIOR))
    if options.check:
        return int(not options.out.exists() or options.out.read_bytes() != model.to_bytes())
    loco, inside = leave_one_out(groups, phishing), within(groups)
    figures: dict[str, object] = {
        "feature_space": model.feature_space,
        "macro_roca_percent": macro(loco),
        "macro_within_roca_percent": macro(inside),
        "leave_one_corpus_out": loco,
        "within_corpus": inside,
    }
    figures["date"] = date_of(figures, options.out.with_suffix(".json"))
    model.save(options.out)
    options.out.with_suffix(".lineage").write_bytes(used(groups))
    options.out.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(card_text(figures, model))
    print(f"{options.out}: macro (1−ROCA) {figures['macro_roca_percent']} % with each corpus left out", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
