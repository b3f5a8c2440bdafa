"""`esa filters audit`: rules that never act, with proofs, and rules that never acted, with the evidence."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.terminal import counted, json_option, print_json, print_table, printable, say

if TYPE_CHECKING:
    from esa.config.audited import Audited
    from esa.config.schema import Configuration
    from esa.policy.audit.evidence import Evidence
    from esa.policy.audit.filter_audit import Audited as Outcome
    from esa.policy.audit.finding import Finding
    from esa.policy.audit.references import Known
    from esa.policy.view import Lookup

FOUND = 1


@click.command()
@click.option(
    "--days",
    type=click.FloatRange(0),
    default=7.0,
    show_default=True,
    help="Recordings of so many days at least tell that a rule is not used.",
)
@click.option("--messages", type=click.IntRange(1), default=1_000, show_default=True, help="And so many recorded messages at least.")
@click.option("--recordings", type=click.Path(path_type=Path), help="Folder of recordings, instead of recorder/ in the state folder.")
@click.option("--dns", is_flag=True, help="Ask DNS whether domains and hosts that filters name are still there.")
@click.option("--no-directory", is_flag=True, help="Do not ask the sources of recipients whether people that filters name are still there.")
@click.option("--example", metavar="FILTER", help="Print a message for which FILTER acts, with its envelope, and nothing else.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")
@json_option
def audit(
    days: float,
    messages: int,
    recordings: Path | None,
    dns: bool,
    no_directory: bool,
    example: str | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Find rules that are of no use any more: filters, sender groups, recipient access, mail policies, dictionary entries.

    \b
    What is told, always with file, line, proof and a mend:
      shadowed       it never acts: rules before it end the way of all mail that it is for
      contradiction  it never acts: no message can fulfil it; or an earlier one decides the opposite
      duplicate      another one says the same
      dead           it names what is not there: a listener, a dictionary, a sender group, a group, a person, a domain, a host
      expired        its date, or that of an entry, is over
      unused         it acted for none of the recorded messages
      advice         it hits all recipients of a message though it names one

    The first five are proved from the rules alone, by networks, sets and automata of regular expressions: whatever mail comes, it will be so. Where a
    proof cannot be had nothing is told. `unused` rests on what the recorder kept, and says from when to when; with fewer messages or days than asked
    for it is not told. What a table refuses is not recorded, so that entries that refuse are never called unused. Inactive filters are not looked at.

    \b
    Examples:
      esa filters audit                           what is known from the rules, the directory and the recordings
      esa filters audit --dns                     domains without mail and hosts without an address as well
      esa filters audit --json | jq -r 'select(.kind == "shadowed") | .rule'
      esa filters audit --example spoof > m.eml   a message that the filter spoof acts for

    Exit status: 0 nothing is found, 1 something is.
    """
    from esa.cli.filters import open_filters  # late: that module names this command
    from esa.config.audited import audited, findings_elsewhere
    from esa.config.load import DEFAULT_FILE
    from esa.policy.audit.filter_audit import audit_chain, audit_chains
    from esa.policy.audit.references import dead

    opened = open_filters(config_file)
    file = config_file or Path(DEFAULT_FILE)
    what = audited(opened.configuration, opened.sources, file)
    now = time.time()
    lookup = _lookup(opened.configuration)
    of_messages = audit_chain(what.messages, what.scope, now=now, lookup=lookup)
    of_contents = audit_chains(what.contents, what.scope, now=now, lookup=lookup)
    if example is not None:
        _print_example(what, example, of_messages, of_contents)
        return
    known = asyncio.run(_find_out(what, asks_dns=dns, asks_directory=not no_directory))
    findings = [*findings_elsewhere(what, date.today()), *of_messages.findings, *of_contents.findings]
    findings += dead(what.messages.filters, known, what.messages.table)
    findings += dead({one.name: one for chain in what.contents for one in chain.filters}.values(), known, "content filter")
    evidence, unused = _unused(what, recordings, {(one.table, one.rule) for one in findings if one.kind != "advice"}, days, messages)
    findings += unused
    _print(findings, as_json=as_json)
    _say_what_is_known(what, evidence, of_messages, of_contents, len(findings), days, messages)
    if findings:
        sys.exit(FOUND)


