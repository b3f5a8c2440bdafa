"""Filters that differ in one address, client or subject only, made one filter and one dictionary; nothing that any message meets is changed by it.

Called by `esa filters merge`. A filter is moved up to the first of those it is merged with only where nothing in between can act on the same message,
or does the very same; so order and finality stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from esa.engine.dictionary import Dictionary, Entry, key_of
from esa.policy.audit.acting import Acting, acting
from esa.policy.audit.entries import WORDS, entry_of, is_as_it_came, options_of, takes_the_same, typed
from esa.policy.audit.facts import Case, Fact
from esa.policy.audit.language import Answer
from esa.policy.audit.solving import solve
from esa.policy.filters.scope import Scope
from esa.policy.filters.tree import Block, Call, Filter, If, Test, Text
from esa.policy.filters.words import actions

FEWEST = 3  # filters that are worth a dictionary
_OF_ITSELF = (
    "$FilterName",
    "$MatchedContent",
    "$filtername",
    "$matchedcontent",
)  # texts that would change with the filter's name or what it found
_ONCE = frozenset(  # actions that are the same done once or several times
    {"quarantine", "duplicate-quarantine", "archive", "no-op", "alt-rcpt-to", "alt-mailhost", "alt-src-host", "bounce-profile"}
    | {"skip-spamcheck", "skip-viruscheck", "skip-ampcheck", "skip-vofcheck", "skip-marketingcheck", "skip-socialcheck", "skip-bulkcheck"}
)
_BESIDE = frozenset(
    {"log-entry", "tag-message", "bcc", "bcc-scan", "notify", "notify-copy", "encrypt-deferred", "smime-gateway-deferred"}
)  # change no message
_Calls: TypeAlias = tuple[tuple[str, tuple[object, ...]], ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A filter that may be merged: its one test, and the entry that says the same."""

    acting: Acting
    word: str
    is_cased: bool
    entry: Entry
    calls: _Calls
    case: Case

    @property
    def name(self) -> str:
        return self.acting.filter.name

    @property
    def key(self) -> tuple[str, bool, _Calls, Fact]:
        (literal,) = self.case
        return self.word, self.is_cased, self.calls, literal.fact


@dataclass(frozen=True, slots=True)
class Merge:
    """`members` go, `filter` comes in the place of the first of them, and asks the dictionary."""

    members: tuple[Member, ...]
    filter: Filter
    dictionary: Dictionary

    @property
    def names(self) -> frozenset[str]:
        return frozenset(one.name for one in self.members)


def propose(filters: Sequence[Filter], scope: Scope, *, taken: frozenset[str] = frozenset(), fewest: int = FEWEST) -> list[Merge]:
    """All merges of filters that run one behind another. `taken`: names of dictionaries that there are."""
    ready = list(acting(filters, scope))
    made: list[Merge] = []
    names = {one.name for one in filters} | taken
    for run in _runs(ready):
        if len(run) >= fewest:
            name = next(name for name in _names(run) if name not in names)
            names.add(name)
            made.append(_merge(run, name))
    return made


def merged(filters: Sequence[Filter], merges: Sequence[Merge]) -> list[Filter]:
    """The filters with their merges done."""
    first = {one.members[0].name: one for one in merges}
    gone = frozenset[str]().union(*(one.names for one in merges))
    out: list[Filter] = []
    for one in filters:
        if one.name in first:
            out.append(first[one.name].filter)
        elif one.name not in gone:
            out.append(one)
    return out


def _names(run: Sequence[Member]) -> Iterator[str]:
    verb = next((call for call, _ in reversed(run[0].calls)), "act")
    base = f"{verb}_by_{run[0].word}".replace("-", "_")
    yield base
    yield from (f"{base}_{number}" for number in range(2, 100_000))


# --- which filters ------------------------------------------------------------------------------------------------------------------------


def member_of(one: Acting) -> Member | None:
    """The filter as a member of merges, or None if it is no single test of an address, a client or a subject with actions."""
    statement = one.filter.statement
    test = statement.condition
    if statement.otherwise is not None or not isinstance(test, Test) or test.operator != "==" or len(one.groups) != 1:
        return None
    word, value = test.word.lower(), test.value
    if word not in WORDS or not isinstance(value, Text) or one.groups[0].cases is None:
        return None
    if not all(isinstance(item, Call) for item in statement.then.items) or any(map(_tells_of_itself, one.groups[0].calls)):
        return None
    (case,) = one.groups[0].cases
    found = entry_of(word, value.value)
    if found is None or len(case) != 1 or not is_as_it_came(next(iter(case))):
        return None
    entry, is_cased = found
    calls = tuple((call.word.lower(), call.arguments) for call in one.groups[0].calls)
    return Member(one, word, is_cased, entry._replace(comment=_comment(one.filter)), calls, case)


