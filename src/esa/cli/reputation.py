"""`esa reputation`: what is known of senders and what it makes of them; forgetting it, giving it to other machines, taking it from them."""

from __future__ import annotations

import time
from pathlib import Path

import click

from esa.cli.histories import all_histories, learning_in
from esa.cli.program import DONE, FOUND
from esa.cli.reputation_exchange import export, forget, import_command
from esa.cli.reputation_show import show
from esa.cli.state import iso, state_options
from esa.cli.terminal import counted, json_option, print_json, print_table, say


@click.group("reputation", short_help="See, forget, export and import the reputation of senders.")
def command() -> None:
    """See, forget, export and import the reputation of senders.

    \b
    Examples:
      esa reputation show 192.0.2.1         the score, every piece of evidence, and the sender group it leads to
      esa reputation list --best            whose mail was good
      esa reputation forget 192.0.2.1       begin anew with a sender
      esa reputation export --zone rep.example.org > rep.zone

    What it is made of stands in docs/reputation.md.
    """


@command.command("list")
@click.option("--best", is_flag=True, help="Best first; without it worst first.")
@click.option("--kind", type=click.Choice(["address", "network", "helo", "domain", "signer", "imported"]), help="Only of this kind.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="Most shown.")
@json_option
@state_options
def list_command(best: bool, kind: str | None, limit: int, as_json: bool, state: Path | None, config_file: Path | None) -> int:
    """List senders by what their own mail says of them, worst first.

    \b
    Examples:
      esa reputation list
      esa reputation list --best --kind domain --limit 20

    Points are those of the share of spam by itself, before the weight of its kind; DNS lists are not asked. Senders of which too little is
    known are left out. Exit status: 0 none is listed, 1 some are.
    """
    from esa.policy.history import share_points
    from esa.policy.reputation import summary_of

    now = time.time()
    configuration, histories = all_histories(state, config_file)
    learning = learning_in(configuration)
    scored = [
        (points, subject, history)
        for subject, history in histories.items()
        if kind in (None, subject.kind.value) and (points := share_points(history, now, learning)) is not None
    ]
    scored.sort(key=lambda one: (-one[0] if best else one[0], one[1]))
    shown = scored[:limit]
    if as_json:
        for points, subject, history in shown:
            fields = {"messages": history.messages, "positive": history.positive, "suspect": history.suspect, "malware": history.malware}
            times = {"invalid_recipients": history.invalid, "first_at": iso(history.first_at), "last_at": iso(history.at)}
            print_json({"kind": subject.kind.value, "name": subject.name, "points": round(points, 2), **fields, **times})
    elif shown:
        rows = [(f"{points:+.1f}", subject.kind.value, subject.name, summary_of(history, now)) for points, subject, history in shown]
        print_table(("points", "kind", "sender", "seen"), rows, right=("points",), below=("seen",))
    more = f" of {len(scored)} shown, see --limit" if len(scored) > limit else ""
    say(
        f"{counted(len(shown), 'sender')}{more}; too little is known of {len(histories) - len(scored)} more"
        if kind is None
        else counted(len(shown), "sender")
    )
    return FOUND if shown else DONE


for one in (show, forget, export, import_command):
    command.add_command(one)
