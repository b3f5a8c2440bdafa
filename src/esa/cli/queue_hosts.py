"""`esa queue hosts`: the status of each destination, as AsyncOS's hoststatus and tophosts show it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esa.cli.state import find_state, local, state_options
from esa.cli.terminal import counted, json_option, print_json, print_table, printable, say

if TYPE_CHECKING:
    from esa.store.queue_view import Backlog
    from esa.store.suspension import Suspension


@click.command("hosts")
@json_option
@click.argument("names", metavar="[DESTINATION…]", nargs=-1)
@state_options
def hosts(names: tuple[str, ...], as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Show each destination: whether it is up, what is under way, what waits, and its last refusal. The fullest first.

    \b
    Examples:
      esa queue hosts                  all of them (AsyncOS: tophosts)
      esa queue hosts example.org      one in detail (AsyncOS: hoststatus)

    Without a running service, what waits is known, and nothing of the destinations themselves ("unknown").
    """
    from esa.gateway.delivery.open_queue import socket_path
    from esa.store.control import ask
    from esa.store.queue_view import Backlog, QueueView

    folder = find_state(state, config_file)
    answer = ask(socket_path(folder), {"verb": "hosts"}) if socket_path(folder).exists() else None
    living: dict[str, dict[str, Any]] = {one["destination"]: one for one in answer["hosts"]} if isinstance(answer, dict) else {}
    view = QueueView.open(folder)
    backlogs = {} if view is None else view.backlogs()
    if view is not None:
        view.close()
    suspension = _suspension(folder)
    wanted = {name.lower() for name in names}
    documents = [
        _document(name, backlogs.get(name, Backlog()), living.get(name), is_suspended=suspension.holds_destination(name))
        for name in {**backlogs, **living}
        if not wanted or name.lower() in wanted
    ]
    documents.sort(key=lambda one: (-int(one["recipients"]), one["destination"]))
    if as_json:
        for one in documents:
            print_json(one)
        return
    if names:
        click.echo("\n\n".join(map(_details, documents)))
        return
    columns = ("destination", "state", "active", "entries", "recipients", "failed", "next", "last refusal")
    rows = [
        (
            one["destination"],
            one["state"],
            f"{one['active']}/{one['limit']}" if one["limit"] else "0",
            str(one["entries"]),
            str(one["recipients"]),
            str(one["failed_entries"]),
            local(one["next"]) if one["next"] else "",
            one["last_reply"],
        )
        for one in documents
    ]
    if rows:
        print_table(columns, rows, right=("active", "entries", "recipients", "failed"), below=("last refusal",))
    say(counted(len(rows), "destination", "destinations"))


def _suspension(folder: Path) -> Suspension:
    from esa.errors import StoreError
    from esa.store.suspension import NOTHING, read_suspension

    try:
        return read_suspension(folder)
    except StoreError:
        return NOTHING  # as who delivers takes it


_UNKNOWN: dict[str, Any] = {
    "state": "unknown",
    "active": 0,
    "limit": 0,
    "kept": 0,
    "held": 0.0,
    "last_reply": "",
    "delivered": 0,
    "deferred": 0,
    "failed": 0,
    "last_failure": "",
    "last_failure_at": 0.0,
    "idle": 0.0,
}


def _document(name: str, backlog: Backlog, living: dict[str, Any] | None, *, is_suspended: bool) -> dict[str, Any]:
    found = {**_UNKNOWN, **(living or {})}
    if is_suspended:
        found["state"] = "suspended"
    return {
        **found,
        "destination": name,
        "entries": backlog.entries,
        "recipients": backlog.unattempted + backlog.attempted,
        "unattempted": backlog.unattempted,
        "attempted": backlog.attempted,
        "failed_entries": backlog.failed,
        "next": backlog.next_due,
        "oldest": backlog.oldest,
    }


def _details(one: dict[str, Any]) -> str:
    """As AsyncOS's hoststatus has it."""
    last = f"{local(one['last_failure_at'])}  {printable(one['last_failure'])}" if one["last_failure_at"] else "none"
    lines = (
        ("Host status for", printable(one["destination"])),
        ("State", one["state"] + (f", left alone for {one['held']:.0f} s" if one["held"] else "")),
        ("Last activity", f"{one['idle']:.0f} s ago" if one["state"] != "unknown" else "not since deliver began"),
        ("Active", f"{one['active']} of {one['limit']} that it may have; {one['kept']} connections kept"),
        ("Recipients waiting", f"{one['recipients']} ({one['unattempted']} never tried, {one['attempted']} tried)"),
        ("Oldest message", local(one["oldest"]) if one["oldest"] else "none"),
        ("Next attempt", local(one["next"]) if one["next"] else "none"),
        ("Since deliver began", f"{one['delivered']} delivered, {one['deferred']} deferred, {one['failed']} failed"),
        ("Entries that failed", str(one["failed_entries"])),
        ("Last 5XX error", last),
        ("Last refusal", printable(one["last_reply"]) or "none"),
    )
    return "\n".join(f"{label + ':':<21}{value}" for label, value in lines)
