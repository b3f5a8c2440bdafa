"""`esa queue suspend|resume|status|drain`: holding mail back on either side of the queue, and emptying it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.state import find_state, iso, local, size_for_people, state_options
from esa.cli.terminal import counted, json_option, print_json, progress, say
from esa.errors import StoreError

if TYPE_CHECKING:
    from esa.store.suspension import Part, Suspension

STOP_SECONDS = 60.0  # that a service may take to end once it is empty
_LOOK = 0.25  # seconds between looks at what is left
_WORDS = {"listener": "listener", "listeners": "listener", "delivery": "delivery"}


class _PartType(click.ParamType[str]):
    name = "part"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in _WORDS:
            self.fail(f"{value!r} is neither `listener` nor `delivery`", param, ctx)
        return _WORDS[value]


@click.command()
@json_option
@click.argument("part", type=_PartType(), required=False)
@click.argument("names", metavar="[NAME…]", nargs=-1)
@state_options
def suspend(part: Part | None, names: tuple[str, ...], as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Hold mail back: PART is `listener` (no mail is taken) or `delivery` (none is handed on). Without PART both.

    \b
    Examples:
      esa queue suspend                          both (AsyncOS: suspend)
      esa queue suspend listener                 all listeners (suspendlistener)
      esa queue suspend listener inbound         one, by its name in esa.toml
      esa queue suspend delivery                 all delivery (suspenddel)
      esa queue suspend delivery example.org     one destination, as `esa queue hosts` names it

    It holds over restarts, until `esa queue resume`, and takes effect within a second. A suspended listener answers 421 4.3.2, so that senders
    come back later; what a client has begun gets its reply first. Delivery that is under way ends; what waits does not expire meanwhile.
    Exit status: 0 done; 2 used wrongly; 3 failed.
    """
    _change(part, names, as_json, find_state(state, config_file), is_suspended=True)


