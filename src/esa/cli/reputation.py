"""`esa reputation`: what is known of senders and what it makes of them; forgetting it, giving it to other machines, taking it from them."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from esa.cli.program import DONE, FAILED, FOUND
from esa.cli.state import ask_or_do, find_state, iso, state_options
from esa.cli.terminal import counted, json_option, print_json, print_table, printable, say
from esa.errors import StoreError, SyntaxFault

if TYPE_CHECKING:
    from esa.config.schema import Configuration
    from esa.policy.history import History, Learning, Subject
    from esa.policy.host_access import Match, Sender
    from esa.policy.reputation import Evidence, Reputation
    from esa.policy.reputation_zone import Entry
    from esa.policy.senders import IpAddress
    from esa.store.reputation import ReputationView

CHUNK = 20_000  # scores in one request to the running gateway
FAULTS_SHOWN = 10


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


# --- show


@command.command()
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
    from esa.gateway.process import make_reputation

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
    from esa.gateway.process import make_resolver
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
    from esa.gateway.process import make_reputation

    now = time.time()
    reputation = make_reputation(configuration, view)
    found = [(subject, history) for subject in _subjects(text) if view is not None and (history := view.look_up(subject)) is not None]
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

    history, learning = one.history, _learning(configuration)
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
    history, learning = one.history, _learning(configuration)
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


def _learning(configuration: Configuration) -> Learning:
    from esa.config.reputation import learning_of

    return learning_of(configuration.reputation)


# --- list


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
    configuration, histories = _all(state, config_file)
    learning = _learning(configuration)
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


def _all(state: Path | None, config_file: Path | None) -> tuple[Configuration, dict[Subject, History]]:
    from esa.config.load import load
    from esa.store.reputation import ReputationView

    folder = find_state(state, config_file)
    view = ReputationView.open(folder)
    try:
        return load(config_file), {} if view is None else view.all()
    finally:
        if view is not None:
            view.close()


# --- forget


@command.command()
@click.argument("subjects", nargs=-1, metavar="SUBJECT…")
@click.option("--all", "everything", is_flag=True, help="Forget all senders.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_options
def forget(subjects: tuple[str, ...], everything: bool, yes: bool, state: Path | None, config_file: Path | None) -> int:
    """Forget what was learned of senders: addresses, networks, host and domain names.

    \b
    Examples:
      esa reputation forget 192.0.2.1 192.0.2.0/24
      esa reputation forget --all --yes

    An address loses its own history and what another gateway said of it; that of its network stays unless it is named.
    """
    if everything == bool(subjects):
        raise click.UsageError("name the senders to forget, or give --all")
    folder = find_state(state, config_file)
    keys = None if everything else [[subject.kind.value, subject.name] for text in subjects for subject in _subjects(text)]
    if not yes:
        click.confirm(f"Forget {'all senders' if everything else ', '.join(map(printable, subjects))}?", abort=True, err=True)
    answer = _ask(folder, config_file, {"verb": "forget", "keys": keys})
    say(f"{counted(_number(answer, 'count'), 'history', 'histories')} forgotten")
    return DONE


def _subjects(text: str) -> list[Subject]:
    """All histories that a word of the command line may name. Raises click.BadParameter for what can be none."""
    from esa.policy.history import Kind, Subject, subjects_of
    from esa.policy.senders import read_address

    address = read_address(text)
    if address is not None:
        own = subjects_of(address)[0].name
        return [Subject(kind, own) for kind in (Kind.ADDRESS, Kind.IMPORTED)]
    if "/" in text:
        try:
            network = str(ipaddress.ip_network(text))
        except ValueError:
            raise click.BadParameter(f"{text!r} is no network, as 192.0.2.0/24 or 2001:db8::/64", param_hint="SUBJECT") from None
        return [Subject(kind, network) for kind in (Kind.ADDRESS, Kind.NETWORK, Kind.IMPORTED)]
    name = text.rstrip(".").lower()
    return [Subject(kind, name) for kind in (Kind.HELO, Kind.DOMAIN, Kind.SIGNER)]


def _ask(folder: Path, config_file: Path | None, request: Mapping[str, object]) -> Mapping[str, object]:
    """Have the running gateway do it, or do it here."""
    from esa.config.load import load
    from esa.gateway.keep import OpenKeep, socket_path
    from esa.gateway.process import keep_settings

    def do() -> object:
        with OpenKeep(keep_settings(load(config_file, state=folder))) as keep:
            return keep.obey(request)

    answer, _ = ask_or_do(socket_path(folder), request, do)
    assert isinstance(answer, dict)
    return answer


def _number(answer: Mapping[str, object], key: str) -> int:
    value = answer.get(key)
    return value if isinstance(value, int) else 0


# --- export and import


@command.command()
@click.option("--format", "form", type=click.Choice(["rbldnsd", "unbound"]), default="unbound", show_default=True, help="Form of the file.")
@click.option("--zone", default="reputation.invalid", show_default=True, help="Domain of the zone.")
@click.option("--at-most", type=float, default=10.0, show_default=True, help="Only scores up to this one: -3 gives a block list.")
@state_options
def export(form: Literal["rbldnsd", "unbound"], zone: str, at_most: float, state: Path | None, config_file: Path | None) -> int:
    """Print a DNS zone with the scores of addresses and networks that were learned here, for other machines to ask.

    \b
    Examples:
      esa reputation export --zone rep.example.org > rep.zone
      esa reputation export --format rbldnsd --zone rep.example.org --at-most -3 > rep.rbl

    The A record holds the score: 127.0.1.73 is -7.3, 127.0.2.42 is +4.2; the TXT record says why. What was imported is not exported again.
    """
    from esa.message.address import parse_domain
    from esa.policy.reputation_zone import write_zone

    try:
        zone = parse_domain(zone)
    except SyntaxFault:
        raise click.BadParameter(f"{zone!r} is no domain, as rep.example.org", param_hint="--zone") from None
    configuration, histories = _all(state, config_file)
    now = time.time()
    entries = [entry for entry in _entries(configuration, histories, now) if entry.score <= at_most]
    for line in write_zone(entries, zone=zone, serial=int(now), form=form):
        click.echo(line)
    say(counted(len(entries), "entry", "entries"))
    return DONE


def _entries(configuration: Configuration, histories: Mapping[Subject, History], now: float) -> Iterable[Entry]:
    """The score of each address and network by its own history alone."""
    from esa.policy.history import Kind, volume_points
    from esa.policy.reputation import Evidence, Reputation, summary_of, total
    from esa.policy.reputation_zone import Entry

    reputation = Reputation(learning=_learning(configuration))
    for subject, history in histories.items():
        if subject.kind not in (Kind.ADDRESS, Kind.NETWORK):
            continue
        piece = reputation.evidence_of(subject, history, now)
        volume = volume_points(history, now) if subject.kind is Kind.ADDRESS else 0.0
        score = total([piece, Evidence("volume", subject.name, volume or None)])
        if score is not None:
            yield Entry(ipaddress.ip_network(subject.name), score, summary_of(history, now))


@command.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_options
def import_command(path: Path, yes: bool, state: Path | None, config_file: Path | None) -> int:
    """Take over the scores of PATH, a zone file that another gateway exported (either form).

    They count half, beside what is learned here, and fade as that does. A score taken over before is replaced. Of networks only those
    that are looked up can be used: /24 and /48, and /64 as one sender.

    Exit status: 0 all was taken over, 1 some entries were left out, 3 the file cannot be read.
    """
    from esa.policy.reputation_zone import read_zone

    try:
        entries, faults = read_zone(path.read_text("utf-8").splitlines())
    except OSError as wrong:
        say(f"{path}: the file cannot be read ({wrong.strerror})\nCheck its path and mode.")
        return FAILED
    except UnicodeDecodeError as wrong:
        say(f"{path}: octet {wrong.start} is not UTF-8\nIt is no zone file.")
        return FAILED
    for number, fault in faults[:FAULTS_SHOWN]:
        say(f"{path}, line {number}: {fault.what}")
    scores = {entry.name: entry.score for entry in entries if _is_looked_up(entry)}
    folder = find_state(state, config_file)
    if not yes:
        click.confirm(f"Take over {counted(len(scores), 'score')} from {path}?", abort=True, err=True)
    taken, names = 0, list(scores)
    for start in range(0, len(names), CHUNK):
        answer = _ask(folder, config_file, {"verb": "take over", "scores": {name: scores[name] for name in names[start : start + CHUNK]}})
        taken += _number(answer, "count")
        if taken > _number(answer, "room"):
            raise StoreError(
                f"there is room for {_number(answer, 'room'):,} imported scores",
                where=str(path),
                mend="raise [reputation] senders, restart, import again",
            )
    left_out = len(entries) - len(scores)
    say(
        f"{counted(taken, 'score')} taken over; {left_out} of networks that are not looked up, {counted(len(faults), 'line')} not understood"
    )
    return FOUND if left_out or faults else DONE


def _is_looked_up(entry: Entry) -> bool:
    sizes: Sequence[int] = (32, 24) if entry.network.version == 4 else (64, 48)
    return entry.network.prefixlen in sizes
