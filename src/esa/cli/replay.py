"""`esa replay`: what a candidate configuration would do otherwise with mail that is there, before it is rolled out."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import click

from esa.cli.options import address_of, client_of, moment_of
from esa.cli.program import DONE, FAILED, FOUND
from esa.cli.rehearsing import current_of, mail_of, rehearsing
from esa.cli.terminal import counted, json_option, print_json, printable, printable_lines, progress, say
from esa.errors import SyntaxFault

if TYPE_CHECKING:
    from esa.errors import EsaError
    from esa.gateway.rehearsal.answers import Answers
    from esa.gateway.rehearsal.flips import Comparison, Example, Flips, Gate
    from esa.gateway.rehearsal.judgement import Fate, Mail
    from esa.gateway.rehearsal.rehearsal import Rehearsal

Key: TypeAlias = tuple[str, str]  # of an example: identifier and recipient
Places: TypeAlias = Mapping[Key, tuple[str, str]]  # of the rules that decided before and after
NOWHERE: Places = MappingProxyType({})
NAMED = 5  # senders and recipients shown of each class


@click.command("replay", short_help="Compare what two configurations do with mail, before one is rolled out.")
@click.argument("paths", metavar="[CORPUS]...", nargs=-1)
@click.option("--recorded", "is_recorded", is_flag=True, help="Mail that the recorder has, in the place of a corpus.")
@click.option("--since", metavar="TIME", help="Of recorded mail only what came since: a time (2026-03-01T12:00) or an age (2h, 3d).")
@click.option("--config", "candidate", type=click.Path(path_type=Path), required=True, help="The candidate.")
@click.option("--against", type=click.Path(path_type=Path), help="The configuration that is compared with. [default: esa.toml]")
@click.option("--from", "reverse_path", metavar="ADDRESS", help="Reverse-path of all messages; <> is the null one. [default: the author]")
@click.option(
    "--to", "recipients", metavar="ADDRESS", multiple=True, help="Recipient of all messages; several may be given. [default: that of To]"
)
@click.option("--client", metavar="ADDRESS", help="IP address of the client. [default: one without an address]")
@click.option("--listener", metavar="NAME", help="Listener that they come to. [default: the first]")
@click.option("--helo", metavar="NAME", default="", help="What the client says in EHLO.")
@click.option("--user", metavar="NAME", default="", help="The client has authenticated as this user, inside TLS: it is mail going out.")
@click.option("--at", "moment", metavar="TIME", help="When they come, as 2026-03-01T12:00. [default: now]")
@click.option("--state", type=click.Path(path_type=Path), help="State folder, instead of those in the configurations.")
@click.option(
    "--resolver", "answers_file", type=click.Path(path_type=Path), help="Recorded answers of name servers and directories (JSON)."
)
@click.option("--max-flips", type=click.IntRange(min=0), metavar="N", help="Gate: so many messages may come to another outcome.")
@click.option(
    "--never",
    "forbidden",
    metavar="CLASS",
    multiple=True,
    help='Gate: no message may flip so, as "delivered -> dropped" or "any -> refused".',
)
@json_option
def command(
    paths: tuple[str, ...],
    is_recorded: bool,
    since: str | None,
    candidate: Path,
    against: Path | None,
    reverse_path: str | None,
    recipients: tuple[str, ...],
    client: str | None,
    listener: str | None,
    helo: str,
    user: str,
    moment: str | None,
    state: Path | None,
    answers_file: Path | None,
    max_flips: int | None,
    forbidden: tuple[str, ...],
    as_json: bool,
) -> int:
    """Compare what two configurations do with mail, before one is rolled out.

    \b
    Examples:
      esa replay ~/Maildir archive.mbox --config candidate.toml --to bob@example.org
      esa replay corpus.tar.zst --config new.toml --against esa.toml --never "delivered -> dropped" --max-flips 20
      esa replay --recorded --since 3d --config candidate.toml --never "delivered -> dropped"

    CORPUS is as for `esa scan`: messages, mailboxes, archives. Each message goes through both configurations as `esa trace` shows it, without a
    connection, and what becomes of it is compared for each recipient: delivered, quarantined, dropped, refused or deferred. Shown are how many messages
    flip from one to another, for whom, and the worst examples, each with what decided before and after.

    Envelopes are made from the header: the author is the sender, To the recipient; there is no client. Give --from, --to and --client where the
    rules look at them. Where recipients are none of yours, both refuse them, and nothing more is compared: that is told, and --to helps.

    With --recorded it is the mail that came, with its envelopes, from the recorder in the state folder (of --state, or of the candidate); it is compared
    with what was decided then, or with --against. What a configuration asks of a message that was not recorded (a text that no filter looked for
    then, attachments) is not guessed: such messages are counted, and compared only where contents are recorded. See docs/recorder.md.

    With gates (--max-flips, --never) the exit status says whether they hold; without, whether anything flips.

    Exit status: 0 nothing flips, or all gates hold; 1 something flips, or a gate does not hold; 2 used wrongly; 3 some inputs could not be read.
    """
    from esa.gateway.rehearsal.answers import Answers
    from esa.gateway.rehearsal.flips import replay
    from esa.learning.corpora import iter_corpora
    from esa.message.envelope import Session

    if bool(paths) == is_recorded:
        raise click.UsageError("say which mail: a CORPUS, or --recorded")
    if is_recorded:
        of_corpora = (reverse_path, client, listener, user or None, moment, answers_file, recipients or None, helo or None)
        if any(one is not None for one in of_corpora):
            raise click.UsageError("recorded mail has its own envelopes and clients: leave --from, --to, --client, --listener and such out")
        return _replay_recorded(candidate, against, state, since, max_flips, forbidden, as_json)
    if since is not None:
        raise click.UsageError("--since is for --recorded")
    current = current_of(candidate, against)
    if current is None:
        raise click.UsageError("there is nothing to compare with: run it where esa.toml is, or name a configuration with --against")
    gates = _gates(max_flips, forbidden)
    session = Session(
        "" if client is None else client_of(client),
        helo=helo,
        listener=listener or "",
        received_at=time.time() if moment is None else moment_of(moment),
        user=user,
    )
    path = None if reverse_path is None else address_of(reverse_path, "--from", may_be_null=True)
    to = tuple(address_of(one, "--to") for one in recipients)
    answers = Answers.from_file(answers_file) if answers_file is not None else None
    faults: list[EsaError] = []

    def mails() -> Iterator[Mail]:
        for item in iter_corpora(paths):
            if item.content is None:
                if item.error is not None:
                    faults.append(item.error)
                continue
            yield mail_of(item.content, session, item.path, reverse_path=path, recipients=to, default="postmaster")

    began = time.perf_counter()
    with (
        rehearsing(current, state=state, answers=answers, explains=False) as old,
        rehearsing(candidate, state=state, answers=answers, explains=False, like=old) as new,
        progress("replaying") as meter,
    ):
        comparison = replay(old, new, mails(), done=lambda count: meter.advance(count))
        before, after = (
            _places(comparison, file, state, answers, rehearsal, side=side)
            for side, (file, rehearsal) in enumerate(((current, old), (candidate, new)))
        )
    places = {key: (place, after[key]) for key, place in before.items()}
    unanswered = max(old.unanswered, new.unanswered)
    if as_json:
        print_json(_document(comparison, gates, faults, (str(current), str(candidate)), places))
    else:
        _print(comparison, gates, places)
        _say_more(comparison, candidate, current)
    if unanswered:
        asked = counted(unanswered, "question")
        say(f"{asked} to name servers and directories had no answer, as nobody is asked: sender groups may be others; see --resolver")
    for fault in faults:
        say(f"unreadable: {printable_lines(str(fault))}")
    _say_summary(comparison, time.perf_counter() - began)
    return FAILED if faults else _status(comparison, gates)


def _replay_recorded(
    candidate: Path,
    against: Path | None,
    state: Path | None,
    since: str | None,
    max_flips: int | None,
    forbidden: tuple[str, ...],
    as_json: bool,
) -> int:
    """Compare upon recorded mail."""
    from esa.cli.state import parse_since
    from esa.config.load import load
    from esa.gateway.rehearsal.flips import replay_recorded
    from esa.gateway.rehearsal.recalling import Recalling
    from esa.store.recorder import recordings
    from esa.store.recorder_folder import FOLDER

    gates = _gates(max_flips, forbidden)
    configuration = load(candidate, state=state)
    records = recordings(configuration.state / FOLDER, since=None if since is None else parse_since(since))
    current = None if against is None else Recalling(load(against, state=state))
    began = time.perf_counter()
    with progress("replaying") as meter:
        comparison = replay_recorded(current, Recalling(configuration), records, done=lambda count: meter.advance(count))
    if as_json:
        before = "what was decided" if against is None else str(against)
        print_json({**_document(comparison, gates, [], (before, str(candidate))), "lost": records.lost, "damaged": records.damaged})
    else:
        _print(comparison, gates)
    _say_summary(comparison, time.perf_counter() - began)
    if not comparison.messages and not comparison.not_known:
        say(f"nothing is recorded in {printable(str(configuration.state / FOLDER))}")
    if comparison.not_known:
        say(
            f"{counted(comparison.not_known.total(), 'message')} more cannot be compared, for their contents are not recorded; asked for is"
        )
        for what, count in comparison.not_known.most_common():
            say(f"  {printable(what)} × {count:,}")
    if records.lost or records.damaged:
        say(f"{records.lost:,} messages were not recorded (disk full, too much at once), {records.damaged:,} lines cannot be read")
    return _status(comparison, gates)


def _gates(max_flips: int | None, forbidden: tuple[str, ...]) -> list[Gate]:
    from esa.gateway.rehearsal.flips import at_most, never

    try:
        return [*([] if max_flips is None else [at_most(max_flips)]), *map(never, forbidden)]
    except SyntaxFault as wrong:
        raise click.BadParameter(f"{wrong.what}; {wrong.mend}", param_hint="--never") from None


def _status(comparison: Comparison, gates: list[Gate]) -> int:
    if gates:
        return FOUND if any(gate.found(comparison) > gate.limit for gate in gates) else DONE
    return FOUND if comparison.flipped else DONE


def _places(
    comparison: Comparison, file: Path, state: Path | None, answers: Answers | None, like: Rehearsal, *, side: int
) -> dict[Key, str]:
    """Where the rule stands that decided, of each example: they are judged once more, and explained."""
    from esa.gateway.rehearsal.judgement import place_of

    examples = [one for flips in (*comparison.flips.values(), comparison.treated_otherwise) for one in flips.examples]
    if not examples:
        return {}
    with rehearsing(file, state=state, answers=answers, like=like) as rehearsal:
        judgements = {one.mail.identifier: rehearsal.judge(one.mail) for one in examples}
    return {_key(one): place_of(judgements[one.mail.identifier], (one.before, one.after)[side]) for one in examples}


def _key(example: Example) -> Key:
    return example.mail.identifier, example.after.recipient


def _print(comparison: Comparison, gates: list[Gate], places: Places = NOWHERE) -> None:
    lines: list[str] = []
    for kind, flips in comparison.classes:
        lines += _class_lines(str(kind), flips, places)
    if comparison.treated_otherwise.messages:
        lines += _class_lines("same outcome, treated otherwise", comparison.treated_otherwise, places)
    for gate in gates:
        found = gate.found(comparison)
        lines.append(f"gate {gate.text}: {'holds' if found <= gate.limit else 'does not hold'} ({counted(found, 'message')})")
    if lines:
        click.echo("\n".join(lines))


def _class_lines(title: str, flips: Flips, places: Places) -> list[str]:
    lines = [f"{title}: {counted(flips.messages, 'message')}, {counted(flips.recipients, 'recipient')}"]
    for noun, named in (("from", flips.senders), ("to", flips.addresses)):
        shown = ", ".join(f"{printable(address) or '<>'} × {count}" for address, count in named.most_common(NAMED))
        more = f", {len(named) - NAMED:,} more" if len(named) > NAMED else ""
        lines.append(f"  {noun:<4}  {shown}{more}")
    for example in flips.examples:
        score = "" if example.score is None else f", score {example.score:.1f}"
        lines.append(f"  {printable(example.mail.name or example.mail.identifier)}{score}, to {printable(example.after.recipient)}")
        sides = zip(("before", "after "), (example.before, example.after), places.get(_key(example), ("", "")), strict=True)
        lines += [f"    {side}  {printable(_why(fate))}{f'  [{printable(place)}]' if place else ''}" for side, fate, place in sides]
    return lines


def _why(fate: Fate) -> str:
    policy = f", policy {fate.policy}" if fate.policy else ""
    held = f", in {', '.join(fate.quarantines)}" if fate.quarantines else ""
    elsewhere = f", to {', '.join(fate.destinations)}" if fate.destinations not in ((), (fate.recipient,)) else ""
    edits = f", {counted(len(fate.edits), 'edit')}" if fate.edits else ""
    return f"{fate.outcome}: {fate.reason or fate.reply}{policy}{held}{elsewhere}{edits}"


def _say_more(comparison: Comparison, candidate: Path, current: Path) -> None:
    """How to find out more of the worst of all."""
    worst = next((example.mail for _, flips in comparison.classes for example in flips.examples), None)
    if worst is None or worst.name == "-":
        return
    options = [("--config", str(candidate)), ("--against", str(current)), ("--from", f"<{worst.envelope.reverse_path}>")]
    options += [("--to", one) for one in worst.envelope.recipients]
    options += [("--client", worst.session.client_address)] if worst.session.client_address else []
    words = " ".join(f"{option} {shlex.quote(value)}" for option, value in options)
    say(f"more of the first: {printable(f'esa trace {shlex.quote(worst.name)} {words}')}")


def _say_summary(comparison: Comparison, seconds: float) -> None:
    rate = f"; {comparison.messages / seconds:,.0f} messages/s" if comparison.messages else ""
    say(f"{counted(comparison.messages, 'message')} replayed, {counted(comparison.flipped, 'flip')}{rate}")
    early = comparison.refused_early
    if early:
        why = ", ".join(f"{printable(reply)} × {count:,}" for reply, count in early.most_common(NAMED))
        say(
            f"{counted(early.total(), 'message')} of them both refuse before the mail data, so that no filter or policy was compared ({why})"
        )
        say("give --to with an address of yours, --from or --client, if that is not what you want to compare")


def _document(
    comparison: Comparison, gates: list[Gate], faults: list[EsaError], names: tuple[str, str], places: Places = NOWHERE
) -> dict[str, object]:
    return {
        "current": names[0],
        "candidate": names[1],
        "messages": comparison.messages,
        "recipients": comparison.recipients,
        "flipped": comparison.flipped,
        "not_known": dict(comparison.not_known.most_common()),
        "refused_early": dict(comparison.refused_early.most_common()),
        "unreadable": [str(fault) for fault in faults],
        "flips": [{"from": kind.before, "to": kind.after, **_flips(flips, places)} for kind, flips in comparison.classes],
        "treated_otherwise": _flips(comparison.treated_otherwise, places),
        "gates": [
            {"gate": gate.text, "limit": gate.limit, "found": gate.found(comparison), "holds": gate.found(comparison) <= gate.limit}
            for gate in gates
        ],
    }


def _flips(flips: Flips, places: Places) -> dict[str, object]:
    return {
        "messages": flips.messages,
        "recipients": flips.recipients,
        "senders": dict(flips.senders.most_common()),
        "addresses": dict(flips.addresses.most_common()),
        "examples": [_example(example, *places.get(_key(example), ("", ""))) for example in flips.examples],
    }


def _example(example: Example, before: str, after: str) -> dict[str, object]:
    return {
        "path": example.mail.name,
        "id": example.mail.identifier,
        "reverse_path": example.mail.envelope.reverse_path,
        "recipient": example.after.recipient,
        "score": None if example.score is None else round(example.score, 4),
        "before": _fate(example.before, before),
        "after": _fate(example.after, after),
    }


def _fate(fate: Fate, place: str) -> dict[str, object]:
    return {
        "outcome": fate.outcome,
        "reason": fate.reason,
        "place": place,
        "policy": fate.policy or None,
        "reply": fate.reply,
        "quarantines": list(fate.quarantines),
        "destinations": list(fate.destinations),
        "edits": list(fate.edits),
    }
