"""The recorder's files: what is read back, what limits remove, what faults of the disk and killed writers cost, what erasing leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.engine.check import Term
from esa.errors import StoreError
from esa.message.envelope import Envelope, Session
from esa.store.identifier import new_identifier
from esa.store.recorded import Fate, Found, Heard, Held, Program, Recorded
from esa.store.recorder import recordings, status_of
from esa.store.recorder_erasing import erase
from esa.store.recorder_folder import KEY_FILE, LINE_LIMIT, segments_of
from esa.store.recorder_line import COLUMNS, beside_of, decode
from esa.store.recorder_writer import RESERVE_OCTETS, RETRY_SECONDS, Limits, Recorder
from esa_core._json_lines import JsonLines
from tests.end_to_end.running import environment
from tests.store.conftest import fill, mounted

DAY = 86_400.0
PROGRAM = Program(
    (Term("invoice", whole_word=True), Term("x{3}", kind="expression", regions=frozenset({"body"}))), {"words": "ab"}, ("staff",)
)


class Clock:
    """A clock that stands until it is set; at first it is right, as that of the files is."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def make(
    clock: Clock | None = None, *, recipients: tuple[str, ...] = ("b@example.org",), subject: str = "", fate: Fate = "accepted"
) -> Recorded:
    now = (clock or Clock()).now
    return Recorded(
        new_identifier(now),
        Session("192.0.2.1", 1, "client.example.net", "ESMTP", "mail", now),
        Envelope("a@example.net", recipients, 1000),
        fate,
        "250 2.0.0",
        subject=subject,
        score=12.5,
        families={"content": -1.5},
        reasons=(("text", -1.5),),
        dictionaries={"words": Found(4, {"offer": 2})},
        terms=Heard(PROGRAM, {1: 3}),
        policies=(Held("DEFAULT", recipients, "deliver", "clean"), Held("staff", recipients[:1], "quarantine", "spam")),
        hits=("message filters/held",),
        entries=("example.org",) * len(recipients),
        groups={"b@example.org": ("staff",)},
        fact_row=b"\x03\x00\x00\x80\x3f",
    )


def write(folder: Path, records: list[Recorded], limits: Limits | None = None, **more: object) -> None:
    recorder = Recorder(folder, limits, program=PROGRAM, **more)  # type: ignore[arg-type]
    for one in records:
        recorder.add(one)
    recorder.close()


def test_what_is_recorded_is_read_back_oldest_first_from_all_writers(tmp_path: Path) -> None:
    records = [make(subject=str(number)) for number in range(20)]
    for writer in ("receive-0", "receive-1"):
        write(tmp_path, records[int(writer[-1]) :: 2], writer=writer)
    found = recordings(tmp_path)
    assert list(found) == records
    assert (found.damaged, found.lost) == (0, 0)
    first = next(iter(found))
    assert first.program == PROGRAM
    assert dict(first.terms) == {PROGRAM.terms[1]: 3}
    assert first.terms.is_whole
    assert first.facts == {3: 1.0}
    assert first.recipient_entries == {"b@example.org": "example.org"}


def test_reading_since_a_time_gives_what_came_after_it(tmp_path: Path) -> None:
    clock = Clock()
    now = clock.now
    recorder = Recorder(tmp_path, clock=clock)
    for days in (2, 1, 0):
        clock.now = now - days * DAY
        recorder.add(make(clock, subject=str(days)))
    recorder.close()
    assert [one.subject for one in recordings(tmp_path, since=now - 1.5 * DAY)] == ["1", "0"]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1, max_size=3), st.text(st.characters(exclude_categories=())))
def test_any_text_survives_and_stays_on_one_line(addresses: list[str], subject: str) -> None:
    recorded = make(recipients=tuple(addresses), subject=subject)
    lines = JsonLines(COLUMNS, longest=LINE_LIMIT, most=LINE_LIMIT)
    lines.add(recorded, (*beside_of(recorded), False))
    line = lines.piece(0, 1)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line, PROGRAM) == (recorded, False)


