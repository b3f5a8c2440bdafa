"""`esa queue audit`: whether every recipient that was acknowledged is accounted for."""

from __future__ import annotations

from pathlib import Path

import click

from esa.cli.program import FOUND
from esa.cli.state import find_state, state_options
from esa.cli.terminal import counted, json_option, print_json, printable, say

_NAMED = 100  # missing recipients that people are shown


@click.command()
@json_option
@state_options
def audit(as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Prove that accepted = delivered + bounced + queued + quarantined + dropped by policy + deleted, by recipient; name what is missing.

    \b
    Examples:
      esa queue audit
      esa queue audit --json | jq .missing

    Tracking says what became of each recipient, and what it calls unfinished must be found in the queue, the quarantine or the spools. Works beside
    a running service, where mail moves on meanwhile: only what is missing at several looks counts. Messages that tracking has let go are in the
    sums, by what was their end. Exit status: 0 all is accounted for; 1 something is missing, or was lost to a damaged disk; 3 failed.
    """
    from esa.store.ledger import audit as look

    folder = find_state(state, config_file)
    found = look(folder)
    forgotten = sum(found.forgotten.values())
    totals = {fate: count + found.forgotten.get(fate, 0) for fate, count in found.fates.items()}
    if as_json:
        missing = [{"message": one.message, "recipient": one.address, "status": one.status} for one in found.missing]
        print_json(
            {
                "balanced": found.is_balanced,
                "accepted": found.acknowledged,
                "messages": found.messages,
                "fates": totals,
                "past_retention": forgotten,
                "missing": missing,
                "lost_to_damage": found.lost,
            }
        )
    else:
        width = max(len(f"{found.acknowledged:,}"), 1)
        known = f"{counted(found.messages, 'message')} in tracking; {forgotten:,} recipients past its retention"
        click.echo(f"  {found.acknowledged:>{width},} recipients of accepted mail ({known})")
        for place, (fate, count) in enumerate(totals.items()):
            click.echo(f"{'+' if place else '='} {count:>{width},} {fate}")
        click.echo(f"+ {len(found.missing):>{width},} missing")
        for one in found.missing[:_NAMED]:
            click.echo(f"missing: {one.message} {printable(one.address)}: tracking says {one.status}, and it is in no store")
        if len(found.missing) > _NAMED:
            click.echo(f"missing: {len(found.missing) - _NAMED:,} more (--json names them all)")
        if found.lost:
            click.echo(f"lost: at least {counted(found.lost, 'record')} in damaged places of the spools (`esa queue check`)")
        say("every recipient is accounted for" if found.is_balanced else "not all is accounted for")
    if not found.is_balanced:
        raise click.exceptions.Exit(FOUND)
