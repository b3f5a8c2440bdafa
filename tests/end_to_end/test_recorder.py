"""A real gateway and its recorder: what it keeps of mail of all fates, that mail goes on without it, and `esa recorder` beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esa.store.recorded import Recorded
from esa.store.recorder import recordings
from esa.store.recorder_folder import FOLDER
from esa.store.recorder_writer import RESERVE_OCTETS
from esa_core import FACT_NAMES
from tests.end_to_end.running import Gateway, running
from tests.store.conftest import fill, mounted

FILTERS = """
held: if (subject == 'hold') { quarantine('Legal'); }
thrown: if (subject == 'drop') { drop(); }
body: if (body-contains('confidential')) { log-entry('seen'); }
"""
TABLES = """
[filters]
files = ["mail.filters"]
[scan]
anti_spam = false
dictionaries = ["words.txt"]
[[mail_policy]]
name = "refusing"
recipients = ["nobody@example.org"]
content_filters = ["refused"]
[[mail_policy]]
name = "DEFAULT"
[[content_filter]]
name = "refused"
actions = ["refuse()"]
[[recipient_access]]
recipients = [".example.org", "example.org"]
access = "ACCEPT"
"""


def mail(subject: str, text: str = "Dear Ben", sender: str = "Anna <a@example.net>") -> bytes:
    return f"From: {sender}\r\nTo: b@example.org\r\nSubject: {subject}\r\n\r\n{text}\r\n".encode()


def started(folder: Path, more: str = "") -> Iterator[Gateway]:
    folder.mkdir(exist_ok=True)
    (folder / "mail.filters").write_text(FILTERS)
    (folder / "words.txt").write_text("offer, 3\n")
    yield from running(folder, more=TABLES + more)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from started(tmp_path_factory.mktemp("gateway"), "[recorder]\nrecord_content = true\n")


def recorded(gateway: Gateway, is_there: Callable[[list[Recorded]], bool]) -> list[Recorded]:
    """All that is recorded, as soon as it is what is waited for."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = list(recordings(gateway.state / FOLDER))
        if is_there(found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{[one.subject for one in found]}\n{gateway.log.read_text()[-2000:]}")


def by_subject(gateway: Gateway, *subjects: str) -> dict[str, Recorded]:
    wanted = set(subjects)
    found = recorded(gateway, lambda records: wanted <= {one.subject for one in records})
    return {one.subject: one for one in found}


def test_a_message_is_recorded_with_all_that_was_known_and_decided(gateway: Gateway) -> None:
    content = mail("minutes", "confidential offer, offer")
    _, text = gateway.send(content)
    one = by_subject(gateway, "minutes")["minutes"]
    assert one.id == text.rpartition(" ")[2]
    assert (one.fate, one.answer, one.envelope.reverse_path, one.envelope.recipients) == (
        "accepted",
        "250 2.0.0",
        "a@example.net",
        ("b@example.org",),
    )
    assert (one.session.client_address, one.session.helo, one.session.listener) == ("127.0.0.1", "client.example.net", "mail")
    assert (one.author, one.sender_group, one.because, one.mail_flow_policy) == ("a@example.net", "UNKNOWNLIST", "SBRS[none]", "ACCEPTED")
    assert one.dictionaries["words"].score == 6
    assert one.dictionaries["words"].terms == {"offer": 2}
    assert {term.text: times for term, times in one.terms.items()} == {"confidential": 1}
    assert one.hits == ("message filters/body",)
    assert [(held.policy, held.recipients, held.action) for held in one.policies] == [("DEFAULT", ("b@example.org",), "deliver")]
    assert one.recipient_entries == {"b@example.org": "example.org"}
    assert sum(one.families.values()) == pytest.approx(one.logit, abs=1e-3)
    assert one.facts
    assert max(one.facts) < len(FACT_NAMES)
    assert one.fingerprint == ""
    assert one.content == content


def test_what_is_held_dropped_and_refused_is_recorded_with_a_fingerprint_where_it_is_not_kept(gateway: Gateway) -> None:
    gateway.send(mail("hold"))
    gateway.send(mail("drop"))
    assert gateway.send(mail("refused"), "nobody@example.org")[0] == 550
    found = by_subject(gateway, "hold", "drop", "refused")
    assert found["hold"].policies[0].action == "quarantine"
    assert (found["hold"].hits, found["hold"].fingerprint) == (("message filters/held",), "")
    assert (found["drop"].fate, found["drop"].policies[0].action) == ("accepted", "drop")
    assert found["drop"].fingerprint == hashlib.sha256(mail("drop")).hexdigest()
    assert (found["refused"].fate, found["refused"].answer[:3], found["refused"].hits) == ("refused", "550", ("content filters/refused",))
    assert [(held.policy, held.action) for held in found["refused"].policies] == [("refusing", "refuse")]
    assert found["refused"].fingerprint == hashlib.sha256(mail("refused")).hexdigest()


def test_status_and_export_tell_what_is_there(gateway: Gateway) -> None:
    gateway.send(mail("for export", "an offer"))
    by_subject(gateway, "for export")
    status = json.loads(gateway.command("recorder", "status", "--json"))
    lines = [json.loads(line) for line in gateway.command("recorder", "export", "--content").splitlines()]
    assert status["messages"] == len(lines)
    assert (status["lost"], status["damaged"], status["writers"]) == (0, 0, 2)
    [line] = [one for one in lines if one["subject"] == "for export"]
    assert line["envelope"]["recipients"] == ["b@example.org"]
    assert line["dictionaries"] == {"words": {"score": 3, "terms": {"offer": 1}}}
    assert base64.b64decode(line["content"]) == mail("for export", "an offer")
    assert "messages (" in gateway.command("recorder", "status")


def test_an_address_is_erased_while_the_gateway_runs(gateway: Gateway) -> None:
    for number in range(4):
        gateway.send(mail(f"from alice {number}", sender="Alice <alice@example.net>"))
    gateway.send(mail("from bob", sender="Bob <bob@example.net>"))
    by_subject(gateway, *(f"from alice {number}" for number in range(4)), "from bob")
    done = json.loads(gateway.command("recorder", "erase", "--address", "Alice@Example.net", "--yes", "--json"))
    assert done == {"records": 4, "silent": []}
    left = {one.subject for one in recordings(gateway.state / FOLDER)}
    assert "from bob" in left
    assert not any("alice" in subject for subject in left)
    gateway.send(mail("after erasing"))
    by_subject(gateway, "after erasing")


def test_what_a_killed_worker_had_written_is_there_and_the_next_one_goes_on(tmp_path: Path) -> None:
    for gateway in started(tmp_path):
        gateway.send(mail("before"))
        by_subject(gateway, "before")
        for name, process in gateway.children().items():
            if name.startswith("receive"):
                os.kill(process, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while gateway.log.read_text().count("event=process.started") < 6 and time.monotonic() < deadline:
            time.sleep(0.05)
        gateway.send(mail("after"))
        assert list(by_subject(gateway, "before", "after")) == ["before", "after"]


def test_nothing_is_recorded_where_it_is_off(tmp_path: Path) -> None:
    for gateway in started(tmp_path, "[recorder]\nenabled = false\n"):
        gateway.send(mail("unrecorded"))
        gateway.arrived(1)
        assert not (gateway.state / FOLDER).exists()
        assert gateway.command("recorder", "status") == "nothing is recorded here\n"


def test_mail_goes_on_while_there_is_no_space_for_records_and_they_resume_by_themselves(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", (RESERVE_OCTETS >> 20) + 64) as folder:
        for gateway in started(folder):
            gateway.send(mail("before"))
            by_subject(gateway, "before")
            ballast = fill(folder, leave=RESERVE_OCTETS - (16 << 20))  # less than records leave free, more than mail needs
            codes = set()
            deadline = time.monotonic() + 20
            while "event=recorder.stopped" not in gateway.log.read_text() and time.monotonic() < deadline:
                codes.add(gateway.send(mail("unrecorded"))[0])
                time.sleep(0.2)
            assert codes == {250}
            ballast.unlink()
            deadline = time.monotonic() + 30
            while "event=recorder.resumed" not in gateway.log.read_text() and time.monotonic() < deadline:
                time.sleep(0.2)
            gateway.send(mail("after"))
            subjects = list(by_subject(gateway, "before", "after"))
            assert subjects[0] == "before"
            assert subjects[-1] == "after"
            log = gateway.log.read_text()
            assert log.count("event=recorder.stopped") == log.count("event=recorder.resumed") >= 1
            assert json.loads(gateway.command("recorder", "status", "--json"))["lost"] >= 1
            assert "esa_recorder_lost_total" in gateway.http("/metrics")[1]
