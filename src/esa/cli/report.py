"""`esa report`: what the gateway has stopped, from tracking."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from esa.cli.state import find_state, iso, local, parse_since, state_options
from esa.cli.terminal import counted, json_option, print_json, print_table, say


@click.group("report", short_help="Tell what the gateway has stopped.")
def command() -> None:
    """Tell what the gateway has stopped.

    \b
    Examples:
      esa report dhap               who tried to harvest addresses, and how many valid ones they learned
      esa report dhap --since 2d
      esa report connections        which sender groups refused how many connections
      esa report greylist           who had to wait, who came back, who never did
    """


@command.command()
@click.option("--since", metavar="TIME", help="Since a time as 2026-03-01T12:00, or an age as 2h or 3d.")
@json_option
@state_options
def dhap(since: str | None, as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Directory harvest attacks: who tried how many addresses, and how many valid ones they learned before the block.

    Counts are the highest within an hour. Exit code 0 whether there were any or not.
    """
    from esa.store.tracking import TrackingView

    begin = 0.0 if since is None else parse_since(since)
    view = TrackingView.open(find_state(state, config_file))
    try:
        found = [] if view is None else view.harvests(since=begin)
    finally:
        if view is not None:
            view.close()
    if as_json:
        for harvest in found:
            print_json({**asdict(harvest), "first_at": iso(harvest.first_at), "last_at": iso(harvest.last_at)})
        return
    if found:
        rows = [
            (
                one.network,
                local(one.first_at),
                local(one.last_at),
                str(one.invalid),
                str(one.learned),
                str(one.refused),
                str(one.connections),
                ", ".join(one.sample),
            )
            for one in found
        ]
        columns = ("sender", "first", "last", "invalid", "learned", "refused", "connections", "tried last")
        print_table(columns, rows, right=("invalid", "learned", "refused", "connections"), below=("tried last",))
    say(counted(len(found), "harvesting sender"))


@command.command()
@click.option("--since", metavar="TIME", help="Since a time as 2026-03-01T12:00, or an age as 2h or 3d.")
@json_option
@state_options
def connections(since: str | None, as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Refused connections: which sender group, entry or limit refused how many, of how many clients.

    What is refused comes here within some ten seconds. Exit code 0 whether there were any or not.
    """
    from esa.store.tracking import TrackingView

    begin = 0.0 if since is None else parse_since(since)
    view = TrackingView.open(find_state(state, config_file))
    try:
        found = [] if view is None else view.refused_connections(since=begin)
    finally:
        if view is not None:
            view.close()
    if as_json:
        for one in found:
            print_json({**asdict(one), "first_at": iso(one.first_at), "last_at": iso(one.last_at)})
        return
    if found:
        rows = [
            (one.group, one.because, one.reason, str(one.connections), str(one.clients), local(one.first_at), local(one.last_at))
            for one in found
        ]
        print_table(("group", "because", "limit", "connections", "clients", "first", "last"), rows, right=("connections", "clients"))
    say(counted(sum(one.connections for one in found), "refused connection"))


_GREYLIST = {  # column: what the file counts
    "told to wait": "new",
    "too early": "early",
    "came back": "waited",
    "never came back": "never_came_back",
    "known": "known",
    "client known": "client",
    "author known": "author",
    "login code": "login_code",
    "not asked": "unavailable",
}


@command.command()
@click.option("--since", metavar="TIME", help="Days since a time as 2026-03-01, or an age as 7d.")
@json_option
@state_options
def greylist(since: str | None, as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Greylisting: by day (UTC), how often it was decided what, and what is known now.

    Decisions are of messages, or of recipients where those were told. "Not asked": the file was locked or full, and mail passed. A worker
    counts in memory and writes now and then. Exit code 0 whether there is anything or not.
    """
    from esa.store.greylist import DAY, figures

    begin = 0.0 if since is None else parse_since(since)
    found = figures(find_state(state, config_file))
    if found is None:
        say("nothing has been greylisted")
        return
    days = [(at, counts) for at, counts in found.days if at + DAY > begin]
    if as_json:
        for at, counts in days:
            print_json({"day": iso(at)[:10], **{column.replace(" ", "_"): counts.get(what, 0) for column, what in _GREYLIST.items()}})
        now = {"waiting": found.waiting, "triplets_known": found.known, "clients_known": found.clients, "authors_known": found.authors}
        print_json({"now": now})
        return
    if days:
        rows = [(iso(at)[:10], *(str(counts.get(what, 0)) for what in _GREYLIST.values())) for at, counts in days]
        columns = ("day", *_GREYLIST)
        print_table(columns, rows, right=columns[1:])
    say(f"now: {found.waiting} waiting, known are {found.known} triplets, {found.clients} clients, {found.authors} authors")
