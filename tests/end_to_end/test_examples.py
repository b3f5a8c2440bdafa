"""docs/examples in real gateways: each does what its comments promise, and `esa config check` reads every one."""

from __future__ import annotations

import json
import shutil
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esa.config.load import load
from esa.gateway.rehearsal.judgement import Mail
from esa.gateway.rehearsal.rehearsal import Rehearsal
from esa.message.envelope import Envelope, Session
from tests.end_to_end.running import Gateway, environment, running, unused_port
from tests.end_to_end.test_mail_policies import tracked

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MAIL = b"From: Anna <a@example.net>\r\nTo: b@example.org\r\nSubject: hello\r\n\r\nDear Ben.\r\n"
UNSCORED = "[reputation]\nlearn = false\n"


def copied(name: str, folder: Path) -> str:
    """The text of an example; files that it names are laid beside it."""
    for path in EXAMPLES.glob(f"{name}.*"):
        shutil.copy(path, folder)
    return (EXAMPLES / f"{name}.toml").read_text("utf-8")


def send(port: int, sender: str, content: bytes = MAIL, recipient: str = "b@example.org") -> tuple[int, str]:
    """The reply to the mail data, or to the recipient if that is refused."""
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.ehlo("client.example.net")
        client.mail(sender)
        code, text = client.rcpt(recipient)
        if code == 250:
            code, text = client.data(content)
        return code, text.decode()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_configuration_is_read_and_nothing_in_it_is_wrong(path: Path, tmp_path: Path) -> None:
    copied(path.stem, tmp_path)
    command = [sys.executable, "-m", "esa.cli", "config", "check", path.name]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("advice: " in done.stderr) == (path.stem == "hat-reputation-ranges")  # which shows what is advised against
    assert f"{path.name} is right" in done.stdout


def test_a_rehearsal_names_the_filter_that_refuses_a_recipient_whatever_the_message(tmp_path: Path) -> None:
    (tmp_path / "esa.toml").write_text(copied("ex-employees", tmp_path))
    with Rehearsal(load(tmp_path / "esa.toml")) as rehearsal:
        recipients = ("b@example.org", "bob@example.org")
        session = Session("192.0.2.1", 4321, "client.example.net", "ESMTP", "mail", time.time())
        judgement = rehearsal.judge(Mail("0" * 26, MAIL, session, Envelope("a@example.net", recipients)))
    stages = [(stage.answer, stage.rule) for stage in judgement.stages if stage.name == "recipient"]
    assert stages[1] == ("550 5.1.6 bob@example.org has left, write to office@example.org", "content filter left")
    assert stages[0][0].startswith("250 ")
    filters = [stage.subject for stage in judgement.stages if stage.name.startswith("content filter")]
    assert filters == ["left for b@example.org"]  # once, for the recipient that is there


# --- own-domain.toml ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, int]]:
    folder = tmp_path_factory.mktemp("own-domain")
    gateway = Gateway(folder, workers=1)
    head = gateway.configuration.read_text().partition("[[listener]]")
    private = unused_port()
    example = copied("own-domain", folder).replace("0.0.0.0", "127.0.0.1").replace("192.0.2.0/24", "127.0.0.0/8")
    example = example.replace("port = 25\n", f"port = {gateway.port}\n").replace("port = 587\n", f"port = {private}\n")
    gateway.configuration.write_text(f"{head[0]}[metrics]\nport = {gateway.health_port}\n{UNSCORED}{example}")
    gateway.start()
    yield gateway, private
    gateway.end()


@pytest.mark.parametrize("sender", ["boss@example.org", "Boss@EXAMPLE.ORG", "news@shop.example.org"])
def test_outside_mail_that_claims_our_own_domain_is_dropped(own_domain: tuple[Gateway, int], sender: str) -> None:
    gateway, _ = own_domain
    before = len(gateway.maildir())
    code, text = send(gateway.port, sender)
    assert code == 250
    message = tracked(gateway, text.split()[-1], 1)
    assert [(one["status"], one["reply"]) for one in message["recipients"]] == [("dropped", "message filter ext_spoof")]  # type: ignore[attr-defined]
    assert len(gateway.maildir()) == before


@pytest.mark.parametrize("sender", ["a@example.net", "a@example.org.attacker.test", "a@notexample.org", ""])
def test_other_outside_mail_comes_in(own_domain: tuple[Gateway, int], sender: str) -> None:
    gateway, _ = own_domain
    before = len(gateway.maildir())
    assert send(gateway.port, sender)[0] == 250
    gateway.arrived(before + 1)


