"""The door to the native targets, which the Makefile builds: under sanitizers (first on the path), or beside the ordinary core."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from tests.conftest import ROOT

PLAIN = ROOT / "build" / "fuzz"


def load() -> ModuleType | None:
    """The module `esa_fuzz`, or None where it has not been built."""
    if str(PLAIN) not in sys.path:
        sys.path.append(str(PLAIN))
    try:
        return importlib.import_module("esa_fuzz")
    except ModuleNotFoundError:
        return None


@contextmanager
def untraced() -> Iterator[None]:
    """What is done within is not the input's: its edges do not count."""
    module = load()
    tracing = module.set_tracing(False) if module else False
    try:
        yield
    finally:
        if module:
            module.set_tracing(tracing)


def seal(image: memoryview) -> None:
    """Write the checksum of an image of patterns that is as long as its head says."""
    module = load()
    if module:
        module.seal(image)
