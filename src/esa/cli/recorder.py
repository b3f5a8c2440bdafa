"""`esa recorder`: what is recorded of messages: how much, as JSON lines, and its end."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.program import DONE, FAILED
from esa.cli.state import find_state, iso, local, parse_since, size_for_people, state_options
from esa.cli.terminal import json_option, print_json

if TYPE_CHECKING:
    from esa.store.recorded import Recorded

NOTHING = "nothing is recorded here"


@click.group("recorder", short_help="See, export or erase what is recorded of messages.")
def command() -> None:
    """See, export or erase what is recorded of messages.

    \b
    Examples:
      esa recorder status
      esa recorder export --since 2d > recorded.jsonl
      esa recorder erase --address alice@example.org

    The recorder keeps, within limits, what was known and decided of each message, for audits, rehearsals of a configuration and learning. It may lose
    some: what must be right stands in tracking. See docs/recorder.md.
    """


@command.command("status", short_help="How much is recorded, since when, and what is lost.")
@json_option
@state_options
def status(as_json: bool, state: Path | None, config_file: Path | None) -> int:
    """How much is recorded, since when, and what is lost.

    \b
    Examples:
      esa recorder status
      esa recorder status --json --state /var/lib/esa

    Goes through all that is recorded, beside the processes that write it.
    """
    from esa.store.recorder import status_of
    from esa.store.recorder_folder import FOLDER

    found = status_of(find_state(state, config_file) / FOLDER)
    if as_json:
        print_json(
            {
                "messages": found.messages,
                "since": None if found.since is None else iso(found.since),
                "until": None if found.until is None else iso(found.until),
                "fates": found.fates,
                "octets": found.octets,
                "contents": found.contents,
                "content_octets": found.content_octets,
                "lost": found.lost,
                "damaged": found.damaged,
                "writers": found.writers,
            }
        )
        return DONE
    if found.since is None or found.until is None:
        click.echo(NOTHING)
        return DONE
    fates = ", ".join(f"{count:,} {fate}" for fate, count in found.fates.items())
    click.echo(f"{found.messages:,} messages ({fates}), {local(found.since)} to {local(found.until)}, {size_for_people(found.octets)}")
    if found.contents:
        click.echo(f"{found.contents:,} of them with content, {size_for_people(found.content_octets)}, encrypted")
    if found.lost or found.damaged:
        click.echo(f"{found.lost:,} messages were not written (disk full, or too much at once), {found.damaged:,} lines cannot be read")
    return DONE


@command.command("export", short_help="Print what is recorded, one JSON object a line.")
@click.option("--since", metavar="TIME", help="Only what was received since: a time (2026-03-01T12:00) or an age (2h, 3d).")
@click.option("--content", "with_content", is_flag=True, help="With contents, as base64, where they are recorded.")
@state_options
def export(since: str | None, with_content: bool, state: Path | None, config_file: Path | None) -> int:
    """Print what is recorded, one JSON object a line, oldest first.

    \b
    Examples:
      esa recorder export --since 2d > recorded.jsonl
      esa recorder export | jq 'select(.verdict == "positive") | .envelope.reverse_path'

    Texts that are no UTF-8 have escapes as Python writes them (\\udc80 for an octet 80). Lines that cannot be read are counted on standard error, and make
    the exit status 3.
    """
    from esa.store.recorder import recordings
    from esa.store.recorder_folder import FOLDER

    found = recordings(find_state(state, config_file) / FOLDER, since=None if since is None else parse_since(since), contents=with_content)
    for one in found:
        sys.stdout.write(json.dumps(dict(_fields(one)), ensure_ascii=True, separators=(",", ":")) + "\n")
    if found.damaged:
        click.echo(f"{found.damaged:,} lines cannot be read", err=True)
    return FAILED if found.damaged else DONE


def _fields(one: Recorded) -> Iterator[tuple[str, object]]:
    """A record with the names of its fields; what says nothing is left out."""
    session, envelope = one.session, one.envelope
    yield "id", one.id
    yield "received_at", iso(one.received_at)
    yield "session", {name: value for name in session.__slots__ if (value := getattr(session, name))}
    yield "envelope", {"reverse_path": envelope.reverse_path, "recipients": envelope.recipients, "size": envelope.size}
    for name, value in zip(one._fields[3:], one[3:], strict=True):
        if name in ("terms", "fact_row", "content", "dictionaries", "policies") or value in (None, "", (), {}):
            continue
        yield name, value
    if one.dictionaries:
        yield "dictionaries", {name: {"score": found.score, "terms": found.terms} for name, found in one.dictionaries.items()}
    if one.policies:
        yield "policies", [held._asdict() for held in one.policies]
    if one.terms:
        yield "terms", [{"text": term.text, "kind": term.kind or "text", "times": times} for term, times in one.terms.items()]
    if one.fact_row:
        yield "fact_row", base64.b64encode(one.fact_row).decode()
    if one.content is not None:
        yield "content", base64.b64encode(one.content).decode()


@command.command("erase", short_help="Erase what is recorded, or all that is known of an address.")
@click.option(
    "--address", metavar="ADDRESS", help="Only records in which it stands: alice@example.org, or @example.org for a whole domain."
)
@click.option("--all", "everything", is_flag=True, help="All there is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@state_options
def erase(address: str | None, everything: bool, yes: bool, as_json: bool, state: Path | None, config_file: Path | None) -> int:
    """Erase what is recorded, or all that is known of an address.

    \b
    Examples:
      esa recorder erase --address alice@example.org
      esa recorder erase --all --yes

    An address is looked for in envelope, author, subject and all else that is recorded, whatever its case, and in the octets of recorded contents; a
    record goes as a whole. Files that are being written are done by their process, within seconds. Tracking, quarantine and queue keep theirs.

    Exit status: 0 done, 2 used wrongly, 3 a process did not answer: its records go when it looks next.
    """
    from esa.store.recorder_erasing import erase as erase_in
    from esa.store.recorder_folder import FOLDER

    if bool(address) == everything:
        raise click.UsageError("say what to erase: --address ADDRESS, or --all")
    if address is not None and ("@" not in address or len(address.rpartition("@")[2]) == 0):
        raise click.BadParameter(f"{address!r} is no address, as alice@example.org, and no domain, as @example.org", param_hint="--address")
    folder = find_state(state, config_file) / FOLDER
    if not yes:
        click.confirm(f"Erase {'all records' if everything else f'all records in which {address} stands'}?", abort=True, err=True)
    done = erase_in(folder, address or "")
    if as_json:
        print_json({"records": done.records, "silent": list(done.silent)})
    else:
        click.echo(f"{done.records:,} records erased")
    for writer in done.silent:
        click.echo(f"{writer} did not answer: its records go when it looks next", err=True)
    return FAILED if done.silent else DONE
