"""The date and time of a header field (RFC 5322 3.3 and, as old mail has it, 4.3): Date, Resent-Date, or what stands behind the ";" of Received.

Called by `Message.date`. A claim of whoever wrote the field, nothing that was measured.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

MOST = 1_024  # characters that are looked at: a date has forty, and comments
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ZONES: Final = {
    "est": -5,
    "edt": -4,
    "cst": -6,
    "cdt": -5,
    "mst": -7,
    "mdt": -6,
    "pst": -8,
    "pdt": -7,
}  # hours; any other name: unknown, read as UTC
DATE: Final = re.compile(
    r"\s*(?:[a-z]+\s*,?\s*)?(\d{1,2})[\s-]+([a-z]{3}[a-z]*|\d{1,2})[\s-]+(\d{2,4})"  # Tue, 1 Jul 2003
    r"\s+(\d{1,2})\s*:\s*(\d{2})(?:\s*:\s*(\d{2}))?(?:\s+([+-]\d{4}|[a-z]+))?",  # 10:52:37 +0200
    re.IGNORECASE | re.ASCII,
)


def read_date(value: str) -> datetime | None:
    """The moment that a field's value tells, with its zone; None if it tells none, or one that no calendar has."""
    text = _without_comments(value[:MOST]).rpartition(";")[2]
    found = DATE.match(text)
    if found is None:
        return None
    day, month, year, hour, minute, second, zone = found.groups()
    number = int(month) if month.isdigit() else MONTHS.index(month[:3].lower()) + 1 if month[:3].lower() in MONTHS else 0
    try:
        return datetime(_year(year), number, int(day), int(hour), int(minute), min(int(second or 0), 59), tzinfo=_zone(zone or ""))
    except ValueError:
        return None


def _year(digits: str) -> int:
    """RFC 5322 4.3: 49 is 2049, 50 is 1950, 103 is 2003."""
    year = int(digits)
    return year if len(digits) == 4 else year + 2000 if len(digits) == 2 and year < 50 else year + 1900


def _zone(zone: str) -> timezone:
    if zone[:1] in ("+", "-"):
        away = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
        return timezone(-away if zone[0] == "-" else away)
    return timezone(timedelta(hours=ZONES[zone.lower()])) if zone.lower() in ZONES else UTC


def _without_comments(text: str) -> str:
    """Comments become a space; one that is not ended reaches to the end."""
    if "(" not in text:
        return text
    kept: list[str] = []
    depth = at = 0
    while at < len(text):
        sign = text[at]
        if depth and sign == "\\":
            at += 1
        elif sign == "(":
            depth += 1
        elif sign == ")" and depth:
            depth -= 1
            kept.append(" ")
        elif not depth:
            kept.append(sign)
        at += 1
    return "".join(kept)
