"""What the sender of a queue entry is still to be told: kept with the entry, so that no crash forgets it.

A debt is made in the transaction that stores what came of an attempt, and paid in one behind the notification's own commit to the spool (or behind
the decision that there is none). After a crash between the two the queue finds the notification in the spool, and pays then: nobody is told twice,
and nobody never.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from esa.message.envelope import Options
from esa.policy.bounce_profile import BounceProfile
from esa.store.entry import Debt, Entry, Outcome, naming
from esa.store.record import Event, EventName, Record

WRITER: Final = "bounces"  # name of the spool that notifications are committed to
GATHERING: Final = 1.0  # seconds that a debt waits for others of the same message
EXPIRED: Final = "expired; the last reply was: "  # before the reply of a recipient that was given up


class Profiles(Protocol):
    """Says which bounce profile holds for an entry; the gateway implements it."""

    def of(self, entry: Entry) -> BounceProfile: ...

    @property
    def shortest(self) -> float:
        """The least seconds that any of them keeps mail in the queue."""


class Payment(NamedTuple):
    """Debts of one entry that are owed no more, and what is told of it in tracking. A delay is owed to nobody, and only counted.

    `warnings`: how often its sender has been warned by now; None: as before. `keeps`: its failed recipients stay, for somebody to retry or delete.
    """

    key: str
    debts: tuple[Debt, ...]
    event: Event | None = None
    warnings: int | None = None
    keeps: bool = False


def notify_of(options: Options | None, address: str) -> frozenset[str] | None:
    """NOTIFY of a recipient (RFC 3461 section 4.1); None: it was not said, so failures are told, and delays may be."""
    found = options.recipients if options is not None else ()
    words = next((one.notify for one in found if one.forward_path == address), "")
    return frozenset(words.upper().split(",")) if words else None


def debts_of(outcome: Outcome, failed: Sequence[tuple[str, str]]) -> list[Debt]:
    """What an attempt makes its sender owed. `failed`: recipients that it was the last attempt for, with the reply.

    Of success is told who asked for it, unless the next hop does it. Whether of a failure is asked when it is paid.
    """
    debts = [Debt(address, "failed", outcome.at, reply, outcome.next_hop) for address, reply in failed]
    options = outcome.entry.envelope.options
    if options is not None and options.recipients and outcome.success != "passed":
        debts += [
            Debt(result.address, outcome.success, outcome.at, result.reply, outcome.next_hop)
            for result in outcome.results
            if result.status == "delivered" and "SUCCESS" in (notify_of(options, result.address) or ())
        ]
    return debts


def warning_due(entry: Entry, profile: BounceProfile) -> float | None:
    """When the sender of a waiting entry is warned next, in Unix seconds."""
    age = profile.warning_after(entry.warnings)
    return None if age is None else entry.accepted_at + age


def report_time(entry: Entry, debts: Sequence[Debt], profile: BounceProfile, now: float, *, waits: bool) -> float:
    """When somebody has to look at what an entry owes; 0.0: never. `waits`: it has recipients still to be delivered."""
    due = warning_due(entry, profile) if waits else None
    times = [] if due is None else [due]
    if is_owing(debts):
        times.append(now + GATHERING)
    return min(times, default=0.0)


def is_owing(debts: Sequence[Debt]) -> bool:
    return any(debt.action != "kept" for debt in debts)


def left_of(debts: Sequence[Debt], payment: Payment) -> tuple[Debt, ...]:
    """What is owed after a payment; of those that are kept a trace stays."""
    paid = {(debt.address, debt.action, debt.at) for debt in payment.debts}
    left = []
    for debt in debts:
        if (debt.address, debt.action, debt.at) not in paid:
            left.append(debt)
        elif payment.keeps and debt.action == "failed":
            left.append(debt._replace(action="kept"))
    return tuple(left)


def told_event(key: str, action: str, recipients: Sequence[str], *, to: str, identifier: str, at: float) -> Event:
    """That a sender has been told, for tracking of the message."""
    fields: dict[str, object] = {"recipients": list(recipients), "action": action, "to": to, "notification": identifier, **naming(key)}
    return Event(EventName.BOUNCED if action == "failed" else EventName.NOTIFIED, at, fields)


def generated_event(message: str, action: str, to: str, payments: Sequence[Payment], at: float) -> Event:
    """Of a notification itself, for its own record: which message it is about, and whose debts it pays."""
    pays = [[one.key, one.warnings, [[debt.address, debt.action, debt.at] for debt in one.debts]] for one in payments]
    return Event(EventName.GENERATED, at, {"of": message, "action": action, "to": to, "pays": pays})


def payments_in(record: Record) -> Iterator[Payment]:
    """What a notification in the spool pays. Raises ValueError or TypeError for what `generated_event` does not write."""
    for event in record.events:
        if event.name is not EventName.GENERATED:
            continue
        to, pays = str(event.fields["to"]), event.fields["pays"]
        assert isinstance(pays, list)
        for key, warnings, debts in pays:
            paid = tuple(Debt(address, kind, at) for address, kind, at in debts)
            told = told_event(key, paid[0].action, [debt.address for debt in paid], to=to, identifier=record.id, at=event.at)
            yield Payment(key, paid, told, warnings)
