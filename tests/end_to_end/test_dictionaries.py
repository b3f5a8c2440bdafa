"""Dictionaries of a whole gateway: compiled once, mapped by its receivers, changed while mail comes in."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running import Gateway, running

MORE = '[scan]\ndictionaries = ["words.txt"]\n[mail_policy]\nsuspect = "deliver"\npositive = "deliver"\n'
MAIL = b"From: a@example.net\r\nTo: b@example.org\r\nSubject: alpha and beta\r\n\r\nDear Ben,\r\n\r\nhere it is.\r\n"
KEPT = re.compile(r"event=message\.kept .*?(?: dictionaries=(\S+))? disposition=")


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("alpha, 1\n")
    return path


@pytest.fixture
def gateway(tmp_path: Path, words: Path) -> Iterator[Gateway]:
    yield from running(tmp_path, workers=2, more=MORE)


def kept(gateway: Gateway) -> list[str]:
    """Scores of the dictionaries in each message that was kept, in order."""
    return KEPT.findall(gateway.log.read_text())


def until(condition: Callable[[], object], patience: float = 90.0) -> None:
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def logged(gateway: Gateway, event: str) -> list[str]:
    return [line for line in gateway.log.read_text().splitlines() if f"event={event}" in line]


def compiled(gateway: Gateway) -> list[str]:
    return sorted(path.name for path in (gateway.state / "compiled").iterdir())


def damage(image: bytes) -> bytes:
    return image[:200] + bytes([image[200] ^ 1]) + image[201:]


def reload(gateway: Gateway) -> None:
    os.kill(gateway.pid, signal.SIGHUP)


@pytest.mark.servers
def test_terms_change_under_load_and_every_message_is_taken(gateway: Gateway, words: Path, server_program: Callable[[str], str]) -> None:
    def source(messages: int) -> subprocess.Popen[bytes]:
        options = ["-s", "8", "-l", "2000", "-f", "a@example.net", "-t", "b@example.org", "-S", "alpha and beta"]
        return subprocess.Popen([server_program("smtp-source"), "-m", str(messages), *options, f"127.0.0.1:{gateway.port}"])

    first = compiled(gateway)
    rounds = [source(400)]
    until(lambda: len(kept(gateway)) > 50)
    words.write_text("beta, 2\n")
    reload(gateway)
    while len(logged(gateway, "dictionaries.loaded")) < 4:  # of both receivers, and of their successors
        assert rounds[-1].wait(60) == 0
        rounds.append(source(400))
        assert len(rounds) < 100
    assert rounds[-1].wait(60) == 0
    until(lambda: not {"receive-0", "receive-1"} & gateway.children().keys())  # they have retired
    before = 400 * len(rounds)
    until(lambda: len(kept(gateway)) == before)
    last = source(200)
    assert last.wait(60) == 0
    until(lambda: len(kept(gateway)) == before + 200)
    scores = kept(gateway)
    assert set(scores) == {"words:1", "words:2"}
    assert set(scores[before:]) == {"words:2"}
    assert len(compiled(gateway)) == 2
    assert compiled(gateway) != first
    until(lambda: '"words": 2' in gateway.command("track", "--json", "--recipient", "b@example.org"), 400.0)  # tracking follows


def test_a_dictionary_that_cannot_be_compiled_changes_nothing_and_says_so(gateway: Gateway, words: Path) -> None:
    words.write_text("alpha, 1\nbeta, 99\n")
    reload(gateway)
    until(lambda: logged(gateway, "dictionaries.refused"))
    assert f"{words}, line 2" in logged(gateway, "dictionaries.refused")[0]
    gateway.send(MAIL)
    until(lambda: kept(gateway) == ["words:1"])
    os.kill(gateway.children()["receive-0"], signal.SIGKILL)
    os.kill(gateway.children()["receive-1"], signal.SIGKILL)
    until(lambda: len(logged(gateway, "dictionaries.loaded")) == 4)  # successors take what is in force
    until(lambda: {"receive-0", "receive-1"} <= gateway.children().keys())
    gateway.send(MAIL)
    until(lambda: kept(gateway) == ["words:1", "words:1"])


def test_dictionaries_that_compile_and_successors_that_cannot_start_change_nothing(gateway: Gateway, words: Path) -> None:
    first, before = compiled(gateway), gateway.configuration.read_text()
    words.write_text("beta, 2\n")
    (gateway.folder / "users").write_text("anna:no hash\n")
    gateway.configuration.write_text(f'{before}[authentication]\nusers = "{gateway.folder}/users"\n')
    for refused in (1, 2):  # the second has nothing of the first to stand on
        reload(gateway)
        until(lambda count=refused: len(logged(gateway, "service.reload_refused")) == count)  # type: ignore[misc]
    assert len(logged(gateway, "dictionaries.compiled")) == 3
    assert compiled(gateway) == first
    for name in ("receive-0", "receive-1"):
        os.kill(gateway.children()[name], signal.SIGKILL)
    until(lambda: len(logged(gateway, "dictionaries.loaded")) == 8)  # of two at the start, four that failed, two successors
    until(lambda: gateway.http("/health")[0] == 200)
    gateway.send(MAIL)
    until(lambda: kept(gateway) == ["words:1"])
    assert not logged(gateway, "compiled.damaged")
    gateway.configuration.write_text(before)
    reload(gateway)
    until(lambda: logged(gateway, "service.reloaded"))
    gateway.send(MAIL)
    until(lambda: kept(gateway) == ["words:1", "words:2"])
    assert len(compiled(gateway)) == 2
    assert compiled(gateway) != first


def test_what_was_compiled_is_used_again_and_what_is_damaged_is_made_again(gateway: Gateway, words: Path) -> None:
    gateway.stop()
    gateway.start()
    assert len(logged(gateway, "dictionaries.compiled")) == 1
    gateway.stop()
    (file,) = (gateway.state / "compiled").glob("*.patterns")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    (file.parent / ".left.patterns").write_bytes(b"of a process that was killed")
    gateway.start()
    assert "the checksum differs" in logged(gateway, "compiled.damaged")[0]
    assert len(logged(gateway, "dictionaries.compiled")) == 2
    assert file.read_bytes() == whole
    assert compiled(gateway) == sorted([file.name, "current"])
    gateway.send(MAIL)
    until(lambda: kept(gateway) == ["words:1"])


def test_a_receiver_that_finds_damage_compiles_its_own(gateway: Gateway) -> None:
    (file,) = (gateway.state / "compiled").glob("*.patterns")
    damaged = file.with_name("damaged")
    damaged.write_bytes(damage(file.read_bytes()))
    damaged.replace(file)  # whoever maps the old file keeps it
    for name in ("receive-0", "receive-1"):
        os.kill(gateway.children()[name], signal.SIGKILL)
    until(lambda: len(logged(gateway, "compiled.damaged")) == 2)
    until(lambda: gateway.http("/health")[0] == 200)
    gateway.send(MAIL)
    until(lambda: kept(gateway) == ["words:1"])


def test_a_gateway_does_not_start_with_a_dictionary_that_cannot_be_used(tmp_path: Path, words: Path) -> None:
    words.write_text("alpha, 1\nalpha, 2\n")
    gateway = Gateway(tmp_path, more=MORE)
    with pytest.raises(RuntimeError, match=r"(?s)stands there twice.*dictionaries cannot be used"):
        gateway.start()
    gateway.end()


def test_an_entry_added_by_command_is_in_use_without_a_restart_and_its_hits_are_counted(gateway: Gateway) -> None:
    heard = gateway.command("dictionary", "add", "words", "beta", "--weight", "4", "--owner", "tests", "--json")
    assert json.loads(heard)["reload"] is True
    until(lambda: len(logged(gateway, "dictionaries.loaded")) == 4)
    until(lambda: not {"receive-0", "receive-1"} & gateway.children().keys())
    gateway.send(MAIL)
    until(lambda: kept(gateway) == ["words:5"])

    def hits() -> dict[str, int]:
        lines = gateway.command("dictionary", "show", "words", "--json").splitlines()
        return {one["entry"]: one["hits"] for one in map(json.loads, lines)}

    until(lambda: hits() == {"alpha": 1, "beta": 1})
    assert json.loads(gateway.command("dictionary", "remove", "words", "alpha", "--json"))["reload"] is True
    until(lambda: len(logged(gateway, "dictionaries.loaded")) == 6)
    until(lambda: {"receive-0", "receive-1"} <= gateway.children().keys() and not {"receive-2", "receive-3"} & gateway.children().keys())
    gateway.send(MAIL)
    until(lambda: kept(gateway) == ["words:5", "words:4"])


def test_a_gateway_whose_dictionaries_are_empty_takes_mail(tmp_path: Path, words: Path) -> None:
    words.write_text("# nobody yet\n")
    for gateway in running(tmp_path, workers=1, more=MORE):
        assert gateway.send(MAIL)[0] == 250
