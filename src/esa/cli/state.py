"""What the commands on a state folder share: finding it, times, and asking the running process or doing its work."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from esa.errors import StoreError

_Command = TypeVar("_Command", bound=Callable[..., object])
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)\Z")


def state_options(function: _Command) -> _Command:
    """Add --state and --config to a command; `find_state` makes a folder of them."""
    function = click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration that names the state folder.")(
        function
    )
    return click.option("--state", type=click.Path(path_type=Path), help="State folder, instead of the one in the configuration.")(function)


def find_state(state: Path | None, config_file: Path | None) -> Path:
    """The state folder: as given, or as esa.toml says. Raises StoreError if it is not there, ConfigurationError for a wrong file."""
    if state is None:
        from esa.config.load import load

        state = load(config_file).state
    if not state.is_dir():
        raise StoreError(
            "there is no state folder", where=str(state), mend="start `esa serve` once, or give the right one with --state DIR"
        )
    return state


def iso(seconds: float) -> str:
    """Unix seconds as an ISO 8601 time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local(seconds: float) -> str:
    """Unix seconds for people, in the time zone of this machine."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def parse_since(text: str) -> float:
    """Unix seconds of a date, a time (ISO 8601; without a zone that of this machine), or an age as `2h`, `3 d`.

    Raises click.BadParameter.
    """
    if match := _AGO.match(text.strip()):
        return time.time() - float(match[1]) * _UNITS[match[2]]
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{text!r} is neither a time, as 2026-03-01T12:00, nor an age, as 2h or 3d", param_hint="--since"
        ) from None


def size_for_people(octets: int) -> str:
    """As `312 B`, `16.0 KiB`, `2.4 MiB`."""
    if octets < 1024:
        return f"{octets} B"
    size = octets / 1024
    for unit in ("KiB", "MiB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def ask_or_do(socket: Path, request: Mapping[str, object], do: Callable[[], object]) -> tuple[object, bool]:
    """Have the process that listens at `socket` do it, or `do` it here where none runs. Returns the answer, and whether a process gave it.

    A process that is just starting has its lock before it listens: it is asked again. Raises StoreError.
    """
    from esa.store.control import ask

    is_second = False
    while True:
        answer = ask(socket, request)
        if answer is not None:
            return answer, True
        try:
            return do(), False
        except StoreError as fault:
            if is_second or not fault.is_in_use:
                raise
        is_second = True


def ask_for_reload(state: Path) -> int | None:
    """Have the `esa serve` of this state folder read its configuration and files again. Returns its process id; None if none runs."""
    from esa.store.folder import is_locked

    run = state / "run"
    if not is_locked(run / "lock"):
        return None
    try:
        process = int((run / "pid").read_text())
        os.kill(process, signal.SIGHUP)
    except (OSError, ValueError):  # it is just starting or ending, and reads the files as they are now
        return None
    return process


def nothing_like(keys: tuple[str, ...], place: str, listing: str) -> StoreError:
    """The fault of a command none of whose identifiers is there."""
    named = ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
    return StoreError(f"{place} holds no {named}", mend=f"see `{listing}` for what is there")
