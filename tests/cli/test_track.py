"""`esa track`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.cli.command import Done, esa
from tests.cli.states import State, make_state, processes


@pytest.fixture
def state(tmp_path: Path) -> State:
    return make_state(tmp_path / "state")


@pytest.fixture(params=[False, True], ids=["nothing runs", "the service runs"])
def beside(request: pytest.FixtureRequest, state: State) -> Iterator[bool]:
    """Once where no service runs, once beside one."""
    with processes(state.folder) if request.param else nullcontext():
        yield request.param


def track(state: State, *words: object) -> Done:
    return esa("track", *words, "--state", state.folder)


def found(state: State, *words: object) -> list[object]:
    done = track(state, *words, "--json")
    assert done.code == 0
    return [message["id"] for message in done.lines]


def test_everything_is_shown_newest_first(state: State, beside: bool) -> None:
    assert set(found(state)) == {state.waiting, state.failed, state.held, state.refused}
    assert "4 messages" in track(state).err


def test_it_can_be_asked_by_sender_recipient_and_age(state: State) -> None:
    assert found(state, "--sender", "spammer@example.net") == [state.refused]
    assert found(state, "--sender", "<>") == [state.held]
    assert found(state, "--recipient", "GONE@example.org") == [state.failed]
    assert len(found(state, "--recipient", "@example.org", "--since", "2h")) == 4
    assert found(state, "--since", "2030-01-01") == []
    assert len(found(state, "--limit", "2")) == 2


def test_one_message_is_told_from_connection_to_end(state: State, beside: bool) -> None:
    done = track(state, "--id", state.failed)
    assert done.code == 0
    assert "gone@example.org  failed  550 5.1.1 \\x1b[31mno such user" in done.out
    assert "message.accepted" in done.out
    assert "delivery.failed" in done.out
    assert "\x1b" not in done.out
    [message] = track(state, "--id", state.failed, "--json").lines
    events = message["events"]
    assert isinstance(events, list)
    assert [event["name"] for event in events] == ["message.accepted", "delivery.delivered", "delivery.failed"]
    assert events[2]["reply"] == "550 5.1.1 \x1b[31mno such user"


def test_refused_mail_is_tracked_too(state: State) -> None:
    [message] = track(state, "--id", state.refused, "--json").lines
    assert (message["outcome"], message["verdict"], message["score"]) == ("refused", "positive", 99.0)


def test_an_identifier_may_be_typed_in_lower_case(state: State) -> None:
    assert found(state, "--id", state.failed.lower()) == [state.failed]


def test_an_identifier_may_be_given_as_an_argument(state: State) -> None:
    assert found(state, state.failed) == [state.failed]
    assert track(state, state.failed, "--id", state.refused).code == 2


def test_nothing_found_is_said(state: State) -> None:
    done = track(state, "--sender", "nobody@nowhere.example")
    assert (done.code, done.out) == (0, "")
    assert "0 messages" in done.err


@pytest.mark.parametrize("words", [("--since", "tuesday"), ("--since", "99999-01-01"), ("--limit", "0"), ("--colour",)])
def test_wrong_use_is_told(state: State, words: tuple[str, ...]) -> None:
    assert track(state, *words).code == 2


def test_an_empty_state_folder_has_tracked_nothing(tmp_path: Path) -> None:
    done = esa("track", "--state", tmp_path)
    assert (done.code, done.out) == (0, "")
    assert list(tmp_path.iterdir()) == []
