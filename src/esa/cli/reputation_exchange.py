"""`esa reputation forget`, `export` and `import`: what was learned of senders is taken away, given to other machines, taken from them."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from esa.cli.histories import all_histories, learning_in, subjects_named
from esa.cli.program import DONE, FAILED, FOUND
from esa.cli.state import ask_or_do, find_state, state_options
from esa.cli.terminal import counted, printable, say
from esa.errors import StoreError, SyntaxFault

if TYPE_CHECKING:
    from esa.config.schema import Configuration
    from esa.policy.history import History, Subject
    from esa.policy.reputation_zone import Entry

CHUNK = 20_000  # scores in one request to the running gateway
FAULTS_SHOWN = 10


@click.command()
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
    keys = None if everything else [[subject.kind.value, subject.name] for text in subjects for subject in subjects_named(text)]
    if not yes:
        click.confirm(f"Forget {'all senders' if everything else ', '.join(map(printable, subjects))}?", abort=True, err=True)
    answer = _ask(folder, config_file, {"verb": "forget", "keys": keys})
    say(f"{counted(_number(answer, 'count'), 'history', 'histories')} forgotten")
    return DONE


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


@click.command()
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
    configuration, histories = all_histories(state, config_file)
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

    reputation = Reputation(learning=learning_in(configuration))
    for subject, history in histories.items():
        if subject.kind not in (Kind.ADDRESS, Kind.NETWORK):
            continue
        piece = reputation.evidence_of(subject, history, now)
        volume = volume_points(history, now) if subject.kind is Kind.ADDRESS else 0.0
        score = total([piece, Evidence("volume", subject.name, volume or None)])
        if score is not None:
            yield Entry(ipaddress.ip_network(subject.name), score, summary_of(history, now))


@click.command("import")
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
