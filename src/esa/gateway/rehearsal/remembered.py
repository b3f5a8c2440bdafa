"""A message that has gone through the gateway, as far as its state folder still has it: envelope and session from tracking, the content from where it lies.

`esa trace ID` asks. The recorder has what came; the quarantine and the queue have what would leave, with the changes that policy made, and without them
only if there were none. All is only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from esa.errors import StoreError
from esa.message.envelope import Envelope, Session
from esa.message.trace import strip_result_fields
from esa.store.identifier import LENGTH
from esa.store.quarantine import QuarantineView
from esa.store.queue_view import QueueView
from esa.store.record import Event, EventName
from esa.store.recorder import recordings
from esa.store.recorder_folder import FOLDER as RECORDER
from esa.store.segments import read_message
from esa.store.tracking import Tracked, TrackingView
from esa_core._header_lines import header_end

LOOK = "see `esa track` for the messages that there are"


@dataclass(frozen=True, slots=True)
class Remembered:
    """`content` None: it is kept nowhere any more. `source` says where it was found, in words."""

    id: str
    session: Session
    envelope: Envelope
    content: bytes | None
    source: str


def remembered(state: Path, identifier: str) -> Remembered:
    """Find it. Raises StoreError if nobody knows the message."""
    identifier = identifier[:LENGTH].upper()
    tracked = _tracked(state, identifier)
    for recorded in recordings(state / RECORDER) if (state / RECORDER).is_dir() else ():
        if recorded.id == identifier:
            known = _with_refused(recorded.envelope, tracked)
            if recorded.content is not None:
                return Remembered(identifier, recorded.session, known, recorded.content, "the recorder: as it came")
            content, source = _kept(state, identifier)
            return Remembered(identifier, recorded.session, known, content, source)
    if tracked is None:
        raise StoreError(f"no message {identifier} is known", where=str(state), mend=LOOK)
    content, source = _kept(state, identifier)
    return Remembered(identifier, _session(tracked), _envelope(state, tracked), content, source)


def _tracked(state: Path, identifier: str) -> Tracked | None:
    view = TrackingView.open(state)
    if view is None:
        return None
    try:
        return next(iter(view.search(identifier=identifier)), None)
    finally:
        view.close()


# --- session and envelope ---------------------------------------------------------------------------------------------------------------


def _session(tracked: Tracked) -> Session:
    fields = next((event.fields for event in tracked.events if event.name is EventName.CONNECTED), {})
    version, _, cipher = str(fields.get("tls", "")).partition(" ")
    port = fields.get("port")
    return Session(
        tracked.client,
        port if isinstance(port, int) else 0,
        tracked.helo,
        str(fields.get("protocol") or "ESMTP"),
        tracked.listener,
        tracked.received_at,
        version,
        cipher,
        str(fields.get("tls_client", "")),
        str(fields.get("user", "")),
    )


def _envelope(state: Path, tracked: Tracked) -> Envelope:
    """With the recipients that the client named, as far as they are told apart from those that the mail was sent to in their place."""
    for held in _envelopes(state, tracked.id):
        return _with_refused(held, tracked)
    elsewhere = {address for event in tracked.events for address in _sent_to(event)}
    redirected = {
        address for event in tracked.events if event.name is EventName.REDIRECTED for address in _texts(event.fields["recipients"])
    }
    named = [one.address for one in tracked.recipients if one.address not in elsewhere or one.address in redirected]
    return Envelope(tracked.reverse_path, tuple(named), tracked.size)


def _sent_to(event: Event) -> list[str]:
    """Who gets a message in the place of its recipients: `to a@example.org, b@example.org (why)`."""
    if event.name is not EventName.REDIRECTED:
        return []
    words = str(event.fields.get("reason", "")).partition(" (")[0].removeprefix("to ")
    return words.split(", ")


def _envelopes(state: Path, identifier: str) -> Iterator[Envelope]:
    """Of what is held and what waits: all recipients that were accepted, in their order."""
    held = QuarantineView.open(state)
    if held is not None:
        try:
            yield from (item.envelope for item in held.items([identifier]) if not item.is_copy)
        finally:
            held.close()
    queue = QueueView.open(state)
    if queue is not None:
        try:
            yield from (entry.envelope for entry in queue.entries([identifier]) if entry.message == identifier)
        finally:
            queue.close()


def _with_refused(envelope: Envelope, tracked: Tracked | None) -> Envelope:
    """With the recipients that were refused, behind the others: tracking does not tell their order."""
    events = () if tracked is None else tracked.events
    refused = [str(event.fields.get("recipient", "")) for event in events if event.name is EventName.RECIPIENT_REFUSED]
    everyone = tuple(dict.fromkeys((*envelope.recipients, *filter(None, refused))))
    return Envelope(envelope.reverse_path, everyone, envelope.size, envelope.body, envelope.smtputf8, envelope.options)


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


# --- content ----------------------------------------------------------------------------------------------------------------------------


def _kept(state: Path, identifier: str) -> tuple[bytes | None, str]:
    """The content, and where it was found."""
    held = QuarantineView.open(state)
    if held is not None:
        try:
            for item in held.items([identifier]):
                if item.size and not item.is_copy:
                    return without_trace(held.content(item), identifier), "the quarantine: with the changes that policy made to it"
        finally:
            held.close()
    queue = QueueView.open(state)
    if queue is not None:
        try:
            for entry in queue.entries([identifier]):
                octets = read_message(state / "spool", entry.location).to_bytes()
                return without_trace(octets, identifier), "the queue: with the changes that policy made to it"
        finally:
            queue.close()
    return None, "nowhere: it has been delivered, dropped, refused or deleted, and the recorder does not keep it"


def without_trace(content: bytes, identifier: str) -> bytes:
    """A message without the fields that this gateway put on top of it: its Received field, and X-Esa fields."""
    end = header_end(content)
    if content[:9].lower() == b"received:":
        line = content.find(b"\n")
        while line >= 0 and content[line + 1 : line + 2] in (b" ", b"\t"):
            line = content.find(b"\n", line + 1)
        if 0 <= line < end and identifier.encode() in content[:line]:
            content = content[line + 1 :]
    return strip_result_fields(content)
