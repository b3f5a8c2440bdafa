"""What the run of one case of a pack comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Result(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case: what it is called, what came of it, and why if it did not pass."""

    case: str
    result: Result
    reason: str = ""


def passed(case: str) -> Outcome:
    return Outcome(case, Result.PASSED)


def failed(case: str, reason: str) -> Outcome:
    return Outcome(case, Result.FAILED, reason)


def skipped(case: str, reason: str) -> Outcome:
    return Outcome(case, Result.SKIPPED, reason)


def judged(case: str, holds: bool, reason: str) -> Outcome:
    return passed(case) if holds else failed(case, reason)


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that can be run: its folder's name, the run, and the share of the cases that must pass.

    `share` is what the pack's rule asks for, `floor` what main holds today: falling below it makes the run fail. Where they differ the pack
    is told as open, with every case that fails.
    """

    name: str
    run: Callable[[Path], Iterable[Outcome]]
    share: float = 1.0
    floor: float = 1.0
    is_ours: bool = False  # its cases stand beside its run, in no shared folder
