"""`esa track`: what became of a message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.state import find_state, iso, local, parse_since, size_for_people, state_options
from esa.cli.terminal import counted, json_option, print_json, print_table, printable, say

if TYPE_CHECKING:
    from esa.store.record import Event
    from esa.store.tracking import Tracked


@click.command("track", short_help="Find out what became of a message.")
@click.argument("argument", metavar="[ID]", required=False)
@click.option("--sender", metavar="ADDRESS", help="Reverse-path: an address, a part of one as @example.org, or <>.")
@click.option("--recipient", metavar="ADDRESS", help="Recipient: an address or a part of one.")
@click.option("--since", metavar="TIME", help="Received since: a time as 2026-03-01T12:00, or an age as 2h or 3d.")
@click.option("--id", "identifier", metavar="ID", help="Identifier of one message, as the argument; shows all that happened to it.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Newest messages shown.")
@json_option
@state_options
def command(
    argument: str | None,
    sender: str | None,
    recipient: str | None,
    since: str | None,
    identifier: str | None,
    limit: int,
    as_json: bool,
    state: Path | None,
    config_file: Path | None,
) -> None:
    """Find out what became of a message.

    \b
    Examples:
      esa track --recipient user@example.org --since 2h
      esa track --sender @example.net --json
      esa track 01J9ZK…

    Newest first. Everything that fits all options is shown; without options, the newest messages.
    """
    from esa.store.tracking import TrackingView

    if argument is not None and identifier not in (None, argument):
        raise click.UsageError("two identifiers are given: ask for one message at a time")
    identifier = identifier or argument
    begin = None if since is None else parse_since(since)
    view = TrackingView.open(find_state(state, config_file))
    try:
        found = [] if view is None else view.search(identifier=identifier, sender=sender, recipient=recipient, since=begin, limit=limit)
    finally:
        if view is not None:
            view.close()
    if as_json:
        for message in found:
            print_json(_document(message))
        return
    if identifier is not None:
        for message in found:
            _print_history(message)
    elif found:
        _print_table(found)
    if not found or identifier is None:
        more = f"; there may be more, see --limit {limit}" if len(found) == limit else ""
        say(f"{counted(len(found), 'message')}{more}")


def _document(message: Tracked) -> dict[str, object]:
    return {
        "id": message.id,
        "received_at": iso(message.received_at),
        "client": message.client,
        "helo": message.helo,
        "listener": message.listener,
        "reverse_path": message.reverse_path,
        "recipients": [{"address": r.address, "status": r.status, "reply": r.reply} for r in message.recipients],
        "subject": message.subject,
        "size": message.size,
        "outcome": message.outcome,
        "verdict": message.verdict,
        "score": message.score,
        "events": [{"at": iso(event.at), "name": event.name.value, **_fields(event)} for event in message.events],
    }


def _fields(event: Event) -> dict[str, object]:
    return {name: value for name, value in event.fields.items() if name not in ("at", "name")}


def _status(message: Tracked) -> str:
    return ", ".join(sorted({recipient.status for recipient in message.recipients})) or message.outcome


def _score(message: Tracked) -> str:
    return "" if message.score is None else f"{message.verdict} {message.score:.1f}"


def _print_table(found: list[Tracked]) -> None:
    rows = [
        (
            message.id,
            local(message.received_at),
            _status(message),
            _score(message),
            size_for_people(message.size),
            f"<{message.reverse_path}>",
            ", ".join(recipient.address for recipient in message.recipients),
            message.subject,
        )
        for message in found
    ]
    columns = ("id", "received", "status", "verdict", "size", "from", "to", "subject")
    print_table(columns, rows, right=("size",), below=("size", "from", "to", "subject"))


def _print_history(message: Tracked) -> None:
    lines = [
        f"{message.id}  {_status(message)}",
        f"  received  {local(message.received_at)} from {message.client} ({printable(message.helo)}), {size_for_people(message.size)}",
        f"  from      <{printable(message.reverse_path)}>",
        *(f"  to        {printable(r.address)}  {r.status}  {printable(r.reply)}".rstrip() for r in message.recipients),
    ]
    if message.subject:
        lines.append(f"  subject   {printable(message.subject)}")
    if message.score is not None:
        lines.append(f"  verdict   {_score(message)}")
    for event in message.events:
        fields = " ".join(f"{name}={_value(value)}" for name, value in event.fields.items())
        lines.append(f"  {local(event.at)}  {event.name.value}  {fields}".rstrip())
    click.echo("\n".join(lines))


def _value(value: object) -> str:
    return printable(value if isinstance(value, str) and " " not in value else json.dumps(value))
