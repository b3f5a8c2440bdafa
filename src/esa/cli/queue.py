"""`esa queue`: what waits for delivery or has failed, and all that is done to it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.queue_audit import audit
from esa.cli.queue_check import check, rebuild
from esa.cli.queue_hosts import hosts
from esa.cli.queue_profile import profile_finder
from esa.cli.queue_suspend import drain, resume, status, suspend
from esa.cli.queue_verbs import bounce, delete, redirect, retry, selection_of, selection_options
from esa.cli.state import find_state, iso, local, nothing_like, size_for_people, state_options
from esa.cli.terminal import counted, json_option, print_json, print_table, printable, say

if TYPE_CHECKING:
    from esa.policy.bounce_profile import BounceProfile
    from esa.store.entry import Entry
    from esa.store.selection import Selection


@click.group("queue", short_help="See what waits for delivery.")
def command() -> None:
    """See what waits for delivery.

    \b
    Examples:
      esa queue status                       what waits, what is suspended, how much room there is
      esa queue list --failed                what the next hop refused, with its reply
      esa queue hosts                        each destination: up or down, what waits, its last refusal
      esa queue retry --all                  try everything now
      esa queue bounce 01J9ZK…               return one to its sender
      esa queue suspend delivery             hold all mail back, over restarts too
      esa queue check                        are the spools and the queue whole?
      esa queue audit                        is every message that was accepted accounted for?

    An entry has the identifier the sender was told ("accepted as …"); a message with several dispositions has ID, ID.1, ….
    """


for one in (status, hosts, retry, bounce, delete, redirect, suspend, resume, drain, check, audit, rebuild):
    command.add_command(one)


@command.command("list")
@json_option
@click.option("--failed", is_flag=True, help="Only what has failed for good.")
@selection_options
@state_options
def list_entries(
    as_json: bool, failed: bool, destination: str, sender: str, recipient: str, state: Path | None, config_file: Path | None
) -> None:
    """List what waits, is in flight, or has failed.

    \b
    Examples:
      esa queue list --destination example.org
      esa queue list --failed --from @example.net --json
    """
    entries = _entries(find_state(state, config_file), selection_of((), destination, sender, recipient), failed=failed)
    if as_json:
        profile_of = profile_finder(state, config_file)
        for entry in entries:
            print_json(_document(entry, profile_of(entry)))
        return
    if entries:
        _print_table(entries)
    counts = Counter(entry.state for entry in entries)
    told = f"{counts['waiting']} waiting, {counts['in_flight']} in flight, {counts['failed']} failed"
    told += f", {counts['reporting']} with a bounce to send" if counts["reporting"] else ""
    say(f"{counted(len(entries), 'entry', 'entries')}: {told}")


@command.command()
@json_option
@click.argument("keys", metavar="ID…", nargs=-1, required=True)
@state_options
def show(keys: tuple[str, ...], as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Show entries with each recipient's state and last reply."""
    entries = _entries(find_state(state, config_file), selection_of(keys, "", "", ""))
    if not entries:
        raise nothing_like(keys, "the queue", "esa queue list")
    profile_of = profile_finder(state, config_file)
    for entry in entries:
        if as_json:
            print_json(_document(entry, profile_of(entry)))
        else:
            _print_entry(entry, profile_of(entry))


def _entries(state: Path, selection: Selection, *, failed: bool = False) -> list[Entry]:
    from esa.store.entry import STATES
    from esa.store.queue_view import QueueView

    view = QueueView.open(state)
    if view is None:
        return []
    try:
        return list(view.selected(selection, states=("failed",) if failed else STATES))
    finally:
        view.close()


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
            entry.destination,
            f"<{entry.envelope.reverse_path}>",
            ", ".join(r.address for r in entry.recipients if r.status != "delivered"),
            entry.reason,
        )
        for entry in entries
    ]
    columns = ("id", "state", "tries", "next", "size", "destination", "from", "to", "reason")
    print_table(columns, rows, right=("tries", "size"), below=("destination", "from", "to", "reason"))


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
