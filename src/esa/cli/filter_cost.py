"""`esa filters cost`: what each message filter costs on the mail that it is given, and how often it fires."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.terminal import counted, json_option, print_json, print_table, progress, say
from esa.policy.filters.costs import CHOOSING, MESSAGES, Costs, FilterCost

if TYPE_CHECKING:
    from esa.config.schema import Configuration

FAILED = 3


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--all", "shows_all", is_flag=True, help="Show also filters that cost nothing and never fired.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")
@json_option
def cost(paths: tuple[str, ...], shows_all: bool, config_file: Path | None, as_json: bool) -> None:
    """Measure what each filter costs on mail of your own, and how often it fires.

    PATHs are as for `esa scan`: messages, mailboxes, archives. Each message is scanned once, and the filters decide about it; nothing is done. Envelopes
    are made from the header: the author is the sender, To the recipient; there is no client. Times are of this machine, in µs of processor time: of one
    evaluation, and as the share of one message. In half of the messages the filters are timed, in the others their tests. `esa filters check --cost`
    says the same of the mail that the gateway took. What is not evaluated at all, because nothing in the message calls for it, costs nothing.

    \b
    Example:
      esa filters cost ~/Maildir archive.mbox
    """
    from esa.cli.filters import open_filters  # late: that module names this command
    from esa.config.filters import filters_of, scope_of
    from esa.engine.dictionary import Dictionary
    from esa.engine.scanner import Scanner
    from esa.learning.corpora import iter_corpora
    from esa.message.content import Message
    from esa.message.envelope import Envelope, Session
    from esa.policy.filters.ledger import Ledger
    from esa.policy.filters.plan import FilterPlan
    from esa.policy.filters.scope import Listener
    from esa.policy.view import View

    opened = open_filters(config_file)
    scope = scope_of(opened.configuration)
    plan = FilterPlan(filters_of(opened.sources), scope)
    dictionaries = [Dictionary.from_file(Path(name)) for name in opened.configuration.scan.dictionaries]
    checks = ["dictionaries"] if dictionaries else []
    scanner = Scanner(checks=[*checks, Listener(scope.terms.listed)], dictionaries=dictionaries)
    ledger = Ledger(every=1)
    tally = ledger.tally(MESSAGES, plan.filters)
    unread = 0
    with progress("Measuring") as meter:
        for item in iter_corpora(paths):
            if item.content is None:
                unread += 1
                continue
            message = Message(item.content)
            parsed = message.parsed
            session = Session(listener=opened.configuration.listener[0].name, received_at=time.time())
            envelope = Envelope(parsed.from_address, (parsed.to_address,), len(item.content))
            view = View(item.content, session, envelope, scanner.scan(item.content), lookup=scanner.lookup)
            ledger.begin()
            plan.run(view, tally=tally)
            ledger.lap(MESSAGES)
            ledger.finish()
            meter.advance()
    print_costs(ledger.costs(), as_json=as_json, shows_all=shows_all, names=[one.name for one in plan.filters])
    if unread:
        say(f"{counted(unread, 'input')} could not be read")
        sys.exit(FAILED)


def print_costs(costs: Costs, *, as_json: bool, shows_all: bool = False, names: Sequence[str] = ()) -> None:
    """The dearest filter first, below each its tests if there are several; what stages cost goes to stderr. `names`: all message filters there are."""
    rows: list[tuple[str, ...]] = []
    seen = {one.name for one in costs.filters}
    idle = [FilterCost(MESSAGES, name, "", 0, 0.0, 0, 0.0) for name in names if name not in seen] if shows_all else []
    for one in (*costs.dearest(len(costs.filters)), *idle):
        if not (one.run or one.hits or shows_all):
            continue
        rows.append(_row(one.name, f"{one.hits:,}", _day(one.last_hit), one.run, one.nanoseconds, costs))
        tests = one.conditions if len(one.conditions) > 1 else ()
        rows += [_row(f"  {test.condition}", "", "", test.asked, test.nanoseconds, costs) for test in tests]
        if as_json:
            print_json(
                {
                    "stage": one.stage,
                    "name": one.name,
                    "hits": one.hits,
                    "last_hit": one.last_hit or None,
                    "evaluated": one.run,
                    "micros_each": _each(one.run, one.nanoseconds),
                    "micros_a_message": round(costs.microseconds(one.nanoseconds), 4),
                    "conditions": [
                        {"condition": test.condition, "asked": test.asked, "micros_each": _each(test.asked, test.nanoseconds)}
                        for test in one.conditions
                    ],
                }
            )
    if rows and not as_json:
        columns = ("Name", "Hits", "Last hit", "Evaluated", "µs each", "µs a message")
        print_table(columns, rows, right=("Hits", "Evaluated", "µs each", "µs a message"))
    if not costs.timed:
        say("nothing was timed yet")
        return
    stages = ", ".join(f"{name} {costs.microseconds(spent):.1f}" for name, spent in costs.stages.items() if name != CHOOSING)
    choosing = costs.microseconds(costs.stages.get(CHOOSING, 0.0))
    say(
        f"{counted(costs.messages, 'message')}, of which {costs.timed:,} timed: {costs.microseconds(costs.total):.1f} µs a message ({stages}; of filters "
        f"{choosing:.1f} to find out which can fire, {costs.microseconds(sum(one.nanoseconds for one in costs.filters)):.1f} to run these)"
    )


def _each(times: int, nanoseconds: float) -> float:
    return round(nanoseconds / 1000 / times, 3) if times else 0.0


def _row(name: str, hits: str, last: str, times: int, nanoseconds: float, costs: Costs) -> tuple[str, ...]:
    return name, hits, last, f"{times:,}", f"{_each(times, nanoseconds):.2f}", f"{costs.microseconds(nanoseconds):.3f}"


def _day(last_hit: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(last_hit)) if last_hit else ""


def print_kept(configuration: Configuration, *, as_json: bool) -> None:
    """What the filters of a configuration cost on the mail that its gateway took, as the gateway counted it."""
    from esa.config.content_filters import rules_of
    from esa.policy.filters.costs import digest_of
    from esa.store.costs import FOLDER, read_all

    rules = rules_of(configuration)
    if rules is None:
        say("there are no filters")
        return
    kept = read_all(configuration.state / FOLDER, digest_of(rules.keys)).of(rules.keys)
    print_costs(kept, as_json=as_json, shows_all=True, names=[one.name for one in rules.messages.filters])
