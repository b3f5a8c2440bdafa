"""Who has to wait and who passes: with a clock of the test's own, over workers, restarts, and faults of the file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.greylist import DAY, FILE_NAME, Decision, Greylist, GreylistSettings, figures

NETWORK, PATH, RECIPIENT = "192.0.2.0/24", "a@example.net", "b@example.org"
SETTINGS = GreylistSettings(delay=300, retry_window=2 * DAY, lifetime=35 * DAY, auto_allow=3, max_entries=2_000)
PASSES = "import sys\nfrom pathlib import Path\nfrom esa.store.greylist import *\n" + (
    "greylist = Greylist(Path(sys.argv[1]), GreylistSettings(delay=300, auto_allow=0), clock=lambda: float(sys.argv[2]))\n"
    "for number in range(300): print(greylist.check('192.0.2.0/24', 'a@b.example', [f'{number}@example.org']).why)\ngreylist.close()\n"
)


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def opened(state: Path, clock: Clock, settings: GreylistSettings = SETTINGS) -> Iterator[Greylist]:
    faults: list[StoreError] = []
    greylist = Greylist(state, settings, clock=clock, failed=faults.append)
    yield greylist
    greylist.close()
    assert not faults


def test_a_stranger_waits_and_passes_when_it_comes_back_in_time(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock) as greylist:
        assert greylist.check(NETWORK, PATH, [RECIPIENT]) == Decision(False, "new", 300)
        clock.now += 100.5
        assert greylist.check(NETWORK, PATH, [RECIPIENT]) == Decision(False, "early", 200)
        clock.now += 199.5
        assert greylist.check(NETWORK, PATH, [RECIPIENT]) == Decision(True, "waited")
        assert greylist.check(NETWORK, PATH, [RECIPIENT]) == Decision(True, "known")
        for other in (("192.0.3.0/24", PATH, RECIPIENT), (NETWORK, "c@example.net", RECIPIENT), (NETWORK, PATH, "d@example.org")):
            assert greylist.check(other[0], other[1], [other[2]]).why == "new"


def test_who_comes_back_too_late_waits_anew_and_who_is_not_seen_is_forgotten(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock) as greylist:
        greylist.check(NETWORK, PATH, [RECIPIENT])
        clock.now += 2 * DAY + 1
        assert greylist.check(NETWORK, PATH, [RECIPIENT]).why == "new"
        clock.now += 300
        assert greylist.check(NETWORK, PATH, [RECIPIENT]).why == "waited"
        for _ in range(3):  # each time it is seen its life begins anew
            clock.now += 30 * DAY
            assert greylist.check(NETWORK, PATH, [RECIPIENT]).why == "known"
        clock.now += 35 * DAY + 1
        assert greylist.check(NETWORK, PATH, [RECIPIENT]).why == "new"


def test_a_client_that_came_back_often_enough_passes_with_all_its_mail(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock) as greylist:
        for number in range(3):
            assert greylist.check(NETWORK, PATH, [f"{number}@example.org"]).why == "new"
            clock.now += 300
            assert greylist.check(NETWORK, PATH, [f"{number}@example.org"]).why == "waited"
        assert greylist.check(NETWORK, "z@example.com", ["9@example.org"]) == Decision(True, "client")
        assert greylist.check("192.0.3.0/24", "z@example.com", ["9@example.org"]).why == "new"
        clock.now += 36 * DAY
        assert greylist.check(NETWORK, "z@example.com", ["9@example.org"]).why == "new"


def test_a_message_passes_with_one_triplet_that_waited(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock) as greylist:
        greylist.check(NETWORK, PATH, ["1@example.org", "2@example.org"])
        clock.now += 200
        assert greylist.check(NETWORK, PATH, ["3@example.org", "1@example.org"]) == Decision(False, "early", 100)
        clock.now += 100
        assert greylist.check(NETWORK, PATH, ["3@example.org", "1@example.org"]).why == "waited"


def test_an_author_is_known_once_its_mail_has_come_back(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock) as greylist:

        def exempt() -> str:
            return "author" if greylist.knows_author("example.net") else ""

        assert greylist.check(NETWORK, PATH, [RECIPIENT], author=lambda: "example.net", exempt=exempt).why == "new"
        clock.now += 300
        assert greylist.check(NETWORK, PATH, [RECIPIENT], author=lambda: "example.net", exempt=exempt).why == "waited"
        assert greylist.check("198.51.100.0/24", PATH, ["x@example.org"], exempt=exempt) == Decision(True, "author")
        clock.now += 36 * DAY
        assert not greylist.knows_author("example.net")
        assert not greylist.knows_author("")


def test_workers_share_what_they_know_and_it_outlives_them(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock) as one, opened(tmp_path, clock) as other:
        assert one.check(NETWORK, PATH, [RECIPIENT]).why == "new"
        assert other.check(NETWORK, PATH, [RECIPIENT]).why == "early"
        clock.now += 300
    with opened(tmp_path, clock) as after:
        assert after.check(NETWORK, PATH, [RECIPIENT]).why == "waited"


def test_processes_that_write_at_one_time_never_keep_anybody_out_for_it(tmp_path: Path) -> None:
    for now, expected in ((1_800_000_000, {"new", "early", "unavailable"}), (1_800_000_400, {"waited", "known", "unavailable", "new"})):
        running = [
            subprocess.Popen([sys.executable, "-c", PASSES, tmp_path, str(now)], stdout=subprocess.PIPE, text=True) for _ in range(3)
        ]
        told = [process.communicate(timeout=120)[0].split() for process in running]
        assert all(len(words) == 300 for words in told)
        assert {word for words in told for word in words} <= expected
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_no_address_stands_in_the_file(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock) as greylist:
        greylist.check(NETWORK, PATH, [RECIPIENT], author=lambda: "example.net")
        clock.now += 300
        greylist.check(NETWORK, PATH, [RECIPIENT], author=lambda: "example.net")
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"example" not in content
    assert b"192.0.2" not in content
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_full_file_lets_strangers_pass_and_goes_on_when_rows_have_expired(tmp_path: Path, clock: Clock) -> None:
    faults: list[StoreError] = []
    settings = replace(SETTINGS, max_entries=1_000)
    greylist = Greylist(tmp_path, settings, clock=clock, failed=faults.append)
    said = [greylist.check(NETWORK, PATH, [f"{number}@example.org"]).why for number in range(4_000)]
    assert said[0] == "new"
    assert said[-1] == "unavailable"
    assert said.count("new") >= 1_000
    assert all(fault.is_full for fault in faults)
    assert (tmp_path / FILE_NAME).stat().st_size < 1 << 20
    assert greylist.check(NETWORK, PATH, ["0@example.org"]).why == "early"  # who is in it is known still
    clock.now += 3 * DAY
    later = [greylist.check(NETWORK, PATH, [f"{number}@example.org"]).why for number in range(5_000, 5_200)]
    assert later[-1] == "new"
    greylist.close()


def test_a_locked_file_lets_strangers_pass_at_once(tmp_path: Path, clock: Clock) -> None:
    faults: list[StoreError] = []
    greylist = Greylist(tmp_path, SETTINGS, clock=clock, failed=faults.append)
    holder = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert greylist.check(NETWORK, PATH, [RECIPIENT]) == Decision(True, "unavailable")
    assert greylist.check(NETWORK, PATH, [RECIPIENT]) == Decision(True, "unavailable")
    assert [fault.is_in_use for fault in faults] == [True]  # the second did not wait for it again
    holder.execute("ROLLBACK")
    holder.close()
    greylist.close()


def test_a_file_that_is_locked_whole_is_not_waited_for(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esa.store.greylist.START_PATIENCE", 0.05)
    with opened(tmp_path, clock) as greylist:
        greylist.check(NETWORK, PATH, [RECIPIENT])
    holder = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    faults: list[StoreError] = []
    greylist = Greylist(tmp_path, SETTINGS, clock=clock, failed=faults.append)
    assert greylist.check(NETWORK, PATH, [RECIPIENT]).why == "unavailable"
    assert [fault.is_in_use for fault in faults] == [True]
    holder.close()
    greylist._resume = 0.0  # the pause is over
    clock.now += 300
    assert greylist.check(NETWORK, PATH, [RECIPIENT]).why == "waited"
    greylist.close()


def test_a_file_that_is_none_or_cannot_be_made_lets_everybody_pass(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, however long one looks at it" * 100)
    for state in (tmp_path, tmp_path / "nowhere"):
        faults: list[StoreError] = []
        greylist = Greylist(state, SETTINGS, clock=clock, failed=faults.append)
        assert greylist.check(NETWORK, PATH, [RECIPIENT]).why == "unavailable"
        assert not greylist.knows_author("example.net")
        assert len(faults) == 1
        greylist.close()


def test_a_clock_that_is_set_back_keeps_nobody_out(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock) as greylist:
        greylist.check(NETWORK, PATH, [RECIPIENT])
        clock.now -= 10 * DAY
        assert greylist.check(NETWORK, PATH, [RECIPIENT]) == Decision(False, "new", 300)
        clock.now += 300
        assert greylist.check(NETWORK, PATH, [RECIPIENT]).why == "waited"


def test_figures_tell_what_there_is_and_what_was_decided(tmp_path: Path, clock: Clock) -> None:
    assert figures(tmp_path) is None
    with opened(tmp_path, clock) as greylist:
        for number in range(70):
            greylist.check(NETWORK, PATH, [f"{number}@example.org"])
        clock.now += 300
        greylist.check(NETWORK, PATH, ["1@example.org"], author=lambda: "example.net")
        clock.now += 3 * DAY
        for number in range(70):
            greylist.check("192.0.3.0/24", PATH, [f"{number}@example.org"])
    found = figures(tmp_path, now=clock.now)
    assert found is not None
    assert (found.waiting, found.known, found.clients, found.authors) == (70, 1, 1, 1)
    total: dict[str, int] = {}
    for _, day in found.days:
        for what, count in day.items():
            total[what] = total.get(what, 0) + count
    assert total == {"new": 140, "waited": 1, "never_came_back": 69}