def _lookup(configuration: Configuration) -> Lookup | None:
    """Finds entries that have no last day: what they take today they take tomorrow."""
    from esa.engine.checks.dictionaries import Dictionaries, Entries
    from esa.engine.dictionary import Dictionary
    from esa.engine.scanner import Scanner

    names = configuration.scan.dictionaries
    if not names:
        return None
    entries = Entries.of([Dictionary.from_file(Path(name)) for name in names])
    return Scanner(checks=[Dictionaries(entries, today=lambda: date.max)]).lookup


# --- what is there, and what is not


async def _find_out(what: Audited, *, asks_dns: bool, asks_directory: bool) -> Known:
    from esa.config.sender_groups import groups_of
    from esa.policy.audit.references import Known, named_in
    from esa.policy.host_access import EVERYONE

    configuration = what.configuration
    filters = [*what.messages.filters, *(one for chain in what.contents for one in chain.filters)]
    named: dict[str, dict[str, None]] = {}
    for one in named_in(filters):
        named.setdefault(one.kind, {})[one.name] = None
    groups = {group.name for group in groups_of(configuration.sender_group, configuration.mail_flow_policy)} | {EVERYONE}
    gone = {
        ("sender group", name): f"there are {', '.join(sorted(groups))}" for name in named.get("sender group", ()) if name not in groups
    }
    for name in named.get("group", ()):
        if not any(not one.groups or name in one.groups for one in configuration.group_ldap):
            gone["group", name] = "no table [[group_ldap]] is for it"
    if asks_directory and "address" in named:
        gone.update({("address", name): how for name, how in (await _who_is_gone(configuration, named["address"])).items()})
    if asks_dns:
        gone.update(await _what_dns_lost(configuration, named.get("domain", ()), named.get("host", ())))
    return Known(gone)


async def _who_is_gone(configuration: Configuration, addresses: Iterable[str]) -> dict[str, str]:
    """Addresses of domains of our own that every source of recipients was asked for, and none knows."""
    from esa.gateway.assembly import make_recipient_access
    from esa.gateway.directory.build import make_sources
    from esa.gateway.directory.sources import Directory, Finding, Standing
    from esa.policy.recipient_access import recipient_of

    placed = make_sources(configuration)
    if not placed:
        return {}
    accesses = {one.name: make_recipient_access(configuration, one) for one in configuration.listener}
    gone: dict[str, str] = {}
    try:
        for one in placed:
            await one.source.start()
        for address in addresses:
            recipient = recipient_of(address)
            said: list[Finding] = []
            for name, access in accesses.items():
                match = access.match(recipient)
                is_named = match.entry is not None and match.entry.names_a_domain
                sources = [one.source for one in placed if not one.listeners or name in one.listeners]
                found = Directory(sources).find(recipient, is_named=is_named)
                said.append(found if isinstance(found, Finding) else await found)
            asked = [one for one in said if one.source]
            if asked and all(one.standing is Standing.UNKNOWN for one in asked):
                gone[address] = f"the source of recipients {asked[0].source} does not know the address"
    finally:
        for one in placed:
            await one.source.close()
    return gone


async def _what_dns_lost(configuration: Configuration, domains: Iterable[str], hosts: Iterable[str]) -> dict[tuple[str, str], str]:
    from esa.engine.resolver import Outcome, RecordType
    from esa.gateway.assembly import make_recipient_access
    from esa.gateway.dns import Dns
    from esa.policy.recipient_access import recipient_of

    accesses = [make_recipient_access(configuration, one) for one in configuration.listener]
    matches = {name: [access.match(recipient_of(f"x@{name}")).entry for access in accesses] for name in domains}
    # of domains whose mail comes here, DNS as it is seen from here may say anything
    domains = [name for name, entries in matches.items() if not any(entry is not None and entry.names_a_domain for entry in entries)]
    resolver = Dns(configuration.dns.servers, timeout=configuration.dns.timeout)

    async def has_none(name: str, kinds: Sequence[RecordType]) -> bool:
        answers = [await resolver.look_up(name, kind) for kind in kinds]
        return all(one.outcome is Outcome.NOTHING for one in answers)

    gone: dict[tuple[str, str], str] = {}
    try:
        for name in domains:
            if await has_none(name, ("MX", "A", "AAAA")):
                gone["domain", name] = "DNS has no MX and no address for it (RFC 5321 section 5.1)"
        for name in hosts:
            if await has_none(name, ("A", "AAAA")):
                gone["host", name] = "DNS has no address for it"
    finally:
        await resolver.close()
    return gone


# --- what recordings tell


