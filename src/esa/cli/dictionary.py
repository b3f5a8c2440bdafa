"""`esa dictionary`: the files of dictionaries, seen and changed one entry at a time, checked, imported and exported."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from esa.cli.program import DONE, FOUND
from esa.cli.state import ask_for_reload, iso, local
from esa.cli.terminal import counted, json_option, print_json, print_table, printable, say
from esa.errors import ConfigurationError, SyntaxFault

if TYPE_CHECKING:
    from esa.config.dictionary_file import Added
    from esa.config.schema import Configuration
    from esa.engine.dictionary import Dictionary, Entry, Kind, Options
    from esa.store.dictionary_hits import Hits

_Command = TypeVar("_Command", bound=Callable[..., object])
_NAME = re.compile(r"[\w-][\w.-]*\Z")
KINDS = ("terms", "expressions", "addresses", "domains", "networks", "hashes")


@click.group("dictionary", short_help="See, change, check, import and export dictionaries.")
def command() -> None:
    """See, change, check, import and export dictionaries.

    \b
    Examples:
      esa dictionary list                                   all, with entries and hits
      esa dictionary add ex-employees bob@example.com --until 2027-01-01 --owner hr
      esa dictionary remove ex-employees bob@example.com
      esa dictionary check                                  what never matches, has expired, stands there twice
      esa dictionary import finance export.txt --kind expressions    a dictionary of AsyncOS

    A dictionary is a file named in esa.toml under [scan], dictionaries, or in a folder named there; its name is that of the file
    without its ending. Files may be edited by hand as well: docs/dictionaries.md says how. What is changed here takes effect at
    once: a running `esa serve` is asked to read its files again.
    """


def _config_option(function: _Command) -> _Command:
    return click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")(function)


def _change_options(function: _Command) -> _Command:
    function = click.option("--no-reload", is_flag=True, help="Do not ask a running `esa serve` to read its files again.")(function)
    function = click.option("--state", type=click.Path(path_type=Path), help="State folder, instead of the one in the configuration.")(
        function
    )
    return _config_option(function)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no date; write the last day that counts as 2027-01-31", param_hint="--until") from None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say of which dictionary an entry is that cannot be one."""
    try:
        yield
    except SyntaxFault as fault:
        raise ConfigurationError(f"{fault.where}: {fault.what}" if fault.where else fault.what, where=str(path), mend=fault.mend) from fault


# --- list and show


