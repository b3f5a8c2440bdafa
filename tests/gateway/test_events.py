"""Log lines: one event, one line, whatever the values hold."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.events import Event, line, quote


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root, esa = logging.getLogger(), logging.getLogger("esa")
    kept = root.handlers[:], root.level, esa.level, logging.logThreads, logging.logProcesses, logging.logMultiprocessing
    yield
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    esa.setLevel(kept[2])
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing = kept[3:]


def test_harmless_values_stand_as_they_are_and_none_is_left_out() -> None:
    fields: dict[str, events.FieldValue] = {"id": "01A", "reverse_path": "<a@b.example>", "ms": 1.5, "recipients": 2, "reason": None}
    assert line(Event.MESSAGE_KEPT, fields) == "event=message.kept id=01A reverse_path=<a@b.example> ms=1.5 recipients=2"


@given(st.text())
def test_no_value_breaks_its_line_or_leaves_its_quotes(value: str) -> None:
    shown = quote(value)
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable() or not value.isprintable()
    if shown.startswith('"') and shown != value:
        assert '"' not in shown[1:-1].replace("\\\\", "").replace('\\"', "")
    else:
        assert not set(shown) & set(' \t\n"=')


def test_text_and_json_forms_carry_the_same_event(restored_logging: None) -> None:
    text, machine = io.StringIO(), io.StringIO()
    events.configure("receive-0", stream=text)
    events.info(Event.MESSAGE_KEPT, id="01A", helo="a\r\nb")
    events.configure("receive-0", stream=machine, log_format="json")
    events.info(Event.MESSAGE_KEPT, id="01A", helo="a\r\nb")
    assert text.getvalue().endswith('Z info receive-0 event=message.kept id=01A helo="a\\x0d\\x0ab"\n')
    body = json.loads(machine.getvalue())
    assert (body["event"], body["level"], body["process"], body["helo"]) == ("message.kept", "info", "receive-0", "a\r\nb")


def test_an_error_names_its_cause_on_the_same_line(restored_logging: None) -> None:
    stream = io.StringIO()
    events.configure("keep", stream=stream)
    try:
        raise ValueError("two\nlines")
    except ValueError as cause:
        events.error(Event.SCAN_FAILED, cause=cause)
    assert stream.getvalue().count("\n") == 1
    assert "test_events.py:" in stream.getvalue()


def test_what_other_libraries_log_is_one_line_too(restored_logging: None) -> None:
    stream = io.StringIO()
    events.configure("keep", stream=stream)
    logging.getLogger("other").warning("two\nlines of %s", "text")
    assert stream.getvalue().count("\n") == 1


async def test_gathered_lines_are_written_once_an_iteration_and_errors_at_once(restored_logging: None) -> None:
    class Writes(io.StringIO):
        count = 0

        def write(self, text: str) -> int:
            self.count += 1
            return super().write(text)

    stream = Writes()
    events.configure("receive-0", stream=stream)
    events.gather(asyncio.get_running_loop())
    for number in range(5):
        events.info(Event.MESSAGE_KEPT, id=str(number))
    assert stream.count == 0
    await asyncio.sleep(0)
    assert (stream.count, stream.getvalue().count("\n")) == (1, 5)
    events.info(Event.MESSAGE_KEPT, id="5")
    events.error(Event.COMMIT_FAILED)
    assert stream.getvalue().splitlines()[-1].endswith("event=commit.failed")
    assert stream.getvalue().count("\n") == 7
    await asyncio.sleep(0)


@pytest.mark.parametrize("log_format", ["text", "json", "asyncos"])
async def test_lines_that_differ_in_one_field_are_those_that_are_written_one_by_one(
    log_format: events.LogFormat, restored_logging: None
) -> None:
    plain = ["plain", "two words", "", "ü", "x=y"]
    entries = [*plain, 'a "quoted" one', "back\\slash", "line\nbreak", "no\xa0break"]
    stream = io.StringIO()
    events.configure("receive-0", log_format=log_format, stream=stream)
    events.gather(asyncio.get_running_loop())
    for entry in (*entries, *plain):
        events.info(Event.FILTER_LOG, id="an id", mid=7, entry=entry)
    await asyncio.sleep(0)
    expected = stream.getvalue()
    stream.seek(stream.truncate(0))
    events.info_each(Event.FILTER_LOG, "entry", entries, id="an id", mid=7)
    events.info_each(Event.FILTER_LOG, "entry", plain, id="an id", mid=7)
    await asyncio.sleep(0)

    def without_time(text: str) -> list[str]:
        return [re.sub(r"\d\d:\d\d:\d\d(\.\d+)?", "", line) for line in text.splitlines()]

    assert without_time(stream.getvalue()) == without_time(expected)
    assert stream.getvalue()


def test_a_cause_of_several_lines_is_told_on_one() -> None:
    cause = StoreError("the disk is full", where="spool", mend="free some space")
    assert events.describe(cause) == "StoreError: spool: the disk is full; free some space"
