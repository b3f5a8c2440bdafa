"""The stages of policy in words: message filters, mail policies with anti-spam and content filters, dispositions.

`explaining` asks. What the filters did was told by the witness that they are compiled with; policies and their treatment are pure, and are asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from esa.config.places import shown
from esa.config.policies import MailPolicy as Table
from esa.config.policies import members_of
from esa.gateway.deciding import Case, senders_of
from esa.gateway.rehearsal.judgement import Part, Stage
from esa.message import edits as editing
from esa.message.edits import Edit
from esa.policy.disposition import Disposition
from esa.policy.filters.tree import Call, If, Test, calls_of, statements_of, tests_of
from esa.policy.filters.witness import Told
from esa.policy.filters.write import write_call, write_condition
from esa.policy.mail_policy import DEFAULT, MailPolicy, treat
from esa.policy.outcome import Final, Skip
from esa.policy.policy_table import Member, Members, PolicyTable, Senders

if TYPE_CHECKING:
    from esa.gateway.rehearsal.performance import Performance
    from esa.gateway.rehearsal.rehearsal import Rehearsal

SHOWN = 200  # characters of an edit or a text that was matched
_ANSWERS = {True: "true", False: "false", None: "unscanned"}


def policy_stages(rehearsal: Rehearsal, performance: Performance) -> Iterator[Stage]:
    """All stages behind the scan."""
    case, decided = performance.watch.case, performance.watch.decided
    if case is None or decided is None or rehearsal.witness is None:
        return
    told = rehearsal.witness.take()
    yield from _message_filters(rehearsal, [one for one in told if not one.mail_policy])
    messages = decided.plan.messages
    if messages is not None and messages.final in (Final.DROP, Final.BOUNCE, Final.REFUSE):
        yield Stage("mail policy", "all recipients", "not asked", reason=f"message filter {messages.final_filter} has ended it")
    else:
        yield from _policies(rehearsal, case, [one for one in told if one.mail_policy], set() if messages is None else messages.skips)
    for one in (*decided.plan.splinters, *decided.plan.refusals):
        yield _disposition(one)


# --- filters ----------------------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Asked:
    """A filter that was asked, once for a message or for some of its recipients."""

    name: str
    recipients: tuple[str, ...]
    told: list[Told] = field(default_factory=list)

    @property
    def actions(self) -> list[Call]:
        return [one.node for one in self.told if isinstance(one.node, Call)]


def _asked(told: Sequence[Told]) -> list[_Asked]:
    return [_Asked(name, who, list(group)) for (name, who), group in groupby(told, key=lambda one: (one.filter, one.recipients))]


def _message_filters(rehearsal: Rehearsal, told: Sequence[Told]) -> Iterator[Stage]:
    rules = rehearsal.rules
    if rules is None or (rules.messages.is_empty and not rules.messages.problems):
        return
    asked = _asked(told)
    for one in asked:
        yield _filter(rehearsal, "message filter", one, "")
    reached = {one.name for one in asked}
    last = asked[-1].name if asked else ""
    for made in rules.messages.filters:
        if made.name not in reached:
            yield Stage("message filter", made.name, "not reached", reason=f"filter {last} has ended it", acts=False)
    yield from (
        Stage(
            "message filter",
            problem.filter,
            "does not run",
            place=f"{_shown_file(problem.at.file)}:{problem.at.line}",
            reason=problem.what,
            acts=False,
        )
        for problem in rules.messages.problems
        if problem.filter not in {made.name for made in rules.messages.filters}
    )


def _filter(rehearsal: Rehearsal, name: str, asked: _Asked, place: str) -> Stage:
    statements = [one for one in asked.told if isinstance(one.node, If)]
    outermost = statements[0].node
    assert isinstance(outermost, If)
    actions = asked.actions
    if actions:
        answer = ", ".join(write_call(call) for call in actions)
    elif any(one.answer is None for one in statements):
        answer = "unscanned: a fact that it asks for is not known"
    else:
        answer = "does not fire"
    place = place or (f"{_shown_file(outermost.at.file)}:{outermost.at.line}" if outermost.at.file else "")
    return Stage(
        name,
        f"{asked.name} for {', '.join(asked.recipients)}" if name == "content filter" else asked.name,
        answer,
        rule=write_condition(outermost.condition),
        place=place,
        parts=tuple(_parts(asked, outermost)),
        microseconds=sum(one.nanoseconds for one in asked.told if not isinstance(one.node, Test)) / 1000,
        acts=bool(actions),
    )


def _parts(asked: _Asked, outermost: If) -> Iterator[Part]:
    """Conditions and actions in the order that they were asked and ran in; then those that were not asked."""
    seen = {id(one.node) for one in asked.told}
    for one in asked.told:
        node = one.node
        if isinstance(node, Test):
            yield Part("condition", write_condition(node), _ANSWERS[one.answer], _cut(one.matched), _place_of(node), one.nanoseconds / 1000)
        elif isinstance(node, Call):
            yield Part("action", write_call(node), "done", "", _place_of(node), one.nanoseconds / 1000)
    for statement in statements_of(outermost):
        for test in tests_of(statement.condition):
            if id(test) not in seen:
                yield Part("condition", write_condition(test), "not asked", "", _place_of(test))
    if asked.actions:
        for call in calls_of(outermost):
            if id(call) not in seen:
                yield Part("action", write_call(call), "not done", "", _place_of(call))


def _place_of(node: Test | Call) -> str:
    return f"{_shown_file(node.at.file)}:{node.at.line}" if node.at.file else ""


def _shown_file(file: str) -> str:
    return shown(Path(file))


# --- mail policies ----------------------------------------------------------------------------------------------------------------------


def _policies(rehearsal: Rehearsal, case: Case, told: Sequence[Told], skips: set[Skip]) -> Iterator[Stage]:
    table = rehearsal.assembly.decider.policies.of(is_outgoing=case.is_outgoing)
    senders = senders_of(case, table)
    for policy, who in table.match(senders, case.envelope.recipients, case.groups):
        number, given = _table_of(rehearsal, policy, is_outgoing=case.is_outgoing)
        entry = _entry_of(given, senders, who[0], case.groups) if given is not None else ""
        direction = "outgoing" if case.is_outgoing else "incoming"
        table_place = rehearsal.places.table("mail_policy", number) if given is not None else ""
        place = rehearsal.places.entry("mail_policy", number, entry.partition(" ")[2]) if entry else table_place
        reason = f"entry {entry}" if entry else "no other policy names them" if policy.name == DEFAULT else ""
        yield Stage("mail policy", ", ".join(who), f"{policy.name} ({direction})", rule=reason, place=place or "shipped")
        yield _anti_spam(case, policy, who, skips, table_place or "shipped")
        for one in _asked([one for one in told if one.mail_policy == policy.name and set(one.recipients) <= set(who)]):
            yield _filter(rehearsal, "content filter", one, _place_of_content_filter(rehearsal, one.name))


def _table_of(rehearsal: Rehearsal, policy: MailPolicy, *, is_outgoing: bool) -> tuple[int, Table | None]:
    """The policy as it is configured, and which of them it is."""
    tables = ("outgoing" if is_outgoing else "incoming", "both")
    for number, given in enumerate(rehearsal.configuration.mail_policy):
        if given.name == policy.name and given.table in tables:
            return number, given
    return 0, None


def _entry_of(given: Table, senders: Senders, recipient: str, groups: Mapping[str, frozenset[str]]) -> str:
    """The first entries of a policy that name this recipient and this sender: each is held alone against them."""
    members = members_of(given)
    named = [f"recipient {one.text}" for one in members.recipients if _names(Members(recipients=(one,)), senders, recipient, groups)][:1]
    named += [f"sender {one.text}" for one in members.senders if _names(_of_sender(members, one), senders, recipient, groups)][:1]
    return " and ".join(named)


def _of_sender(members: Members, one: Member) -> Members:
    return Members(senders=(one,), sender_fields=members.sender_fields)


def _names(members: Members, senders: Senders, recipient: str, groups: Mapping[str, frozenset[str]]) -> bool:
    probe = MailPolicy("probe")
    return PolicyTable([(probe, members)]).match(senders, [recipient], groups)[0].policy is probe


def _anti_spam(case: Case, policy: MailPolicy, who: tuple[str, ...], skips: set[Skip], place: str) -> Stage:
    spam_check = case.spam_check and Skip.SPAM not in skips
    one = treat(case.report, who, policy, spam_check=spam_check)
    score = case.report.score
    if not case.spam_check:
        reason = "the mail flow policy has spam_check = false"
    elif not spam_check:
        reason = "a message filter has said skip-spamcheck"
    elif not policy.anti_spam:
        reason = "anti_spam is off"
    elif score > policy.positive_above:
        reason = f"score {score:.1f} is above positive_above ({policy.positive_above:g})"
    elif score > policy.suspect_above:
        reason = f"score {score:.1f} is above suspect_above ({policy.suspect_above:g})"
    else:
        reason = f"score {score:.1f} is not above suspect_above ({policy.suspect_above:g})"
    return Stage("anti-spam", policy.name, f"{one.reason.partition(':')[2]}: {one.action}", "", place, reason, tuple(_what_is_done(one)))


def _place_of_content_filter(rehearsal: Rehearsal, name: str) -> str:
    names = [table.name for table in rehearsal.configuration.content_filter]
    return rehearsal.places.table("content_filter", names.index(name)) if name in names else ""


# --- dispositions -----------------------------------------------------------------------------------------------------------------------


def _disposition(one: Disposition) -> Stage:
    return Stage("disposition", ", ".join(one.recipients), str(one.action), one.reason, "", one.held, tuple(_what_is_done(one)))


def _what_is_done(one: Disposition) -> Iterator[Part]:
    for edit in one.edits:
        yield Part("edit", _words_of(edit))
    if one.redirected_to:
        yield Part("recipients", ", ".join(one.redirected_to))
    if one.mailhost:
        yield Part("next hop", one.mailhost)
    for name in one.quarantines:
        yield Part("quarantine", name)
    for name in one.archives:
        yield Part("archive", name)
    if one.text:
        yield Part("words", _cut(one.text))
    if one.encrypts:
        yield Part("encryption", "must not leave unencrypted")
    if one.notifies:
        yield Part("notification", "the sender is told")
    outcome = one.outcome
    if outcome is not None:
        for copy in outcome.blind_copies:
            yield Part("copy", ", ".join(copy.addresses))
        for notice in outcome.notices:
            yield Part("notice", ", ".join(notice.addresses))
        for name in (*outcome.archives, *outcome.duplicate_quarantines):
            yield Part("copy", name)


def _words_of(edit: Edit) -> str:
    match edit:
        case editing.InsertHeader(name, value):
            return f"insert {name}: {_cut(value)}"
        case editing.StripHeader(name):
            return f"take out {name}"
        case editing.EditHeader(name, expression, replacement):
            return f"in {name} replace {_cut(expression)!r} by {_cut(replacement)!r}"
        case editing.EditBody(expression, replacement):
            return f"in the body replace {_cut(expression)!r} by {_cut(replacement)!r}"
        case editing.AddHeading(text):
            return f"heading {_cut(text)!r}"
        case editing.AddFooter(text):
            return f"footer {_cut(text)!r}"
        case editing.ConvertHtml():
            return "HTML becomes text"
        case editing.DropParts(parts, _):
            return f"drop parts {', '.join(map(str, sorted(parts)))}"
        case editing.TagSubject(text):
            return f"subject tag {_cut(text)!r}"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
