"""`esa queue`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from esa.cli.state import ask_or_do
from esa.errors import StoreError
from tests.cli.command import Done, esa
from tests.cli.states import State, make_state, processes
from tests.store.conftest import make_read_only, mounted


@pytest.fixture
def state(tmp_path: Path) -> State:
    return make_state(tmp_path / "state")


@pytest.fixture(params=[False, True], ids=["nothing runs", "the service runs"])
def beside(request: pytest.FixtureRequest, state: State) -> Iterator[bool]:
    """Once where no service runs, once beside one."""
    with processes(state.folder) if request.param else nullcontext():
        yield request.param


def queue(state: State, *words: object) -> Done:
    return esa("queue", *words, "--state", state.folder)


def test_list_shows_what_waits_and_what_has_failed(state: State, beside: bool) -> None:
    done = queue(state, "list")
    assert done.code == 0
    assert state.waiting in done.out
    assert state.failed in done.out
    assert state.held not in done.out
    assert "2 entries: 1 waiting, 0 in flight, 1 failed" in done.err


def test_list_as_json_is_one_object_a_line(state: State, beside: bool) -> None:
    waiting, failed = queue(state, "list", "--json").lines
    assert (waiting["id"], waiting["state"], waiting["attempts"], waiting["reason"]) == (state.waiting, "waiting", 1, "451 4.2.0 later")
    assert waiting["next_attempt"] is not None
    assert failed["next_attempt"] is None
    assert failed["recipients"] == [
        {"address": "gone@example.org", "status": "failed", "reply": "550 5.1.1 \x1b[31mno such user"},
        {"address": "b@example.org", "status": "delivered", "reply": "250 ok"},
    ]


def test_list_failed_shows_only_that(state: State) -> None:
    [failed] = queue(state, "list", "--failed", "--json").lines
    assert failed["id"] == state.failed


def test_show_tells_each_recipient_and_nothing_steers_the_terminal(state: State) -> None:
    done = queue(state, "show", state.failed)
    assert done.code == 0
    assert "gone@example.org  failed  550 5.1.1 \\x1b[31mno such user" in done.out
    assert "b@example.org  delivered" in done.out
    assert "\x1b" not in done.out + done.err


def test_retry_makes_an_entry_due(state: State, beside: bool) -> None:
    done = queue(state, "retry", state.failed, "--json")
    assert (done.code, done.lines) == (0, [{"retried": 1}])
    [entry] = [entry for entry in queue(state, "list", "--json").lines if entry["id"] == state.failed]
    assert entry["state"] != "failed"


def test_retry_all_makes_everything_due(state: State) -> None:
    done = queue(state, "retry", "--all")
    assert done.code == 0
    assert "retried 2 entries; they are tried when `esa serve` runs" in done.err


def test_delete_takes_an_entry_out_and_tells_tracking(state: State, beside: bool) -> None:
    done = queue(state, "delete", "--yes", state.failed)
    assert done.code == 0
    assert "deleted 1 entry" in done.err
    assert [entry["id"] for entry in queue(state, "list", "--json").lines] == [state.waiting]


def test_delete_asks_first(state: State) -> None:
    done = queue(state, "delete", state.failed)
    assert done.code != 0
    assert "Delete 1 entry for good?" in done.err
    assert len(queue(state, "list", "--json").lines) == 2


@pytest.mark.parametrize("words", [("show",), ("retry",), ("delete", "--yes")])
def test_an_unknown_identifier_is_told_with_where_to_look(state: State, beside: bool, words: tuple[str, ...]) -> None:
    done = queue(state, *words, "01UNKNOWN")
    assert done.code == 3
    assert "the queue holds no 01UNKNOWN" in done.err
    assert "esa queue list" in done.err


@pytest.mark.parametrize("words", [("retry",), ("retry", "--all", "X"), ("delete", "--yes"), ("show",), ("explode",)])
def test_wrong_use_is_told(state: State, words: tuple[str, ...]) -> None:
    assert queue(state, *words).code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("queue", "list"),
        ("queue", "show", "X"),
        ("queue", "retry", "--all"),
        ("quarantine", "list"),
        ("quarantine", "release", "X"),
        ("track",),
    ],
)
def test_a_state_folder_that_is_not_there_is_told_and_not_made(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = esa(*words, "--state", tmp_path / "absent")
    assert done.code == 3
    assert "there is no state folder" in done.err
    assert str(tmp_path / "absent") in done.err
    assert not (tmp_path / "absent").exists()


def test_an_empty_state_folder_is_an_empty_queue(tmp_path: Path) -> None:
    done = esa("queue", "list", "--state", tmp_path)
    assert (done.code, done.out) == (0, "")
    assert "0 entries" in done.err
    assert list(tmp_path.iterdir()) == []  # looking makes nothing


def test_a_damaged_queue_is_told(state: State) -> None:
    (state.folder / "queue.db").write_bytes(b"not a database at all" * 1000)
    done = queue(state, "list")
    assert done.code == 3
    assert "queue.db: the database is damaged" in done.err


def test_the_state_folder_is_taken_from_the_configuration(state: State, tmp_path: Path) -> None:
    configuration = tmp_path / "esa.toml"
    configuration.write_text(f'[gateway]\nhostname = "mx.example.org"\nstate = "{state.folder}"\n')
    assert len(esa("queue", "list", "--json", "--config", configuration).lines) == 2


def test_a_read_only_disk_can_be_looked_at_and_is_told_when_written(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 32) as folder:
        state = make_state(folder)
        make_read_only(folder)
        assert len(queue(state, "list", "--json").lines) == 2
        assert len(esa("quarantine", "list", "--json", "--state", folder).lines) == 1
        assert len(esa("track", "--json", "--state", folder).lines) == 4
        for words in (("queue", "retry", "--all"), ("quarantine", "release", state.held)):
            done = esa(*words, "--state", folder)
            assert done.code == 3
            assert "read-only" in done.err


def test_a_service_that_is_just_starting_is_asked_again(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None, {"count": 1}])
    monkeypatch.setattr("esa.store.control.ask", lambda *_: next(answers))

    def do() -> object:
        raise StoreError("the queue is in use by another process", is_in_use=True)

    assert ask_or_do(state.folder / "run" / "deliver.sock", {}, do) == ({"count": 1}, True)
    answers = iter([None, None])
    with pytest.raises(StoreError, match="in use"):
        ask_or_do(state.folder / "run" / "deliver.sock", {}, do)
