"""Pack header-fields: what is read from From, Content-Type and Date."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import esa_core
from esa.message.content import Message
from tests.conformance.outcome import Outcome, Result, judged, skipped

# Where two readings are possible and ours is meant (the pack's rule: "for the rest the difference is explained").
EXPLAINED = {
    "content type 17": "white space between encoded words is not shown (RFC 2047 section 6.2)",
    "content type 27": "a media type that is not ASCII is no token (RFC 2045 section 5.1): read as Latin-1",
    "content type 28": "a name of blanks whose quote never closes is no name",
    "content type 38": "a second slash is no token (RFC 2045 section 5.1): read up to it",
    "content type 39": "a second slash is no token (RFC 2045 section 5.1): read up to it",
    "address 4": "a comment is not moved into the display name (RFC 5322 section 3.4)",
    "address 7": "a comment is not moved into the display name (RFC 5322 section 3.4)",
    "address 11": "a comment is not moved into the display name (RFC 5322 section 3.4)",
    "address 28": "a comment stays where it was written in the display name",
    "address 21": "of List- fields, not of an author: there is no mailbox in it",
    "address 22": "of List- fields, not of an author: URLs are no mailboxes",
    "address 23": "of List- fields, not of an author: URLs are no mailboxes",
    "date 6": "numbers without colons are no time (RFC 5322 section 3.3)",
}


def run(folder: Path) -> Iterator[Outcome]:
    for number, case in enumerate(json.loads((folder / "content_type.json").read_text("utf-8"))):
        yield _explained(_content_type(f"content type {number}", case["header"], case["expected"]))
    for number, case in enumerate(json.loads((folder / "address.json").read_text("utf-8"))):
        yield _explained(_author(f"address {number}", case["header"], case["expected"]))
    for number, case in enumerate(json.loads((folder / "date.json").read_text("utf-8"))):
        yield _explained(_date(f"date {number}", case["header"], case["expected"]))


def _explained(outcome: Outcome) -> Outcome:
    """A difference that is meant is told as such, and counts neither way."""
    if outcome.result is Result.FAILED and outcome.case in EXPLAINED:
        return skipped(outcome.case, f"differs: {EXPLAINED[outcome.case]}")
    return outcome


def _message(name: str, value: str) -> esa_core.Parsed:
    text = value.rstrip("\n").replace("\n", "\r\n")
    return esa_core.parse(f"{name}: {text}\r\n\r\nx\r\n".encode())


def _date(name: str, value: str, expected: dict[str, Any] | None) -> Outcome:
    text = value.rstrip("\n").replace("\n", "\r\n")
    date = Message(f"Date: {text}\r\n\r\nx\r\n".encode()).date
    if expected is None:
        return judged(name, date is None, f"{date} in {value!r}")
    away = timedelta(hours=expected["tz_hour"], minutes=expected["tz_minute"])
    zone = timezone(-away if expected["tz_before_gmt"] else away)
    wanted = datetime(*(expected[key] for key in ("year", "month", "day", "hour", "minute", "second"))).replace(tzinfo=zone)
    return judged(name, date == wanted and date.utcoffset() == wanted.utcoffset(), f"{date}, not {wanted}, in {value!r}")


def _content_type(name: str, value: str, expected: dict[str, Any] | None) -> Outcome:
    part = _message("Content-Type", value).parts[0]
    if expected is None or not expected.get("c_subtype"):
        return judged(name, bool(part.media_type), f"no default media type for {value!r}")
    wanted = f"{expected['c_type']}/{expected['c_subtype']}".lower()
    if part.media_type.lower() != wanted:
        return judged(name, False, f"{part.media_type!r} is not {wanted!r} in {value!r}")
    attributes = {key.lower(): text for key, text in expected.get("attributes") or []}
    for key, seen in (("charset", part.charset), ("name", part.file_name)):
        if key in attributes and seen not in ("unknown", attributes[key].lower(), attributes[key]):
            return judged(name, False, f"{key} is {seen!r}, not {attributes[key]!r}, in {value!r}")
    return judged(name, True, "")


def _author(name: str, value: str, expected: dict[str, Any]) -> Outcome:
    """The first mailbox of a list; of groups only that nothing raises and something is flagged or read."""
    parsed = _message("From", value)
    mailboxes = expected.get("List")
    if mailboxes is None:
        return judged(name, isinstance(parsed.from_address, str), "a group raised")
    if not mailboxes:
        return judged(name, parsed.from_address == "", f"{parsed.from_address!r} from an empty list")
    first = mailboxes[0]
    seen = (parsed.from_name, parsed.from_address)
    return judged(name, seen == (first["name"] or "", first["address"] or ""), f"{seen} in {value!r}")
