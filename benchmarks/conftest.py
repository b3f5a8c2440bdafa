"""The benchmarks read the same shared corpora as the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mail import read

from tests.conftest import corpus, shared

__all__ = ["corpus", "shared"]


@pytest.fixture(scope="session")
def mail(corpus: Callable[[str], Path]) -> list[bytes]:
    """A thousand messages of spamassassin, chosen once, leaky header fields dropped."""
    return read(corpus("spamassassin"), 1_000)[0]
