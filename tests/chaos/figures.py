"""One line of the table that `make chaos` prints: a fault, what was done, the figure, the bar, and whether it is met."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Figure(NamedTuple):
    fault: str  # with the numbers of the fault matrix in front
    done: str
    figure: str
    bar: str
    is_met: bool


def unmet(figures: Iterable[Figure]) -> list[Figure]:
    """Those that are not met, for a test to compare with none."""
    return [figure for figure in figures if not figure.is_met]
