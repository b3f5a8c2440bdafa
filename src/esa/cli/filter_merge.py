"""`esa filters merge`: filters of one address, client or subject each made one filter and one dictionary, with a certificate that nothing changes."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.terminal import counted, json_option, print_json, progress, say
from esa.errors import ConfigurationError

if TYPE_CHECKING:
    from esa.config.filters import Source
    from esa.config.schema import Configuration
    from esa.engine.verdict import Report
    from esa.message.envelope import Envelope, Session
    from esa.policy.audit.certificate import Comparison, Side
    from esa.policy.audit.merging import Merge
    from esa.policy.view import View

FOUND, FAILED = 1, 3
BACKUP = ".before-merge"  # ends the name of what a file was before


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--fewest", type=click.IntRange(2), default=3, show_default=True, help="Merge no fewer filters than this.")
@click.option(
    "--write",
    "writes",
    is_flag=True,
    help="Write the new filters and dictionaries, and keep files of filters as they were under NAME.before-merge.",
)
@click.option("--recordings", type=click.Path(path_type=Path), help="Folder of recordings, instead of recorder/ in the state folder.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")
@json_option
def merge(paths: tuple[str, ...], fewest: int, writes: bool, recordings: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Make one filter and one dictionary of many filters that differ in an address, a client or a subject only.

    Merged are filters with one test (mail-from or rcpt-to with a whole address or @domain, remote-ip with a network or a host, or subject with plain
    text), the same actions, and case counted alike. A filter is moved up to the first of its like only over filters that can act on none of its
    messages, or that do the very same: what any message meets stays as it was. Names and comments of the old filters become comments of the entries.

    \b
    What is printed is a proposal with its certificate:
      proved     each entry takes exactly what its filter took (automata, in both directions; addresses in ASCII)
      tried      addresses and clients at the edges of every entry, through both sets of filters
      compared   the mail in PATHs, given as for `esa scan`, and all that the recorder kept: outcomes are equal but for names
      measured   µs of one message before and after, on that mail. Filters that ask for one address each cost little here: a merge is for people
                 who look after one list in the place of hundreds of filters, and the figure says what that costs or saves

    \b
    Examples:
      esa filters merge                        what could be merged
      esa filters merge ~/Maildir              the same, compared on mail of your own
      esa filters merge --write                do it; esa serve takes it when it is reloaded

    Exit status: 0 there is nothing to merge, or it was written; 1 there is a proposal; 3 the two sides differ (that is a fault of esa; nothing is written).
    """
    from esa.cli.filters import open_filters  # late: that module names this command
    from esa.config.audited import audited
    from esa.config.load import DEFAULT_FILE
    from esa.engine.dictionary import Dictionary
    from esa.policy.audit.certificate import Side, try_edges
    from esa.policy.audit.merging import merged, propose, proved_equal
    from esa.policy.filters.ledger import Ledger

    opened = open_filters(config_file)
    configuration = opened.configuration
    what = audited(configuration, opened.sources, config_file or Path(DEFAULT_FILE))
    filters = what.messages.filters
    dictionaries = [Dictionary.from_file(Path(name)) for name in configuration.scan.dictionaries]
    names = frozenset(one.filter.name for one in opened.filters) | {one.name for one in dictionaries}
    merges = [one for one in propose(filters, what.scope, taken=names, fewest=fewest) if proved_equal(one)]
    if not merges:
        say(f"none of {counted(len(filters), 'active filter')} can be merged")
        return
    before = Side(filters, dictionaries, what.scope)
    after = Side(merged(filters, merges), [*dictionaries, *(one.dictionary for one in merges)], what.scope)
    tried = try_edges(merges, before, after)
    before.ledger, after.ledger = Ledger(every=1), Ledger(every=1)
    compared = _compare(merges, before, after, paths, recordings, configuration)
    _print(merges, tried, compared, before, after, as_json=as_json)
    if tried.different or compared.different:
        say(f"the two sides differ for {', '.join([*tried.differences, *compared.differences])}: nothing is written. Please report this.")
        sys.exit(FAILED)
    if not writes:
        sys.exit(FOUND)
    _write(merges, opened.sources, configuration, config_file)


# --- the same mail through both ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Mail:
    """A message with what comes with it. Of a recorded one without content, a message with its subject and author in the place of it."""

    identifier: str
    content: bytes
    session: Session
    envelope: Envelope
    sender_group: str = ""
    reputation: float | None = None
    remote_host: str = ""


def _compare(
    merges: Sequence[Merge], before: Side, after: Side, paths: Sequence[str], recordings: Path | None, configuration: Configuration
) -> Comparison:
    from esa.policy.audit.certificate import comparison_of

    compared = comparison_of(merges)
    with progress("Comparing") as meter:
        for mail in _mail(paths, recordings, configuration):
            reports = {id(side): side.scanner.scan(mail.content) for side in (before, after)}

            def view_of(side: Side, mail: _Mail = mail, reports: dict[int, Report] = reports) -> View:
                return _view(side, mail, reports[id(side)])

            compared.compare(before, after, view_of, mail.identifier)
            meter.advance()
    return compared


def _view(side: Side, mail: _Mail, report: Report) -> View:
    from esa.policy.view import View

    return View(
        mail.content,
        mail.session,
        mail.envelope,
        report,
        lookup=side.scanner.lookup,
        identifier=mail.identifier,
        sender_group=mail.sender_group,
        reputation=mail.reputation,
        remote_host=mail.remote_host,
    )


