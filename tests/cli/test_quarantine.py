"""`esa quarantine`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from esa.store.quarantine import content_path
from tests.cli.command import Done, esa
from tests.cli.states import State, make_state, processes
from tests.store.messages import PREFIX


@pytest.fixture
def state(tmp_path: Path) -> State:
    return make_state(tmp_path / "state")


@pytest.fixture(params=[False, True], ids=["nothing runs", "the service runs"])
def beside(request: pytest.FixtureRequest, state: State) -> Iterator[bool]:
    """Once where no service runs, once beside one."""
    with processes(state.folder) if request.param else nullcontext():
        yield request.param


def quarantine(state: State, *words: object) -> Done:
    return esa("quarantine", *words, "--state", state.folder)


def test_list_shows_what_is_held(state: State, beside: bool) -> None:
    done = quarantine(state, "list")
    assert done.code == 0
    assert state.held in done.out
    assert "41.5" in done.out
    assert "1 message held" in done.err


def test_list_as_json_is_one_object_a_line(state: State, beside: bool) -> None:
    [item] = quarantine(state, "list", "--json").lines
    assert (item["id"], item["state"], item["verdict"], item["score"]) == (state.held, "held", "suspect", 41.5)
    assert (item["reverse_path"], item["recipients"], item["client"]) == ("", ["user@example.org"], "192.0.2.7")


def test_show_prints_the_header_and_nothing_steers_the_terminal(state: State) -> None:
    done = quarantine(state, "show", state.held)
    assert done.code == 0
    assert "| Subject: \\x1b[31mred" in done.out
    assert "| X-Esa-Verdict: clean" in done.out
    assert "body" not in done.out
    assert "\x1b" not in done.out


def test_show_as_json_has_the_header(state: State) -> None:
    [item] = quarantine(state, "show", "--json", state.held).lines
    assert "Subject: \x1b[31mred" in str(item["header"])


def test_show_raw_gives_the_octets_as_they_would_be_delivered(state: State) -> None:
    done = quarantine(state, "show", "--raw", state.held)
    assert done.out.encode() == PREFIX + b"Subject: \x1b[31mred\r\nFrom: x\r\n\r\nbody\x07\r\n"
    assert quarantine(state, "show", "--raw", "--json", state.held).code == 2


def test_release_sends_a_message_on_once(state: State, beside: bool) -> None:
    done = quarantine(state, "release", "--json", state.held)
    assert (done.code, done.lines) == (0, [{"id": state.held, "state": "released"}])
    again = quarantine(state, "release", state.held)
    assert again.code == 3
    assert f"the quarantine holds no {state.held}" in again.err
    assert quarantine(state, "list", "--json").lines == []
    with nullcontext() if beside else processes(state.folder):
        deadline = time.monotonic() + 10
        while not (found := esa("queue", "show", state.held, "--json", "--state", state.folder).lines) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert [entry["id"] for entry in found] == [state.held + "-R"]


def test_delete_is_for_good(state: State, beside: bool) -> None:
    done = quarantine(state, "delete", "--yes", state.held)
    assert done.code == 0
    assert "deleted 1 message" in done.err
    assert quarantine(state, "list", "--json").lines == []
    assert not content_path(state.folder, state.held).exists()
    [message] = esa("track", "--id", state.held, "--json", "--state", state.folder).lines
    assert [recipient["status"] for recipient in message["recipients"]] == ["deleted"]  # type: ignore[attr-defined]


def test_delete_asks_first(state: State) -> None:
    done = quarantine(state, "delete", state.held)
    assert done.code != 0
    assert "Delete 1 message for good?" in done.err
    assert len(quarantine(state, "list", "--json").lines) == 1


@pytest.mark.parametrize("words", [("show",), ("release",), ("delete", "--yes")])
def test_an_unknown_identifier_is_told_with_where_to_look(state: State, beside: bool, words: tuple[str, ...]) -> None:
    done = quarantine(state, *words, "01UNKNOWN")
    assert done.code == 3
    assert "the quarantine holds no 01UNKNOWN" in done.err
    assert "esa quarantine list" in done.err


def test_a_message_whose_octets_are_gone_is_told(state: State) -> None:
    content_path(state.folder, state.held).unlink()
    for words in (("show", state.held), ("release", state.held)):
        done = quarantine(state, *words)
        assert done.code == 3
        assert "the file is not there" in done.err


def test_an_empty_state_folder_is_an_empty_quarantine(tmp_path: Path) -> None:
    done = esa("quarantine", "list", "--state", tmp_path)
    assert (done.code, done.out) == (0, "")
    assert list(tmp_path.iterdir()) == []
