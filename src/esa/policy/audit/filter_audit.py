"""The audit of filters that run one behind another: message filters, or the content filters of a mail policy.

Called by `esa filters audit`. Pure: what must be found out is in `Known`, dates are compared with `now`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from esa.policy.audit.acting import Acting, Group, acting
from esa.policy.audit.facts import Case, Literal, NumberLiteral, TextLiteral, shown
from esa.policy.audit.finding import Finding, Kind
from esa.policy.audit.numbers import Numbers
from esa.policy.audit.shadows import Covered, Ending, FilterFate, fates, proof_of
from esa.policy.audit.solving import World
from esa.policy.content_filter import OF_RECIPIENTS
from esa.policy.filters.scope import Scope
from esa.policy.filters.tree import At, Call, Filter, statements_of, tests_of
from esa.policy.view import Lookup

_FOR_ALL = frozenset({"drop", "bounce", "refuse", "alt-rcpt-to", "encrypt", "quarantine", "alt-mailhost"})  # what hits every recipient
_STOPS, _LETS_GO = frozenset({"drop", "bounce", "refuse"}), frozenset({"deliver", "skip-filters", "encrypt"})
_SEVERAL = Numbers((((2, 0), (float("inf"), 0)),), is_whole=True)
_Signature: TypeAlias = tuple[tuple[frozenset[Case], tuple[Call, ...]], ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Filters that run one behind another, all active and usable. `is_for_one`: for each recipient by itself."""

    table: str
    filters: tuple[Filter, ...]
    is_for_one: bool = False


@dataclass(frozen=True, slots=True)
class Audited:
    """What came out. `examples`: for filters that are alive, by name, what a message is like for which they act."""

    findings: tuple[Finding, ...]
    examples: dict[str, World]
    unknown: tuple[str, ...]  # names of filters of which it is not known whether they ever act


def audit_chain(chain: Chain, scope: Scope, *, now: float = 0.0, lookup: Lookup | None = None) -> Audited:
    """Filters that never act, that say the same as others, or that do not what they seem to.

    `lookup` finds entries of dictionaries that have no last day.
    """
    ready = list(acting(chain.filters, scope, now=now, is_for_one=chain.is_for_one, edited_before=chain.is_for_one))
    findings: list[Finding] = []
    examples: dict[str, World] = {}
    unknown: list[str] = []
    dead: set[str] = set()
    for fate in fates(ready, lookup):
        name = fate.acting.filter.name
        told = list(_never(chain, fate, now))
        findings += told
        if any(not one.what.startswith(_PART) for one in told):
            dead.add(name)
        if fate.example is not None:
            examples[name] = fate.example
        elif not told and fate.groups:
            unknown.append(name)
    findings += _duplicates(chain, ready, dead)
    if not chain.is_for_one:
        findings += _for_everybody(chain, ready)
    return Audited(tuple(findings), examples, tuple(unknown))


_PART = "a part of it never acts"


def _never(chain: Chain, fate: FilterFate, now: float) -> Iterator[Finding]:
    """That a filter never acts, or parts of it."""
    covered = [(one.group, one.fate) for one in fate.groups if isinstance(one.fate, Covered)]
    if len(covered) == len(fate.groups) and covered:
        endings = tuple({id(ending): ending for _, one in covered for ending in one.by}.values())
        cases = tuple(case for group, _ in covered for case in group.cases or ())
        yield _finding(chain, fate.acting, cases, endings, "it never acts", fate.acting.filter.at, now)
        return
    for group, one in covered:
        words = ", ".join(f"{call.word}()" for call in group.calls)
        yield _finding(chain, fate.acting, group.cases or (), one.by, f"{_PART}: {words}", group.calls[0].at, now)


def _finding(chain: Chain, one: Acting, cases: Sequence[Case], endings: Sequence[Ending], what: str, at: At, now: float) -> Finding:
    name = one.filter.name
    asked = " or ".join(dict.fromkeys(shown(case) for case in cases[:3])) + (" or …" if len(cases) > 3 else "")
    if not endings:
        if _is_over(cases):
            return Finding(Kind.EXPIRED, chain.table, name, f"{what}: its date is over", f"it acts for {asked}", "take it out", at)
        proof = f"no message can fulfil {asked}" if cases else "there is nothing that it could act for"
        mend = "correct the condition (and where or was meant is the usual mistake), or take it out"
        return Finding(Kind.CONTRADICTION, chain.table, name, what, proof, mend, at)
    by = list(dict.fromkeys(ending.by.filter.name for ending in endings))
    proof = f"it acts for {asked}; {proof_of(endings)}"
    if _is_opposite(one, cases, endings):
        what = f"{what}: {by[0]} decides the opposite for the same condition, and stands before it"
        return Finding(Kind.CONTRADICTION, chain.table, name, what, proof, f"keep one of the two: as they stand {by[0]} holds", at)
    others = f"{', '.join(by[:5])}{' and others' if len(by) > 5 else ''}"
    what = f"{what}: {others} before it end{'s' if len(by) == 1 else ''} the way of all that it is for"
    return Finding(Kind.SHADOWED, chain.table, name, what, proof, f"take it out, or move it before {by[0]}", at)


