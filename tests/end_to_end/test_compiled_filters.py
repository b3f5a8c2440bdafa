"""Real gateways: what filters look for is compiled once, and mapped by every receiver."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running import Gateway, running
from tests.end_to_end.test_dictionaries import compiled, logged, reload, until

MORE = '[filters]\nfiles = ["*.filters"]\n[scan]\nanti_spam = false\n'
MAIL = b"From: a@example.net\r\nTo: b@example.org\r\nSubject: minutes\r\n\r\nThe confidential minutes.\r\n"


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    path = tmp_path / "mail.filters"
    path.write_text("first: if (body-contains('confidential')) { log-entry('first'); }\n")
    return path


@pytest.fixture
def gateway(tmp_path: Path, filters: Path) -> Iterator[Gateway]:
    yield from running(tmp_path, workers=2, more=MORE)


def written(gateway: Gateway) -> list[str]:
    return [line.partition(" entry=")[2] for line in logged(gateway, "filter.log")]


def test_expressions_of_filters_are_compiled_once_and_mapped_by_every_receiver(gateway: Gateway) -> None:
    assert len(logged(gateway, "dictionaries.compiled")) == 1
    assert len(logged(gateway, "dictionaries.loaded")) == 2
    assert len(compiled(gateway)) == 2
    gateway.send(MAIL)
    until(lambda: written(gateway) == ["first"])


def test_changed_filters_are_compiled_anew_on_reload(gateway: Gateway, filters: Path) -> None:
    before = compiled(gateway)
    filters.write_text("second: if (body-contains('minutes')) { log-entry('second'); }\n")
    reload(gateway)
    until(lambda: logged(gateway, "service.reloaded"))
    assert compiled(gateway) != before
    gateway.send(MAIL)
    until(lambda: written(gateway) == ["second"])
    assert not logged(gateway, "compiled.damaged")


def test_filters_that_listen_for_no_text_need_no_file(gateway: Gateway, filters: Path) -> None:
    filters.write_text("all: if (true) { log-entry('all'); }\n")
    reload(gateway)
    until(lambda: logged(gateway, "service.reloaded"))
    gateway.send(MAIL)
    until(lambda: written(gateway) == ["all"])
    for name in ("receive-2", "receive-3"):
        os.kill(gateway.children()[name], signal.SIGKILL)
    until(lambda: gateway.http("/health")[0] == 200)
    assert not logged(gateway, "compiled.damaged")


def test_expressions_that_cannot_be_compiled_together_keep_a_gateway_from_starting_and_it_says_why(tmp_path: Path, filters: Path) -> None:
    several = [f"f{number}: if (body-contains('[a-z]{{{number + 2}}}')) {{ drop(); }}\n" for number in range(101)]
    filters.write_text("".join(several))
    gateway = Gateway(tmp_path, more=MORE)
    with pytest.raises(
        RuntimeError, match=r"(?s)have no text that must stand in what they match.*the filters or dictionaries cannot be used"
    ):
        gateway.start()
    gateway.end()