def test_our_own_mail_goes_out_by_the_private_listener(own_domain: tuple[Gateway, int]) -> None:
    gateway, private = own_domain
    before = len(gateway.maildir())
    assert send(private, "boss@example.org", recipient="a@example.net")[0] == 250
    gateway.arrived(before + 1)


# --- bad-senders.toml ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bad_senders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("bad-senders")
    yield from running(folder, workers=1, more=copied("bad-senders", folder) + UNSCORED)


@pytest.mark.parametrize("sender", ["eve@bad.example", "EVE@bad.example", "anybody@spam.example"])
def test_mail_of_a_bad_sender_is_dropped(bad_senders: Gateway, sender: str) -> None:
    code, text = send(bad_senders.port, sender)
    assert code == 250
    message = tracked(bad_senders, text.split()[-1], 1)
    assert [(one["status"], one["reply"]) for one in message["recipients"]] == [("dropped", "message filter bad_senders")]  # type: ignore[attr-defined]


def test_a_sender_of_weight_is_refused(bad_senders: Gateway) -> None:
    code, text = send(bad_senders.port, "mallory@bad.example")
    assert (code, text.partition(" (")[0]) == (550, "5.7.1 We do not take your mail")


def test_who_is_taken_off_the_list_may_write_again_without_a_restart(bad_senders: Gateway) -> None:
    assert send(bad_senders.port, "adam@bad.example")[0] == 250
    bad_senders.arrived(1)
    bad_senders.command("dictionary", "add", "bad-senders", "adam@bad.example", "--until", "2099-01-01")
    mark = "event=service.reloaded"
    wait_for(bad_senders, mark, 1)
    _, text = send(bad_senders.port, "adam@bad.example")
    message = tracked(bad_senders, text.split()[-1], 1)
    assert [one["status"] for one in message["recipients"]] == ["dropped"]  # type: ignore[attr-defined]
    bad_senders.command("dictionary", "remove", "bad-senders", "adam@bad.example")
    wait_for(bad_senders, mark, 2)
    assert send(bad_senders.port, "adam@bad.example")[0] == 250
    bad_senders.arrived(2)


def test_entries_that_filters_find_in_addresses_are_counted_as_hits(bad_senders: Gateway) -> None:
    def hits() -> dict[str, int]:
        lines = bad_senders.command("dictionary", "show", "bad-senders", "--json").splitlines()
        return {one["entry"]: one["hits"] for one in map(json.loads, lines)}

    before = hits()
    for sender in ("one@spam.example", "two@spam.example", "mallory@bad.example"):
        send(bad_senders.port, sender)
    deadline = time.monotonic() + 20
    wanted = {"spam.example": before["spam.example"] + 2, "mallory@bad.example": before["mallory@bad.example"] + 1}
    while any((now := hits())[entry] < count for entry, count in wanted.items()):
        assert time.monotonic() < deadline, (now, wanted)
        time.sleep(0.1)


def wait_for(gateway: Gateway, mark: str, times: int) -> None:
    deadline = time.monotonic() + 30
    while gateway.log.read_text().count(mark) < times:
        assert time.monotonic() < deadline, gateway.log.read_text()[-3000:]
        time.sleep(0.05)


# --- account-weights.toml -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("accounts")
    example = copied("account-weights", folder).replace("192.0.2.0/24", "127.0.0.0/8")
    yield from running(folder, workers=1, more=example + UNSCORED)


@pytest.mark.parametrize(
    ("body", "is_held"),
    [
        ("account, account and account", True),
        ("Account 021000021 of that bank", True),
        ("bank bank bank bank bank", False),
        ("account 021000022 of that bank", False),  # no routing number: its check digit is wrong
        ("accountant, accounting, accounts: whole words count", False),
    ],
)
def test_words_weigh_and_from_six_on_the_message_is_held(accounts: Gateway, body: str, is_held: bool) -> None:
    for path in accounts.maildir():
        path.unlink()
    code, text = send(accounts.port, "anna@example.org", MAIL.replace(b"Dear Ben.", body.encode()), "b@example.net")
    assert code == 250
    message = tracked(accounts, text.split()[-1], 1)
    statuses = {one["address"]: one["status"] for one in message["recipients"]}  # type: ignore[attr-defined]
    assert statuses["b@example.net"] == ("quarantined" if is_held else "delivered")
    [content] = accounts.arrived(1)
    if is_held:
        assert b"Delivered-To: data-protection@example.org\r\n" in content
        assert b"Subject: Held: hello, of anna@example.org\r\n" in content
        held = [json.loads(line) for line in accounts.command("quarantine", "list", "--json").splitlines()]
        assert [one["quarantines"] for one in held if one["id"] == text.split()[-1]] == [["Account data"]]
