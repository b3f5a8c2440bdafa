"""Records and spools for the tests of the store and of delivery."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from esa.message.envelope import Envelope, Session
from esa.store.identifier import new_identifier
from esa.store.record import Action, Event, EventName, Record, Splinter
from esa.store.segments import Batch, SpoolReader, Stored
from esa.store.spool import Spool

CONTENT = b"From: Author <author@example.net>\r\nSubject: hello\r\n\r\n.one\r\ntwo\r\n"
PREFIX = b"X-Esa-Verdict: clean\r\n"


def make_record(
    content: bytes | Path | None = CONTENT,
    *,
    recipients: Sequence[str] = ("user@example.org",),
    action: Action = "deliver",
    splinters: tuple[Splinter, ...] | None = None,
    reverse_path: str = "author@example.net",
    received_at: float | None = None,
    smtputf8: bool = False,
    omitted: tuple[tuple[int, int], ...] = (),
    fields: dict[str, object] | None = None,
    identifier: str | None = None,
    prefix: bytes = PREFIX,
) -> Record:
    now = time.time() if received_at is None else received_at
    size = len(content) if isinstance(content, bytes) else content.stat().st_size if content is not None else 0
    found = {"subject": "hello", "verdict": "clean", "score": 3.5, "reply": "250 2.0.0 accepted"} | (fields or {})
    return Record(
        id=identifier or new_identifier(now),
        envelope=Envelope(reverse_path, tuple(recipients), size, "8BITMIME", smtputf8),
        session=Session("192.0.2.7", 4711, "client.example.net", "ESMTP", "inbound", now),
        splinters=(Splinter(tuple(recipients), action, "why"),) if splinters is None else splinters,
        events=(Event(EventName.ACCEPTED, now, found),),
        prefix=prefix,
        content=content,
        size=size,
        omitted=omitted,
    )


def make_refusal() -> Record:
    """What is kept of a message that was refused: events, no content."""
    now = time.time()
    return Record(
        id=new_identifier(now),
        envelope=Envelope("spammer@example.net", ("user@example.org",), 900),
        session=Session("192.0.2.66", 4712, "bulk.example.net", "ESMTP", "inbound", now),
        events=(Event(EventName.REFUSED, now, {"verdict": "positive", "score": 99.0, "reply": "550 5.7.1 no"}),),
    )


def commit(state: Path, *records: Record, writer: str = "receive-0") -> None:
    """As `fill`."""
    fill(state, records, writer)


def read_state(state: Path) -> Batch:
    """All that the spools of a state hold, from the beginning."""
    return read_all(SpoolReader(state / "spool"))


def mode(path: Path) -> int:
    """Permission bits."""
    return path.stat().st_mode & 0o777


def fill(state: Path, records: Sequence[Record], writer: str = "receive-0") -> None:
    """Append the records as one group and end the writer."""
    with Spool(state / "spool", writer) as spool:
        spool.append(records)


def read_all(reader: SpoolReader) -> Batch:
    """Read to the end and go on behind it."""
    whole = Batch()
    while batch := reader.read():
        whole.stored += batch.stored
        whole.damages += batch.damages
        whole.cursors |= batch.cursors
        reader.advance(batch)
    return whole


def identifiers(stored: Sequence[Stored]) -> list[str]:
    return [one.record.id for one in stored]


def segments_of(state: Path, writer: str = "receive-0") -> list[Path]:
    return sorted((state / "spool" / writer / "segments").iterdir())
