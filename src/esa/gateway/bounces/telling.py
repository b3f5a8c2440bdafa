"""Who is told what of entries that owe something: notifications to write, and debts that nobody is owed. Pure; `bouncer` carries it out.

A failure of accepted mail is told to who sent it (RFC 5321 section 6.1), but never

- to a null return path: that would be a bounce of a bounce;
- of mail of a stranger that is spam by our own judgement: its return path is forged more often than not, and somebody else would be hit;
- of copies that the sender does not know of;
- to who said NOTIFY without FAILURE, or, of a delay, without DELAY.

Recipients of one message that are told of together stand in one notification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from esa.gateway.bounces.notification import Action, Reported
from esa.gateway.bounces.words import status_of
from esa.message.envelope import Options
from esa.policy.bounce_profile import BounceProfile, Kind
from esa.store.debts import EXPIRED, Payment, notify_of, told_event, warning_due
from esa.store.entry import Debt, Entry, naming
from esa.store.record import Event, EventName

RECIPIENTS_LIMIT: Final = 500  # of one notification: a report of some 150 KB
DOUBLE: Final = "double bounce: the return path is null"
SILENT: Final = "its return path may be forged, or its sender does not know of this copy"
UNWANTED: Final = "the sender does not want to be told"
KEPT: Final = "its bounce profile sends no bounces; it is kept as failed"
LATE: Final = "it could not be told in time"
EXPIRED_STATUS: Final = "5.4.7"  # RFC 3463: delivery time expired


@dataclass(slots=True)
class Message:
    """A notification to write: about these recipients of these entries, of one message."""

    kind: Kind
    to: str
    profile: BounceProfile
    is_alternate: bool  # it goes to somebody in the place of the sender
    entries: list[Entry] = field(default_factory=list)
    recipients: list[Reported] = field(default_factory=list)
    debts: dict[str, list[Debt]] = field(default_factory=dict)  # by key of the entry
    warnings: dict[str, int] = field(default_factory=dict)

    def payments(self, identifier: str, at: float) -> list[Payment]:
        """What it pays once it is committed."""
        paid = []
        for key, debts in self.debts.items():
            for action in dict.fromkeys(debt.action for debt in debts):
                theirs = tuple(debt for debt in debts if debt.action == action)
                assert action != "kept"
                told = told_event(key, action, [debt.address for debt in theirs], to=self.to, identifier=identifier, at=at)
                paid.append(Payment(key, theirs, told, self.warnings.get(key)))
        return paid


@dataclass(slots=True)
class Untold:
    """Debts that nobody is owed, and why."""

    entry: Entry
    reason: str
    payment: Payment


@dataclass(slots=True)
class Plan:
    messages: list[Message] = field(default_factory=list)
    untold: list[Untold] = field(default_factory=list)


def plan(entries: Iterable[Entry], profile_of: Callable[[Entry], BounceProfile], now: float) -> Plan:
    """What is to be done about entries that owe something by now."""
    found = Plan()
    open_messages: dict[tuple[object, ...], Message] = {}
    for entry in entries:
        profile = profile_of(entry)
        _tell(found, open_messages, entry, profile, "failed", [debt for debt in entry.debts if debt.action == "failed"], now)
        _tell(found, open_messages, entry, profile, "success", [debt for debt in entry.debts if debt.action in _SUCCESS], now)
        due = warning_due(entry, profile)
        if entry.state == "waiting" and due is not None and due <= now:
            waiting = [Debt(one.address, "delayed", due, one.reply) for one in entry.recipients if one.status == "pending"]
            _tell(found, open_messages, entry, profile, "delayed", waiting, now)
    return found


_SUCCESS: Final = ("delivered", "relayed")


def _tell(
    found: Plan,
    open_messages: dict[tuple[object, ...], Message],
    entry: Entry,
    profile: BounceProfile,
    kind: Kind,
    debts: Sequence[Debt],
    now: float,
) -> None:
    """Put debts of one kind into the notification that they belong to, or under what nobody is told."""
    if not debts:
        return
    warnings = entry.warnings + 1 if kind == "delayed" else None
    if reason := _why_nobody(entry, profile, kind):
        found.untold.append(_untold(entry, kind, debts, reason, now, warnings))
        return
    options = entry.envelope.options
    wanted = [debt for debt in debts if _is_wanted(options, debt.address, kind)]
    if unwanted := [debt for debt in debts if debt not in wanted]:
        found.untold.append(_untold(entry, kind, unwanted, UNWANTED, now, None if wanted else warnings))
    is_alternate = bool(profile.alternate_address) and kind == "failed"
    to = profile.alternate_address if is_alternate else entry.envelope.reverse_path
    name = (entry.message, kind, to, entry.envelope.reverse_path, profile.name, entry.is_outgoing)
    for debt in wanted:
        message = open_messages.get(name)
        if message is None or len(message.recipients) >= RECIPIENTS_LIMIT:
            message = open_messages[name] = Message(kind, to, profile, is_alternate)
            found.messages.append(message)
        if entry not in message.entries:
            message.entries.append(entry)
        message.recipients.append(_reported(entry, debt, profile, options))
        message.debts.setdefault(entry.key, []).append(debt)
        if warnings is not None:
            message.warnings[entry.key] = warnings


def _why_nobody(entry: Entry, profile: BounceProfile, kind: Kind) -> str:
    """Why nothing of this kind is told of an entry; empty: it is."""
    has_alternate = kind == "failed" and bool(profile.alternate_address) and not entry.is_silent
    if not entry.envelope.reverse_path and not has_alternate:
        return DOUBLE
    if entry.is_silent:
        return SILENT
    return "" if kind != "failed" or profile.send_hard_bounces else KEPT


def _is_wanted(options: Options | None, address: str, kind: Kind) -> bool:
    notify = notify_of(options, address)
    return notify is None or kind == "success" or {"failed": "FAILURE", "delayed": "DELAY"}[kind] in notify


def _untold(entry: Entry, kind: Kind, debts: Sequence[Debt], reason: str, now: float, warnings: int | None = None) -> Untold:
    """`warnings`: of a delay, that counts as told. Only failures that nobody is told of are an event."""
    fields = {"recipients": [debt.address for debt in debts], "reason": reason, **naming(entry.key)}
    event = Event(EventName.UNBOUNCED, now, fields) if kind == "failed" else None
    return Untold(entry, reason, Payment(entry.key, tuple(debts), event, warnings, keeps=reason == KEPT))


def given_up(message: Message, now: float) -> list[Untold]:
    """A notification that could not be sent in time: nobody is told of what is in it."""
    entries = {entry.key: entry for entry in message.entries}
    return [_untold(entries[key], message.kind, debts, LATE, now, message.warnings.get(key)) for key, debts in message.debts.items()]


def _reported(entry: Entry, debt: Debt, profile: BounceProfile, options: Options | None) -> Reported:
    is_expired = debt.reply.startswith(EXPIRED)
    reply = debt.reply.removeprefix(EXPIRED)
    original = next((one.original_recipient for one in options.recipients if one.forward_path == debt.address), "") if options else ""
    action: Action = debt.action if debt.action != "kept" else "failed"
    return Reported(
        debt.address,
        action,
        EXPIRED_STATUS if is_expired else status_of(reply, action),
        reply if debt.action != "delayed" else reply or entry.reason,
        debt.place,
        debt.at if action != "delayed" else 0.0,
        original,
        entry.accepted_at + profile.schedule.expire if action == "delayed" else 0.0,
    )