@command.command("list")
@json_option
@click.option("--state", type=click.Path(path_type=Path), help="State folder, instead of the one in the configuration.")
@_config_option
def list_dictionaries(as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """List the dictionaries with their kind, entries, and how often entries were found.

    \b
    Examples:
      esa dictionary list
      esa dictionary list --json | jq 'select(.expired > 0)'

    Exit status: 0 done, 2 the configuration or a dictionary cannot be read.
    """
    configuration = _load(config_file, state)
    today = date.today()
    rows = []
    for name, path in _paths(configuration).items():
        dictionary = _read(path)
        hits = _hits(configuration.state, name)
        expired = sum(entry.until is not None and entry.until < today for entry in dictionary.entries)
        found = sum(one.hits for one in hits.values())
        last = max((one.last_at for one in hits.values()), default=None)
        if as_json:
            print_json(
                {
                    "name": name,
                    "file": str(path),
                    "kind": dictionary.kind,
                    "whole_words": dictionary.whole_words,
                    "case_sensitive": dictionary.case_sensitive,
                    "entries": len(dictionary.entries),
                    "expired": expired,
                    "hits": found,
                    "last_hit": None if last is None else iso(last),
                }
            )
        rows.append(
            [name, dictionary.kind, str(len(dictionary.entries)), str(expired), str(found), "" if last is None else local(last), str(path)]
        )
    if as_json:
        return
    if rows:
        print_table(["NAME", "KIND", "ENTRIES", "EXPIRED", "HITS", "LAST HIT", "FILE"], rows)
    say(counted(len(rows), "dictionary", "dictionaries"))


@command.command()
@click.argument("name")
@json_option
@click.option("--expired", is_flag=True, help="Only entries whose last day is over.")
@click.option("--unused", is_flag=True, help="Only entries that were never found.")
@click.option("--state", type=click.Path(path_type=Path), help="State folder, instead of the one in the configuration.")
@_config_option
def show(name: str, as_json: bool, expired: bool, unused: bool, state: Path | None, config_file: Path | None) -> int:
    """Show the entries of the dictionary NAME: weight, last day, owner, comment, how often and when last found.

    \b
    Examples:
      esa dictionary show ex-employees
      esa dictionary show ex-employees --unused --json

    Hits are counted by the running gateway; a few seconds pass until they stand here. Exit status: 0 done, 1 there is none such.
    """
    configuration = _load(config_file, state)
    dictionary = _read(_path(configuration, name))
    hits = _hits(configuration.state, name)
    today = date.today()
    chosen = [
        entry
        for entry in dictionary.entries
        if not (expired and (entry.until is None or entry.until >= today)) and not (unused and entry.text in hits)
    ]
    if as_json:
        for entry in chosen:
            print_json(_document(entry, hits.get(entry.text)))
        return DONE if chosen else FOUND
    rows = []
    for entry in chosen:
        hit = hits.get(entry.text)
        times, last = ("", "") if hit is None else (str(hit.hits), local(hit.last_at))
        until = "" if entry.until is None else f"{entry.until}{' (over)' if entry.until < today else ''}"
        rows.append(
            [printable(entry.text), entry.kind, str(entry.weight), until, printable(entry.owner), times, last, printable(entry.comment)]
        )
    if rows:
        print_table(["ENTRY", "KIND", "WEIGHT", "UNTIL", "OWNER", "HITS", "LAST HIT", "COMMENT"], rows)
    say(counted(len(rows), "entry", "entries"))
    return DONE if chosen else FOUND


def _document(entry: Entry, hit: Hits | None) -> dict[str, object]:
    return {
        "entry": entry.text,
        "kind": entry.kind,
        "weight": entry.weight,
        "until": None if entry.until is None else entry.until.isoformat(),
        "owner": entry.owner or None,
        "comment": entry.comment or None,
        "hits": 0 if hit is None else hit.hits,
        "messages": 0 if hit is None else hit.messages,
        "last_hit": None if hit is None else iso(hit.last_at),
    }


# --- add and remove


@command.command()
@click.argument("name")
@click.argument("entries", metavar="ENTRY…", nargs=-1, required=True)
@click.option("--weight", type=click.IntRange(0, 10), default=1, show_default=True, help="What each occurrence counts.")
@click.option("--until", metavar="DATE", help="Last day on which the entries count, as 2027-01-31.")
@click.option("--owner", default="", metavar="WHO", help="Who asked for them.")
@click.option("--comment", default="", metavar="TEXT", help="Why they stand there.")
@click.option("--replace", is_flag=True, help="Change entries that stand there already.")
@json_option
@_change_options
def add(
    name: str,
    entries: tuple[str, ...],
    weight: int,
    until: str | None,
    owner: str,
    comment: str,
    replace: bool,
    as_json: bool,
    no_reload: bool,
    state: Path | None,
    config_file: Path | None,
) -> None:
    """Add each ENTRY to the dictionary NAME.

    \b
    Examples:
      esa dictionary add ex-employees bob@example.com --until 2027-01-01 --owner hr --comment "left in May"
      esa dictionary add finance "wire transfer" --weight 3
      esa dictionary add finance '/invoice \\d{6}/' '*card'      an expression (RE2), and card numbers
      esa dictionary add partners .example.org                  in a dictionary of domains: it and all below it

    An entry stands as it does in the file: /…/ is a regular expression, *card a number that passes its check, "…" a term that is
    taken as it stands. Comments and order of the file are kept, it is written whole or not at all, and two commands wait for one
    another. All entries are added or none. An entry that is there with the same weight, day, owner and comment is left alone.

    Exit status: 0 all stand there now, 2 one cannot be added.
    """
    from esa.config import dictionary_file
    from esa.engine.dictionary import make_entry

    configuration = _load(config_file, state)
    path = _path(configuration, name)
    day = _day(until)
    options = _options(path)
    with _naming(path):
        wanted = [make_entry(text, options.kind, weight=weight, comment=comment, owner=owner, until=day) for text in entries]
        done = dictionary_file.add(path, wanted, replace=replace)
    is_changed = any(one.outcome != "unchanged" for one in done)
    process = ask_for_reload(configuration.state) if is_changed and not no_reload else None
    for one in done:
        if as_json:
            print_json({"dictionary": name, **_document(one.entry, None), "outcome": one.outcome, "reload": process is not None})
        else:
            _say_added(name, one)
    if is_changed and not as_json:
        _say_reload(process, no_reload=no_reload)


def _say_added(name: str, one: Added) -> None:
    match one.outcome:
        case "added":
            say(f"added {printable(one.entry.text)!r} to {name}")
        case "changed":
            say(f"changed {printable(one.entry.text)!r} in {name}")
        case _:
            say(f"{printable(one.entry.text)!r} stands in {name} already")


@command.command()
@click.argument("name")
@click.argument("entries", metavar="[ENTRY…]", nargs=-1)
@click.option("--expired", is_flag=True, help="Those whose last day is over.")
@json_option
@_change_options
def remove(
    name: str, entries: tuple[str, ...], expired: bool, as_json: bool, no_reload: bool, state: Path | None, config_file: Path | None
) -> int:
    """Remove each ENTRY, or all that have expired, from the dictionary NAME.

    \b
    Examples:
      esa dictionary remove ex-employees bob@example.com
      esa dictionary remove ex-employees --expired

    The lines go with what stands behind them; all other lines stay as they are. Exit status: 0 done, 1 one was not there.
    """
    from esa.config import dictionary_file
    from esa.engine.dictionary import make_entry

    if bool(entries) == expired:
        raise click.UsageError("name entries, or give --expired")
    configuration = _load(config_file, state)
    path = _path(configuration, name)
    if expired:
        done = [(entry, True) for entry in dictionary_file.remove_where(path, dictionary_file.is_over(date.today()))]
    else:
        options = _options(path)
        with _naming(path):
            done = dictionary_file.remove(path, [make_entry(text, options.kind) for text in entries])
    is_changed = any(was_there for _, was_there in done)
    process = ask_for_reload(configuration.state) if is_changed and not no_reload else None
    for entry, was_there in done:
        if as_json:
            print_json({"dictionary": name, "entry": entry.text, "removed": was_there, "reload": process is not None})
        else:
            say(f"removed {printable(entry.text)!r} from {name}" if was_there else f"{printable(entry.text)!r} does not stand in {name}")
    if expired and not done and not as_json:
        say(f"nothing in {name} has expired")
    if is_changed and not as_json:
        _say_reload(process, no_reload=no_reload)
    return DONE if all(was_there for _, was_there in done) else FOUND


# --- import, export, check


@command.command("import")
@click.argument("name")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--kind", type=click.Choice(KINDS), help="What a line is; expressions for a dictionary of AsyncOS. Else as the file says.")
@click.option(
    "--whole-words/--parts-of-words", default=None, help="Whether terms match between word boundaries only. Else as the file says."
)
@click.option("--case-sensitive/--any-case", default=None, help="Whether case counts. Else as the file says.")
@click.option("--replace", is_flag=True, help="Take the place of the dictionary NAME, if it is there.")
@json_option
@_change_options
def import_file(
    name: str,
    source: Path,
    kind: Kind | None,
    whole_words: bool | None,
    case_sensitive: bool | None,
    replace: bool,
    as_json: bool,
    no_reload: bool,
    state: Path | None,
    config_file: Path | None,
) -> int:
    """Make FILE (- for standard input) the dictionary NAME, with its comments.

    \b
    Examples:
      esa dictionary import finance finance.txt
      esa dictionary import finance asyncos.txt --kind expressions --parts-of-words

    An export of AsyncOS does not tell whether words are whole and case counts: say it here, and it stands in the file from then on. A
    new dictionary goes into the first folder under [scan], dictionaries. Regular expressions that RE2 cannot use are kept as comments,
    and told with line, column and what to write instead.

    Exit status: 0 all lines are in use, 1 some became comments, 2 nothing was changed.
    """
    from esa.config import dictionary_file
    from esa.engine.dictionary import decode, read_octets
    from esa.engine.dictionary_exchange import taken_over

    configuration = _load(config_file, state)
    text = decode(sys.stdin.buffer.read(), "standard input") if str(source) == "-" else decode(read_octets(source), str(source))
    path = _paths(configuration).get(name)
    if path is None:
        path = _place_for(name, config_file)
    elif not replace:
        raise ConfigurationError(
            f"there is a dictionary {name!r} already", where=str(path), mend="Give --replace to put this in its place."
        )
    written, faults = taken_over(text, kind=kind, whole_words=whole_words, case_sensitive=case_sensitive, where=str(source))
    with dictionary_file.writing(path):
        dictionary_file.write(path, written)
    process = None if no_reload else ask_for_reload(configuration.state)
    for fault in faults:
        if not as_json:
            say(f"{fault.where}: {fault.what}\n  {fault.mend}. The line is kept as a comment.")
    entries = len(_read(path).entries)
    if as_json:
        commented = [{"where": fault.where, "what": fault.what, "mend": fault.mend} for fault in faults]
        print_json({"dictionary": name, "file": str(path), "entries": entries, "commented": commented, "reload": process is not None})
    else:
        say(f"{name}: {counted(entries, 'entry', 'entries')} in {path}")
        _say_reload(process, no_reload=no_reload)
    return FOUND if faults else DONE


@command.command("export")
@click.argument("name")
@click.option("--asyncos", is_flag=True, help="As AsyncOS reads it: expressions without slashes; what it does not know is told.")
@_config_option
def export_file(name: str, asyncos: bool, config_file: Path | None) -> int:
    """Print the dictionary NAME for a file, with comments, order, and all options.

    \b
    Examples:
      esa dictionary export finance > finance.txt
      esa dictionary export finance --asyncos > for-the-appliance.txt

    `esa dictionary import` makes the same dictionary of it. With --asyncos, whole words and case stand in comments, for AsyncOS keeps
    them elsewhere. Exit status: 0 done, 1 some entries are of kinds that AsyncOS does not know.
    """
    from esa.config.dictionary_file import Text
    from esa.engine.dictionary_exchange import for_asyncos

    configuration = _load(config_file, None)
    file = Text.read(_path(configuration, name))
    _read(file.path)
    if not asyncos:
        click.echo(file.text, nl=False)
        return DONE
    text, unknown = for_asyncos(file.text, file.options)
    click.echo(text, nl=False)
    for entry in unknown:
        say(f"AsyncOS knows nothing like {printable(entry.text)!r} ({entry.kind}): it takes it for text")
    return FOUND if unknown else DONE


@command.command()
@click.argument("names", metavar="[NAME…]", nargs=-1)
@json_option
@_config_option
def check(names: tuple[str, ...], as_json: bool, config_file: Path | None) -> int:
    """Check dictionaries, all if none is named: lines that cannot be used, entries that look useless.

    \b
    Examples:
      esa dictionary check
      esa dictionary check finance --json

    Told with line and remedy: entries that stand there twice, have expired, can never match, or stand in others so that both count;
    regular expressions that RE2 cannot use, with column and rewrite, and those that .* at an end makes take in whole lines.

    Exit status: 0 nothing found, 1 something found, 2 there is no such dictionary.
    """
    from esa.engine.dictionary import decode, read_octets
    from esa.engine.dictionary_audit import audit

    configuration = _load(config_file, None)
    paths = {name: _path(configuration, name) for name in names} if names else _paths(configuration)
    total = 0
    for name, path in paths.items():
        remarks = audit(name, decode(read_octets(path), str(path)), date.today(), where=str(path))
        total += len(remarks)
        for one in remarks:
            if as_json:
                print_json({"dictionary": name, "file": str(path), **one._asdict()})
            else:
                click.echo(f"{path}, line {one.line}: {printable(one.what)}\n  {printable(one.mend[:1].upper() + one.mend[1:])}.")
    if not as_json:
        say(f"{counted(len(paths), 'dictionary', 'dictionaries')} checked, {counted(total, 'remark')}")
    return FOUND if total else DONE


# --- finding files


def _load(config_file: Path | None, state: Path | None) -> Configuration:
    from esa.config.load import load

    return load(config_file, state=state)


def _paths(configuration: Configuration) -> dict[str, Path]:
    return {Path(path).stem: Path(path) for path in configuration.scan.dictionaries}


def _path(configuration: Configuration, name: str) -> Path:
    paths = _paths(configuration)
    if name not in paths:
        known = f"These are known: {', '.join(sorted(paths))}." if paths else "None is named in esa.toml, under [scan], dictionaries."
        raise ConfigurationError(
            f"no dictionary is called {name!r}", mend=f"{known} A new one is made by: esa dictionary import {name} FILE"
        )
    return paths[name]


def _place_for(name: str, config_file: Path | None) -> Path:
    """The file of a new dictionary, in the first folder of dictionaries."""
    from esa.config.load import DEFAULT_FILE, check, read

    if not _NAME.match(name):
        raise ConfigurationError(f"{name!r} is no name of a dictionary", mend="Use letters, digits, hyphens and full stops.")
    path = config_file or Path(DEFAULT_FILE)
    configuration = check(read(path), str(path), base=path.parent)[0] if path.exists() else None
    for folder in configuration.scan.dictionaries if configuration is not None else ():
        if (path.parent / folder).is_dir():
            return path.parent / folder / f"{name}.txt"
    raise ConfigurationError(
        "there is no folder for a new dictionary",
        where=f"{path}, [scan], dictionaries",
        mend=f'Make a folder and name it there, as dictionaries = ["dictionaries"], or name the file {name}.txt.',
    )


def _read(path: Path) -> Dictionary:
    from esa.engine.dictionary import Dictionary

    return Dictionary.from_file(path)


def _options(path: Path) -> Options:
    from esa.config.dictionary_file import Text

    return Text.read(path).options


def _hits(state: Path, name: str) -> Mapping[str, Hits]:
    """What was counted; nothing where there is no state yet."""
    from esa.store.dictionary_hits import hits_of

    return hits_of(state, name)


def _say_reload(process: int | None, *, no_reload: bool) -> None:
    if no_reload:
        say("esa serve reads it when it is reloaded or started")
    elif process is None:
        say("no esa serve runs on this state folder; it reads the file when it starts")
    else:
        say(f"esa serve (process {process}) was asked to take it; its log says event=dictionaries.loaded when it is in use")