def test_a_line_in_the_first_form_is_still_read() -> None:
    line = (
        b'["01KB0000000000000000000000",["192.0.2.1",1,"client.example.net","ESMTP","mail",1764035229.25],'
        b'["a@example.net",["b@example.org"],1000,"7BIT",false],1,"550 5.7.1","spam",false,true,"UNKNOWNLIST","SBRS[-1.0:10.0]","ACCEPTED",null,'
        b'["client.example.net"],"confirmed",[],91.5,2.375,"positive",{"content":2.375},["text",2.375],[],"Offer","","",{"words":[4,{"offer":2}]},[1,3],'
        b'[["DEFAULT",null,"refuse","spam"]],["message filters/held"],["example.org"],{"b@example.org":["staff"]},"","ab","AwAAgD8=",false,'
        b'"From: Ann <Ann@example.net>\\r\\n"]\n'
    )
    recorded, has_content = decode(line, PROGRAM)
    assert not has_content
    assert recorded == Recorded(
        "01KB0000000000000000000000",
        Session("192.0.2.1", 1, "client.example.net", "ESMTP", "mail", 1764035229.25),
        Envelope("a@example.net", ("b@example.org",), 1000),
        "refused",
        "550 5.7.1",
        "spam",
        sender_group="UNKNOWNLIST",
        because="SBRS[-1.0:10.0]",
        mail_flow_policy="ACCEPTED",
        names=("client.example.net",),
        reverse="confirmed",
        score=91.5,
        logit=2.375,
        verdict="positive",
        families={"content": 2.375},
        reasons=(("text", 2.375),),
        subject="Offer",
        author="ann@example.net",
        dictionaries={"words": Found(4, {"offer": 2})},
        terms=Heard(PROGRAM, {1: 3}),
        policies=(Held("DEFAULT", ("b@example.org",), "refuse", "spam"),),
        hits=("message filters/held",),
        entries=("example.org",),
        groups={"b@example.org": ("staff",)},
        fingerprint="ab",
        fact_row=b"\x03\x00\x00\x80\x3f",
    )


def test_octets_that_are_no_utf8_and_line_feeds_in_an_address_survive(tmp_path: Path) -> None:
    path = b'"\xff\n\x00"@example.org'.decode("utf-8", "surrogateescape")
    write(tmp_path, [make(recipients=(path,))])
    [one] = recordings(tmp_path)
    assert one.envelope.recipients == (path,)


def test_terms_that_were_cut_off_are_said_to_be_not_whole(tmp_path: Path) -> None:
    write(tmp_path, [make()._replace(terms=Heard(PROGRAM, {0: 1}, is_whole=False))])
    [one] = recordings(tmp_path)
    assert not one.terms.is_whole
    assert dict(one.terms) == {PROGRAM.terms[0]: 1}


def test_nothing_is_known_of_terms_whose_program_is_gone(tmp_path: Path) -> None:
    write(tmp_path, [make()])
    [program] = tmp_path.glob("*/*.program")
    program.unlink()
    [one] = recordings(tmp_path)
    assert not one.program.is_known
    assert not one.terms.is_whole
    assert not one.terms


