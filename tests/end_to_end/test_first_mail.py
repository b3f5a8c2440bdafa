"""What a newcomer does first, against a real gateway: a clean message arrives, GTUBE is refused, a suspect one is held and released."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esa.cli.serve import GTUBE
from tests.end_to_end.running import Gateway, environment, is_running, running

CLEAN = (
    b"From: Anna <a@example.net>\r\nTo: b@example.org\r\nSubject: minutes of the meeting\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@example.net>\r\n\r\nDear Ben,\r\n\r\nhere are the minutes. .\r\n.. two dots\r\n\xc3\xa4\r\n"
)
ADDED = ["Received", "X-Esa-Id", "X-Esa-Verdict", "X-Esa-Score", "X-Esa-Reasons"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from running(tmp_path_factory.mktemp("gateway"))


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of the test's own, which it may stop."""
    yield from running(tmp_path)


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway to which ordinary mail is suspect."""
    yield from running(tmp_path, workers=1, more="[mail_policy]\nsuspect_above = 0.0\npositive_above = 99.9\n")


def split_added(content: bytes, body: bytes) -> list[str]:
    """Names of the fields on top of `body`, which must be there byte by byte."""
    assert content.endswith(body)
    lines = content[: -len(body)].decode("ascii").splitlines()
    return [line.partition(":")[0] for line in lines if not line.startswith((" ", "\t"))]


def test_a_clean_message_arrives_byte_equal_under_its_trace_fields(fresh: Gateway) -> None:
    code, text = fresh.send(CLEAN)
    assert (code, text.split()[:-1]) == (250, ["2.0.0", "accepted", "as"])
    (content,) = fresh.arrived(1)
    assert split_added(content, CLEAN) == ["Return-Path", "Delivered-To", *ADDED]  # the first two by final delivery, RFC 5321 section 4.4
    assert f"id {text.split()[-1]}".encode() in content
    assert b"X-Esa-Verdict: clean\r\n" in content


def test_gtube_is_refused_with_its_identifier_and_without_the_rule(gateway: Gateway) -> None:
    code, text = gateway.send(CLEAN + GTUBE.encode() + b"\r\n")
    assert (code, text[:5]) == (550, "5.7.1")
    assert "spam" not in text.lower()
    assert "gtube" not in text.lower()


def test_swaks_reads_the_same_replies(gateway: Gateway, server_program: Callable[[str], str]) -> None:
    command = [
        server_program("swaks"),
        "--server",
        f"127.0.0.1:{gateway.port}",
        "--from",
        "a@example.net",
        "--to",
        "b@example.org",
        "--body",
    ]
    clean = subprocess.run([*command, "hello"], capture_output=True, text=True, check=False)
    assert clean.returncode == 0, clean.stdout
    gtube = subprocess.run([*command, GTUBE], capture_output=True, text=True, check=False)
    assert "550 5.7.1" in gtube.stdout


def test_the_commands_that_the_gateway_prints_do_what_they_say(fresh: Gateway, server_program: Callable[[str], str]) -> None:
    server_program("swaks")
    lines = [line for line in fresh.log.read_text().splitlines() if not line.startswith("20")]
    assert len(lines) == 5
    python, swaks, gtube = (line.split(":  ", 1)[1] for line in lines[1:4])
    for command, status, shown in ((python, 0, ""), (swaks, 0, "250 2.0.0 accepted as"), (gtube, 26, "550 5.7.1")):
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, shown in done.stdout) == (status, True), f"{command}\n{done.stdout}{done.stderr}"
    assert all(b"X-Esa-Verdict: clean" in content for content in fresh.arrived(2))


def test_forged_result_fields_do_not_arrive(gateway: Gateway) -> None:
    before = set(gateway.maildir())
    gateway.send(b"X-Esa-Verdict: forged\r\n" + CLEAN)
    deadline = time.monotonic() + 20
    while not (new := set(gateway.maildir()) - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(b"forged" not in path.read_bytes() for path in new)
    assert new


def test_a_suspect_message_is_held_and_arrives_when_it_is_released(strict: Gateway) -> None:
    code, text = strict.send(CLEAN)
    assert code == 250
    identifier = text.split()[-1]
    deadline = time.monotonic() + 20
    while identifier not in (listed := strict.command("quarantine", "list", "--json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert identifier in listed
    assert strict.maildir() == []
    item = json.loads(listed.splitlines()[0])["id"]
    strict.command("quarantine", "release", item)
    (content,) = strict.arrived(1)
    assert content.endswith(CLEAN)
    assert b"X-Esa-Verdict: suspect\r\n" in content


def test_tracking_tells_a_message_from_connection_to_end(fresh: Gateway) -> None:
    identifier = fresh.send(CLEAN)[1].split()[-1]
    fresh.arrived(1)
    wanted = {"connection.opened", "message.accepted", "delivery.delivered"}
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        shown = fresh.command("track", "--id", identifier, "--json")
        if all(name in shown for name in wanted):
            return
        time.sleep(0.1)
    pytest.fail(f"tracking says: {shown}")


def test_a_restart_loses_nothing_and_a_stop_drains(fresh: Gateway) -> None:
    accepted: list[int] = []

    def send() -> None:
        accepted.append(fresh.send(CLEAN)[0])

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert fresh.stop() < 10
    fresh.start()
    fresh.arrived(accepted.count(250))
    assert accepted == [250] * 8


def test_sigterm_ends_idle_sessions_with_421_and_every_process(fresh: Gateway) -> None:

    with smtplib.SMTP("127.0.0.1", fresh.port, timeout=30) as client:
        client.ehlo()
        children = fresh.children()
        assert set(children) == {"deliver", "keep", "receive-0", "receive-1"}
        fresh.stop()
        assert not any(is_running(process) for process in children.values())
        with pytest.raises(smtplib.SMTPServerDisconnected):
            assert client.noop()[0] == 421
            client.noop()


def test_a_dead_process_is_told_by_health_and_started_again(fresh: Gateway) -> None:

    assert fresh.http("/health")[0] == 200
    victim = fresh.children()["receive-0"]
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while fresh.children().get("receive-0", victim) == victim and time.monotonic() < deadline:
        time.sleep(0.02)
    while fresh.http("/health")[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert fresh.http("/health")[0] == 200
    assert fresh.send(CLEAN)[0] == 250
    assert "esa_messages_kept_total" in fresh.http("/metrics")[1]


def serve(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:

    command = [sys.executable, "-m", "esa.cli", "serve", *words]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def test_a_port_in_use_and_a_state_in_use_stop_the_start_with_a_clear_message(gateway: Gateway, tmp_path: Path) -> None:
    other = serve(tmp_path, "--listen", f"127.0.0.1:{gateway.port}", "--state", str(tmp_path / "state"))
    assert other.returncode == 2
    assert f"127.0.0.1 port {gateway.port} is in use" in other.stderr
    same = serve(tmp_path, "--config", str(gateway.configuration))
    assert same.returncode == 3
    assert "in use" in same.stderr
    assert "Traceback" not in other.stderr + same.stderr


def test_a_state_folder_that_cannot_be_made_stops_the_start_with_a_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = serve(tmp_path, "--listen", "127.0.0.1:0", "--state", str(tmp_path / "file" / "state"))
    assert done.returncode == 3
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_configuration_stops_the_start_with_file_key_and_mend(tmp_path: Path) -> None:
    (tmp_path / "esa.toml").write_text("[gateway]\nworkerz = 2\n")
    done = serve(tmp_path)
    assert done.returncode == 2
    assert "esa.toml" in done.stderr
    assert "workerz" in done.stderr
    assert "Traceback" not in done.stderr
