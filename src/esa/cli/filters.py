"""`esa filters`: see, check and change message filters. They stand in files that esa.toml names; every change writes these."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.filter_audit import audit
from esa.cli.filter_cost import cost, print_kept
from esa.cli.filter_merge import merge
from esa.cli.terminal import counted, json_option, print_json, print_table, say
from esa.errors import ConfigurationError

if TYPE_CHECKING:
    from esa.config.filter_files import Placed
    from esa.config.filters import Source
    from esa.config.schema import Configuration
    from esa.policy.filters.scope import Problem

FOUND = 1
LAST = "last"
config_option = click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")
dry_option = click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")


@dataclass(slots=True)
class Opened:
    """The filters of a configuration."""

    configuration: Configuration
    sources: list[Source]
    filters: list[Placed]

    def problems(self, *, of_all: bool = False) -> list[Problem]:
        """What there is to tell of active filters, or as if all were active."""
        from esa.config.filters import filters_of, scope_of
        from esa.policy.filters.plan import FilterPlan

        filters = [replace(one, is_active=one.is_active or of_all) for one in filters_of(self.sources)]
        return FilterPlan(filters, scope_of(self.configuration)).problems

    def file_for_new(self) -> Path:
        """The last file, or one to be made where the first pattern says."""
        if self.sources:
            return self.sources[-1].path
        pattern = Path((self.configuration.filters.files or ("filters/*.filters",))[0])
        return pattern.with_name(pattern.name.replace("*", "100"))


def open_filters(config_file: Path | None) -> Opened:
    """Read the configuration and its filters, whatever is wrong with what they say; syntax that cannot be read is an error."""
    from esa.config.filter_files import placed
    from esa.config.filters import sources
    from esa.config.load import load_leniently

    configuration = load_leniently(config_file)
    found = sources(configuration.filters)
    return Opened(configuration, found, placed(found))


@click.group("filters", short_help="See, check and change message filters.")
def command() -> None:
    """See, check and change message filters.

    Filters are written in AsyncOS's message filter language, in the files that [filters] of esa.toml names: filters/*.filters beside it, unless
    it says otherwise. They run in the order of files and, in a file, of lines. A FILTER is a name, a number as `esa filters list` shows it, a
    range of numbers as 2-5, or all.

    \b
    Examples:
      esa filters list                          all filters in their order
      esa filters check                         what is wrong with them, with line and column
      esa filters import appliance.txt          take over what an appliance exported, unchanged
      esa filters cost ~/Maildir                what each costs on your own mail, and how often it fires
      esa filters audit                         those that are of no use any more, with proofs
      esa filters merge                         filters of one address each, made one filter and one dictionary
      esa filters set spoof active 0            keep a filter, and do not run it
      esa filters words body-contains           what a condition or an action takes and means

    A gateway that runs takes a change up when it is reloaded or started again.
    """


@command.command("list")
@config_option
@json_option
def list_(config_file: Path | None, as_json: bool) -> None:
    """List all filters: number, name, whether it is active and valid, and where it stands.

    \b
    Example:
      esa filters list --json | jq -r 'select(.valid | not) | .name'
    """
    opened = open_filters(config_file)
    unfit = _unfit(opened.problems(of_all=True))
    rows = []
    for one in opened.filters:
        is_valid = one.filter.name not in unfit
        where = f"{one.source.path}:{one.filter.at.line}"
        if as_json:
            at = {"file": str(one.source.path), "line": one.filter.at.line}
            print_json({"number": one.number, "name": one.filter.name, "active": one.filter.is_active, "valid": is_valid, **at})
        rows.append((str(one.number), "Y" if one.filter.is_active else "N", "Y" if is_valid else "N", one.filter.name, where))
    if not as_json:
        if rows:
            print_table(("Num", "Active", "Valid", "Name", "Where"), rows, right=("Num",), below=("Where",))
        else:
            say("there are no filters")


@command.command()
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@config_option
@json_option
def detail(filters: tuple[str, ...], config_file: Path | None, as_json: bool) -> None:
    """Show FILTERs as they are written, with their comments, and what there is to tell of them; all if none is named.

    \b
    Example:
      esa filters detail spoof 4-6
    """
    from esa.config.filter_files import text_of

    opened = open_filters(config_file)
    problems = opened.problems(of_all=True)
    for one in _chosen(opened, filters or ("all",)):
        told = [str(problem) for problem in problems if problem.filter == one.filter.name]
        if as_json:
            print_json(
                {"number": one.number, "name": one.filter.name, "active": one.filter.is_active, "text": text_of(one), "problems": told}
            )
            continue
        click.echo(f"{text_of(one)}", nl=False)
        for line in told:
            say(line)
        click.echo()


@command.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option(
    "--cost", "shows_cost", is_flag=True, help="Show what each filter costs on the mail that the gateway took, and how often it acted."
)
@config_option
@json_option
def check(files: tuple[Path, ...], shows_cost: bool, config_file: Path | None, as_json: bool) -> None:
    """Check the filters of the configuration, or those of FILEs without one.

    Told are errors (the configuration cannot be used), what makes a filter invalid (it does not run), tests that are unscanned because what they
    ask for is not found out yet, and warnings. An expression that RE2 cannot take is told with its line, its column and a rewrite. Exit code 0:
    nothing is wrong, 1: something is.

    With --cost the filters of the configuration are listed, the dearest first, with µs of processor time of one evaluation and as the share of one
    message, hits and the last one, and below each its tests. A running gateway times one message in 64 and writes the numbers down every minute.

    \b
    Examples:
      esa filters check new.filters && esa filters new new.filters
      esa filters check --cost
    """
    from esa.config.filters import filters_of, source_of
    from esa.policy.filters.plan import FilterPlan
    from esa.policy.filters.scope import Scope, Severity

    if files:
        sources = [source_of(path) for path in files]
        problems = FilterPlan(filters_of(sources), Scope()).problems
        count = sum(len(source.file.filters) for source in sources)
    else:
        opened = open_filters(config_file)
        problems, count = opened.problems(), len(opened.filters)
    for problem in problems:
        if as_json:
            print_json(_as_json(problem))
        else:
            click.echo(str(problem))
    wrong = sum(problem.severity in (Severity.ERROR, Severity.INVALID) for problem in problems)
    say(f"{counted(count, 'filter')}, {counted(wrong, 'fault')}, {counted(len(problems) - wrong, 'note')}")
    if shows_cost:
        print_kept(open_filters(config_file).configuration, as_json=as_json)
    if wrong:
        sys.exit(FOUND)


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="NAME", help="Name of the new file of filters, without its ending; that of FILE if left out.")
@click.option("--replace", "replaces", is_flag=True, help="Put them in the place of all filters there are. Else they go behind these.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
@dry_option
@json_option
def import_(file: Path, name: str | None, replaces: bool, yes: bool, config_file: Path | None, dry_run: bool, as_json: bool) -> None:
    """Take over the filters of FILE, as AsyncOS's `filters export` writes it. The text stays as it is.

    Filters that cannot be used here are kept and made inactive, and listed with the reason: an expression that RE2 cannot take (with a rewrite), a
    word that needs a product of another maker. Exit code 0: all can be used, 1: some are kept inactive.

    \b
    Examples:
      esa filters import appliance.txt --dry-run
      esa filters import appliance.txt --as 050-appliance
    """
    from esa.config.filter_files import activated, write_file
    from esa.config.filters import ENDING, Source, filters_of, scope_of, source_of
    from esa.policy.filters.plan import FilterPlan
    from esa.policy.filters.read import read
    from esa.policy.filters.scope import Severity

    opened = open_filters(config_file)
    source = source_of(file)
    before = [] if replaces else opened.sources
    _refuse_twice(source, before)
    problems = FilterPlan(filters_of([source]), scope_of(opened.configuration)).problems
    errors = {problem.filter: problem for problem in problems if problem.severity is Severity.ERROR}
    text = activated(source, errors, is_active=False)
    target = opened.file_for_new().with_name(f"{name or file.stem}{ENDING}")
    if not replaces and any(one.path == target for one in opened.sources):
        raise ConfigurationError(
            f"there is a file {target}", mend="choose another name with --as, or put it in the place of all with --replace"
        )
    if replaces and opened.filters and not dry_run and not yes:
        click.confirm(f"Delete the {counted(len(opened.filters), 'filter')} there are?", abort=True, err=True)
    if not dry_run:
        read(text, str(target))
        write_file(target, text)
        for one in opened.sources if replaces else ():
            if one.path != target:
                one.path.unlink()
    assert isinstance(source, Source)
    for problem in problems:
        if as_json:
            print_json({**_as_json(problem), "kept_inactive": problem.filter in errors})
        else:
            click.echo(str(problem))
    verb = "would be written to" if dry_run else "written to"
    say(f"{counted(len(source.file.filters), 'filter')} {verb} {target}, {len(errors)} of them kept inactive")
    if errors:
        sys.exit(FOUND)


@command.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@config_option
def export(file: Path, config_file: Path | None) -> None:
    """Write all filters in their order to FILE, or to stdout, in AsyncOS's language and with their comments.

    \b
    Example:
      esa filters export all.filters
    """
    from esa.config.filter_files import text_of, write_file

    opened = open_filters(config_file)
    text = "\n".join(text_of(one) for one in opened.filters)
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    write_file(file, text)
    say(f"{counted(len(opened.filters), 'filter')} written to {file}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@click.option("--before", metavar="FILTER", help="Put them before this filter; behind all if left out.")
@config_option
@dry_option
def new(file: Path, before: str | None, config_file: Path | None, dry_run: bool) -> None:
    """Add the filters of FILE, or of stdin, where a line with a dot alone ends them. They are checked first, and added only if they can be used.

    \b
    Example:
      echo 'big: if (body-size > 20M) { quarantine("Large"); }' | esa filters new --before 1
    """
    from esa.config.filter_files import pieces_of, with_piece
    from esa.config.filters import Source, filters_of, scope_of, source_of
    from esa.policy.filters.plan import FilterPlan
    from esa.policy.filters.read import read
    from esa.policy.filters.scope import Severity

    opened = open_filters(config_file)
    if str(file) == "-":
        text = _until_dot(sys.stdin.read())
        source = Source(Path("stdin"), text, read(text, "stdin"))
    else:
        source = source_of(file)
    if not source.file.filters:
        raise ConfigurationError(
            "there is no filter in it", where=str(source.path), mend="write one, as: name: if (condition) { action(); }"
        )
    _refuse_twice(source, opened.sources)
    problems = FilterPlan(filters_of([source]), scope_of(opened.configuration)).problems
    for problem in problems:
        say(str(problem))
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigurationError("nothing was added", mend="mend what is told above")
    pieces, rest = pieces_of(source)
    text = "".join(pieces) + rest
    if before is None:
        path = opened.file_for_new()
        target = next((one for one in opened.sources if one.path == path), None)
        changed = with_piece(target, text, None) if target is not None else text.strip("\n") + "\n"
    else:
        (at,) = _one(opened, before)
        path, changed = at.source.path, with_piece(at.source, text, at.filter.name)
    _write(path, changed, dry_run=dry_run)
    say(f"{counted(len(source.file.filters), 'filter')} {'would be ' if dry_run else ''}added to {path}")


@command.command()
@click.argument("filters", nargs=1, metavar="FILTER")
@click.argument("place", metavar="FILTER|last")
@config_option
@dry_option
def move(filters: str, place: str, config_file: Path | None, dry_run: bool) -> None:
    """Move FILTERs before another one, or behind all.

    \b
    Example:
      esa filters move spoof 1
    """
    from esa.config.filter_files import pieces_of, with_piece, without
    from esa.config.filters import Source
    from esa.policy.filters.read import read

    opened = open_filters(config_file)
    moved = _chosen(opened, (filters,))
    names = {one.filter.name for one in moved}
    target = None if place == LAST else _one(opened, place)[0]
    if target is not None and target.filter.name in names:
        raise ConfigurationError("a filter cannot be moved before itself", mend="name another one, or last")
    numbers = [one.number for one in moved]
    behind = len(opened.filters) + 1 if target is None else target.number
    if numbers == list(range(behind - len(numbers), behind)):
        raise ConfigurationError("it stands there already", mend="see the order with: esa filters list")
    text = ""
    for one in moved:
        pieces, _ = pieces_of(one.source)
        place_in_file = next(number for number, other in enumerate(one.source.file.filters) if other is one.filter)
        text += pieces[place_in_file].strip("\n") + "\n\n"
    changed: dict[Path, Source] = {}
    for source in opened.sources:
        left = without(source, names)
        changed[source.path] = Source(source.path, left, read(left, str(source.path)))
    path = opened.sources[-1].path if target is None else target.source.path
    changed[path] = Source(path, with_piece(changed[path], text, None if target is None else target.filter.name), changed[path].file)
    for source in opened.sources:
        if changed[source.path].text != source.text:
            _write(source.path, changed[source.path].text, dry_run=dry_run)
    say(
        f"{counted(len(moved), 'filter')} {'would be ' if dry_run else ''}moved {'behind all' if target is None else f'before {target.filter.name}'}"
    )


@command.command("set")
@click.argument("filters", metavar="FILTER")
@click.argument("what", type=click.Choice(("active",)))
@click.argument("value", type=click.Choice(("0", "1")))
@config_option
@dry_option
def set_(filters: str, what: str, value: str, config_file: Path | None, dry_run: bool) -> None:
    """Make FILTERs active (1), or keep them without running them (0).

    \b
    Examples:
      esa filters set spoof active 0
      esa filters set all active 1
    """
    from esa.config.filter_files import activated

    opened = open_filters(config_file)
    names = {one.filter.name for one in _chosen(opened, (filters,))}
    changed = sum(one.filter.name in names and one.filter.is_active is (value == "0") for one in opened.filters)
    for source in opened.sources:
        text = activated(source, names, is_active=value == "1")
        if text != source.text:
            _write(source.path, text, dry_run=dry_run)
    say(f"{counted(changed, 'filter')} {'would be ' if dry_run else ''}changed")


@command.command()
@click.argument("filters", nargs=-1, required=True, metavar="FILTER...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
@dry_option
def delete(filters: tuple[str, ...], yes: bool, config_file: Path | None, dry_run: bool) -> None:
    """Delete FILTERs, with the comments above them.

    \b
    Example:
      esa filters delete old_campaign 12-15
    """
    from esa.config.filter_files import without

    opened = open_filters(config_file)
    names = {one.filter.name: None for one in _chosen(opened, filters)}
    if not dry_run and not yes:
        click.confirm(f"Delete {', '.join(names)}?", abort=True, err=True)
    for source in opened.sources:
        text = without(source, names)
        if text != source.text:
            _write(source.path, text, dry_run=dry_run)
    say(f"{counted(len(names), 'filter')} {'would be ' if dry_run else ''}deleted")


@command.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@json_option
def words(words: tuple[str, ...], as_json: bool) -> None:
    """Explain WORDs of the language: what conditions and actions take and mean; all if none is named.

    \b
    Example:
      esa filters words header drop-attachments-by-name
    """
    from esa.policy.filters.words import actions, conditions, usage_of

    known = {**conditions(), **actions()}
    for word in words:
        if word not in known:
            raise ConfigurationError(f"no word is called {word!r}", mend="see all with: esa filters words")
    for kind, table in (("condition", conditions()), ("action", actions())):
        shown = [one for name, one in table.items() if not words or name in words]
        if shown and not words and not as_json:
            click.echo(f"{kind}s\n")
        for one in shown:
            state = f"refused: {one.refused}" if one.refused else f"waits for {one.waits_for}" if one.waits_for else ""
            if as_json:
                print_json({"word": one.word, "kind": kind, "usage": usage_of(one), "meaning": one.sentence, "state": state})
                continue
            click.echo(f"  {usage_of(one)}")
            click.echo(f"      {one.sentence}{f' ({state})' if state else ''}")
        if shown and not words and not as_json:
            click.echo()


command.add_command(audit)
command.add_command(cost)
command.add_command(merge)


# --- what they share ------------------------------------------------------------------------------------------------------------------


def _unfit(problems: Sequence[Problem]) -> set[str]:
    from esa.policy.filters.scope import Severity

    return {problem.filter for problem in problems if problem.severity in (Severity.ERROR, Severity.INVALID)}


def _as_json(problem: Problem) -> dict[str, object]:
    at = problem.at
    where = {"file": at.file, "line": at.line, "column": at.column}
    return {"severity": str(problem.severity), "filter": problem.filter, **where, "what": problem.what, "mend": problem.mend}


def _chosen(opened: Opened, wanted: Sequence[str]) -> list[Placed]:
    """Those that are wanted, each once, in their order."""
    from esa.config.filter_files import chosen

    numbers = {one.number for word in wanted for one in chosen(opened.filters, word)}
    return [one for one in opened.filters if one.number in numbers]


def _one(opened: Opened, wanted: str) -> list[Placed]:
    found = _chosen(opened, (wanted,))
    if len(found) != 1:
        raise ConfigurationError(f"{wanted} is {counted(len(found), 'filter')}", mend="name one")
    return found


def _refuse_twice(source: Source, others: Sequence[Source]) -> None:
    """Raises ConfigurationError for a name that is there already."""
    names = {one.name: other.path for other in others for one in other.file.filters}
    for one in source.file.filters:
        if one.name in names:
            raise ConfigurationError(
                f"a filter is called {one.name!r} already, in {names[one.name]}", where=str(one.at), mend="rename one of them"
            )


def _until_dot(text: str) -> str:
    """The text up to a line with a dot alone, as the appliance's dialogue has it."""
    lines = text.splitlines(keepends=True)
    end = next((number for number, line in enumerate(lines) if line.strip() == "."), len(lines))
    return "".join(lines[:end])


def _write(path: Path, text: str, *, dry_run: bool) -> None:
    """Write a changed file, after it has been read once more; or show it."""
    from esa.config.filter_files import write_file
    from esa.policy.filters.read import read

    read(text, str(path))
    if dry_run:
        click.echo(text, nl=False)
    else:
        write_file(path, text)
