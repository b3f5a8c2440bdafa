"""`esa queue check` and `esa queue rebuild`: are the spools and the queue whole, and making the queue anew from the spools."""

from __future__ import annotations

from pathlib import Path

import click

from esa.cli.program import FOUND
from esa.cli.state import find_state, state_options
from esa.cli.terminal import counted, json_option, print_json, printable, progress, say


@click.command()
@json_option
@state_options
def check(as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Check that every accepted message can be read, that queue.db is whole, and that nothing foreign lies in the spools.

    \b
    Examples:
      esa queue check
      esa queue check --json | jq -r .path

    Reads all segments, all contents of their own, the messages of all entries, and has SQLite look through its files; beside a running service
    too, and it changes nothing. A line for each finding: damaged, unreadable, foreign, missing, lost are alarming; torn is the end of what a
    killed process was writing and never acknowledged; aside was moved to a folder `corrupt` before. Exit status: 0 all is whole; 1 something
    alarming was found; 2 used wrongly; 3 failed.
    """
    from esa.store.checking import check as look
    from esa.store.checking import octets_of

    folder = find_state(state, config_file)
    alarming = quiet = 0
    with progress("reading", total=octets_of(folder), unit="octets") as meter:
        for one in look(folder, lambda octets: meter.advance(octets)):
            alarming, quiet = alarming + one.is_alarming, quiet + (not one.is_alarming)
            if as_json:
                document = {"kind": one.kind, "path": str(one.path), "what": one.what, "offset": one.offset, "length": one.length}
                print_json({**document, "lost": one.lost, "alarming": one.is_alarming})
            else:
                place = f" at {one.offset:,}, {one.length:,} octets" if one.length else ""
                lost = f"; at least {counted(one.lost, 'record')} lost" if one.lost else ""
                click.echo(f"{one.kind:<11}{printable(str(one.path))}{place}: {printable(one.what)}{lost}")
    say("all is whole" if not alarming else counted(alarming, "alarming finding") + (f", {quiet} others" if quiet else ""))
    if alarming:
        raise click.exceptions.Exit(FOUND)


@click.command()
@json_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_options
def rebuild(yes: bool, as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Make queue.db anew from the spools and tracking, while the service is stopped.

    \b
    Examples:
      esa queue check || esa queue rebuild --yes

    `esa serve` does the same by itself when queue.db is lost or damaged. What tracking knows as delivered, failed or deleted is not sent again;
    what was in flight when the old file was written last may be. The old file is kept in the folder `corrupt` of the state. Exit status: 0 done;
    2 used wrongly; 3 failed, or a service runs.
    """
    import os

    from esa.gateway.delivery.open_queue import lock_path
    from esa.store import rebuilding
    from esa.store.checking import octets_of
    from esa.store.folder import make_private, take_lock

    folder = find_state(state, config_file)
    if not yes:
        click.confirm("Make the queue anew? What was in flight may be delivered twice.", abort=True, err=True)
    make_private(folder / "run")
    lock = take_lock(lock_path(folder), what="the queue", patience=0.5)
    try:
        with progress("reading", total=octets_of(folder), unit="octets") as meter:
            made = rebuilding.rebuild(folder, advance=lambda octets: meter.advance(octets))
    finally:
        os.close(lock)
    if as_json:
        kept = str(made.aside) if made.aside is not None else None
        counts = {"waiting": made.waiting, "failed": made.failed, "done": made.done, "rescued": made.rescued, "unreadable": made.unreadable}
        print_json({**counts, "kept_as": kept})
        return
    say(
        f"{counted(made.waiting, 'entry waits', 'entries wait')}, {made.failed:,} failed, {made.done:,} done; {made.unreadable:,} places unreadable"
    )
    if made.aside is not None:
        say(f"the old file is kept as {made.aside}")
