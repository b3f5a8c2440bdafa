"""From one scan to what each recipient gets: message filters, recipients grouped by mail policy (splinters), and what each policy does with its group.

    message filters (whole message) → mail policy of each recipient → anti-spam of that policy → its content filters → dispositions

The receive route calls `decide` once a message, and `disposition.plan` with what it returns. A message is scanned once, however many splinters
it falls into. A quarantine is a mark: the message goes on, and is held at the end unless it was dropped or refused before. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from esa.engine.verdict import Report
from esa.message.edits import Edit
from esa.message.envelope import Envelope
from esa.policy.content_filter import Rules
from esa.policy.disposition import ENCRYPTION_QUARANTINE, Action, Disposition
from esa.policy.filters.costs import CONTENT, MESSAGES, POLICIES, REST
from esa.policy.filters.ledger import FILTERS, Ledger
from esa.policy.mail_policy import MailPolicy, treat
from esa.policy.outcome import Final, Outcome, Skip
from esa.policy.policy_table import PolicyTable, Senders
from esa.policy.view import View

NO_GROUPS: Mapping[str, frozenset[str]] = MappingProxyType({})
_REFUSALS = (Final.BOUNCE, Final.REFUSE)


class MakeView(Protocol):
    """Makes what filters may see; the route does, from facts that it gathered before."""

    def __call__(self, envelope: Envelope, mail_policy: str = "") -> View: ...


class Decision(NamedTuple):
    """`dispositions` cover every recipient once; where message filters redirected the message (`messages.recipients`), those that it goes to now.

    `messages`: what message filters brought about, None if there are none.
    """

    dispositions: tuple[Disposition, ...]
    messages: Outcome | None = None


def decide(
    report: Report,
    senders: Senders,
    envelope: Envelope,
    table: PolicyTable,
    *,
    groups: Mapping[str, frozenset[str]] = NO_GROUPS,
    spam_check: bool = True,
    rules: Rules | None = None,
    view_of: MakeView | None = None,
    ledger: Ledger | None = None,
) -> Decision:
    """What every recipient of a message gets.

    `groups`: by address in lower case the groups of directories that it is in. `view_of` is there where there are `rules`. `ledger` has begun
    with this message, and takes down what it costs.
    """
    is_timed = ledger is not None and ledger.timing == FILTERS
    messages: Outcome | None = None
    recipients: Sequence[str] = envelope.recipients
    edits: tuple[Edit, ...] = ()
    if rules is not None and view_of is not None and not rules.messages.is_empty:
        messages = rules.messages.run(view_of(envelope), tally=None if ledger is None else ledger.tally(MESSAGES, rules.messages.filters))
        if is_timed and ledger is not None:
            ledger.lap(MESSAGES)
        if messages.is_empty:
            messages = None
    if messages is not None:
        if messages.final is Final.DROP or messages.final in _REFUSALS:
            whole = Disposition(Action.DELIVER, tuple(recipients), "", verdict=None)
            return Decision((_ended(whole, messages, "message filter"),), messages)
        spam_check = spam_check and Skip.SPAM not in messages.skips
        edits = tuple(messages.edits)
        recipients = messages.recipients or recipients  # whose mail policies hold from here on
    found: list[Disposition] = []
    matches = table.match(senders, recipients, groups)
    if is_timed and ledger is not None:
        ledger.lap(POLICIES)
    for policy, who in matches:
        one = treat(report, who, policy, spam_check=spam_check)
        if messages is not None and one.action in _GOES_ON:
            one = _joined(one, messages, "message filter", edits=(*edits, *one.edits), redirects=False)
        found += _filtered(one, policy, envelope, rules, view_of, ledger)
    return Decision(tuple(found), messages)


_GOES_ON = (Action.DELIVER, Action.QUARANTINE)


def _filtered(
    one: Disposition, policy: MailPolicy, envelope: Envelope, rules: Rules | None, view_of: MakeView | None, ledger: Ledger | None
) -> list[Disposition]:
    """After the content filters of the policy: one disposition or, where recipients are told apart, several."""
    plan = rules.content(policy.content_filters) if rules is not None and policy.content_filters else None
    if plan is None or view_of is None or one.action not in _GOES_ON:
        return [one]
    found: list[Disposition] = []
    is_timed = ledger is not None and ledger.timing == FILTERS
    if is_timed and ledger is not None:
        ledger.lap(REST)
    outcomes = plan.run(envelope, one.recipients, lambda given: view_of(given, policy.name), one.edits, ledger=ledger)
    if is_timed and ledger is not None:
        ledger.lap(CONTENT)
    for who, outcome in outcomes:
        its_own = one._replace(recipients=who)
        if outcome.is_empty:
            found.append(its_own)
        elif outcome.final is Final.DROP or outcome.final in _REFUSALS:
            found.append(_ended(its_own, outcome, "content filter", copies=outcome))
        else:
            joined = _joined(its_own, outcome, "content filter", edits=(*its_own.edits, *outcome.edits))
            found.append(joined._replace(outcome=outcome))
    return found


def _ended(one: Disposition, outcome: Outcome, stage: str, copies: Outcome | None = None) -> Disposition:
    """After a final action that ends the message. What was to be edited, held or sent elsewhere no longer matters."""
    action = Action.DROP if outcome.final is Final.DROP else Action.REFUSE
    return one._replace(
        action=action,
        reason=f"{stage} {outcome.final_filter}",
        redirected_to=(),
        mailhost="",
        quarantines=(),
        text=outcome.refusal if action is Action.REFUSE else "",
        returns=action is Action.REFUSE,
        outcome=copies,
    )


def _joined(one: Disposition, outcome: Outcome, stage: str, *, edits: tuple[Edit, ...], redirects: bool = True) -> Disposition:
    """With what filters added to a message that goes on."""
    if outcome.only_tells and edits == one.edits:
        return one
    must_encrypt = outcome.encrypts or outcome.final is Final.ENCRYPT
    holds = (*outcome.quarantines, *((ENCRYPTION_QUARANTINE,) if must_encrypt else ()))
    held_by = [step.filter for step in outcome.trail if step.action in ("quarantine", "encrypt", "encrypt-deferred")]
    return one._replace(
        action=Action.QUARANTINE if holds else one.action,
        reason=f"{stage} {held_by[-1]}" if holds and held_by and one.action is Action.DELIVER else one.reason,
        edits=edits,
        redirected_to=(outcome.recipients if redirects else ()) or one.redirected_to,
        mailhost=route_of(outcome.mailhost) or one.mailhost,
        quarantines=tuple(dict.fromkeys((*one.quarantines, *holds))),
        encrypts=one.encrypts or must_encrypt,
    )


def route_of(mailhost: str) -> str:
    """host:port; 25 where a filter names a host alone, as AsyncOS does."""
    if not mailhost or mailhost.rpartition(":")[2].isdecimal():
        return mailhost
    return f"[{mailhost.strip('[]')}]:25" if ":" in mailhost else f"{mailhost}:25"
