"""`esa filters cost`: what each message filter costs on the mail that it is given, and how often it fires."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.terminal import counted, json_option, print_json, print_table, progress, say

if TYPE_CHECKING:
    from esa.policy.filters.ledger import Ledger

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
    evaluation, and as the share of one message. What is not evaluated at all, because nothing in the message calls for it, costs nothing.

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
    from esa.policy.filters.plan import FilterPlan
    from esa.policy.filters.scope import Listener
    from esa.policy.view import View

    opened = open_filters(config_file)
    scope = scope_of(opened.configuration)
    plan = FilterPlan(filters_of(opened.sources), scope)
    dictionaries = [Dictionary.from_file(Path(name)) for name in opened.configuration.scan.dictionaries]
    checks = ["dictionaries"] if dictionaries else []
    scanner = Scanner(checks=[*checks, Listener(scope.terms.listed)], dictionaries=dictionaries)
    ledger = plan.ledger(every=1)
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
            view = View(item.content, session, envelope, scanner.scan(item.content), message=message, lookup=scanner.lookup)
            plan.run(view, ledger=ledger)
            meter.advance()
    _print_costs(ledger, as_json=as_json, shows_all=shows_all)
    total = sum(entry.nanoseconds for entry in ledger.entries())
    choosing, evaluating = ledger.microseconds(ledger.choosing), ledger.microseconds(total)
    say(f"{counted(ledger.messages, 'message')}: {choosing:.1f} µs a message to choose filters, {evaluating:.1f} µs to run those chosen")
    if unread:
        say(f"{counted(unread, 'input')} could not be read")
        sys.exit(FAILED)


def _print_costs(ledger: Ledger, *, as_json: bool, shows_all: bool) -> None:
    """The dearest first."""
    rows = []
    for entry in sorted(ledger.entries(), key=lambda entry: -entry.nanoseconds):
        if not (entry.evaluated or entry.hits or shows_all):
            continue
        each = entry.nanoseconds / 1000 / entry.evaluated if entry.evaluated else 0.0
        share = ledger.microseconds(entry.nanoseconds)
        if as_json:
            evaluated = {"evaluated": entry.evaluated, "micros_each": round(each, 3), "micros_a_message": round(share, 4)}
            print_json({"name": entry.name, "hits": entry.hits, **evaluated})
        rows.append((entry.name, f"{entry.hits:,}", f"{entry.evaluated:,}", f"{each:.2f}", f"{share:.3f}"))
    if rows and not as_json:
        columns = ("Name", "Hits", "Evaluated", "µs each", "µs a message")
        print_table(columns, rows, right=columns[1:])
