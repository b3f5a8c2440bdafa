"""The conservation of mail, on states with a history."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from esa.gateway.delivery.open_queue import OpenQueue
from esa.gateway.keep import KeepSettings, OpenKeep
from esa.store.entry import Outcome, Result
from esa.store.ledger import Missing, audit
from esa.store.outbox import CHANGES, VERSION
from esa.store.record import Splinter
from esa.store.segments import SpoolReader
from esa.store.selection import Selection
from esa.store.tracking import Tracking
from esa.store.waiting import Capacity
from tests.cli.command import esa
from tests.cli.states import make_state
from tests.store.messages import commit, make_record, make_refusal


def nonzero(state: Path) -> dict[str, int]:
    found = audit(state)
    assert found.is_balanced, found
    return {fate: count for fate, count in found.fates.items() if count}


def test_every_recipient_is_counted_once_wherever_it_is(tmp_path: Path) -> None:
    made = make_state(tmp_path)
    assert made.held
    assert nonzero(tmp_path) == {"delivered": 1, "bounced or failed": 1, "queued": 1, "quarantined": 1}
    splinters = (Splinter(("d@x.example",), "drop"), Splinter(("q@x.example",), "quarantine"), Splinter(("z@x.example",), "deliver"))
    commit(tmp_path, make_record(splinters=splinters), make_refusal())  # neither process has read it
    assert nonzero(tmp_path) == {"delivered": 1, "bounced or failed": 1, "queued": 2, "quarantined": 2, "dropped by policy": 1}


def test_results_that_tracking_has_not_read_yet_count_and_so_does_what_was_deleted_and_released(tmp_path: Path) -> None:
    made = make_state(tmp_path)
    with OpenQueue(tmp_path) as queue:
        queue.delete(Selection((made.failed,)), time.time())
    with OpenKeep(KeepSettings(tmp_path)) as keep:
        keep.release(keep.quarantine.items([made.held]))
    assert nonzero(tmp_path) == {"delivered": 1, "deleted by an administrator": 1, "queued": 2}
    with OpenQueue(tmp_path) as queue:
        now = time.time() + 9999
        claimed = queue.step(SpoolReader(tmp_path / "spool", queue.cursors()).read(), [], rooms=Capacity(9), now=now)
        queue.settle([Outcome(one, tuple(Result(a, "delivered", "250 ok") for a in one.pending), "next:25", now) for one in claimed])
    assert audit(tmp_path).is_balanced
    with OpenKeep(KeepSettings(tmp_path)) as keep:
        keep.drain()
    assert nonzero(tmp_path) == {"delivered": 3, "deleted by an administrator": 1}


def test_a_message_that_is_gone_from_the_queue_or_the_quarantine_is_named(tmp_path: Path) -> None:
    made = make_state(tmp_path)
    for name, table, column in (("queue.db", "entry", "key"), ("quarantine.db", "item", "id")):
        with sqlite3.connect(tmp_path / name) as database:
            database.execute(f"DELETE FROM {table} WHERE {column} IN (?, ?)", (made.waiting, made.held))
        database.close()
    found = audit(tmp_path)
    assert set(found.missing) == {
        Missing(made.waiting, "later@example.org", "deferred"),
        Missing(made.held, "user@example.org", "quarantined"),
    }
    assert found.acknowledged == 4
    told = esa("queue", "audit", "--state", tmp_path)
    assert (told.code, told.err) == (1, "not all is accounted for\n")
    assert f"missing: {made.waiting} later@example.org" in told.out


def test_what_tracking_lets_go_stays_in_the_sums(tmp_path: Path) -> None:
    make_state(tmp_path)
    before = audit(tmp_path)
    with OpenKeep(KeepSettings(tmp_path)) as keep:
        keep.tracking.expire(time.time() + 10)
    after = audit(tmp_path)
    assert (after.acknowledged, after.messages) == (before.acknowledged, 0)
    assert sum(after.forgotten.values()) == before.acknowledged == 4
    told = esa("queue", "audit", "--json", "--state", tmp_path)
    assert (told.code, told.lines[0]["accepted"], told.lines[0]["past_retention"]) == (0, 4, 4)


def test_tracking_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    make_state(tmp_path)
    with sqlite3.connect(tmp_path / "tracking.db") as database:
        database.execute("DROP TABLE past")
        database.execute("PRAGMA user_version=1")
    database.close()
    assert set(CHANGES) == {VERSION - 1}
    Tracking(tmp_path).close()
    assert audit(tmp_path).acknowledged == 4
