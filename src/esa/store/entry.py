"""Entries of the queue as values, and as rows of its table: what is to be delivered, to whom, and what came of an attempt.

`queue` keeps them, the deliver process sends them. An entry goes to one destination: a message for several has one entry for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from esa.errors import StoreError
from esa.message.envelope import Envelope
from esa.store.database import printable
from esa.store.encoding import decode
from esa.store.encoding import encode as encode_octets
from esa.store.identifier import LENGTH
from esa.store.segments import Location, Stored

State = Literal["waiting", "in_flight", "failed", "reporting"]  # reporting: done, but for telling its sender
STATES: tuple[State, ...] = ("waiting", "in_flight", "failed", "reporting")
Status = Literal["pending", "delivered", "failed"]

FILE_NAME = "queue.db"
COLUMNS = (
    "key, message, splinter, state, attempts, next_attempt, accepted_at, size, reason, envelope, recipients, "
    "writer, segment, offset, length, mailhost, destination, interface, signs, "
    "bounce_profile, listener, is_outgoing, is_silent, debts, report_at, warnings"
)
WRITTEN = COLUMNS.replace("accepted_at, ", "accepted_at, reverse_path, ")  # of `row_of`: what is searched for stands beside what is read
_DESTINATION_SUFFIX = re.compile(r"(?:-\d+)+\Z")


@dataclass(frozen=True, slots=True)
class Recipient:
    """A forward-path of an entry; `reply` is the last thing the next hop said about it."""

    address: str
    status: Status = "pending"
    reply: str = ""
    place: int = -1  # among the recipients of the whole message, from 0, where the envelope of the entry does not name them all


class Debt(NamedTuple):
    """What the sender is still to be told of one recipient; of a kept one nothing, and it waits for somebody to retry or delete it."""

    address: str
    action: Literal["failed", "delayed", "delivered", "relayed", "kept"]
    at: float  # of the attempt, in Unix seconds
    reply: str = ""
    place: str = ""  # next hop that said it


@dataclass(frozen=True, slots=True)
class Entry:
    """Recipients of one splinter at one destination. Times are Unix seconds; `attempts` counts the one in flight."""

    key: str
    message: str  # message identifier; `key` of a released message is longer
    splinter: int
    state: State
    attempts: int
    next_attempt: float
    accepted_at: float
    size: int  # octets of the content
    reason: str  # why it waits or failed
    envelope: Envelope  # its recipients are those of the whole message, or, where that goes to several destinations, of this entry
    recipients: tuple[Recipient, ...]
    location: Location
    mailhost: str = ""  # next hop host:port in the place of the usual one
    destination: str = ""  # where it goes, in the words of who routes
    interface: str = ""  # name of the delivery interface that it leaves from; empty: the usual one
    signs: bool = False  # it leaves with a DKIM signature
    bounce_profile: str = ""  # that a filter names
    listener: str = ""  # that it came in by
    is_outgoing: bool = False  # its return path is that of a host or user of ours
    is_silent: bool = False  # nobody is told of its failure
    debts: tuple[Debt, ...] = ()  # what its sender is still to be told
    report_at: float = 0.0  # when somebody has to look at that, or at whether a warning is due; 0: never
    warnings: int = 0  # of delay, that its sender has had

    @property
    def pending(self) -> tuple[str, ...]:
        """The forward-paths still to be delivered."""
        return tuple(recipient.address for recipient in self.recipients if recipient.status == "pending")

    def places(self, addresses: Sequence[str]) -> list[int]:
        """The places of forward-paths among those of the message, from 0; of one that is not among them, none."""
        places = {one.address: one.place for one in self.recipients if one.place >= 0}
        if not places:
            places = {address: place for place, address in reversed(list(enumerate(self.envelope.recipients)))}
        return [places[address] for address in addresses if address in places]


@dataclass(frozen=True, slots=True)
class Result:
    """What one attempt came to for one forward-path: `deferred` stays pending."""

    address: str
    status: Literal["delivered", "deferred", "failed"]
    reply: str


class Security(NamedTuple):
    """How the connection of an attempt was secured."""

    tls: str = ""  # protocol and cipher, as "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty in the clear
    verification: str = ""  # who vouches for the server; or why nobody does, or why it was the clear


IN_THE_CLEAR = Security()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt: an entry that was in flight, and a result for each of its pending recipients."""

    entry: Entry
    results: tuple[Result, ...]
    next_hop: str
    at: float
    may_have_arrived: bool = False  # the connection broke between the final dot and the reply
    connection: int = 0  # its number in logs (AsyncOS's DCID); 0: none was made
    security: Security = IN_THE_CLEAR
    success: Literal["delivered", "relayed", "passed"] = "relayed"  # what it is to who asked to be told; passed: the next hop tells it


def entries_of(stored: Stored, now: float) -> list[Entry]:
    """An entry for each splinter of a record that is to be delivered, without a destination yet."""
    record = stored.record
    return [
        Entry(
            splinter_key(record.id, index),
            record.id[:LENGTH],  # longer: a released message, or further splinters
            index,
            "waiting",
            0,
            now,
            record.session.received_at or now,
            record.size,
            "",
            record.envelope,
            tuple(Recipient(address) for address in splinter.recipients),
            stored.location,
            splinter.mailhost,
            interface=splinter.interface,
            signs=splinter.signs,
            bounce_profile=splinter.bounce_profile,
            listener=record.session.listener,
            is_outgoing=splinter.is_outgoing,
            is_silent=splinter.is_silent,
        )
        for index, splinter in enumerate(record.splinters)
        if splinter.action == "deliver" and splinter.recipients
    ]


