"""`esa queue`: what waits for delivery or has failed, and trying again or giving up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.queue_hosts import hosts
from esa.cli.queue_profile import profile_finder
from esa.cli.state import ask_or_do, find_state, iso, local, nothing_like, size_for_people, state_options
from esa.cli.terminal import counted, json_option, print_json, print_table, printable, say

if TYPE_CHECKING:
    from esa.policy.bounce_profile import BounceProfile
    from esa.store.entry import Entry

STATES = ("waiting", "in_flight", "failed", "reporting")


@click.group("queue", short_help="See what waits for delivery.")
def command() -> None:
    """See what waits for delivery.

    \b
    Examples:
      esa queue list                 all entries, oldest first
      esa queue list --failed        what the next hop refused, with its reply
      esa queue hosts                each destination: up or down, what waits, its last refusal
      esa queue retry --all          try everything now
      esa queue delete 01J9ZK…       give one up for good

    An entry has the identifier the sender was told ("accepted as …"); a message with several dispositions has ID, ID.1, ….
    """


command.add_command(hosts)


@command.command("list")
@json_option
@click.option("--failed", is_flag=True, help="Only what has failed for good.")
@state_options
def list_entries(as_json: bool, failed: bool, state: Path | None, config_file: Path | None) -> None:
    """List what waits, is in flight, or has failed."""
    entries = _entries(find_state(state, config_file), None, failed=failed)
    if as_json:
        profile_of = profile_finder(state, config_file)
        for entry in entries:
            print_json(_document(entry, profile_of(entry)))
        return
    if entries:
        _print_table(entries)
    counts = {name: sum(entry.state == name for entry in entries) for name in STATES}
    told = f"{counts['waiting']} waiting, {counts['in_flight']} in flight, {counts['failed']} failed"
    told += f", {counts['reporting']} with a bounce to send" if counts["reporting"] else ""
    say(f"{counted(len(entries), 'entry', 'entries')}: {told}")


@command.command()
@json_option
@click.argument("keys", metavar="ID…", nargs=-1, required=True)
@state_options
def show(keys: tuple[str, ...], as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Show entries with each recipient's state and last reply."""
    entries = _entries(find_state(state, config_file), keys)
    if not entries:
        raise nothing_like(keys, "the queue", "esa queue list")
    profile_of = profile_finder(state, config_file)
    for entry in entries:
        if as_json:
            print_json(_document(entry, profile_of(entry)))
        else:
            _print_entry(entry, profile_of(entry))