def test_a_segment_that_is_closed_or_removed_while_it_is_read_is_followed_or_passed_over(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.add(make(subject="closed meanwhile"))
    recorder.flush()
    [segment] = segments_of(tmp_path / "recorder")
    recorder.close()
    assert segment.is_open
    assert sum(line.startswith(b"[") for line in segment.lines()) == 1
    erase(tmp_path)
    assert list(segment.lines()) == []
    assert list(recordings(tmp_path / "absent")) == []


# --- limits


def test_two_hundred_messages_of_one_making_stay_within_the_limit_of_messages(tmp_path: Path) -> None:
    limits = Limits(messages=64, writers=2)
    recorder = Recorder(tmp_path, limits)
    for number in range(400):
        recorder.add(make(subject=str(number)))
        if number % 3 == 0:
            recorder.flush()
            assert status_of(tmp_path).messages <= limits.messages
    recorder.flush()
    kept = [one.subject for one in recordings(tmp_path)]
    assert len(kept) >= limits.messages // 2
    assert kept == [str(number) for number in range(400 - len(kept), 400)]
    recorder.close()


def test_messages_as_large_as_they_can_be_stay_within_the_limit_of_octets(tmp_path: Path) -> None:
    limits = Limits(octets=8 << 20)
    recorder = Recorder(tmp_path, limits)
    recipients = tuple(f"{'x' * 60}{number}@example.org" for number in range(1000))
    for number in range(200):
        recorder.add(make(recipients=recipients, subject=str(number)))
        if number % 10 == 9:
            recorder.flush()
            assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= limits.octets
    assert 0 < status_of(tmp_path).messages < 200
    recorder.close()


def test_what_is_older_than_its_retention_goes(tmp_path: Path) -> None:
    write(tmp_path, [make(subject="old")], writer="receive-0")
    write(tmp_path, [make(subject="young")], writer="receive-1")
    age(tmp_path / "receive-0", 2.5)
    age(tmp_path / "receive-1", 1.5)
    Recorder(tmp_path, Limits(age=2 * DAY), writer="receive-2").close()  # whoever comes tidies up behind all
    assert [one.subject for one in recordings(tmp_path)] == ["young"]


def age(folder: Path, days: float) -> None:
    """Make all files of a writer so many days old."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - days * DAY,) * 2)


def test_a_record_that_is_longer_than_a_line_may_be_is_lost_and_counted(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    assert not recorder.add(make(recipients=("x" * LINE_LIMIT,)))
    assert recorder.add(make())
    recorder.close()
    found = recordings(tmp_path)
    assert len(list(found)) == 1
    assert found.lost == recorder.lost == 1


def test_a_name_has_one_writer_at_a_time(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, writer="receive-0")
    with pytest.raises(StoreError) as fault:
        Recorder(tmp_path, writer="receive-0")
    assert fault.value.is_in_use
    recorder.close()
    Recorder(tmp_path, writer="receive-0").close()


# --- faults


def is_full(recorder: Recorder) -> bool:
    """Whether nothing is recorded because of a full disk."""
    return recorder.fault is not None and recorder.fault.is_full


def test_a_full_disk_stops_recording_and_space_resumes_it(tmp_path: Path) -> None:
    clock = Clock()
    with mounted(tmp_path / "disk", (RESERVE_OCTETS >> 20) + 4) as folder:
        recorder = Recorder(folder, clock=clock)
        recorder.add(make(subject="before"))
        recorder.flush()
        assert not is_full(recorder)
        ballast = fill(folder)
        recorder.add(make(subject="lost"))
        recorder.flush()
        assert is_full(recorder)
        recorder.add(make(subject="lost too"))
        recorder.flush()
        ballast.unlink()
        recorder.flush()
        assert is_full(recorder)  # it looks again after a while, not with each message
        clock.now += RETRY_SECONDS
        recorder.flush()
        assert not is_full(recorder)
        recorder.add(make(subject="after"))
        recorder.close()
        found = recordings(folder)
        assert [one.subject for one in found] == ["before", "after"]
        assert found.lost == recorder.lost == 2


def test_a_file_that_may_not_grow_costs_no_record_before_it(tmp_path: Path) -> None:
    """A write that is cut off in the middle (RLIMIT_FSIZE) leaves whole lines, and recording goes on when it may."""
    program = """
        import resource, sys
        from pathlib import Path
        from esa.store.recorder import recordings
        from esa.store.recorder_writer import Recorder
        from tests.store.test_recorder import Clock, make
        clock = Clock()
        recorder = Recorder(Path(sys.argv[1]), clock=clock)
        recorder.add(make(subject="whole"))
        recorder.flush()
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, unlimited[1]))
        for number in range(10):
            recorder.add(make(subject=str(number)))
        recorder.flush()
        print(recorder.fault is not None, recorder.lost)
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        clock.now += 60
        recorder.add(make(subject="after"))
        recorder.close()
        found = recordings(Path(sys.argv[1]))
        print([one.subject for one in found], found.lost, found.damaged)
    """
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), tmp_path], capture_output=True, text=True, check=True, cwd=root, env=environment()
    )
    assert done.stdout.splitlines() == ["True 10", "['whole', 'after'] 10 0"]


def test_a_writer_that_is_killed_leaves_all_but_its_last_line(tmp_path: Path) -> None:
    program = """
        import os, sys
        from pathlib import Path
        from esa.store.recorder_writer import Recorder
        from tests.store.test_recorder import make
        recorder = Recorder(Path(sys.argv[1]), with_contents=True)
        for number in range(100):
            recorder.add(make(subject=str(number)), b"content")
        recorder.flush()
        os.write(recorder._segment, b'["torn')
        os.write(recorder._content, b"torn")
        os.kill(os.getpid(), 9)
    """
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), tmp_path], check=False, cwd=root, env=environment())
    assert done.returncode == -signal.SIGKILL
    found = recordings(tmp_path)
    before = [one.subject for one in found]
    assert before == [str(number) for number in range(100)]
    recorder = Recorder(tmp_path)
    recorder.add(make(subject="after"))
    recorder.close()
    assert [one.subject for one in found] == [*before, "after"]
    assert [one.content for one in found][:100] == [b"content"] * 100
    assert all(not segment.is_open for segment in segments_of(tmp_path / "recorder"))
    assert [segment.count for segment in segments_of(tmp_path / "recorder")] == [100, 1]


def test_damaged_lines_are_counted_and_passed_over(tmp_path: Path) -> None:
    write(tmp_path, [make(subject=str(number)) for number in range(5)])
    [segment] = segments_of(tmp_path / "recorder")
    lines = segment.path.read_bytes().splitlines(keepends=True)
    lines[2] = b"\x00\xff\n"
    lines[3] = lines[3][:40] + b"\n"
    lines[4] = b"[" * 100_000 + b"\n"
    segment.path.write_bytes(b"".join(lines))
    found = recordings(tmp_path)
    assert [one.subject for one in found] == ["0", "4"]
    assert found.damaged == 3


# --- contents


def test_contents_are_kept_apart_encrypted_and_read_back(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, with_contents=True)
    one, other = make(subject="with"), make(subject="without")
    recorder.add(one, b"the secret text")
    recorder.add(other)
    recorder.close()
    assert [(found.subject, found.content) for found in recordings(tmp_path)] == [("with", b"the secret text"), ("without", None)]
    assert [found.content for found in recordings(tmp_path, contents=False)] == [None, None]
    assert all(b"secret text" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert status_of(tmp_path).contents == 1


def test_a_content_that_was_altered_or_has_no_key_is_not_there(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, with_contents=True)
    recorder.add(make(), b"the text")
    recorder.close()
    [path] = tmp_path.glob("*/*.content")
    octets = path.read_bytes()
    path.write_bytes(octets[:-1] + bytes([octets[-1] ^ 1]))
    assert [one.content for one in recordings(tmp_path)] == [None]
    path.write_bytes(octets)
    assert [one.content for one in recordings(tmp_path)] == [b"the text"]
    (tmp_path / KEY_FILE).unlink()
    assert [one.content for one in recordings(tmp_path)] == [None]


def test_contents_go_before_their_records_do(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, with_contents=True)
    recorder.add(make(), b"the text")
    recorder.close()
    age(tmp_path / "recorder", 1.5)
    Recorder(tmp_path, Limits(content_age=DAY), writer="receive-0").close()
    assert [one.content for one in recordings(tmp_path)] == [None]
    assert status_of(tmp_path).contents == 0


# --- erasing


def test_all_in_which_an_address_stands_is_erased_and_nothing_else(tmp_path: Path) -> None:
    records = [
        make(recipients=("alice@example.org",), subject="recipient"),
        make(recipients=("b@example.org", "ALICE@EXAMPLE.ORG"), subject="one of two"),
        make(subject="for alice@example.org, urgent"),
        make(recipients=("malice@example.org",), subject="another"),
        make(recipients=("alice@example.org.example",), subject="longer"),
        make(subject="content"),
        make(subject="other content"),
    ]
    recorder = Recorder(tmp_path, with_contents=True)
    for one in records:
        recorder.add(one, b"To: Alice@example.org" if one.subject == "content" else b"other" if one.subject == "other content" else None)
    recorder.close()
    assert erase(tmp_path, "alice@example.org").records == 4
    assert [(one.subject, one.content) for one in recordings(tmp_path)] == [
        ("another", None),
        ("longer", None),
        ("other content", b"other"),
    ]
    assert all(b"lice@example.org," not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert status_of(tmp_path).contents == 1
    assert [segment.count for segment in segments_of(tmp_path / "recorder")] == [3]


def test_a_domain_is_erased_by_itself(tmp_path: Path) -> None:
    write(tmp_path, [make(recipients=("x@one.example",)), make(recipients=("x@two.example",)), make(recipients=("x@sub.one.example",))])
    assert erase(tmp_path, "@one.example").records == 1
    assert [one.envelope.recipients[0] for one in recordings(tmp_path)] == ["x@two.example", "x@sub.one.example"]


def test_the_process_that_writes_erases_by_itself_when_it_is_asked(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.add(make(recipients=("alice@example.org",)))
    recorder.add(make())
    recorder.flush()
    asked = erase(tmp_path, "alice@example.org", patience=0.0)
    assert asked == (0, ("recorder",))
    assert len(list(recordings(tmp_path))) == 2
    recorder.flush()
    assert [one.envelope.recipients for one in recordings(tmp_path)] == [("b@example.org",)]
    recorder.add(make(subject="goes on"))
    recorder.close()
    assert len(list(recordings(tmp_path))) == 2


def test_everything_is_erased_with_contents(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, with_contents=True)
    recorder.add(make(), b"text")
    recorder.close()
    assert erase(tmp_path).records == 1
    assert not list(recordings(tmp_path))
    assert not list(tmp_path.glob("*/*.content"))
