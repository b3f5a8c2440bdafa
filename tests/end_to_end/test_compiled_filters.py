"""Real gateways: what filters look for is compiled once and mapped by every receiver, and what filters cost is counted and kept."""

from __future__ import annotations

import json
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
    until(lambda: not {"receive-0", "receive-1"} & gateway.children().keys())  # they have retired
    assert compiled(gateway) != before
    gateway.send(MAIL)
    until(lambda: written(gateway) == ["second"])
    assert not logged(gateway, "compiled.damaged")


def test_filters_that_listen_for_no_text_need_no_file(gateway: Gateway, filters: Path) -> None:
    filters.write_text("all: if (true) { log-entry('all'); }\n")
    reload(gateway)
    until(lambda: logged(gateway, "service.reloaded"))
    until(lambda: not {"receive-0", "receive-1"} & gateway.children().keys())  # they have retired
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


def costs(gateway: Gateway) -> dict[str, dict[str, object]]:
    lines = gateway.command("filters", "check", "--cost", "--json").splitlines()
    return {str(one["name"]): one for one in map(json.loads, lines) if "hits" in one}


def test_hits_and_costs_of_filters_are_told_and_kept_over_restarts(tmp_path: Path, filters: Path) -> None:
    more = "second: if (subject == 'minutes' and rcpt-count > 0) { log-entry('second'); }\nnever: if (subject == 'hours') { drop(); }\n"
    filters.write_text(filters.read_text() + more)
    for gateway in running(tmp_path, workers=1, more=MORE):
        for _ in range(200):
            gateway.send(MAIL)
        gateway.stop()
        kept = costs(gateway)
        assert {name: one["hits"] for name, one in kept.items()} == {"first": 200, "second": 200, "never": 0}
        assert kept["first"]["last_hit"]
        assert kept["second"]["evaluated"]
        assert {str(one["condition"]) for one in kept["second"]["conditions"]} == {'subject == "minutes"', "rcpt-count > 0"}  # type: ignore[attr-defined]
        gateway.start()
        metrics = gateway.http("/metrics")[1]
        assert 'esa_filter_hits_total{filter="second",stage="message filters"} 200.0' in metrics
        assert 'esa_policy_microseconds_total{stage="message filters"}' in metrics
        gateway.send(MAIL)
        gateway.stop()
        assert costs(gateway)["first"]["hits"] == 201
        filters.write_text(filters.read_text().replace("'confidential'", "'secret'"))
        changed = costs(gateway)  # another text is another filter, and the times of before are of others
        assert {name: (one["hits"], one["evaluated"]) for name, one in changed.items()} == {
            "first": (0, 0),
            "second": (201, 0),
            "never": (0, 0),
        }
        gateway.start()
