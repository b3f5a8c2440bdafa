"""FROZEN baseline: the pipeline as one writes it in Python with good libraries, at its best: batched.

A change to this file is a commit of its own, with the figures before and after.

Per message: `email` with its default policy and `get_content` of every text part, lower case, one compiled pyahocorasick automaton
with counts per term. Per batch: one HashingVectorizer per field (header fields, subject, text), and one decision_function of a linear SGD
classifier over all.
"""

from __future__ import annotations

import email
import email.policy
from collections import Counter
from collections.abc import Sequence
from email.message import EmailMessage

import ahocorasick
import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier

BATCH = 256
FEATURES = 1 << 20


def parse(raw: bytes) -> tuple[str, str, str]:
    """Header fields, subject and text of one message. What `email` itself cannot do is left out, as one would in practice."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    try:
        fields = "\n".join(f"{name}:{value}" for name, value in message.items())
        subject = str(message.get("subject", ""))
    except Exception:
        fields = subject = ""
    texts = []
    for part in message.walk():
        if part.get_content_maintype() == "text":
            try:
                texts.append(part.get_content())
            except Exception:
                texts.append(raw[:65536].decode("latin-1"))
    return fields, subject, "\n".join(texts)


class PythonStack:
    """Scores and counts of terms for batches of raw messages."""

    def __init__(self, terms: Sequence[str], train: Sequence[bytes], labels: Sequence[bool]) -> None:
        self.automaton = ahocorasick.Automaton()
        for number, term in enumerate(terms):
            self.automaton.add_word(term.lower(), number)
        self.automaton.make_automaton()
        word = r"(?u)\b\w\w+\b"
        self.vectorizers = [
            HashingVectorizer(n_features=FEATURES, token_pattern=r"\S+", alternate_sign=False),
            HashingVectorizer(n_features=FEATURES, token_pattern=word, alternate_sign=False),
            HashingVectorizer(n_features=FEATURES, token_pattern=word, alternate_sign=False),
        ]
        self.classifier = SGDClassifier(loss="log_loss", random_state=0)
        self.classifier.fit(self._features([parse(raw) for raw in train]), np.asarray(labels))

    def _features(self, parsed: Sequence[tuple[str, str, str]]) -> csr_matrix:
        columns = [vectorizer.transform([fields[i] for fields in parsed]) for i, vectorizer in enumerate(self.vectorizers)]
        return hstack(columns, format="csr")

    def scan(self, raws: Sequence[bytes]) -> tuple[np.ndarray, list[Counter[int]]]:
        """One batch: decision values, and the terms found in each message with their counts."""
        parsed = [parse(raw) for raw in raws]
        counts = [Counter(number for _, number in self.automaton.iter(f"{subject}\n{text}".lower())) for _, subject, text in parsed]
        return self.classifier.decision_function(self._features(parsed)), counts

    def scan_all(self, raws: Sequence[bytes], batch: int = BATCH) -> None:
        for start in range(0, len(raws), batch):
            self.scan(raws[start : start + batch])
