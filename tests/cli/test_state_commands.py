"""`esa queue`, `esa quarantine` and `esa track`, beside a running service and without one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from esa.cli import quarantine, queue, track
from esa.cli.program import run
from esa.cli.state import parse_since, size_for_people
from esa.errors import StoreError
from esa.gateway.keep import KeepSettings, OpenKeep
from esa.store.entry import Entry, Outcome, Result
from esa.store.queue import Queue
from esa.store.record import Event, EventName, Record, Splinter
from esa.store.segments import Batch, SpoolReader
from esa.store.selection import Selection
from esa.store.waiting import Capacity
from tests.store.messages import CONTENT, PREFIX, fill, make_record

NOW = 1_800_000_000.0
EVIL = "\x1b]0;owned\x07@x.example"


def call(command: click.Command, *arguments: str, given: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(command, list(arguments), input=given, standalone_mode=False)
    if isinstance(result.exception, StoreError):
        return 3, result.stdout, str(result.exception)
    if isinstance(result.exception, click.UsageError):
        return 2, result.stdout, result.exception.message
    if isinstance(result.exception, click.Abort):
        return 1, result.stdout, result.stderr
    assert result.exception is None, result.exception
    return result.exit_code, result.stdout, result.stderr


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def mail(tmp_path: Path) -> list[Record]:
    """One message waiting, one failed, one quarantined, one refused; all tracked."""
    waiting = make_record(recipients=("waiting@x.example",), received_at=time.time() - 100)
    failed = make_record(recipients=("failed@x.example",), reverse_path="", received_at=time.time() - 50)
    held = make_record(splinters=(Splinter(("held@x.example",), "quarantine", "suspect"),), recipients=("held@x.example",))
    refused = make_record(None, splinters=(), recipients=(EVIL,))
    refused = replace(
        refused, events=(Event(EventName.REFUSED, time.time(), {"reply": "550 5.7.1 refused", "score": 99.0, "verdict": "positive"}),)
    )
    records = [waiting, failed, held, refused]
    fill(tmp_path, records)
    store = Queue(tmp_path)
    entries = {entry.message: entry for entry in store.step(SpoolReader(tmp_path / "spool").read(), [], rooms=Capacity(9), now=NOW)}
    store.settle([outcome(entries[waiting.id], "deferred", "451 4.2.1 later"), outcome(entries[failed.id], "failed", "550 5.1.1 no")])
    store.close()
    with OpenKeep(KeepSettings(tmp_path)) as keep:
        keep.start()
    return records


def outcome(entry: Entry, status: str, reply: str) -> Outcome:
    return Outcome(entry, tuple(Result(one, status, reply) for one in entry.pending), "mx:25", time.time())  # type: ignore[arg-type]


def test_queue_list_shows_what_waits_and_why(tmp_path: Path, mail: list[Record]) -> None:
    code, out, talk = call(queue.command, "list", "--json", "--state", str(tmp_path))
    first, second = lines(out)
    assert code == 0
    assert (first["id"], first["state"], first["attempts"], first["reason"]) == (mail[0].id, "waiting", 1, "451 4.2.1 later")
    assert (second["state"], second["reverse_path"], second["next_attempt"]) == ("failed", "", None)
    assert second["recipients"] == [{"address": "failed@x.example", "status": "failed", "reply": "550 5.1.1 no"}]
    code, out, talk = call(queue.command, "list", "--state", str(tmp_path))
    assert mail[0].id in out
    assert "1 waiting, 0 in flight, 1 failed" in talk
    assert len(lines(call(queue.command, "list", "--json", "--failed", "--state", str(tmp_path))[1])) == 1


def test_queue_show_tells_each_recipient_and_misses_nothing_silently(tmp_path: Path, mail: list[Record]) -> None:
    code, out, _ = call(queue.command, "show", mail[1].id, "--state", str(tmp_path))
    assert code == 0
    assert "failed@x.example  failed  550 5.1.1 no" in out
    code, _, talk = call(queue.command, "show", "01J00000000000000000000000", "--state", str(tmp_path))
    assert code == 3
    assert "esa queue list" in talk


def test_queue_retry_makes_due_and_delete_takes_out(tmp_path: Path, mail: list[Record]) -> None:
    assert call(queue.command, "retry", "--state", str(tmp_path))[0] == 2
    code, _, talk = call(queue.command, "retry", "--all", "--state", str(tmp_path))
    assert (code, talk) == (0, "retried 2 entries; they are tried when `esa serve` runs\n")
    assert {one["state"] for one in lines(call(queue.command, "list", "--json", "--state", str(tmp_path))[1])} == {"waiting"}
    assert call(queue.command, "delete", mail[0].id, "--state", str(tmp_path), given="n\n")[0] == 1
    assert call(queue.command, "delete", mail[0].id, "--yes", "--json", "--state", str(tmp_path))[:2] == (0, '{"deleted": 1}\n')
    assert [one["id"] for one in lines(call(queue.command, "list", "--json", "--state", str(tmp_path))[1])] == [mail[1].id]


def test_quarantine_list_show_release(tmp_path: Path, mail: list[Record]) -> None:
    held = mail[2].id
    [item] = lines(call(quarantine.command, "list", "--json", "--state", str(tmp_path))[1])
    assert (item["id"], item["recipients"], item["subject"], item["score"], item["reason"]) == (
        held,
        ["held@x.example"],
        "hello",
        3.5,
        "suspect",
    )
    assert held in call(quarantine.command, "list", "--state", str(tmp_path))[1]
    code, out, _ = call(quarantine.command, "show", held, "--state", str(tmp_path))
    assert code == 0
    assert "| Subject: hello" in out
    raw = CliRunner().invoke(quarantine.command, ["show", "--raw", held, "--state", str(tmp_path)])
    assert raw.stdout_bytes == PREFIX + CONTENT
    code, _, talk = call(quarantine.command, "release", held, "--state", str(tmp_path))
    assert (code, talk) == (0, "released 1 message; they are delivered when `esa serve` runs\n")
    assert call(quarantine.command, "list", "--json", "--state", str(tmp_path))[1] == ""
    assert call(quarantine.command, "release", held, "--state", str(tmp_path))[0] == 3


def test_quarantine_delete_asks_first(tmp_path: Path, mail: list[Record]) -> None:
    held = mail[2].id
    assert call(quarantine.command, "delete", held, "--state", str(tmp_path), given="n\n")[0] == 1
    code, out, _ = call(quarantine.command, "delete", held, "--yes", "--json", "--state", str(tmp_path))
    assert (code, lines(out)) == (0, [{"id": held, "state": "deleted"}])
    assert call(quarantine.command, "show", held, "--state", str(tmp_path))[0] == 3


def test_track_finds_by_sender_recipient_time_and_identifier(tmp_path: Path, mail: list[Record]) -> None:
    def found(*arguments: str) -> list[object]:
        return [one["id"] for one in lines(call(track.command, *arguments, "--json", "--state", str(tmp_path))[1])]

    assert found() == [record.id for record in reversed(mail)]
    assert found("--sender", "<>") == [mail[1].id]
    assert found("--recipient", "held@x.example") == [mail[2].id]
    assert found("--since", "75s") == [record.id for record in reversed(mail[1:])]
    assert found("--sender", "nobody@x.example") == []
    [document] = lines(call(track.command, "--id", mail[3].id, "--json", "--state", str(tmp_path))[1])
    assert (document["outcome"], document["verdict"], document["recipients"]) == (
        "refused",
        "positive",
        [{"address": EVIL, "status": "refused", "reply": ""}],
    )


def test_nothing_from_mail_reaches_the_terminal_unescaped(tmp_path: Path, mail: list[Record]) -> None:
    for arguments in ((), ("--id", mail[3].id)):
        _, out, _ = call(track.command, *arguments, "--state", str(tmp_path))
        assert "\\x1b]0;owned\\x07" in out
        assert "\x1b" not in out


@contextmanager
def running(state: Path, answer: Callable[[dict[str, object]], object], name: str) -> Iterator[list[dict[str, object]]]:
    """A process of the service that answers on its socket."""
    import asyncio

    from esa.store.control import ControlServer, Request

    heard: list[dict[str, object]] = []
    started, stop = threading.Event(), None
    loop = asyncio.new_event_loop()

    async def obey(request: Request) -> object:
        heard.append(dict(request))
        return answer(dict(request))

    async def serve() -> None:
        nonlocal stop
        stop = asyncio.Event()
        server = await ControlServer.start(state / "run" / name, obey)
        started.set()
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait(10)
    try:
        yield heard
    finally:
        assert stop is not None
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def test_a_running_service_is_asked_to_do_it(tmp_path: Path, mail: list[Record]) -> None:
    with running(tmp_path, lambda _: {"count": 1}, "deliver.sock") as heard:
        code, _, talk = call(queue.command, "retry", mail[0].id, "--state", str(tmp_path))
    assert (code, talk, heard) == (0, "retried 1 entry\n", [{"verb": "retry", **Selection((mail[0].id,)).to_request()}])
    with running(tmp_path, lambda request: {"count": 1, "items": request["keys"]}, "keep.sock") as heard:
        code, _, talk = call(quarantine.command, "release", mail[2].id, "--state", str(tmp_path))
    assert (code, talk, heard) == (0, "released 1 message\n", [{"verb": "release", "keys": [mail[2].id]}])


@pytest.mark.parametrize("command", [("queue", "list"), ("quarantine", "list"), ("track",)])
def test_a_state_folder_that_is_not_there_exits_3_and_an_empty_one_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    assert run([*command, "--state", str(tmp_path / "none")]) == 3
    assert "--state DIR" in capsys.readouterr().err
    assert run([*command, "--state", str(tmp_path)]) == 0
    assert run([*command, "--json", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


def test_the_state_folder_of_the_configuration_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mail: list[Record]) -> None:
    (tmp_path / "esa.toml").write_text('[gateway]\nstate = "."\n')
    monkeypatch.chdir(tmp_path)
    assert len(lines(call(queue.command, "list", "--json")[1])) == 2


def test_a_damaged_database_is_told_in_words_and_exits_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in (("queue.db", ["queue", "list"]), ("quarantine.db", ["quarantine", "list"]), ("tracking.db", ["track"])):
        (tmp_path / name).write_bytes(b"no database" * 1000)
        assert run([*command, "--state", str(tmp_path)]) == 3
        told = capsys.readouterr().err
        assert "damaged" in told
        assert name in told


def test_since_is_a_time_or_an_age() -> None:
    now = time.time()
    assert parse_since("2h") == pytest.approx(now - 7200, abs=5)
    assert parse_since("1.5 d") == pytest.approx(now - 129_600, abs=5)
    assert parse_since("2026-03-01T12:00:00+00:00") == 1_772_366_400
    assert parse_since("2026-03-01") == pytest.approx(1_772_366_400, abs=86_400)
    for wrong in ("", "yesterday", "2 parsecs", "99999-01-01"):
        with pytest.raises(click.BadParameter):
            parse_since(wrong)


def test_sizes_are_told_in_binary_units() -> None:
    assert [size_for_people(octets) for octets in (0, 1023, 1024, 5 << 20, 3 << 30)] == ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 GiB"]


def test_an_empty_batch_is_nothing() -> None:
    assert not Batch()
