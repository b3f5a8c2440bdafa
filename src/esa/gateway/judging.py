"""Deciding about a scanned message in the route; and its blind copies that go through all stages as new messages (bcc-scan).

Such a copy is scanned as it is edited by then, filtered, and treated by policies of its own; `records` writes what comes out into the same commit.
It has an identifier and events of its own. What it brings about holds, but for one thing: a copy makes no further copy that is scanned again, so that
no two filters send copies round for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from esa.gateway.copies import edits_of, envelope_of
from esa.gateway.deciding import Case, Decided
from esa.gateway.records import Contents
from esa.message.trace import REASONS_SHOWN
from esa.policy.disposition import Answer
from esa.policy.splinters import NO_GROUPS, route_of
from esa.store.identifier import new_identifier
from esa_core._header_lines import header_end

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.engine.verdict import Report
    from esa.gateway.mail_in_work import Arrival
    from esa.message.edits import Edit
    from esa.message.envelope import Envelope, Session
    from esa.policy.outcome import BlindCopy

HEAD_LIMIT = 1 << 16  # octets of a header in which Received fields are counted and the subject is looked for


class _Scans(Protocol):
    def scan_batch(
        self, raws: Sequence[Buffer], *, sessions: Sequence[Session | None] | None, envelopes: Sequence[Envelope | None] | None
    ) -> list[Report]: ...


class _Decides(Protocol):
    def decide(self, case: Case) -> Decided: ...


def judge(arrival: Arrival, report: Report, decider: _Decides) -> None:
    """Decide about a message."""
    arrival.report = report
    arrival.end = header_end(arrival.content)
    arrival.head = arrival.content[: min(arrival.end, HEAD_LIMIT)].lower()
    arrival.reasons = tuple(report.reasons[:REASONS_SHOWN])
    groups, origin = arrival.transaction.groups, arrival.transaction.origin
    case = Case(
        arrival.id,
        arrival.content,
        arrival.head,
        report,
        arrival.session,
        arrival.envelope,
        arrival.visit,
        arrival.is_outgoing,
        arrival.is_checked,
        NO_GROUPS if groups is None else groups.groups,
        origin,
    )
    arrival.plan, arrival.verdict, arrival.hits = decider.decide(case)


def copies_again(arrival: Arrival, scanner: _Scans, decider: _Decides) -> list[Arrival]:
    """The copies of a message that are to be scanned, decided about. Raises what the scanner raises: the message is then put off."""
    plan = arrival.plan
    if arrival.copy_of or plan.answer is Answer.DEFER or plan.has_no_outcome:
        return []
    wanted = [(copy, edits) for outcome, edits in plan.outcomes for copy in outcome.blind_copies if copy.is_scanned]
    return [_again(arrival, copy, edits, scanner, decider) for copy, edits in wanted]


def _again(arrival: Arrival, copy: BlindCopy, edits: tuple[Edit, ...], scanner: _Scans, decider: _Decides) -> Arrival:
    arrival.contents = arrival.contents or Contents(arrival.content, arrival.end, arrival.path)
    content = arrival.contents.of(edits_of(copy, edits))
    envelope = envelope_of(copy, arrival.envelope, len(content))
    new = replace(
        arrival,
        id=new_identifier(),
        copy_of=arrival.id,
        envelope=envelope,
        content=content,
        path=None,
        omitted=(),
        contents=None,
        again=[],
        more=[],
    )
    [report] = scanner.scan_batch([content], sessions=[arrival.session], envelopes=[envelope])
    judge(new, report, decider)
    route = route_of(copy.mailhost)
    new.plan = new.plan._replace(splinters=tuple(one._replace(mailhost=one.mailhost or route) for one in new.plan.splinters))
    return new
