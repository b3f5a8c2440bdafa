"""`esa quarantine`: what is held, what it looks like, letting it go or deleting it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.state import ask_or_do, find_state, iso, local, nothing_like, size_for_people, state_options
from esa.cli.terminal import counted, json_option, print_json, print_table, printable, say

if TYPE_CHECKING:
    from esa.store.quarantine import Item

HEAD = 1 << 16  # octets of a message that `show` prints without --raw


@click.group("quarantine", short_help="See, release or delete held messages.")
def command() -> None:
    """See, release or delete held messages.

    \b
    Examples:
      esa quarantine list
      esa quarantine show 01J9ZK…        who, why, and the header of the message
      esa quarantine release 01J9ZK…     send it on to its recipients
      esa quarantine delete --yes ID ID  delete for good

    An item has the identifier of its message; a message with several dispositions has ID, ID.1, ….
    """


@command.command("list")
@json_option
@state_options
def list_items(as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """List what is held, oldest first."""
    items = _items(find_state(state, config_file), None)
    if as_json:
        for item in items:
            print_json(_document(item))
        return
    if items:
        _print_table(items)
    say(f"{counted(len(items), 'message')} held")


@command.command()
@json_option
@click.option("--raw", is_flag=True, help="Write the octets of the message to standard output, as they would be delivered.")
@click.argument("keys", metavar="ID…", nargs=-1, required=True)
@state_options
def show(keys: tuple[str, ...], as_json: bool, raw: bool, state: Path | None, config_file: Path | None) -> None:
    """Show held messages: who, why, and the header. Control characters are escaped, except with --raw."""
    from esa.store.quarantine import QuarantineView

    if raw and as_json:
        raise click.UsageError("--raw and --json do not go together")
    folder = find_state(state, config_file)
    view = QuarantineView.open(folder)
    try:
        items = view.items(keys) if view is not None else []
        if view is None or not items:
            raise nothing_like(keys, "the quarantine", "esa quarantine list")
        if raw and len(items) > 1:
            raise click.UsageError("--raw shows one message at a time")
        for item in items:
            if raw:
                sys.stdout.buffer.write(view.content(item))
                continue
            header = view.content(item, limit=HEAD).partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
            if as_json:
                print_json(_document(item) | {"header": header})
            else:
                _print_item(item, header)
    finally:
        if view is not None:
            view.close()


@command.command()
@json_option
@click.argument("keys", metavar="ID…", nargs=-1, required=True)
@state_options
def release(keys: tuple[str, ...], as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Send held messages on to their recipients, as they came and without another scan."""
    folder = find_state(state, config_file)
    items, is_running = _request(folder, "release", keys)
    if not items:
        raise nothing_like(keys, "the quarantine", "esa quarantine list")
    _told("released", items, as_json, "" if is_running else "; they are delivered when `esa serve` runs")


@command.command()
@json_option
@click.argument("keys", metavar="ID…", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_options
def delete(keys: tuple[str, ...], yes: bool, as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Delete held messages for good: nobody gets this mail, and its sender is not told."""
    folder = find_state(state, config_file)
    found = _items(folder, keys)
    if not found:
        raise nothing_like(keys, "the quarantine", "esa quarantine list")
    if not yes:
        click.confirm(f"Delete {counted(len(found), 'message')} for good?", abort=True, err=True)
    items, _ = _request(folder, "delete", keys)
    _told("deleted", items, as_json, "")


def _told(verb: str, items: list[str], as_json: bool, note: str) -> None:
    if as_json:
        for item in items:
            print_json({"id": item, "state": verb})
    else:
        say(f"{verb} {counted(len(items), 'message')}{note}")


def _items(state: Path, keys: tuple[str, ...] | None) -> list[Item]:
    from esa.store.quarantine import QuarantineView

    view = QuarantineView.open(state)
    if view is None:
        return []
    try:
        return view.items(keys)
    finally:
        view.close()


def _request(state: Path, verb: str, keys: tuple[str, ...]) -> tuple[list[str], bool]:
    """Have the running keep process do it, or do it here. Returns the items, and whether a process did it."""
    from esa.gateway.keep import KeepSettings, OpenKeep, socket_path

    request: dict[str, object] = {"verb": verb, "keys": list(keys)}

    def do() -> object:
        with OpenKeep(KeepSettings(state)) as keep:
            keep.start()
            return keep.obey(request)

    answer, is_running = ask_or_do(socket_path(state), request, do)
    assert isinstance(answer, dict)
    return [str(item) for item in answer["items"]], is_running


def _document(item: Item) -> dict[str, object]:
    return {
        "id": item.id,
        "message": item.message,
        "state": item.state,
        "received_at": iso(item.received_at),
        "reverse_path": item.envelope.reverse_path,
        "recipients": list(item.recipients),
        "subject": item.subject,
        "size": item.size,
        "verdict": item.verdict,
        "score": item.score,
        "reason": item.reason,
        "quarantines": list(item.quarantines),
        "client": item.session.client_address,
    }


def _score(item: Item) -> str:
    return "" if item.score is None else f"{item.score:.1f}"


def _print_table(items: list[Item]) -> None:
    rows = [
        (
            item.id,
            local(item.received_at),
            _score(item),
            size_for_people(item.size),
            item.reason,
            f"<{item.envelope.reverse_path}>",
            ", ".join(item.recipients),
            item.subject,
        )
        for item in items
    ]
    columns = ("id", "received", "score", "size", "reason", "from", "to", "subject")
    print_table(columns, rows, right=("score", "size"), below=("from", "to", "subject"))


def _print_item(item: Item, header: str) -> None:
    lines = [
        f"{item.id}  {item.state}",
        f"  received  {local(item.received_at)} from {item.session.client_address}, {size_for_people(item.size)}",
        f"  verdict   {item.verdict} {_score(item)}".rstrip(),
        f"  reason    {printable(item.reason)}",
        *([f"  held in   {printable(', '.join(item.quarantines))}"] if item.quarantines else []),
        f"  from      <{printable(item.envelope.reverse_path)}>",
        *(f"  to        {printable(address)}" for address in item.recipients),
        "",
        *(f"  | {printable(line.expandtabs())}" for line in header.splitlines()),
    ]
    click.echo("\n".join(lines))
