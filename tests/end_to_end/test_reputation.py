"""Reputation of a real gateway: what senders send over real SMTP sessions decides how they are greeted later."""

from __future__ import annotations

import json
import smtplib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running import Gateway, running
from tests.gateway.name_server import name_server_beside

SPAM = (
    b"From: Winner Lottery <offers@bulk.example.net>\r\nTo: b@example.org\r\nReply-To: claim@freemail.example.com\r\n"
    b"Subject: YOU HAVE WON $$$ 1,000,000 !!! CLAIM NOW !!!\r\nContent-Type: text/html\r\n\r\n"
    b"<html><body><h1>CONGRATULATIONS!!! You are the lucky winner</h1><p>Dear friend, act now! Click here to claim your free money, "
    b"viagra, cialis cheap, 100% guaranteed. Send your bank account details and password immediately to verify your account. Urgent "
    b"business proposal: million dollars inheritance from the late minister.</p>"
    b'<a href="http://192.0.2.9/claim">http://www.bank.example.com/login</a> Unsubscribe</body></html>\r\n'
)
HAM = b"From: Anna <anna@example.net>\r\nTo: b@example.org\r\nSubject: minutes\r\n\r\nThe minutes of our meeting are in the folder.\r\n"
ZONE = {("9.0.0.127.allow.example.net", "A"): ("127.0.0.2",)}
TABLES = """
[[dns_list]]
zone = "allow.example.net"
weight = 3.0
[dns]
servers = ["{server}"]
[delivery]
route = "/dev/null"
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with name_server_beside(ZONE) as server:
        yield from running(tmp_path_factory.mktemp("gateway"), more=TABLES.format(server=server.address))


def send(gateway: Gateway, address: str, content: bytes, count: int = 1) -> list[int]:
    codes = []
    for _ in range(count):
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20, source_address=(address, 0)) as client:
            client.ehlo("bulk.example.net")
            client.mail("offers@bulk.example.net")
            client.rcpt("b@example.org")
            codes.append(client.data(content)[0])
    return codes


def greeting(gateway: Gateway, address: str) -> str:
    with socket.create_connection(("127.0.0.1", gateway.port), 20, source_address=(address, 0)) as client, client.makefile() as lines:
        return lines.readline().rstrip()


def shown(gateway: Gateway, *words: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(gateway.command("reputation", *words, "--json"))
    return found


def until(fact: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not (held := fact()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return held


def test_an_address_that_sends_spam_falls_into_the_blacklist_and_the_log_says_why(gateway: Gateway) -> None:
    assert set(send(gateway, "127.0.0.5", SPAM, 8)) == {550}
    assert until(lambda: greeting(gateway, "127.0.0.5").startswith("554 "))
    assert until(lambda: "connection.refused client=127.0.0.5 " in gateway.log.read_text())
    line = next(line for line in gateway.log.read_text().splitlines() if "connection.refused client=127.0.0.5 " in line)
    assert "group=BLACKLIST" in line
    assert "address 127.0.0.5 -4.4 (8 of 8 messages spam, last " in line
    assert greeting(gateway, "127.0.0.6").startswith("220 ")  # its neighbour has done nothing


def test_an_honest_sender_has_a_good_score_and_stays_welcome(gateway: Gateway) -> None:
    assert set(send(gateway, "127.0.1.8", HAM, 10)) == {250}
    assert until(lambda: shown(gateway, "show", "127.0.1.8")["score"] is not None)
    assert greeting(gateway, "127.0.1.8").startswith("220 ")


def test_a_dns_list_counts_beside_what_was_learned(gateway: Gateway) -> None:
    assert set(send(gateway, "127.0.0.9", SPAM, 5)) == {550}
    assert until(lambda: len(shown(gateway, "show", "127.0.0.9")["evidence"]) >= 3)  # type: ignore[arg-type]
    found = shown(gateway, "show", "127.0.0.9")
    assert {piece["source"] for piece in found["evidence"]} >= {"address", "network", "dnslist"}  # type: ignore[attr-defined]
    assert greeting(gateway, "127.0.0.9").startswith("220 ")  # -3.3, less for its network, and 3.0 for the list


def test_what_was_learned_is_kept_over_a_restart_and_can_be_forgotten(gateway: Gateway) -> None:
    send(gateway, "127.0.2.5", SPAM, 8)
    assert until(lambda: greeting(gateway, "127.0.2.5").startswith("554 "))
    gateway.stop()
    gateway.start()
    assert greeting(gateway, "127.0.2.5").startswith("554 ")
    gateway.command("reputation", "forget", "127.0.2.5", "127.0.2.0/24", "--yes")
    assert until(lambda: greeting(gateway, "127.0.2.5").startswith("220 "))


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Gateway]:
    more = '[delivery]\nroute = "/dev/null"\n[mail_flow_policy.ACCEPTED]\ndhap_limit = 0\n'
    yield from running(tmp_path, workers=1, more=more, listener='accept_domains = ["example.org"]\n')


def test_recipients_tried_in_vain_cost_points_too(strict: Gateway) -> None:
    for _ in range(4):
        with smtplib.SMTP("127.0.0.1", strict.port, timeout=20, source_address=("127.0.3.5", 0)) as client:
            client.ehlo("guess.example.net")
            client.mail("a@example.net")
            assert {client.rcpt(f"{name}@example.com")[0] for name in ("anna", "bert", "carl", "dora", "emil", "fred")} == {550}
    assert until(lambda: greeting(strict, "127.0.3.5").startswith("554 "))


def test_metrics_tell_questions_and_histories(gateway: Gateway) -> None:
    send(gateway, "127.0.4.5", HAM)
    body = gateway.http("/metrics")[1]
    assert until(lambda: "esa_reputation_rows 0" not in gateway.http("/metrics")[1])
    assert "esa_dns_questions_total" in body
    assert "esa_dns_unanswered_total" in body
