"""`esa queue hosts`: the status of each destination, as AsyncOS's hoststatus and tophosts show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from esa.cli.state import find_state, local, state_options
from esa.cli.terminal import counted, json_option, print_json, print_table, say


@click.command("hosts")
@json_option
@click.argument("names", metavar="[DESTINATION…]", nargs=-1)
@state_options
def hosts(names: tuple[str, ...], as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Show each destination: whether it is up, what is under way, what waits, and its last refusal. The fullest first.

    Without a running service, what waits is known, and nothing of the destinations themselves ("unknown").
    """
    from esa.gateway.delivery.open_queue import socket_path
    from esa.store.control import ask
    from esa.store.queue_view import QueueView

    folder = find_state(state, config_file)
    answer = ask(socket_path(folder), {"verb": "hosts"}) if socket_path(folder).exists() else None
    living: dict[str, dict[str, Any]] = {one["destination"]: one for one in answer["hosts"]} if isinstance(answer, dict) else {}
    view = QueueView.open(folder)
    waiting = {} if view is None else view.destinations()
    if view is not None:
        view.close()
    documents = [_document(name, waiting.get(name, (0, 0, None)), living.get(name)) for name in {**waiting, **living}]
    documents = [one for one in documents if not names or one["destination"] in names]
    documents.sort(key=lambda one: (-int(one["recipients"]), one["destination"]))
    if as_json:
        for one in documents:
            print_json(one)
        return
    columns = ("destination", "state", "active", "entries", "recipients", "next", "last refusal")
    rows = [
        (
            one["destination"],
            one["state"],
            f"{one['active']}/{one['limit']}" if one["limit"] else "0",
            str(one["entries"]),
            str(one["recipients"]),
            local(one["next"]) if one["next"] else "",
            one["last_reply"],
        )
        for one in documents
    ]
    if rows:
        print_table(columns, rows, right=("active", "entries", "recipients"), below=("last refusal",))
    say(counted(len(rows), "destination", "destinations"))


def _document(name: str, waiting: tuple[int, int, float | None], living: dict[str, Any] | None) -> dict[str, Any]:
    entries, recipients, due = waiting
    found = living or {"state": "unknown", "active": 0, "limit": 0, "kept": 0, "held": 0.0, "last_reply": ""}
    return {**found, "destination": name, "entries": entries, "recipients": recipients, "next": due}
