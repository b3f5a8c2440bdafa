"""What an audit looks at in a configuration: chains of filters with the places they stand at, rules that recordings tell of, and what other audits say.

Called by `esa filters audit` and `esa filters merge`. Reads the files that the configuration names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from esa.config.advice import advise
from esa.config.content_filters import filter_of
from esa.config.filters import Source, filters_of, scope_of
from esa.config.load import lines_of_keys
from esa.config.recipient_access import entries_of, says_anything
from esa.config.schema import Configuration
from esa.config.sender_groups import SHIPPED_GROUPS, groups_of
from esa.engine.dictionary import decode, read_octets
from esa.engine.dictionary_audit import audit as audit_dictionary
from esa.policy.audit.evidence import Rule
from esa.policy.audit.filter_audit import Chain
from esa.policy.audit.finding import Finding, Kind
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.scope import Problem, Scope, Severity
from esa.policy.filters.tree import At, Filter
from esa.policy.host_access import EVERYONE
from esa.policy.mail_flow import AccessRule
from esa.policy.mail_policy import DEFAULT

MESSAGE_FILTER, CONTENT_FILTER = "message filter", "content filter"
_DICTIONARY_KINDS = {
    "expired": Kind.EXPIRED,
    "contained": Kind.ADVICE,
    "never": Kind.CONTRADICTION,
    "greedy": Kind.ADVICE,
    "fault": Kind.DEAD,
}
_UNUSED = "take it out, or write name! to keep it without running, if nobody knows what it is for"
_UNUSED_ENTRY = "take it out if nobody knows what it is for"


@dataclass(frozen=True, slots=True)
class Audited:
    """`problems` are those of filters that cannot run. `scope` is the one that the filters were compiled in."""

    configuration: Configuration
    file: str
    lines: Mapping[tuple[str | int, ...], int]
    messages: Chain
    contents: tuple[Chain, ...]
    problems: tuple[tuple[str, Problem], ...]
    scope: Scope

    def at(self, *place: str | int) -> At:
        """Where a table or a key stands in the configuration."""
        return At(self.file, self.lines.get(place, self.lines.get(place[:2], 1)), 1)


def audited(configuration: Configuration, sources: Sequence[Source], file: Path) -> Audited:
    """Raises ConfigurationError for what cannot be read."""
    lines = lines_of_keys(file.read_text("utf-8")) if file.is_file() else {}
    scope = scope_of(configuration)
    problems: list[tuple[str, Problem]] = []
    messages = _usable(MESSAGE_FILTER, list(filters_of(sources)), scope, problems)
    lenient = replace(scope, is_lenient=True)
    contents = {
        one.name: replace(filter_of(one), at=At(str(file), lines.get(("content_filter", number), 1), 1))
        for number, one in enumerate(configuration.content_filter)
    }
    chains = dict.fromkeys(policy.content_filters for policy in configuration.mail_policy if policy.content_filters)
    made = [_usable(CONTENT_FILTER, [contents[name] for name in names], lenient, problems) for names in chains]
    return Audited(
        configuration,
        str(file),
        lines,
        Chain(MESSAGE_FILTER, messages),
        tuple(Chain(CONTENT_FILTER, one, is_for_one=True) for one in made),
        tuple(dict.fromkeys(problems)),
        scope,
    )


def _usable(table: str, filters: Sequence[Filter], scope: Scope, problems: list[tuple[str, Problem]]) -> tuple[Filter, ...]:
    """The filters that run; tells what is wrong with the others."""
    plan = FilterPlan(filters, scope)
    problems += [(table, one) for one in plan.problems if one.severity in (Severity.ERROR, Severity.INVALID)]
    names = {one.name for one in plan.filters}
    return tuple(one for one in filters if one.is_active and one.name in names)


def findings_elsewhere(what: Audited, today: date) -> Iterator[Finding]:
    """What the audits of tables and dictionaries tell, and filters that cannot run."""
    for table, problem in what.problems:
        mend = problem.mend or "mend it, or take it out"
        yield Finding(Kind.DEAD, table, problem.filter, problem.what, "esa filters check says the same", mend, problem.at)
    for one in advise(what.configuration):
        if one.is_shadowed:
            yield Finding(Kind.SHADOWED, one.table, one.group, one.what, _BY_ORDER, one.advice, _place_of(what, one.table, one.group))
        elif one.table == CONTENT_FILTER and one.what.startswith(_NOT_THERE):
            proof = "esa config check says the same"
            yield Finding(Kind.DEAD, one.table, one.group, one.what, proof, one.advice, _place_of(what, one.table, one.group))
    for name in what.configuration.scan.dictionaries:
        path = Path(name)
        for remark in audit_dictionary(path.stem, decode(read_octets(path), name), today, where=name):
            proof = f"by its date, today is {today}" if remark.kind == "expired" else "it was looked up in the dictionary as mail is"
            at = At(name, remark.line, 1)
            yield Finding(_DICTIONARY_KINDS[remark.kind], "dictionary", path.stem, remark.what, proof, remark.mend, at)


_NOT_THERE = ("no mail policy names it", "there is no ")  # how what is told of content filters begins where something is missing
_BY_ORDER = "the first entry that matches decides, and what stands before it matches all that it does"


def _place_of(what: Audited, table: str, name: str) -> At:
    configuration = what.configuration
    tables: list[tuple[str, Sequence[str]]] = [
        ("sender_group", [one.name for one in configuration.sender_group]),
        ("mail_policy", [one.name for one in configuration.mail_policy]),
        ("content_filter", [one.name for one in configuration.content_filter]),
    ]
    for key, names in tables:
        if key.replace("_", " ") in table and name in names:
            return what.at(key, names.index(name))
    return what.at("recipient_access", 0) if "recipient" in table else At(what.file, 1, 1)


def rules_of(what: Audited) -> Iterator[Rule]:
    """Rules of which recordings tell whether they acted. Entries that refuse are left out: what they refuse is not recorded."""
    changed = {one.at.file: _changed(one.at.file) for chain in (what.messages, *what.contents) for one in chain.filters}
    for one in what.messages.filters:
        key = "message filters", one.name
        yield Rule(MESSAGE_FILTER, one.name, key, one.at, changed[one.at.file], _UNUSED.replace("name", one.name))
    contents = {one.name: one for chain in what.contents for one in chain.filters}
    for one in contents.values():
        yield Rule(CONTENT_FILTER, one.name, ("content filters", one.name), one.at, changed[one.at.file], _UNUSED_ENTRY)
    yield from _of_tables(what)


def _of_tables(what: Audited) -> Iterator[Rule]:
    configuration, changed = what.configuration, _changed(what.file)
    for number, policy in enumerate(configuration.mail_policy):
        if policy.name != DEFAULT:
            key = "mail policy", policy.name
            yield Rule("mail policy", policy.name, key, what.at("mail_policy", number), changed, _UNUSED_ENTRY)
    if configuration.sender_group != SHIPPED_GROUPS:
        for number, group in enumerate(groups_of(configuration.sender_group, configuration.mail_flow_policy)):
            if group.policy.access not in (AccessRule.ACCEPT, AccessRule.RELAY) or group.name == EVERYONE:
                continue
            for sender in group.senders:
                key = f"sender group {group.name}", sender.text
                yield Rule("sender group", f"{group.name}, {sender.text}", key, what.at("sender_group", number), changed, _UNUSED_ENTRY)
    for listener in configuration.listener:
        given = configuration.recipient_access, listener.accept_domains
        if not says_anything(*given, listener=listener.name):
            continue
        for entry, rule in entries_of(*given, listener=listener.name):
            if rule.accepts:
                place = what.at("recipient_access", 0) if configuration.recipient_access else what.at("listener", 0)
                key = "recipient access", entry.text
                yield Rule("recipient access of", f"{listener.name}, {entry.text}", key, place, changed, _UNUSED_ENTRY)


def _changed(file: str) -> float:
    try:
        return Path(file).stat().st_mtime
    except OSError:
        return 0.0