def _unused(what: Audited, folder: Path | None, told: set[tuple[str, str]], days: float, messages: int) -> tuple[Evidence, list[Finding]]:
    """What was recorded, and rules that it says are not used, but for those of which more is known."""
    from esa.config.audited import rules_of
    from esa.policy.audit.evidence import gather, unused
    from esa.store.dictionary_hits import TERMS_TOLD
    from esa.store.recorder import recordings
    from esa.store.recorder_folder import FOLDER

    place = folder or Path(what.configuration.gateway.state) / FOLDER
    recorded = recordings(place, contents=False)
    evidence = gather(recorded if place.is_dir() else (), most_entries=TERMS_TOLD)
    evidence.lost = recorded.lost + recorded.damaged
    if not evidence.is_enough(days=days, messages=messages):
        return evidence, []
    rules = [rule for rule in rules_of(what) if (rule.table, rule.name) not in told]
    return evidence, [*unused(rules, evidence), *_unused_entries(what, evidence)]


def _unused_entries(what: Audited, evidence: Evidence) -> Iterable[Finding]:
    """Of dictionaries whose entries are told of by every message: those that addresses are looked up in are not."""
    from esa.engine.dictionary import Dictionary
    from esa.policy.audit.evidence import unused_entries
    from esa.policy.audit.references import looked_up_in

    filters = [*what.messages.filters, *(one for chain in what.contents for one in chain.filters)]
    looked_up = looked_up_in(filters)
    for name in what.configuration.scan.dictionaries:
        dictionary = Dictionary.from_file(Path(name))
        texts = [one.text for one in dictionary.entries if one.kind in ("term", "expression", "identifier")]
        if dictionary.name not in looked_up and (found := unused_entries(dictionary.name, texts, evidence, name)) is not None:
            yield found


# --- telling


def _print(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        for one in findings:
            where = {"file": one.at.file, "line": one.at.line}
            rest = {"what": one.what, "proof": one.proof, "mend": one.mend}
            print_json({"kind": str(one.kind), "table": one.table, "rule": one.rule, **where, **rest})
        return
    if findings:
        rows = [(str(one.kind), one.table, one.rule, f"{one.at.file}:{one.at.line}", one.what) for one in findings]
        print_table(("Kind", "Table", "Rule", "Where", "What"), rows, below=("Where", "What"))
        click.echo()
    for one in findings:
        click.echo(f"{one.table} {printable(one.rule)} ({one.kind})\n  proof: {printable(one.proof)}\n  mend: {printable(one.mend)}")


def _say_what_is_known(
    what: Audited, evidence: Evidence, of_messages: Outcome, of_contents: Outcome, found: int, days: float, messages: int
) -> None:
    filters = len(what.messages.filters) + len({one.name for chain in what.contents for one in chain.filters})
    alive = len(of_messages.examples) + len(of_contents.examples)
    unknown = len(of_messages.unknown) + len(of_contents.unknown)
    say(
        f"{counted(filters, 'active filter')}: {alive} for which mail can be thought up, {unknown} of which nothing is known; {counted(found, 'finding')}"
    )
    if not evidence.messages:
        say("nothing is told of what is not used: there are no recordings")
    elif not evidence.is_enough(days=days, messages=messages):
        say(f"nothing is told of what is not used: there are {evidence}, and {messages:,} over {days:g} days are asked for")
    else:
        say(f"what is not used is told by {evidence}")


def _print_example(what: Audited, name: str, of_messages: Outcome, of_contents: Outcome) -> None:
    from esa.config.filters import scope_of
    from esa.engine.dictionary import Dictionary
    from esa.engine.scanner import Scanner
    from esa.errors import ConfigurationError
    from esa.policy.audit.example import example_of, written
    from esa.policy.filters.plan import FilterPlan
    from esa.policy.filters.scope import Listener

    world = of_messages.examples.get(name) or of_contents.examples.get(name)
    chains = (what.messages,) if name in of_messages.examples else what.contents
    chain = next((one for one in chains if any(filter_.name == name for filter_ in one.filters)), None)
    if world is not None and chain is not None:
        dictionaries = [Dictionary.from_file(Path(path)) for path in what.configuration.scan.dictionaries]
        scope = scope_of(what.configuration)
        plan = FilterPlan(chain.filters, scope)
        checks = ["dictionaries"] if dictionaries else []
        scanner = Scanner(checks=[*checks, Listener(scope.terms.listed)], dictionaries=dictionaries)
        made = example_of(world, name, plan, scanner)
        if made is not None:
            click.echo(written(made), nl=False)
            return
    raise ConfigurationError(f"no message was found that {name} acts for", mend="see what is told of it with: esa filters audit")