def _tells_of_itself(call: Call) -> bool:
    return any(mark in value.value for value in call.arguments if isinstance(value, Text) for mark in _OF_ITSELF)


def _comment(one: Filter) -> str:
    """The name of the filter and what was written about it, in one line."""
    pieces = [*one.comments, *one.statement.comments]
    for item in one.statement.then.items:
        if isinstance(item, Call):
            pieces += [*item.comments, item.remark]
    said = " ".join(" ".join(piece.split()) for piece in (*pieces, *one.statement.then.comments) if piece.strip(" #"))
    return f"{one.name}: {said}".rstrip(": ") if said else one.name


# --- order ----------------------------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Run:
    """Members that can stand where the first of them does, and the other filters behind it."""

    members: list[Member]
    between: list[Acting] = field(default_factory=list)


def _runs(ready: Sequence[Acting]) -> list[list[Member]]:
    """Members that can be merged with one another, in the order of the first of each."""
    open_runs: dict[tuple[object, ...], _Run] = {}
    runs: list[_Run] = []
    for one in ready:
        member = member_of(one)
        joined: _Run | None = None
        if member is not None:
            joined = open_runs.get(member.key)
            if joined is not None and _can_join(member, joined):
                joined.members.append(member)
            else:
                joined = open_runs[member.key] = _Run([member])
                runs.append(joined)
        for run in open_runs.values():
            if run is not joined:
                run.between.append(one)
    return [run.members for run in runs]


def _can_join(member: Member, run: _Run) -> bool:
    if not _change_nothing(member.calls) and (run.between or member.word == "subject"):
        return False  # what stands between might see the change, or the next member
    is_repeated = not all(call in _ONCE for call, _ in member.calls) and not _is_final(member.calls)
    if is_repeated and not all(_never_both(member.case, other.case) for other in run.members):
        return False
    return all(_can_pass(member, other) for other in run.between)


def _change_nothing(calls: _Calls) -> bool:
    return all(call in _ONCE or call in _BESIDE or (call in actions() and actions()[call].is_final) for call, _ in calls)


def _is_final(calls: _Calls) -> bool:
    """Whether nothing runs after them. Then only the first of several filters acts."""
    word = actions().get(calls[-1][0]) if calls else None
    return word is not None and word.is_final


def _can_pass(member: Member, other: Acting) -> bool:
    """Whether it is the same which of the two comes first."""
    calls = {tuple((call.word.lower(), call.arguments) for call in group.calls) for group in other.groups}
    if calls == {member.calls} and _is_final(member.calls):
        return True
    cases = other.cases
    return cases is not None and all(_never_both(member.case, case) for case in cases)


def _never_both(one: Case, other: Case) -> bool:
    return solve(one | other) is Answer.NONE


# --- the proposal ---------------------------------------------------------------------------------------------------------------------------


def _merge(run: Sequence[Member], name: str) -> Merge:
    first = run[0]
    options = options_of(first.word, first.is_cased, [member.entry for member in run])
    entries: dict[object, Entry] = {}
    for member in run:
        entry = typed(member.entry, options)
        before = entries.get(key_of(entry, options))
        entries[key_of(entry, options)] = entry if before is None else before._replace(comment=f"{before.comment}; {entry.comment}")
    test = Test(WORDS[first.word], (Text(name),))
    old = first.acting.filter.statement
    calls = tuple(Call(call.word, call.arguments) for call in old.then.items if isinstance(call, Call))
    comments = (f"takes the place of {len(run)} filters: {run[0].name} to {run[-1].name}",)
    new = Filter(name, If(test, Block(calls)), comments=comments)
    return Merge(tuple(run), new, Dictionary(name, list(entries.values()), options.whole_words, options.case_sensitive, options.kind))


def proved_equal(merge: Merge) -> bool:
    """Whether each entry takes exactly what its filter took."""
    options = merge.dictionary.options
    entries: Mapping[object, Entry] = {key_of(entry, options): entry for entry in merge.dictionary.entries}
    for member in merge.members:
        (literal,) = member.case
        if not takes_the_same(entries[key_of(typed(member.entry, options), options)], literal, is_cased=member.is_cased):
            return False
    return True
