"""What an administrator does to the queue of a real gateway: hold back, let go, send another way, return, empty, shut down."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running import Gateway, environment, running, unused_port
from tests.gateway.test_client import sink

CONTENT = b"From: a@example.net\r\nSubject: hello\r\n\r\nbody\r\n"
PATIENCE = 20.0


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    yield from running(tmp_path, workers=1)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def greeting(gateway: Gateway) -> int:
    with smtplib.SMTP(timeout=10) as client:
        return client.connect("127.0.0.1", gateway.port)[0]


def status(gateway: Gateway) -> dict[str, object]:
    told: dict[str, object] = json.loads(gateway.command("queue", "status", "--json"))
    return told


def run(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        gateway._command(*words), cwd=gateway.folder, env=environment(), capture_output=True, text=True, timeout=90, check=False
    )


def test_a_suspended_listener_puts_clients_off_and_lets_transactions_end_over_a_restart_too(gateway: Gateway) -> None:
    begun = smtplib.SMTP("127.0.0.1", gateway.port, timeout=30)
    begun.ehlo("client.example.net")
    begun.mail("a@example.net")
    begun.rcpt("b@example.org")
    gateway.command("queue", "suspend", "listener")
    until(lambda: greeting(gateway) == 421)
    assert begun.data(CONTENT)[0] == 250
    begun.close()
    gateway.stop()
    gateway.start()
    assert greeting(gateway) == 421
    assert status(gateway)["suspended"] == {"listeners": "all", "destinations": []}
    gateway.command("queue", "resume", "listener")
    until(lambda: greeting(gateway) == 220)
    gateway.arrived(1)


def test_suspended_delivery_holds_mail_over_a_restart_until_it_is_resumed(gateway: Gateway) -> None:
    gateway.command("queue", "suspend", "delivery")
    until(lambda: "event=delivery.suspended" in gateway.log.read_text())
    for _ in range(5):
        assert gateway.send(CONTENT)[0] == 250
    until(lambda: status(gateway)["waiting"] == 5)
    gateway.stop()
    gateway.start()
    gateway.command("queue", "retry", "--all")  # what is suspended stays so
    time.sleep(1.5)
    assert gateway.maildir() == []
    assert json.loads(gateway.command("queue", "hosts", "--json"))["state"] == "suspended"
    gateway.command("queue", "resume")
    gateway.arrived(5)
    assert status(gateway)["waiting"] == 0


def test_one_destination_is_suspended_and_another_is_not(gateway: Gateway) -> None:
    with gateway.configuration.open("a") as file:
        file.write('[[smtp_route]]\ndomains = ["held.example"]\nhosts = ["maildir:held"]\n')
    gateway.stop()
    gateway.start()
    gateway.command("queue", "suspend", "delivery", "maildir:held")
    until(lambda: "event=delivery.suspended" in gateway.log.read_text())
    gateway.send(CONTENT, "x@held.example", "y@example.org")
    gateway.arrived(1)
    [waiting] = [json.loads(line) for line in gateway.command("queue", "list", "--json").splitlines()]
    assert (waiting["destination"], waiting["state"], waiting["attempts"]) == ("maildir:held", "waiting", 0)
    gateway.command("queue", "resume", "delivery", "maildir:held")
    until(lambda: len(list((gateway.state / "held/new").glob("*"))) == 1)


def test_mail_that_waits_is_returned_or_deleted_or_sent_another_way(gateway: Gateway, server_program: Callable[[str], str]) -> None:
    gateway.command("queue", "suspend", "delivery")
    until(lambda: "event=delivery.suspended" in gateway.log.read_text())
    for recipient in ("returned@example.org", "deleted@example.org", "turned@example.net"):
        gateway.send(CONTENT, recipient)
    until(lambda: status(gateway)["waiting"] == 3)
    assert run(gateway, "queue", "bounce", "--yes").returncode == 2  # nothing named
    assert run(gateway, "queue", "bounce", "--to", "returned@example.org", "--yes").stderr == "bounced 1 entry\n"
    assert json.loads(run(gateway, "queue", "delete", "--to", "deleted@example.org", "--yes", "--json").stdout) == {"deleted": 1}
    port = unused_port()
    told = run(gateway, "queue", "redirect", "--to", "turned@example.net", "--host", f"127.0.0.1:{port}", "--yes")
    assert told.stderr == "redirected 1 entry\n"
    with sink(server_program("smtp-sink"), port):
        gateway.command("queue", "resume")
        [bounce] = gateway.arrived(1)  # the sender is told of what was returned, and of nothing else
        until(lambda: status(gateway)["waiting"] == 0)
    assert b"Final-Recipient: rfc822; returned@example.org" in bounce
    assert len(gateway.maildir()) == 1
    statuses = "SELECT address, status FROM recipient WHERE address LIKE '%ed@%' ORDER BY address"
    until(
        lambda: (
            gateway.database("tracking.db", statuses)
            == [("deleted@example.org", "deleted"), ("returned@example.org", "bounced"), ("turned@example.net", "delivered")]
        )
    )


def test_a_gateway_that_is_drained_delivers_what_waits_and_ends(gateway: Gateway) -> None:
    gateway.command("queue", "suspend", "delivery")
    until(lambda: "event=delivery.suspended" in gateway.log.read_text())
    for _ in range(20):
        gateway.send(CONTENT)
    refused = run(gateway, "queue", "drain")
    assert (refused.returncode, "resume delivery" in refused.stderr) == (3, True)
    gateway.command("queue", "resume")
    done = run(gateway, "queue", "drain", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"drained": True, "entries": 0, "stopped": True}
    assert len(gateway.maildir()) == 20
    gateway.end()
    gateway.start()
    assert greeting(gateway) == 220  # what was suspended for the drain is so no longer
    again = run(gateway, "queue", "drain", "--stay")
    assert again.returncode == 0
    assert greeting(gateway) == 421


def test_a_drain_that_cannot_end_says_what_is_left(tmp_path: Path) -> None:
    for gateway in running(tmp_path, workers=1, more=f'[delivery]\nroute = "127.0.0.1:{unused_port()}"\n'):
        gateway.send(CONTENT)
        done = run(gateway, "queue", "drain", "--timeout", "2 s")
        assert done.returncode == 1
        assert "1 entry still to be delivered" in done.stderr
        assert greeting(gateway) == 421


def test_a_queue_that_is_lost_while_the_gateway_is_down_is_made_anew_with_equal_counts(gateway: Gateway) -> None:
    gateway.send(CONTENT)
    gateway.arrived(1)
    until(lambda: gateway.database("tracking.db", "SELECT count(*) FROM recipient WHERE status = 'delivered'") == [(1,)])
    gateway.command("queue", "suspend", "delivery")
    until(lambda: "event=delivery.suspended" in gateway.log.read_text())
    for _ in range(30):
        gateway.send(CONTENT)
    until(lambda: status(gateway)["waiting"] == 30)
    gateway.stop()
    for path in gateway.state.glob("queue.db*"):
        path.unlink()
    gateway.start()
    until(lambda: status(gateway)["waiting"] == 30)
    assert "event=queue.rebuilt" in gateway.log.read_text()
    gateway.command("queue", "resume")
    gateway.arrived(31)


def test_a_queue_that_is_damaged_under_a_running_gateway_is_made_anew_and_mail_flows(gateway: Gateway) -> None:
    gateway.command("queue", "suspend", "delivery")
    until(lambda: "event=delivery.suspended" in gateway.log.read_text())
    for _ in range(10):
        gateway.send(CONTENT)
    until(lambda: status(gateway)["waiting"] == 10)
    with sqlite3.connect(gateway.state / "queue.db", timeout=20) as database:
        database.execute("UPDATE entry SET recipients = 'x'")
    database.close()
    gateway.command("queue", "resume")
    gateway.arrived(10)
    assert "event=queue.rebuilt" in gateway.log.read_text()
    gateway.send(CONTENT)
    gateway.arrived(11)
    until(lambda: gateway.database("tracking.db", "SELECT count(*) FROM recipient WHERE status = 'delivered'") == [(11,)])


def test_the_books_balance_while_mail_moves_and_after_a_stop(gateway: Gateway) -> None:
    sent = 0
    for _ in range(4):
        for _ in range(25):
            assert gateway.send(CONTENT, "b@example.org", "c@example.org")[0] == 250
            sent += 2
        told = run(gateway, "queue", "audit", "--json")
        assert told.returncode == 0, told.stdout
        assert json.loads(told.stdout)["accepted"] == sent
    gateway.stop()
    told = run(gateway, "queue", "audit", "--json")
    assert (told.returncode, json.loads(told.stdout)["accepted"]) == (0, sent)


@pytest.mark.parametrize("limits", ['reserve = "900000 GiB"', "reserve_files = 9000000000000"])
def test_mail_is_put_off_while_less_is_free_than_the_reserve(tmp_path: Path, limits: str) -> None:
    for gateway in running(tmp_path, workers=1, more=f"[limits]\n{limits}\n"):
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
            client.ehlo("client.example.net")
            code, text = client.mail("a@example.net")
            assert (code, text[:5]) == (452, b"4.3.1")
        assert gateway.http("/health")[0] == 503
        gateway.configuration.write_text(gateway.configuration.read_text().replace(limits, ""))
        gateway.stop()
        gateway.start()
        assert gateway.send(CONTENT)[0] == 250


def test_an_older_esa_refuses_the_state_of_a_newer_one_in_one_line_and_changes_nothing(gateway: Gateway) -> None:
    gateway.send(CONTENT)
    gateway.arrived(1)
    gateway.stop()
    with sqlite3.connect(gateway.state / "tracking.db") as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    before = {path: path.read_bytes() for path in gateway.state.glob("*.db")}
    refused = run(gateway, "serve")
    assert refused.returncode == 3
    assert "a newer esa has written this state folder: tracking.db has schema 99" in refused.stderr
    assert {path: path.read_bytes() for path in gateway.state.glob("*.db")} == before


@pytest.mark.parametrize("how", ["term", "kill"])
def test_what_was_acknowledged_before_an_end_under_load_is_accounted_for_afterwards(gateway: Gateway, how: str) -> None:
    """SIGTERM: clients hear 250, 421, or the end of the connection. kill -9 of all processes: whatever was acknowledged is there."""
    acknowledged: list[str] = []
    odd: list[object] = []
    is_over = threading.Event()

    def load() -> None:
        while not is_over.is_set():
            try:
                code, text = gateway.send(CONTENT)
                if code == 250:
                    acknowledged.append(text.split()[-1])
                elif code != 421:
                    odd.append((code, text))
            except smtplib.SMTPResponseException as refused:
                if refused.smtp_code not in (421, -1):
                    odd.append(refused)
            except (OSError, smtplib.SMTPException):
                pass

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    until(lambda: len(acknowledged) >= 40)
    if how == "term":
        gateway.stop()
    else:
        for process in (*gateway.children().values(), gateway.pid):
            os.kill(process, signal.SIGKILL)
        gateway.end()
    is_over.set()
    for client in clients:
        client.join()
    assert not odd
    before = json.loads(run(gateway, "queue", "audit", "--json").stdout)
    gateway.start()
    until(lambda: status(gateway)["waiting"] == status(gateway)["in_flight"] == 0)
    after = json.loads(run(gateway, "queue", "audit", "--json").stdout)
    for told in (before, after):
        assert told["balanced"]
        assert told["accepted"] >= len(acknowledged)
    until(
        lambda: (
            {str(row[0]) for row in gateway.database("tracking.db", "SELECT message FROM recipient WHERE status = 'delivered'")}
            >= set(acknowledged)
        )
    )
