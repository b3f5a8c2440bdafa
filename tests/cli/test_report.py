"""`esa report dhap` tells who harvested, how much, and what they learned."""

from __future__ import annotations

import time
from pathlib import Path

from esa.message.envelope import Envelope, Session
from esa.store.identifier import new_identifier
from esa.store.record import Event, EventName, Record
from esa.store.segments import SpoolReader
from esa.store.spool import Spool
from esa.store.tracking import Tracking
from tests.cli.command import esa


def tell(state: Path, *events: Event) -> None:
    """Bring events of no message into tracking, the way they come: through a spool."""
    spool = Spool(state / "spool", "receive-0")
    session = Session("192.0.2.1", received_at=time.time())
    spool.append([Record(f"{new_identifier()}.note", Envelope("", ()), session, events=(event,)) for event in events])
    spool.close()
    tracking = Tracking(state)
    tracking.add(SpoolReader(state / "spool").read())
    tracking.close()


def detected(network: str, at: float, **counts: object) -> Event:
    return Event(EventName.HARVEST_DETECTED, at, {"network": network, "limit": 25, "sample": ["x@example.org"], **counts})


def test_harvests_are_told_by_sender_the_latest_first(tmp_path: Path) -> None:
    now = time.time()
    tell(
        tmp_path,
        detected("192.0.2.1", now - 7200, invalid=25, learned=3, refused=0),
        Event(EventName.HARVEST_REFUSED, now - 7100, {"network": "192.0.2.1", "invalid": 25, "learned": 3, "refused": 40}),
        detected("2001:db8::/64", now - 60, invalid=25, learned=0, refused=0),
    )
    done = esa("report", "dhap", "--state", tmp_path, "--json")
    assert done.code == 0
    first, second = done.lines
    assert (first["network"], first["connections"]) == ("2001:db8::/64", 0)
    assert [second[key] for key in ("network", "attacks", "connections", "invalid", "learned", "refused", "sample")] == [
        "192.0.2.1",
        1,
        1,
        25,
        3,
        40,
        ["x@example.org"],
    ]
    assert len(esa("report", "dhap", "--state", tmp_path, "--json", "--since", "1h").lines) == 1
    shown = esa("report", "dhap", "--state", tmp_path)
    assert "192.0.2.1" in shown.out
    assert "2 harvesting senders" in shown.err


def test_without_a_harvest_nothing_is_told_and_what_is_of_no_message_is_no_message(tmp_path: Path) -> None:
    assert "0 harvesting senders" in esa("report", "dhap", "--state", tmp_path).err
    tell(tmp_path, detected("192.0.2.1", time.time(), invalid=25, learned=3, refused=0))
    assert esa("track", "--state", tmp_path, "--json").out == ""
