"""What one committed message is (Record) and its form on disk; written by spool.py, read by segments.py.

A segment is a run of records and nothing else. One record:

    header   48 octets, little-endian: marker 8 · version 2 · flags 2 · metadata length 4 · generation 8 · sequence 8 · prefix length 4 ·
             content length 4 · CRC of the rest 4 · CRC of this header 4
    metadata JSON, UTF-8
    prefix   trace fields to put on top of the content, as bytes
    content  the mail data; empty if it lies in a file of its own

The marker is drawn at random for each segment and stands in its file name. It makes the search for the next header behind a damaged place
safe: no mail content can hold it, because nobody outside knows it; and a record of another segment never passes for one of this.

Both checksums are CRC-32 as zlib has it (not CRC32C): the same strength against torn and flipped bytes, 3.5 GB/s with the interpreter's
lock released, and no native code of ours; CRC32C would only pay if the processor's instruction were at hand from Python.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from esa.message.envelope import Envelope, Session
from esa.store.encoding import decode, encode
from esa.store.identifier import LENGTH

Action = Literal["deliver", "quarantine", "drop", "archive"]

VERSION = 1
HEADER = struct.Struct("<8sHHIQQIIII")
HEADER_SIZE = HEADER.size
_UNSUMMED = struct.Struct("<8sHHIQQIII")  # the header without its own checksum
INLINE_LIMIT = 1 << 20  # octets; longer content gets a file of its own, so that a segment stays small enough to go soon
METADATA_LIMIT = 1 << 22  # octets; a longer length in a header is damage
PREFIX_LIMIT = 1 << 20
REFUSED_BY_FILTER = "content filter"  # value of `by` of a refused recipient that there is
SPLINTER_SUFFIX = "-S"  # and a number: end of the identifier of a record that holds further splinters of a message


class EventName(StrEnum):
    """The closed list of what tracking knows to happen to a message. Fields beside each."""

    CONNECTED = "connection.opened"  # client, port, helo, protocol, listener; icid and mid; tls (version and cipher), tls_client, user …
    CONNECTION_REFUSED = "connection.refused"  # client, listener, reply, count; reason, group, because, policy …: no message
    RECIPIENT_REFUSED = "recipient.refused"  # recipient, reply; because, by
    ACCEPTED = "message.accepted"  # verdict, score, reasons, subject, reply
    REFUSED = "message.refused"  # reply; verdict, score, reasons, subject if it came to a scan
    GREYLISTED = "message.greylisted"  # as REFUSED; greylist: new or early
    MESSAGE_DEFERRED = "message.deferred"  # as REFUSED: by policy
    ABORTED = "message.aborted"  # recipients: the client went away or thought better of it, or a limit ended the transaction
    POLICY_MATCHED = (
        "policy.matched"  # policy, table, recipients, action: of a message that several policies, or another than DEFAULT, hold for
    )
    FILTERED = "filters.matched"  # stage, steps (filter and action of each); recipients, tags, log
    COPIED = "message.copied"  # kind, to: a blind copy, a notice, a delivery status notification, a quarantine, an archive
    SPLINTERED = "message.splintered"  # subject, verdict, score: the beginning of a record that holds further splinters
    REDIRECTED = "message.redirected"  # recipients, reason: who gets it in their place
    QUARANTINED = "message.quarantined"  # recipients, reason; policy, quarantines; held: what was decided and cannot be done for some alone
    DROPPED = "message.dropped"  # as QUARANTINED
    DELIVERED = "delivery.delivered"  # recipients, next_hop, reply, attempt
    DEFERRED = "delivery.deferred"  # recipients, next_hop, reply, attempt, next_attempt
    FAILED = "delivery.failed"  # recipients, next_hop, reply, attempt
    POSSIBLE_DUPLICATE = "delivery.possible_duplicate"  # recipients, reason
    BOUNCED = "delivery.bounced"  # recipients, action, to, notification: its sender has been told that they do not get it
    UNBOUNCED = "delivery.unbounced"  # recipients, reason: nobody is told
    NOTIFIED = "sender.notified"  # as BOUNCED: of a delay, or of a success
    GENERATED = "message.generated"  # of, action, to, pays: a notification that the gateway wrote
    DELETED = "delivery.deleted"  # recipients: an administrator took it out of the queue
    RETRIED = "delivery.retried"  # recipients: had failed, and an administrator has them tried again
    REROUTED = "delivery.rerouted"  # recipients, next_hop: an administrator sends them another way
    RELEASED = "quarantine.released"  # item, recipients
    QUARANTINE_DELETED = "quarantine.deleted"  # item, recipients
    EXPIRED = "quarantine.expired"  # item, recipients
    HARVEST_DETECTED = "harvest.detected"  # network, limit, invalid, learned, refused, sample: no message
    HARVEST_REFUSED = "harvest.refused"  # network, invalid, learned, refused: no message; once for each connection
    DAMAGED = "spool.damaged"  # segment, offset, length, kind: no message; stored with an identifier of its own


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a message, for tracking. `fields` holds JSON values (text, numbers, lists of them)."""

    name: EventName
    at: float  # Unix seconds
    fields: Mapping[str, object] = field(default_factory=dict)


