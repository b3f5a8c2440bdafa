"""`esa reputation show`: what is known of one sender and what it makes of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.histories import learning_in, subjects_named
from esa.cli.program import DONE, FOUND
from esa.cli.state import find_state, iso, state_options
from esa.cli.terminal import json_option, print_json, printable

if TYPE_CHECKING:
    from esa.config.schema import Configuration
    from esa.policy.host_access import Match, Sender
    from esa.policy.reputation import Evidence, Reputation
    from esa.policy.senders import IpAddress
    from esa.store.reputation import ReputationView


@click.command()
@click.argument("subject")
@click.option("--no-dns", is_flag=True, help="Ask no name server.")
@json_option
@state_options
def show(subject: str, no_dns: bool, as_json: bool, state: Path | None, config_file: Path | None) -> int:
    """Show what is known of SUBJECT: an IP address, a network, or a host or domain name.

    \b
    Examples:
      esa reputation show 192.0.2.1
      esa reputation show 2001:db8::1 --no-dns
      esa reputation show mail.example.net --json

    For an address: its score with every piece of evidence, its points, counts and age, and the sender group and mail flow policy that a
    connection would get at each listener now. For a name, the histories of those who said it.

    Exit status: 0 something is known, 1 nothing is, 3 the state or the configuration cannot be read.
    """
    from esa.config.load import load
    from esa.policy.senders import read_address
    from esa.store.reputation import ReputationView

    folder = find_state(state, config_file)
    configuration = load(config_file)
    view = ReputationView.open(folder)
    try:
        address = read_address(subject)
        if address is not None:
            return _show_address(configuration, view, address, no_dns=no_dns, as_json=as_json)
        return _show_name(configuration, view, subject, as_json=as_json)
    finally:
        if view is not None:
            view.close()


def _show_address(configuration: Configuration, view: ReputationView | None, address: IpAddress, *, no_dns: bool, as_json: bool) -> int:
    from esa.gateway.assembly import make_reputation

    now = time.time()
    reputation = make_reputation(configuration, view)
    sender, places = asyncio.run(_find(configuration, reputation, address, no_dns=no_dns))
    if as_json:
        print_json(
            {
                "subject": str(address),
                "score": sender.reputation,
                "evidence": [_piece(one, now, configuration) for one in sender.evidence],
                "reverse": str(sender.reverse) if sender.reverse else None,
                "names": list(sender.names),
                "groups": [
                    {
                        "listener": name,
                        "group": match.group,
                        "policy": match.policy.name,
                        "access": match.policy.access,
                        "because": match.because,
                    }
                    for name, match in places
                ],
            }
        )
        return FOUND if not sender.evidence else DONE
    score = "none" if sender.reputation is None else f"{sender.reputation:+.1f}"
    click.echo(f"{address}  reputation {score}")
    for one in sender.evidence:
        points = "    " if one.points is None else f"{one.points:+.1f}"
        words = printable(one.text or "")
        click.echo(f"  {points}  {one.source} {printable(one.name)}  {words or _history_text(one, now, configuration)}")
    if not sender.evidence:
        click.echo("  nothing is known")
    for name, match in places:
        click.echo(f"  listener {name}: sender group {match.group} ({match.because}), policy {match.policy.name} ({match.policy.access})")
    return FOUND if not sender.evidence else DONE


async def _find(
    configuration: Configuration, reputation: Reputation, address: IpAddress, *, no_dns: bool
) -> tuple[Sender, list[tuple[str, Match]]]:
    """What a connection from there would be found to be, and where it would fall at each listener."""
    from esa.config.sender_groups import groups_of
    from esa.gateway.assembly import make_resolver
    from esa.gateway.sender_facts import SenderFacts
    from esa.policy.host_access import HostAccess, Needs

    hosts = {
        listener.name: HostAccess(groups_of(configuration.sender_group, configuration.mail_flow_policy, listener=listener.name))
        for listener in configuration.listener
    }
    resolver = None if no_dns else make_resolver(configuration, hosts.values(), reputation)
    zones = () if no_dns else tuple(dict.fromkeys(zone for table in hosts.values() for zone in table.zones))
    needs = Needs(not no_dns and any(table.asks_names for table in hosts.values()), True, zones)
    facts = SenderFacts(resolver, reputation.without_lists() if no_dns else reputation, timeout=configuration.dns.timeout, budget=1_000)
    try:
        sender = await facts.find(address, needs)
    finally:
        if resolver is not None:
            await resolver.close()
    return sender, [(name, table.match(sender)) for name, table in hosts.items()]


def _show_name(configuration: Configuration, view: ReputationView | None, text: str, *, as_json: bool) -> int:
    from esa.gateway.assembly import make_reputation

    now = time.time()
    reputation = make_reputation(configuration, view)
    found = [(subject, history) for subject in subjects_named(text) if view is not None and (history := view.look_up(subject)) is not None]
    pieces = [reputation.evidence_of(subject, history, now) for subject, history in found]
    if as_json:
        print_json({"subject": text, "score": None, "evidence": [_piece(one, now, configuration) for one in pieces]})
        return DONE if pieces else FOUND
    click.echo(printable(text))
    for one in pieces:
        points = "    " if one.points is None else f"{one.points:+.1f}"
        click.echo(f"  {points}  {one.source} {printable(one.name)}  {_history_text(one, now, configuration)}")
    if any(one.source in ("helo", "domain") for one in pieces):
        click.echo("  Anyone can say a name: it makes points for nobody until it is verified.")
    if not pieces:
        click.echo("  nothing is known")
    return DONE if pieces else FOUND


def _history_text(one: Evidence, now: float, configuration: Configuration) -> str:
    from esa.policy.history import share_of, weight_of
    from esa.policy.reputation import age, summary_of

    history, learning = one.history, learning_in(configuration)
    if history is None:
        return ""
    left = weight_of(history, now, learning)
    return (
        f"{summary_of(history, now)}, first {age(max(0.0, now - history.first_at))} ago; "
        f"{left:.1f} messages' worth left, share of spam {100 * share_of(history, now, learning):.0f} %"
    )


def _piece(one: Evidence, now: float, configuration: Configuration) -> dict[str, object]:
    from esa.policy.history import share_of, weight_of

    document: dict[str, object] = {
        "source": one.source,
        "name": one.name,
        "points": None if one.points is None else round(one.points, 2),
        "text": one.describe(now),
    }
    history, learning = one.history, learning_in(configuration)
    if history is not None:
        document |= {
            "messages": history.messages,
            "positive": history.positive,
            "suspect": history.suspect,
            "malware": history.malware,
            "invalid_recipients": history.invalid,
            "first_at": iso(history.first_at),
            "last_at": iso(history.at),
            "age_seconds": round(history.elapsed(now)),
            "worth": round(weight_of(history, now, learning), 2),
            "share": round(share_of(history, now, learning), 4),
        }
    return document
