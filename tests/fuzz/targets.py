"""The door to the native targets, which the Makefile builds: under sanitizers (first on the path), or beside the ordinary core."""

from __future__ import annotations

import importlib
import sys
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