class Splinter(NamedTuple):  # and no dataclass: one is made a message, and read again twice
    """Recipients of one message that share a disposition. `reason` says why in a few words, for tracking and the quarantine list.

    An "archive" is for no recipient: a copy for the mbox called `reason`. `mailhost`: next hop host:port in the place of the usual one. A copy
    is beside what its recipients get: tracking does not take it for what became of them. What `encrypts` never leaves unencrypted; what `signs`
    leaves with a DKIM signature, if there is a key for its author. `is_outgoing`: a host that may relay or a user sent it, so that its return path
    is no stranger's. `is_silent`: who is told of its failure might be a stranger's victim, or would learn of a copy, so that nobody is.
    """

    recipients: tuple[str, ...]
    action: Action
    reason: str = ""
    mailhost: str = ""
    quarantines: tuple[str, ...] = ()  # that it is held in
    is_copy: bool = False
    encrypts: bool = False
    interface: str = ""  # delivery interface that it leaves from; empty: the usual one
    signs: bool = False
    bounce_profile: str = ""  # that a filter names
    is_outgoing: bool = False
    is_silent: bool = False

    def to_list(self) -> list[object]:
        """As JSON values; `from_list` undoes it."""
        values: list[object] = [self.recipients, self.action, self.reason]
        if self.mailhost or self.quarantines or self.is_copy or self.encrypts or self.interface or self.signs:
            values += [self.mailhost, self.quarantines, self.is_copy, self.encrypts, self.interface, self.signs]
        if self.bounce_profile or self.is_outgoing or self.is_silent:
            values += [] if len(values) > 3 else ["", (), False, False, "", False]
            values += [self.bounce_profile, self.is_outgoing, self.is_silent]
        return values

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> Self:
        """Raises ValueError or TypeError for what `to_list` does not write."""
        recipients, action, reason, *more = values
        mailhost, quarantines, *more = more or ("", ())
        return cls(tuple(recipients), action, reason, mailhost, tuple(quarantines), *more)