def _is_over(cases: Sequence[Case]) -> bool:
    """Whether it is the date alone that no message can fulfil any more."""
    return bool(cases) and all(
        any(isinstance(one, NumberLiteral) and one.fact.name == "date" and one.allowed.any_of() is None for one in case) for case in cases
    )


def _is_opposite(one: Acting, cases: Sequence[Case], endings: Sequence[Ending]) -> bool:
    if len({id(ending.by) for ending in endings}) != 1 or {ending.case for ending in endings} != set(cases):
        return False
    its = {call.word.lower() for _, call in one.ends}
    other = {ending.call.word.lower() for ending in endings}
    return (its <= _STOPS and other <= _LETS_GO and bool(its)) or (its <= _LETS_GO and other <= _STOPS and bool(its))


def _signature(one: Acting) -> _Signature | None:
    """What it does in which cases; equal for filters that do the same."""
    groups = []
    for group in one.groups:
        if group.cases is None:
            return None
        groups.append((frozenset(group.cases), tuple(Call(call.word.lower(), call.arguments) for call in group.calls)))
    return tuple(groups) or None


def _duplicates(chain: Chain, ready: Sequence[Acting], dead: set[str]) -> Iterator[Finding]:
    first: dict[_Signature, Acting] = {}
    for one in ready:
        key = _signature(one)
        if key is None or one.filter.name in dead:
            continue
        other = first.setdefault(key, one)
        if other is not one:
            at = other.filter.at
            place = f"{at.file}:{at.line}" if at.file else f"line {at.line}"
            what, proof = (
                f"it says the same as {other.filter.name}",
                f"both act in the same cases and do the same; the other stands at {place}",
            )
            mend = "take one of them out, unless its actions are meant to be done twice"
            yield Finding(Kind.DUPLICATE, chain.table, one.filter.name, what, proof, mend, one.filter.at)


def _for_everybody(chain: Chain, ready: Sequence[Acting]) -> Iterator[Finding]:
    """Message filters that name a recipient and act for all that the message has."""
    for one in ready:
        words = sorted({call.word for group in one.groups if _names_one(group) for call in group.calls if call.word.lower() in _FOR_ALL})
        tests = [test for statement in statements_of(one.filter.statement) for test in tests_of(statement.condition)]
        named = next((test.word for test in tests if test.word.lower() in OF_RECIPIENTS), "")
        if not words:
            continue
        what = f"{', '.join(words)} hits all recipients of a message, and {named} names some"
        proof = f"a message filter sees the whole message: {named} is true if any recipient fulfils it"
        mend = "write it as a content filter, which sees each recipient by itself, or as a mail policy; or add: and rcpt-count == 1"
        yield Finding(Kind.ADVICE, chain.table, one.filter.name, what, proof, mend, one.filter.at)


def _names_one(group: Group) -> bool:
    """Whether a case asks for a recipient and does not say that there is only one."""
    return any(any(map(_is_of_recipient, case)) and not any(map(_says_one, case)) for case in group.cases or ())


def _is_of_recipient(literal: Literal) -> bool:
    name = literal.fact.name
    if isinstance(literal, TextLiteral):
        return name == "rcpt-to" and literal.is_in
    return (name.endswith(" in rcpt-to") or name.startswith("rcpt-to-group ")) and 0 not in literal.allowed


def _says_one(literal: Literal) -> bool:
    return isinstance(literal, NumberLiteral) and literal.fact.name == "rcpt-count" and not (literal.allowed & _SEVERAL).intervals


def audit_chains(chains: Sequence[Chain], scope: Scope, *, now: float = 0.0, lookup: Lookup | None = None) -> Audited:
    """Chains that share filters, as content filters of several mail policies: what is told of a filter holds in every chain that it stands in."""
    found = [audit_chain(chain, scope, now=now, lookup=lookup) for chain in chains]
    names = [frozenset(one.name for one in chain.filters) for chain in chains]
    by_rule: dict[str, list[list[Finding]]] = {}
    for chain, one in zip(names, found, strict=True):
        for name in chain:
            by_rule.setdefault(name, []).append([finding for finding in one.findings if finding.rule == name])
    findings: list[Finding] = []
    for told in by_rule.values():
        if all(told):
            findings += told[0] if len({one.kind for many in told for one in many}) == 1 or len(told) == 1 else told[0][:1]
    examples = {name: world for one in found for name, world in one.examples.items()}
    unknown = dict.fromkeys(name for one in found for name in one.unknown if name not in examples)
    return Audited(tuple(findings), examples, tuple(unknown))