def splinter_key(message: str, splinter: int) -> str:
    """The name of a splinter for people: the message identifier, with `.n` from the second on."""
    return message if splinter == 0 else f"{message}.{splinter}"


def base_key(key: str) -> str:
    """The key of the splinter that an entry for one of several destinations was made of."""
    return _DESTINATION_SUFFIX.sub("", key)


def naming(key: str) -> dict[str, str]:
    """The field of an event that says which splinter of its message an entry is of; none for the first."""
    base = base_key(key)
    return {} if base == base[:LENGTH] else {"entry": base}


def split(entry: Entry, groups: Sequence[tuple[str, Sequence[str]]]) -> list[Entry]:
    """One entry for each group of (destination, forward-paths); they cover its pending recipients. The first keeps its key.

    What is no longer pending stays with the first. With one group it is the entry itself, with that destination.
    """
    if len(groups) < 2:
        return [replace(entry, destination=groups[0][0])] if groups else [entry]
    places = dict(zip(entry.envelope.recipients, range(len(entry.envelope.recipients)), strict=True))
    placed = [replace(one, place=one.place if one.place >= 0 else places.get(one.address, -1)) for one in entry.recipients]
    entries = []
    for number, (destination, addresses) in enumerate(groups):
        chosen = set(addresses)
        theirs = tuple(one for one in placed if (one.address in chosen if one.status == "pending" else number == 0))
        entries.append(
            replace(
                entry,
                key=f"{entry.key}-{number}" if number else entry.key,
                destination=destination,
                recipients=theirs,
                envelope=_narrowed(entry.envelope, {one.address for one in theirs}),
                debts=() if number else entry.debts,
            )
        )
    return entries


def _narrowed(envelope: Envelope, addresses: set[str]) -> Envelope:
    """With only these recipients: or a message to a thousand domains would be a thousand times a thousand."""
    options = envelope.options
    if options is not None:
        options = replace(options, recipients=tuple(one for one in options.recipients if one.forward_path in addresses))
    return replace(envelope, recipients=tuple(one for one in envelope.recipients if one in addresses), options=options)


def encode(values: object) -> str:
    """JSON as a column holds it."""
    return encode_octets(values).decode()


def encode_recipients(recipients: Iterable[Recipient]) -> str:
    return encode([[r.address, r.status, r.reply] if r.place < 0 else [r.address, r.status, r.reply, r.place] for r in recipients])


def row_of(entry: Entry) -> tuple[object, ...]:
    """Values for all columns of the table, in its order."""
    envelope, location = entry.envelope, entry.location
    return (
        entry.key,
        entry.message,
        entry.splinter,
        entry.state,
        entry.attempts,
        entry.next_attempt,
        entry.accepted_at,
        printable(envelope.reverse_path),
        entry.size,
        entry.reason,
        encode(envelope.to_list()),
        encode_recipients(entry.recipients),
        location.writer,
        location.segment,
        location.offset,
        location.length,
        entry.mailhost,
        entry.destination,
        entry.interface,
        int(entry.signs),
        entry.bounce_profile,
        entry.listener,
        int(entry.is_outgoing),
        int(entry.is_silent),
        encode_debts(entry.debts),
        entry.report_at,
        entry.warnings,
    )


def encode_debts(debts: Sequence[Debt]) -> str:
    return encode([list(debt) for debt in debts]) if debts else ""


def decode_debts(text: str) -> tuple[Debt, ...]:
    return tuple(Debt(*one) for one in decode(text)) if text else ()


def entry_of(row: Sequence[object]) -> Entry:
    """The entry of a row with COLUMNS. Raises StoreError with `is_damaged` for one that `row_of` did not make."""
    try:
        return _entry_of(row)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise StoreError(f"the entry {row[0]!r} cannot be read: {error}", where=FILE_NAME, is_damaged=True) from None


def _entry_of(row: Sequence[object]) -> Entry:
    key, message, splinter, state, attempts, next_attempt, accepted_at, size, reason, envelope, recipients, *rest = row
    writer, segment, offset, length, mailhost, destination, interface, signs, *more = rest
    profile, listener, is_outgoing, is_silent, debts, report_at, warnings = more
    return Entry(
        str(key),
        str(message),
        int(splinter),  # type: ignore[call-overload]
        state,  # type: ignore[arg-type]
        attempts,  # type: ignore[arg-type]
        next_attempt,  # type: ignore[arg-type]
        accepted_at,  # type: ignore[arg-type]
        size,  # type: ignore[arg-type]
        str(reason),
        Envelope.from_list(decode(str(envelope))),
        tuple(Recipient(*one) for one in decode(str(recipients))),
        Location(writer, segment, offset, length),  # type: ignore[arg-type]
        str(mailhost),
        str(destination),
        str(interface),
        bool(signs),
        str(profile),
        str(listener),
        bool(is_outgoing),
        bool(is_silent),
        decode_debts(str(debts)),
        report_at,  # type: ignore[arg-type]
        warnings,  # type: ignore[arg-type]
    )