@dataclass(frozen=True, slots=True)
class Record:
    """One message as it is committed: where it came from, where it goes, what happened, and its bytes.

    `content` is the mail data as accepted (CRLF lines, without the final dot), or the path of a file in `Spool.incoming` that becomes the
    spool's by `append`, or None for events only (refused mail). `prefix` goes on top of it. `omitted` are ranges (start, end) of the
    content, ascending and apart, that delivery leaves out: forged X-Esa fields are taken out this way without copying a large body.
    `size` is the octets of `content`.
    """

    id: str
    envelope: Envelope
    session: Session
    splinters: tuple[Splinter, ...] = ()
    events: tuple[Event, ...] = ()
    prefix: bytes = b""
    content: bytes | Path | None = None
    size: int = 0
    omitted: tuple[tuple[int, int], ...] = ()

    @property
    def is_first(self) -> bool:
        """Whether it is the record of a message as it came, or the first of several."""
        return len(self.id) == LENGTH

    @property
    def is_splinter(self) -> bool:
        """Whether it holds further splinters of a message as it came."""
        return self.id.startswith(SPLINTER_SUFFIX, LENGTH) and self.id[LENGTH + len(SPLINTER_SUFFIX) :].isdecimal()


@dataclass(frozen=True, slots=True)
class ContentFile:
    """The file of its own that a long content lies in: its name in the spool's `content` folder, octets, CRC-32."""

    name: str
    size: int
    checksum: int


def encode_metadata(record: Record, file: ContentFile | None) -> bytes:
    """Return the JSON of all but prefix and content."""
    document = {
        "id": record.id,
        "env": record.envelope.to_list(),
        "ses": record.session.to_list(),
        "spl": [splinter.to_list() for splinter in record.splinters],
        "evt": [(event.name, event.at, dict(event.fields)) for event in record.events],
        "size": record.size,
    }
    if record.omitted:
        document["omit"] = record.omitted
    if file is not None:
        document["file"] = (file.name, file.size, file.checksum)
    return encode(document)


def decode_metadata(data: bytes) -> tuple[Record, ContentFile | None]:
    """Undo `encode_metadata`; the record comes without prefix and content. Raises ValueError if it is not what this module writes."""
    try:
        document = decode(data)
        record = Record(
            id=document["id"],
            envelope=Envelope.from_list(document["env"]),
            session=Session.from_list(document["ses"]),
            splinters=tuple(map(Splinter.from_list, document["spl"])),
            events=tuple(Event(EventName(name), at, fields) for name, at, fields in document["evt"]),
            size=document["size"],
            omitted=tuple((start, end) for start, end in document.get("omit", ())),
        )
        return record, ContentFile(*document["file"]) if "file" in document else None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"record metadata is of another shape: {error!r}") from error


def encode_head(metadata: bytes, prefix: bytes, content: bytes | memoryview, *, marker: bytes, generation: int, sequence: int) -> bytes:
    """Return header, metadata and prefix as one bytes object; the content is only summed, not copied."""
    checksum = zlib.crc32(content, zlib.crc32(prefix, zlib.crc32(metadata)))
    fixed = _UNSUMMED.pack(marker, VERSION, 0, len(metadata), generation, sequence, len(prefix), len(content), checksum)
    return b"".join((fixed, zlib.crc32(fixed).to_bytes(4, "little"), metadata, prefix))


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed part of a record, checked against its own checksum."""

    version: int
    generation: int
    sequence: int
    metadata_length: int
    prefix_length: int
    content_length: int
    checksum: int  # of metadata, prefix and content

    @property
    def length(self) -> int:
        """Octets of the whole record."""
        return HEADER_SIZE + self.metadata_length + self.prefix_length + self.content_length


def decode_header(data: bytes | memoryview, offset: int, *, marker: bytes, generation: int) -> Header | None:
    """Return the header at `offset`, or None if none of this segment stands there whole and undamaged."""
    if len(data) - offset < HEADER_SIZE:
        return None
    found, version, _, metadata, its_generation, sequence, prefix, content, checksum, own = HEADER.unpack_from(data, offset)
    if found != marker or zlib.crc32(bytes(data[offset : offset + HEADER_SIZE - 4])) != own:
        return None
    if its_generation != generation or version != VERSION or metadata > METADATA_LIMIT or prefix > PREFIX_LIMIT:
        return None
    return Header(version, its_generation, sequence, metadata, prefix, content, checksum)
