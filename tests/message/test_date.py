"""Dates of header fields, as RFC 5322 writes them and as old and odd mail does."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.message.content import Message
from esa.message.date import read_date


@given(st.datetimes(datetime(1900, 1, 1), datetime(9998, 12, 31)), st.integers(-23 * 60, 23 * 60))
def test_what_python_writes_is_read(moment: datetime, minutes: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    assert read_date(format_datetime(moment)) == moment


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("Thu, 13 Feb 1969 23:32 -0330 (Newfoundland Time)", "1969-02-13T23:32:00-03:30"),
        ("1 (a (nested \\) comment)) Jul 03 10:52:37 +0200", "2003-07-01T10:52:37+02:00"),
        ("21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06+00:00"),
        ("21 Nov 103 09:55:06 EST", "2003-11-21T09:55:06-05:00"),
        ("21-Nov-2003 9:55:60", "2003-11-21T09:55:59+00:00"),
        ("from a by b with SMTP id c;\r\n Mon, 10 Oct 2022 10:31:15 -0700 (PDT)", "2022-10-10T10:31:15-07:00"),
        ("31 Feb 2020 10:00:00 +0000", None),
        ("1 Jan 2020 24:00:00 +0000", None),
        ("1 Jan 2020 10:00:00 +9999", None),
        ("1 Jan 2020 (10:00:00 +0000", None),
        ("tomorrow", None),
        ("", None),
    ],
)
def test_dates_of_old_and_odd_mail(value: str, date: str | None) -> None:
    found = read_date(value)
    assert (None if found is None else found.isoformat()) == date


@given(st.text(alphabet="0123456789 :+-,;()\\abcJulTue\r\n", max_size=200))
def test_nothing_that_an_author_writes_raises(value: str) -> None:
    read_date(value)


def test_a_message_has_the_date_of_its_first_date_field() -> None:
    assert Message(b"Subject: a\r\n\r\nb").date is None
    found = Message(b"Date: Tue, 1 Jul 2003 10:52:37 +0200\r\nDate: x\r\n\r\nb").date
    assert found is not None
    assert found.isoformat() == "2003-07-01T10:52:37+02:00"
