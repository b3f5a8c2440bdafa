"""The cost ledger: hits of every message, times of those that are measured."""

from __future__ import annotations

from tests.policy.filters.running import MAIL, Running

FILTERS = """
    always: if (true) { no-op(); }
    never: if (subject == "Goodbye") { no-op(); }
    tried: if (not subject == "Hello") { no-op(); }
    ends: if (rcpt-count > 1) { drop(); }
    behind: if (true) { no-op(); }
"""


def test_hits_are_counted_for_every_message_and_time_for_one_in_so_many() -> None:
    running = Running(FILTERS)
    ledger = running.plan.ledger(every=4)
    for number in range(8):
        recipients = ("a@example.org", "b@example.org") if number == 7 else ("a@example.org",)
        running.plan.run(running.view(MAIL, recipients=recipients, received_at=100.0 + number), ledger=ledger)
    entries = {entry.name: entry for entry in ledger.entries()}
    assert (ledger.messages, ledger.measured) == (8, 2)
    assert {name: entry.hits for name, entry in entries.items()} == {"always": 8, "never": 0, "tried": 0, "ends": 1, "behind": 7}
    assert {name: entry.evaluated for name, entry in entries.items()} == {"always": 2, "never": 0, "tried": 2, "ends": 2, "behind": 2}
    assert (entries["behind"].last_hit, entries["ends"].last_hit, entries["never"].last_hit) == (106.0, 107.0, 0.0)


def test_times_are_what_the_clock_says_around_each_filter() -> None:
    running = Running(FILTERS)
    ledger = running.plan.ledger(every=1)
    ticks = iter(range(0, 1_000_000, 1000))
    ledger.clock = lambda: next(ticks)
    running.plan.run(running.view(), ledger=ledger)
    assert ledger.choosing == 1000
    assert [entry.nanoseconds for entry in ledger.entries()] == [1000, 0, 1000, 1000, 1000]
    assert ledger.microseconds(4000) == 4.0


def test_a_ledger_changes_nothing_of_the_outcome() -> None:
    running = Running(FILTERS)
    assert running.plan.run(running.view(), ledger=running.plan.ledger()) == running.plan.run(running.view())
