"""What deciding cost, kept in the state folder: a file of each process that decides, and the sum of all for whoever shows it.

    costs/<process>.json   written by that process alone, whole or not at all; read by the command line, the metrics, and that process when it starts

It may be lost: a file that cannot be read counts as none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from esa.policy.filters.costs import ConditionCost, Costs, FilterCost

FOLDER = "costs"
_SUFFIX = ".json"
_VERSION = 1
LARGEST = 64 << 20  # octets of a file that is read: a hundred thousand filters with their conditions


class Kept(NamedTuple):
    """What a process wrote. `of`: the digest of all filters that its times are of."""

    of: str
    costs: Costs


NOTHING = Kept("", Costs())


def write(folder: Path, process: str, kept: Kept) -> None:
    """Write the file of a process. `folder` is there. Raises OSError."""
    costs = kept.costs
    working = folder / f".{process}{_SUFFIX}"
    written = {
        "version": _VERSION,
        "of": kept.of,
        "messages": costs.messages,
        "timed": costs.timed,
        "stages": dict(costs.stages),
        "filters": [[*one[:-1], [list(condition) for condition in one.conditions]] for one in costs.filters],
    }
    with open(os.open(working, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(written, file)
    working.replace(folder / f"{process}{_SUFFIX}")


def read(folder: Path, process: str) -> Kept:
    """What a process wrote; nothing if there is no such file, or it is none of ours."""
    return _read(folder / f"{process}{_SUFFIX}")


def read_all(folder: Path, of: str = "") -> Costs:
    """The sum over all processes; the times are those of the filters with the digest `of`, or of those that the file written last is of."""
    files = sorted(folder.glob(f"[!.]*{_SUFFIX}"), key=_age)
    found = [_read(path) for path in files]
    wanted = of or (found[0].of if found else "")
    return Costs.sum(one.costs if one.of == wanted else one.costs.hits for one in found)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> Kept:
    try:
        if path.stat().st_size > LARGEST:
            return NOTHING
        return _kept(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return NOTHING


def _kept(given: dict[str, Any]) -> Kept:
    """Raises ValueError, TypeError, KeyError or AttributeError for what `write` did not write."""
    if given["version"] != _VERSION:
        return NOTHING
    filters = []
    for stage, name, digest, hits, last_hit, run, nanoseconds, conditions in given["filters"]:
        told = tuple(ConditionCost(str(text), int(asked), float(took)) for text, asked, took in conditions)
        filters.append(FilterCost(str(stage), str(name), str(digest), int(hits), float(last_hit), int(run), float(nanoseconds), told))
    stages = {str(name): float(spent) for name, spent in given["stages"].items()}
    return Kept(str(given["of"]), Costs(int(given["messages"]), int(given["timed"]), stages, tuple(filters)))
