"""What becomes of a message for each recipient that the client named, read from a session of a rehearsal."""

from __future__ import annotations

from esa.gateway.rehearsal.judgement import Fate, Outcome, Step
from esa.gateway.rehearsal.performance import Performance, Said
from esa.gateway.visit import visit_of
from esa.policy.disposition import Action, Disposition

_OUTCOMES = {
    Action.DELIVER: Outcome.DELIVERED,
    Action.QUARANTINE: Outcome.QUARANTINED,
    Action.DROP: Outcome.DROPPED,
    Action.REFUSE: Outcome.REFUSED,
    Action.DEFER: Outcome.DEFERRED,
}


def fates_of(performance: Performance) -> tuple[Fate, ...]:
    """One for each recipient that the client named, in order."""
    asked = {said.subject: said for said in performance.said if said.step is Step.RECIPIENTS}
    decided = _of_dispositions(performance)
    last = performance.said[-1]
    found: dict[str, Fate] = {}
    for recipient in performance.mail.envelope.recipients:
        said = asked.get(recipient)
        if said is not None and said.is_accepted and (fate := decided.get(said.path)) is not None:
            found[recipient] = fate._replace(recipient=recipient)
        elif said is not None and not said.is_accepted:
            found[recipient] = Fate(recipient, _outcome_of(said), Step.RECIPIENTS, _why_refused(said), said.text)
        else:
            reason = performance.reason or _why_ended(performance)
            found[recipient] = Fate(recipient, _outcome_of(last), last.step, reason, last.text)
    return tuple(found.values())


def _of_dispositions(performance: Performance) -> dict[str, Fate]:
    arrival, last = performance.arrival, performance.said[-1]
    if arrival is None or arrival.report is None:
        return {}
    return {
        recipient: fate_of(recipient, one, last.text)
        for one in (*arrival.plan.splinters, *arrival.plan.refusals)
        for recipient in one.recipients
    }


def fate_of(recipient: str, one: Disposition, reply: str) -> Fate:
    """What a disposition comes to for one of its recipients."""
    goes_on = one.action in (Action.DELIVER, Action.QUARANTINE)
    return Fate(
        recipient,
        _OUTCOMES[one.action],
        Step.MAIL_DATA,
        f"{one.reason} ({one.held})" if one.held else one.reason,
        reply,
        one.policy,
        one.quarantines,
        (one.redirected_to or (recipient,)) if goes_on else (),
        one.mailhost,
        tuple(map(repr, one.edits)) if goes_on else (),
    )


def _outcome_of(said: Said) -> Outcome:
    return Outcome.DEFERRED if said.text.startswith("4") else Outcome.REFUSED


def _why_refused(said: Said) -> str:
    if said.finding is not None and said.finding.reply is not None:
        return f"source of recipients {said.finding.source}"
    if said.match is not None and not said.match.rule.accepts:
        return f"recipient access {said.match.because}" if said.match.entry is not None else "recipient access: no entry"
    return said.text


def _why_ended(performance: Performance) -> str:
    last, visit = performance.said[-1], visit_of(performance.connection)
    if last.step is Step.CONNECTION and visit is not None:
        return f"sender group {visit.match.group} ({visit.match.because}), policy {visit.policy.name}"
    return last.text