def _mail(paths: Sequence[str], recordings: Path | None, configuration: Configuration) -> Iterator[_Mail]:
    from esa.learning.corpora import iter_corpora
    from esa.message.content import Message
    from esa.message.envelope import Envelope, Session

    for item in iter_corpora(paths):
        if item.content is None:
            continue
        parsed = Message(item.content).parsed
        session = Session(listener=configuration.listener[0].name, received_at=time.time())
        yield _Mail(item.path, item.content, session, Envelope(parsed.from_address, (parsed.to_address,), len(item.content)))
    yield from _recorded(recordings, configuration)


def _recorded(folder: Path | None, configuration: Configuration) -> Iterator[_Mail]:
    from esa.store.recorder import recordings
    from esa.store.recorder_folder import FOLDER

    place = folder or Path(configuration.gateway.state) / FOLDER
    for one in recordings(place) if place.is_dir() else ():
        content = one.content
        if content is None:
            subject = " ".join(one.subject.split())
            content = f"From: <{one.author}>\r\nSubject: {subject}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode("utf-8", "replace")
        yield _Mail(one.id, content, one.session, one.envelope, one.sender_group, one.reputation, one.remote_host)


# --- telling ----------------------------------------------------------------------------------------------------------------------------


def _print(merges: Sequence[Merge], tried: Comparison, compared: Comparison, before: Side, after: Side, *, as_json: bool) -> None:
    from esa.policy.filters.write import write_filter

    was, becomes = (before.microseconds(), after.microseconds()) if compared.messages else (None, None)
    for one in merges:
        if as_json:
            entries = [entry.text for entry in one.dictionary.entries]
            print_json(
                {
                    "filters": [member.name for member in one.members],
                    "filter": write_filter(one.filter),
                    "dictionary": one.dictionary.name,
                    "entries": entries,
                    "proved": True,
                    "tried": {"messages": tried.messages, "different": tried.different},
                    "compared": {"messages": compared.messages, "acted": compared.acted, "different": compared.different},
                    "micros_before": was and round(was, 3),
                    "micros_after": becomes and round(becomes, 3),
                }
            )
            continue
        click.echo(f"# {counted(len(one.members), 'filter')}: {', '.join(member.name for member in one.members)}\n")
        click.echo(write_filter(one.filter))
        click.echo(f"# dictionary {one.dictionary.name}.txt\n{one.dictionary.to_text()}")
    merged_filters = sum(len(one.members) for one in merges)
    say(f"{counted(merged_filters, 'filter')} become {len(merges)}. Proved: each entry takes what its filter took.")
    say(
        f"Tried: {counted(tried.messages, 'sender, recipient or client', 'senders, recipients and clients')} at their edges, {tried.different} treated otherwise."
    )
    if was is None or becomes is None:
        say("Compared with no mail: give PATHs, or let the recorder run.")
        return
    verb, much = ("saved", was - becomes) if becomes <= was else ("more", becomes - was)
    say(
        f"Compared: {counted(compared.messages, 'message')}, merged filters acted for {compared.acted:,}; {compared.different} treated otherwise."
    )
    say(f"Measured: {was:.2f} µs a message before, {becomes:.2f} µs after: {much:.2f} µs {verb}.")


# --- writing ----------------------------------------------------------------------------------------------------------------------------


def _write(merges: Sequence[Merge], sources: Sequence[Source], configuration: Configuration, config_file: Path | None) -> None:
    """Dictionaries first: alone they change nothing. Then each file of filters, whole or not at all."""
    from esa.config import dictionary_file
    from esa.config.filter_files import with_piece, without, write_file
    from esa.config.filters import Source
    from esa.policy.filters.read import read
    from esa.policy.filters.write import write_filter

    folder = _folder(config_file)
    texts: dict[Path, str] = {}
    by_name: dict[str, Source] = {one.name: source for source in sources for one in source.file.filters}
    for one in merges:
        for path in dict.fromkeys(by_name[member.name].path for member in one.members):
            source = next(source for source in sources if source.path == path)
            now = texts.get(path, source.text)
            changed = Source(path, now, read(now, str(path)))
            first = one.members[0].name
            if by_name[first].path == path:
                now = with_piece(changed, write_filter(one.filter), first)
                changed = Source(path, now, read(now, str(path)))
            texts[path] = without(changed, one.names)
    for path, text in texts.items():
        read(text, str(path))
    for one in merges:
        path = folder / f"{one.dictionary.name}.txt"
        with dictionary_file.writing(path):
            dictionary_file.write(path, one.dictionary.to_text())
        say(f"written: {path}")
    for path, text in texts.items():
        shutil.copy2(path, path.with_name(path.name + BACKUP))
        write_file(path, text)
        say(f"written: {path}; as it was: {path.name}{BACKUP}")
    say("esa serve takes it when it is reloaded or started: kill -HUP, after esa config check")


def _folder(config_file: Path | None) -> Path:
    """The first folder of dictionaries, so that a new file in it is one of them."""
    from esa.config.load import DEFAULT_FILE, check, read

    path = config_file or Path(DEFAULT_FILE)
    configuration = check(read(path), str(path), base=path.parent, reads_files=False)[0] if path.exists() else None
    for name in configuration.scan.dictionaries if configuration is not None else ():
        if (path.parent / name).is_dir():
            return path.parent / name
    raise ConfigurationError(
        "there is no folder for a new dictionary",
        where=f"{path}, [scan], dictionaries",
        mend='Make a folder and name it there, as dictionaries = ["dictionaries"].',
    )
