"""SIGHUP to a whole gateway under load: the new configuration holds, no connection is refused, no session is cut, no message is lost."""

from __future__ import annotations

import os
import re
import signal
import smtplib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esa.store.reputation_table import memory_size
from tests.end_to_end.running import RECIPIENT, REVERSE_PATH, Gateway, running, unused_port
from tests.end_to_end.test_first_mail import CLEAN
from tests.gateway.test_client import sink

POLICY = (
    "[mail_flow_policy.ACCEPTED]\nmax_concurrency = -1\nmax_msgs_per_session = 100000\nmax_rcpts_per_msg = {0}\n"
    '[mail_policy]\npositive = "deliver"\nsuspect = "deliver"\n'
)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    yield from running(tmp_path, more=POLICY.format(100))


def reload(gateway: Gateway, expected: str = "event=service.reloaded") -> str:
    """SIGHUP; the line of the log that says what came of it."""
    mark = len(gateway.log.read_text())
    os.kill(gateway.pid, signal.SIGHUP)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in gateway.log.read_text()[mark:].splitlines():
            if expected in line:
                return line
        time.sleep(0.02)
    raise AssertionError(gateway.log.read_text()[-3000:])


def change(gateway: Gateway, old: str, new: str) -> None:
    text = gateway.configuration.read_text()
    assert old in text
    gateway.configuration.write_text(text.replace(old, new))


def limit(gateway: Gateway) -> int:
    """Recipients that a new session may name in one message, up to 10."""
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.ehlo("client.example.net")
        client.mail(REVERSE_PATH)
        return sum(client.rcpt(f"user{number}@example.org")[0] == 250 for number in range(10))


@pytest.mark.servers
def test_a_reload_under_load_loses_nothing_and_the_new_configuration_holds(gateway: Gateway, server_program: Callable[[str], str]) -> None:
    assert limit(gateway) == 10
    open_before = smtplib.SMTP("127.0.0.1", gateway.port, timeout=30)
    open_before.ehlo("client.example.net")
    command = [server_program("smtp-source"), "-s", "8", "-m", "4000", "-l", "2000", "-f", REVERSE_PATH, "-t", RECIPIENT]
    with subprocess.Popen([*command, f"127.0.0.1:{gateway.port}"], stderr=subprocess.PIPE, text=True) as load:
        for number in (3, 5):
            change(gateway, f"max_rcpts_per_msg = {100 if number == 3 else 3}", f"max_rcpts_per_msg = {number}")
            reload(gateway)
            assert limit(gateway) == number
        assert load.stderr is not None
        complaints = load.stderr.read()
        assert load.wait(120) == 0, complaints
        assert not complaints
    open_before.sendmail(REVERSE_PATH, [RECIPIENT], CLEAN)
    open_before.quit()
    gateway.arrived(4001, patience=90)


def test_receivers_that_retire_end_with_their_last_session(gateway: Gateway) -> None:
    before = {name: process for name, process in gateway.children().items() if name.startswith("receive")}
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.ehlo("client.example.net")
        reload(gateway)
        deadline = time.monotonic() + 20
        while len(set(before.items()) & set(gateway.children().items())) > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(set(before.items()) & set(gateway.children().items())) == 1, "the one with the open session"
    deadline = time.monotonic() + 20
    while set(before.items()) & set(gateway.children().items()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not set(before.items()) & set(gateway.children().items())
    assert all(process["restarts"] == 0 for process in gateway.health()["processes"].values())  # type: ignore[attr-defined]


@pytest.mark.servers
def test_those_that_deliver_and_keep_go_on_with_the_new_configuration(gateway: Gateway, server_program: Callable[[str], str]) -> None:
    def begun() -> dict[str, int]:
        return {name: process for name, process in gateway.children().items() if name in ("deliver", "keep")}

    before, table = begun(), gateway.state / "run" / "reputation"
    assert gateway.send(CLEAN)[0] == 250
    gateway.arrived(1)
    port = unused_port()
    gateway.configuration.write_text(
        f'{gateway.configuration.read_text()}[delivery]\nroute = "127.0.0.1:{port}"\n[reputation]\nsenders = 1000\nlearn = false\n'
    )
    assert table.stat().st_size == memory_size(65_536)
    with sink(server_program("smtp-sink"), port):
        reload(gateway)
        assert not set(before.items()) & set(begun().items())
        assert table.stat().st_size == memory_size(1_000)
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30, source_address=("127.0.0.7", 0)) as client:
            client.sendmail(REVERSE_PATH, [RECIPIENT], CLEAN)
        deadline = time.monotonic() + 30
        while (sent := f"next_hop=127.0.0.1:{port}" not in gateway.log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not sent, gateway.log.read_text()[-2000:]
        tracked = ["track", "--json", "--recipient", RECIPIENT]
        while gateway.command(*tracked).count('"delivered"') < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
    assert '"score": null' in gateway.command("reputation", "show", "127.0.0.7", "--no-dns", "--json")
    assert gateway.database("reputation.db", "SELECT count(*) FROM history WHERE name = '127.0.0.7'") == [(0,)]
    assert len(gateway.maildir()) == 1
    assert all(process["restarts"] == 0 for process in gateway.health()["processes"].values())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("max_rcpts_per_msg = 100", 'max_rcpts_per_msg = "many"', "max_rcpts_per_msg"),
        ("workers = 2", "workers = 1", "started again"),
        ("[mail_flow_policy.ACCEPTED]", '[scan]\nmodel = "esa.toml"\n[mail_flow_policy.ACCEPTED]', "could not start"),
    ],
)
def test_a_reload_that_cannot_be_is_told_and_the_old_configuration_stays(gateway: Gateway, old: str, new: str, words: str) -> None:
    children = gateway.children()
    change(gateway, old, new)
    line = reload(gateway, "event=service.reload_refused")
    assert words in line, line
    assert limit(gateway) == 10
    assert {name: pid for name, pid in gateway.children().items() if name in children} == children
    change(gateway, new, old.replace("100", "4"))
    reload(gateway)
    assert limit(gateway) == (4 if "100" in old else 10)
    assert not re.search("Traceback", gateway.log.read_text())
