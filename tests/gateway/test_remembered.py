"""A message that has come is found again: its envelope and session, and the content where it still is."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.gateway.keep import KeepSettings, OpenKeep
from esa.gateway.rehearsal.remembered import remembered, without_trace
from esa.message.envelope import Envelope, Session
from esa.message.trace import received_field, result_fields
from esa.store.record import Event, EventName, Splinter
from esa.store.recorded import Recorded
from esa.store.recorder_folder import FOLDER
from esa.store.recorder_writer import Recorder
from tests.cli.states import make_state
from tests.store.messages import CONTENT, commit, make_record

HELD = b"Subject: \x1b[31mred\r\nFrom: x\r\n\r\nbody\x07\r\n"


def test_what_is_held_waits_or_was_refused(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    held = remembered(tmp_path, state.held)
    assert (held.content, held.source.partition(":")[0]) == (HELD, "the quarantine")
    waiting = remembered(tmp_path, state.waiting.lower())
    assert (waiting.content, waiting.source.partition(":")[0]) == (CONTENT, "the queue")
    assert (waiting.envelope.reverse_path, waiting.envelope.recipients) == ("author@example.net", ("later@example.org",))
    assert (waiting.session.client_address, waiting.session.listener, waiting.session.helo) == (
        "192.0.2.7",
        "inbound",
        "client.example.net",
    )
    refused = remembered(tmp_path, state.refused)
    assert (refused.content, refused.envelope.recipients) == (None, ("user@example.org",))
    assert refused.source.startswith("nowhere")


def test_a_message_that_nobody_knows_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no message 01J9ZK00000000000000000000 is known"):
        remembered(tmp_path, "01J9ZK00000000000000000000")


def test_the_recorder_has_it_as_it_came(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    recorder = Recorder(tmp_path / FOLDER, with_contents=True)
    envelope = Envelope("author@example.net", ("b@example.org", "a@example.org"), 9)
    session = Session("192.0.2.99", 1, "x.example", "ESMTP", "inbound", 1_790_000_000.0, user="ann")
    recorder.add(Recorded(state.refused, session, envelope, "refused", "550 5.7.1"), b"as it came\r\n")
    recorder.flush()
    recorder.close()
    found = remembered(tmp_path, state.refused)
    assert (found.content, found.source.partition(":")[0]) == (b"as it came\r\n", "the recorder")
    assert (found.envelope.recipients, found.session.user) == (("b@example.org", "a@example.org"), "ann")


def test_recipients_are_those_that_the_client_named(tmp_path: Path) -> None:
    redirected = make_record(recipients=("b@example.org",), splinters=(Splinter(("elsewhere@example.org",), "deliver", "why"),))
    events = (
        *redirected.events,
        Event(EventName.REDIRECTED, 1.0, {"recipients": ["b@example.org"], "reason": "to elsewhere@example.org (why)"}),
        Event(EventName.RECIPIENT_REFUSED, 1.0, {"recipient": "no@example.org", "reply": "550 5.1.1 no"}),
    )
    from dataclasses import replace

    commit(tmp_path, replace(redirected, events=events))
    with OpenKeep(KeepSettings(tmp_path)) as keep:
        keep.start()
    assert sorted(remembered(tmp_path, redirected.id).envelope.recipients) == ["b@example.org", "no@example.org"]


def test_only_what_this_gateway_put_on_top_is_taken_off() -> None:
    identifier = "01J9ZK3T5E8Q4W2R6Y7V9P1A3S"
    own = b"Received: from other\r\n\tby next\r\nSubject: x\r\n\r\nX-Esa-Score: in the body\r\n"
    session, envelope = Session("192.0.2.1", 1, "client.example", "ESMTP", "mail", 1.0), Envelope("a@example.net", ("b@example.org",))
    top = received_field(session, envelope, hostname="mx.example.org", message_id=identifier)
    top += result_fields(identifier, "clean", 1.0, [("a", 0.5)])
    assert without_trace(top + own, identifier) == own
    assert without_trace(own, identifier) == own
    assert without_trace(b"", identifier) == b""
    assert without_trace(b"received: x", identifier) == b"received: x"