@command.command()
@json_option
@click.argument("keys", metavar="[ID…]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that wait or have failed.")
@state_options
def retry(keys: tuple[str, ...], everything: bool, as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Try entries now, failed ones too."""
    if bool(keys) == everything:
        raise click.UsageError("name identifiers, or give --all")
    folder = find_state(state, config_file)
    count, is_running = _request(folder, "retry", None if everything else keys)
    if keys and not count:
        raise nothing_like(keys, "the queue", "esa queue list --failed")
    _told("retried", count, as_json, "" if is_running else "; they are tried when `esa serve` runs")


@command.command()
@json_option
@click.argument("keys", metavar="ID…", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_options
def delete(keys: tuple[str, ...], yes: bool, as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Delete entries for good: nobody gets this mail, and its sender is not told."""
    folder = find_state(state, config_file)
    entries = _entries(folder, keys)
    if not entries:
        raise nothing_like(keys, "the queue", "esa queue list")
    if not yes:
        click.confirm(f"Delete {counted(len(entries), 'entry', 'entries')} for good?", abort=True, err=True)
    count, _ = _request(folder, "delete", keys)
    note = "" if count == len(entries) else f"; {len(entries) - count} are in flight or gone meanwhile"
    _told("deleted", count, as_json, note)


def _told(verb: str, count: int, as_json: bool, note: str) -> None:
    if as_json:
        print_json({verb: count})
    else:
        say(f"{verb} {counted(count, 'entry', 'entries')}{note}")


def _entries(state: Path, keys: tuple[str, ...] | None, *, failed: bool = False) -> list[Entry]:
    from esa.store.queue_view import QueueView

    view = QueueView.open(state)
    if view is None:
        return []
    try:
        return view.entries(keys, states=("failed",)) if failed else view.entries(keys)
    finally:
        view.close()


def _request(state: Path, verb: str, keys: tuple[str, ...] | None) -> tuple[int, bool]:
    """Have the running deliver process do it, or do it here. Returns how many, and whether a process did it."""
    import time

    from esa.gateway.delivery.deliver import OpenQueue, obey, socket_path

    request: dict[str, object] = {"verb": verb, "keys": None if keys is None else list(keys)}

    def do() -> object:
        with OpenQueue(state) as queue:
            return obey(queue, request, time.time())

    answer, is_running = ask_or_do(socket_path(state), request, do)
    assert isinstance(answer, dict)
    return int(answer["count"]), is_running


def _document(entry: Entry, profile: BounceProfile | None) -> dict[str, object]:
    waits = entry.state in ("waiting", "in_flight")
    return {
        "id": entry.key,
        "message": entry.message,
        "state": entry.state,
        "reverse_path": entry.envelope.reverse_path,
        "recipients": [{"address": r.address, "status": r.status, "reply": r.reply} for r in entry.recipients],
        "size": entry.size,
        "attempts": entry.attempts,
        "accepted_at": iso(entry.accepted_at),
        "next_attempt": iso(entry.next_attempt) if entry.state == "waiting" else None,
        "reason": entry.reason,
        "destination": entry.destination,
        "bounce_profile": profile.name if profile is not None else entry.bounce_profile or None,
        "given_up_at": iso(entry.accepted_at + profile.schedule.expire) if profile is not None and waits else None,
        "delay_warnings": entry.warnings,
    }


def _next(entry: Entry) -> str:
    return {"waiting": local(entry.next_attempt), "in_flight": "now", "failed": "never", "reporting": "never"}[entry.state]


def _print_table(entries: list[Entry]) -> None:
    rows = [
        (
            entry.key,
            entry.state,
            str(entry.attempts),
            _next(entry),
            size_for_people(entry.size),
            f"<{entry.envelope.reverse_path}>",
            ", ".join(r.address for r in entry.recipients if r.status != "delivered"),
            entry.reason,
        )
        for entry in entries
    ]
    columns = ("id", "state", "tries", "next", "size", "from", "to", "reason")
    print_table(columns, rows, right=("tries", "size"), below=("from", "to", "reason"))


def _print_entry(entry: Entry, profile: BounceProfile | None) -> None:
    lines = [
        f"{entry.key}  {entry.state}",
        f"  accepted  {local(entry.accepted_at)}, {size_for_people(entry.size)}",
        f"  attempts  {entry.attempts}, next {_next(entry)}",
        f"  goes to   {printable(entry.destination) or 'not known yet'}",
        f"  profile   {_profile(entry, profile)}",
        f"  from      <{printable(entry.envelope.reverse_path)}>",
    ]
    for recipient in entry.recipients:
        lines.append(f"  to        {printable(recipient.address)}  {recipient.status}  {printable(recipient.reply)}".rstrip())
    click.echo("\n".join(lines))


def _profile(entry: Entry, profile: BounceProfile | None) -> str:
    """The bounce profile, and what it comes to for this entry."""
    if profile is None:
        return printable(entry.bounce_profile) or "as esa.toml says: give --config"
    if entry.state == "reporting":
        return f"{profile.name}; its sender is to be told"
    if entry.state == "failed":
        return profile.name
    warned = f"; its sender has been warned {counted(entry.warnings, 'time')}" if entry.warnings else ""
    limit = (
        f"given up at {local(entry.accepted_at + profile.schedule.expire)} or after {counted(profile.schedule.retries, 'retry', 'retries')}"
    )
    return f"{profile.name}, {limit}{warned}"
