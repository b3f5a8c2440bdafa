"""What an administrator has suspended: listeners, delivery, or delivery to some destinations. Kept in a file, so that a restart changes nothing.

`esa queue suspend` and `resume` write it, with or without a running service; receivers and `deliver` look at it once a second.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from esa.errors import StoreError
from esa.store.folder import make_private, sync_directory, take_lock, telling

FILE_NAME = "suspended.json"
Part = Literal["listener", "delivery"]


@dataclass(frozen=True, slots=True)
class Suspension:
    """None: all of it; else these, by name in lower case."""

    listeners: frozenset[str] | None = frozenset()
    destinations: frozenset[str] | None = frozenset()

    def holds_listener(self, name: str) -> bool:
        return self.listeners is None or name.lower() in self.listeners

    def holds_destination(self, name: str) -> bool:
        return self.destinations is None or (bool(self.destinations) and name.lower() in self.destinations)

    def __bool__(self) -> bool:
        return self != NOTHING


NOTHING = Suspension()


def read_suspension(state: Path) -> Suspension:
    """What is suspended now. Raises StoreError; a file that cannot be understood is damaged (`is_damaged`)."""
    path = state / FILE_NAME
    try:
        document = json.loads(path.read_bytes())
        return Suspension(_names(document["listeners"]), _names(document["destinations"]))
    except FileNotFoundError:
        return NOTHING
    except OSError as error:
        raise StoreError(f"it cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, LookupError, TypeError):
        mend = "suspend or resume what should be: the file is written anew; until then nothing is suspended"
        raise StoreError("it does not say what is suspended", where=str(path), mend=mend, is_damaged=True) from None


def _names(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return frozenset(value)
    raise ValueError


def change_suspension(state: Path, part: Part, names: list[str] | None, *, is_suspended: bool) -> Suspension:
    """Suspend or resume a part: all of it (None), or by name; durable on return. Returns what is suspended now. Raises StoreError."""
    lock = take_lock(make_private(state / "run") / "suspension.lock", what="the list of what is suspended")
    try:
        try:
            before = read_suspension(state)
        except StoreError as fault:
            if not fault.is_damaged:
                raise
            before = NOTHING
        is_listener = part == "listener"
        after = _changed(before.listeners if is_listener else before.destinations, names, part, is_suspended=is_suspended)
        made = replace(before, listeners=after) if is_listener else replace(before, destinations=after)
        _write(state, made)
        return made
    finally:
        os.close(lock)


def _changed(before: frozenset[str] | None, names: list[str] | None, part: Part, *, is_suspended: bool) -> frozenset[str] | None:
    if names is None:
        return None if is_suspended else frozenset()
    given = frozenset(name.lower() for name in names)
    if is_suspended:
        return None if before is None else before | given
    if before is None:
        raise StoreError(
            f"{part} is suspended as a whole", mend=f"resume all of it (`esa queue resume {part}`), then suspend what shall stay so"
        )
    return before - given


def _write(state: Path, suspension: Suspension) -> None:
    path, working = state / FILE_NAME, state / f"{FILE_NAME}.new"
    document = {
        "listeners": None if suspension.listeners is None else sorted(suspension.listeners),
        "destinations": None if suspension.destinations is None else sorted(suspension.destinations),
    }
    with telling(path):
        if not suspension:
            path.unlink(missing_ok=True)
        else:
            with open(os.open(working, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:  # noqa: PTH123
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            working.replace(path)
        sync_directory(state)


class SuspensionWatch:
    """Tells what has changed; cheap to ask once a second."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._seen: tuple[int, int] | None = None
        self.current = NOTHING

    def look(self) -> tuple[Suspension, Suspension] | None:
        """(before, now) if it is another one than at the last look. Raises StoreError, once for each state of a file that cannot be read."""
        try:
            status = (self._state / FILE_NAME).stat()
            seen: tuple[int, int] | None = (status.st_ino, status.st_mtime_ns)
        except OSError:
            seen = None
        if seen == self._seen:
            return None
        self._seen = seen
        before, self.current = self.current, NOTHING
        self.current = read_suspension(self._state)
        return None if self.current == before else (before, self.current)