@click.command()
@json_option
@click.argument("part", type=_PartType(), required=False)
@click.argument("names", metavar="[NAME…]", nargs=-1)
@state_options
def resume(part: Part | None, names: tuple[str, ...], as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Go on with what was suspended: PART is `listener` or `delivery`. Without PART all of it.

    \b
    Examples:
      esa queue resume                           everything (AsyncOS: resume)
      esa queue resume listener                  all listeners (resumelistener)
      esa queue resume delivery example.org      one destination (resumedel)

    Exit status: 0 done; 2 used wrongly; 3 failed.
    """
    _change(part, names, as_json, find_state(state, config_file), is_suspended=False)


def _change(part: Part | None, names: tuple[str, ...], as_json: bool, folder: Path, *, is_suspended: bool) -> None:
    from esa.store.suspension import NOTHING, change_suspension

    made = NOTHING
    parts: tuple[Part, ...] = ("listener", "delivery") if part is None else (part,)
    for one in parts:
        made = change_suspension(folder, one, list(names) or None, is_suspended=is_suspended)
    if as_json:
        print_json(_document(made))
        return
    for line in _lines(made) or ["nothing is suspended"]:
        say(line)


def _document(suspension: Suspension) -> dict[str, object]:
    def names(given: frozenset[str] | None) -> object:
        return "all" if given is None else sorted(given)

    return {"listeners": names(suspension.listeners), "destinations": names(suspension.destinations)}


def _lines(suspension: Suspension) -> list[str]:
    """What is suspended, in words."""
    lines = []
    for what, names in (("listeners", suspension.listeners), ("delivery to", suspension.destinations)):
        if names is None:
            lines.append(f"suspended: {'all delivery' if what.startswith('delivery') else 'all listeners'}")
        elif names:
            lines.append(f"suspended: {what} {', '.join(sorted(names))}")
    return lines


@click.command()
@json_option
@state_options
def status(as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Tell what waits, what is suspended, and how much room there is.

    \b
    Examples:
      esa queue status
      esa queue status --json | jq .waiting

    Exit status: 0 nothing is suspended; 1 something is; 3 failed.
    """
    from esa.store.folder import is_locked
    from esa.store.queue_view import QueueView
    from esa.store.suspension import NOTHING, read_suspension

    folder = find_state(state, config_file)
    view = QueueView.open(folder)
    counts: dict[str, int] = {} if view is None else view.counts()
    backlogs = {} if view is None else view.backlogs()
    if view is not None:
        view.close()
    oldest = min((one.oldest for one in backlogs.values() if one.oldest is not None), default=None)
    try:
        suspension, fault = read_suspension(folder), ""
    except StoreError as error:
        suspension, fault = NOTHING, str(error)
    room = os.statvfs(folder)
    free, files = room.f_bavail * room.f_frsize, room.f_favail if room.f_files else None
    is_running = is_locked(folder / "run" / "lock")
    if as_json:
        print_json(
            {
                "running": is_running,
                **{name: counts.get(name, 0) for name in ("waiting", "in_flight", "failed")},
                "recipients": sum(one.unattempted + one.attempted for one in backlogs.values()),
                "destinations": sum(one.entries > 0 for one in backlogs.values()),
                "oldest": None if oldest is None else iso(oldest),
                "suspended": _document(suspension),
                "free_bytes": free,
                "free_files": files,
            }
        )
    else:
        recipients = sum(one.unattempted + one.attempted for one in backlogs.values())
        click.echo(f"service      {'running' if is_running else 'not running'}")
        click.echo(
            "entries      " + ", ".join(f"{counts.get(name, 0):,} {name.replace('_', ' ')}" for name in ("waiting", "in_flight", "failed"))
        )
        click.echo(f"recipients   {recipients:,} at {counted(sum(one.entries > 0 for one in backlogs.values()), 'destination')}")
        click.echo(f"oldest       {'none' if oldest is None else local(oldest)}")
        click.echo(f"free         {size_for_people(free)}" + ("" if files is None else f", {files:,} files"))
        for line in _lines(suspension) or [fault or "suspended    nothing"]:
            click.echo(line.replace("suspended: ", "suspended    "))
    if suspension:
        raise click.exceptions.Exit(1)


@dataclass(frozen=True, slots=True)
class _Left:
    """What is still to be done."""

    entries: int
    sessions: int
    is_unread: bool  # accepted mail that `deliver` has not read yet

    def __bool__(self) -> bool:
        return bool(self.entries or self.sessions or self.is_unread)


@click.command()
@json_option
@click.option("--timeout", default="10 min", show_default=True, help="How long it may take, as 90 s, 10 min, 2 h.")
@click.option("--stay", is_flag=True, help="Do not end the service: its listeners stay suspended.")
@state_options
def drain(timeout: str, stay: bool, as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Take no more mail, deliver what waits, and end the service: to shut a node down for good.

    \b
    Examples:
      esa queue drain
      esa queue drain --timeout "2 h" --stay

    All that waits is tried at once. What has failed for good, and what is in quarantine, stays. When the time is over and mail still waits,
    the service runs on with its listeners suspended, and the exit status is 1: give it more time, `esa queue redirect --all --host …` what is
    left, or `esa queue resume`. Exit status: 0 empty; 1 not empty in time; 2 used wrongly; 3 failed.
    """
    from esa.config.units import parse_duration
    from esa.store.folder import is_locked
    from esa.store.suspension import change_suspension, read_suspension

    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from None
    folder = find_state(state, config_file)
    if not is_locked(folder / "run" / "lock"):
        raise StoreError("no service runs on it, and nothing is delivered", where=str(folder), mend="start `esa serve`, then drain it")
    before = read_suspension(folder)
    if before.destinations is None or before.destinations:
        raise StoreError("delivery is suspended, and would never end", where=str(folder), mend="`esa queue resume delivery` first")
    change_suspension(folder, "listener", None, is_suspended=True)
    say("listeners are suspended; delivering what waits")
    _hurry(folder)
    left = _wait(folder, seconds)
    if left:
        say(f"{counted(left.entries, 'entry', 'entries')} still to be delivered; listeners stay suspended (`esa queue resume` undoes that)")
        if as_json:
            print_json({"drained": False, "entries": left.entries, "stopped": False})
        raise click.exceptions.Exit(1)
    if not stay:
        _stop(folder)
        change_suspension(folder, "listener", None, is_suspended=before.listeners is None)
        if before.listeners:
            change_suspension(folder, "listener", sorted(before.listeners), is_suspended=True)
    if as_json:
        print_json({"drained": True, "entries": 0, "stopped": not stay})
    else:
        say("drained" + ("; the service runs on, its listeners suspended" if stay else "; the service has ended"))


def _hurry(folder: Path) -> None:
    """Have all that waits tried now."""
    from esa.gateway.delivery.open_queue import socket_path
    from esa.store.control import ask

    if ask(socket_path(folder), {"verb": "hurry"}) is None:
        raise StoreError("the process that delivers does not run", where=str(folder), mend="see the log of `esa serve`; drain again")


def _wait(folder: Path, seconds: float) -> _Left | None:
    """Wait until nothing is left; what still is when the time is over."""
    deadline = time.monotonic() + seconds
    left = _left(folder)
    most = left.entries
    is_empty_since = 0  # looks in a row: between one store and the next mail may be seen in neither
    with progress("delivering", total=most, unit="entries") as meter:
        while True:
            time.sleep(_LOOK)
            now = _left(folder)
            if now.entries < left.entries:
                meter.advance(left.entries - now.entries)
            left = now
            is_empty_since = 0 if left else is_empty_since + 1
            if is_empty_since >= 3:
                return None
            if time.monotonic() >= deadline:
                return left if left else None


def _left(folder: Path) -> _Left:
    from esa.gateway.metrics import Counter, Counters
    from esa.gateway.process import COUNTERS
    from esa.store.queue_view import QueueView
    from esa.store.segments import SpoolReader

    totals = Counters(folder / COUNTERS)
    sessions = sum(totals.total(name) for name in (Counter.CONNECTIONS_OPEN, Counter.IN_SCAN, Counter.IN_COMMIT))
    view = QueueView.open(folder)
    if view is None:
        return _Left(0, sessions, True)
    try:
        cursors = view.cursors()
        counts = view.counts()
    finally:
        view.close()
    is_unread = bool(SpoolReader(folder / "spool", cursors).read(records=1).stored)
    return _Left(counts.get("waiting", 0) + counts.get("in_flight", 0), sessions, is_unread)


def _stop(folder: Path) -> None:
    """End the service, as SIGTERM does, and wait for it."""
    from esa.store.folder import is_locked

    run = folder / "run"
    try:
        os.kill(int((run / "pid").read_text()), signal.SIGTERM)
    except (OSError, ValueError) as error:
        raise StoreError(f"the service cannot be told to end: {error}", where=str(run / "pid")) from error
    _until(lambda: not is_locked(run / "lock"), STOP_SECONDS)


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StoreError("the service does not end", mend="see its log")
        time.sleep(0.05)
