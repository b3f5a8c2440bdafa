"""Learning of senders from the spools: what counts, once, how much is kept, and what becomes of a damaged file."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.gateway.keep import KeepSettings, OpenKeep
from esa.gateway.learned import SHARES, TABLE, Learner, LearnSettings, Observation, observations_of
from esa.policy.history import DAY, Kind, Learning, Seen, Subject, share_points
from esa.policy.reputation import Reputation
from esa.policy.senders import read_address
from esa.store.record import REFUSED_BY_FILTER, Event, EventName, Record
from esa.store.reputation import FILE_NAME
from esa.store.reputation_table import TableReader
from esa.store.segments import Batch, Location, SpoolReader, Stored
from tests.store.messages import fill, make_record, read_all

NOW = 1_800_000_000.0
HERE = Subject(Kind.ADDRESS, "192.0.2.7")  # the client of the records below


def record(
    verdict: str = "positive",
    *,
    client: str = "192.0.2.7",
    at: float = NOW,
    refused: Sequence[str] = (),
    user: str = "",
    policy: str = "ACCEPTED",
    helo: str = "mx.example.net",
) -> Record:
    made = make_record(received_at=at, fields={"verdict": verdict})
    told = [Event(EventName.CONNECTED, at, {"client": client, "policy": policy})]
    told += [Event(EventName.RECIPIENT_REFUSED, at, {"recipient": "x@example.org", "reply": reply}) for reply in refused]
    session = dataclasses.replace(made.session, client_address=client, user=user, helo=helo)
    return dataclasses.replace(made, session=session, events=(*told, *made.events))


def tried(client: str, refused: int, *, valid: int = 0, policy: str = "ACCEPTED") -> Record:
    """A transaction that ended without its mail."""
    made = record(client=client, refused=["550 5.1.1 Recipient unknown"] * refused, policy=policy)
    events = [event for event in made.events if event.name in (EventName.CONNECTED, EventName.RECIPIENT_REFUSED)]
    envelope = dataclasses.replace(made.envelope, recipients=tuple(f"{number}@example.org" for number in range(valid)))
    return dataclasses.replace(made, envelope=envelope, events=(*events, Event(EventName.ABORTED, NOW, {"recipients": []})))


def batch(*records: Record, start: int = 0) -> Batch:
    stored = [Stored(one, Location("receive-0", "1-a", start + 100 * number, 100)) for number, one in enumerate(records)]
    return Batch(stored)


@contextmanager
def learner(state: Path, *, now: list[float] | None = None, senders: int = 65_536) -> Iterator[Learner]:
    (state / "run").mkdir(exist_ok=True)
    clock = now or [NOW]
    made = Learner(state, LearnSettings(senders=senders), now=lambda: clock[0])
    try:
        yield made
    finally:
        made.close()


def known(state: Path, subject: Subject = HERE) -> Seen | None:
    history = TableReader(state / TABLE).look_up(subject)
    return None if history is None else Seen(*history[6:])


def test_a_message_is_learned_of_its_address_network_helo_and_domain(tmp_path: Path) -> None:
    with learner(tmp_path) as keeping:
        keeping.learn(batch(record(), record("clean"), record("suspect")))
        expected = Seen(3, 1, 1)
        assert known(tmp_path) == expected
        for kind, name in ((Kind.NETWORK, "192.0.2.0/24"), (Kind.HELO, "mx.example.net"), (Kind.DOMAIN, "example.net")):
            assert known(tmp_path, Subject(kind, name)) == expected
        assert len(keeping) == 4


def test_the_domains_of_verified_signatures_have_a_history_of_their_own(tmp_path: Path) -> None:
    subjects = Observation("2001:db8::1", Seen(1), "[192.0.2.1]", "", ("Example.NET.", "b.example")).subjects()
    assert subjects == [
        Subject(Kind.ADDRESS, "2001:db8::/64"),
        Subject(Kind.NETWORK, "2001:db8::/48"),
        Subject(Kind.SIGNER, "example.net"),
        Subject(Kind.SIGNER, "b.example"),
    ]


def test_our_own_senders_are_not_learned_of() -> None:
    assert observations_of(record(user="anna"), {"RELAYED"}) == []
    assert observations_of(record(policy="RELAYED"), {"RELAYED"}) == []
    assert len(observations_of(record(), {"RELAYED"})) == 1


@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
def test_programs_of_this_machine_are_not_learned_of(client: str) -> None:
    assert Observation(client, Seen(1, 1)).subjects() == []


def test_mail_that_was_never_scanned_says_nothing() -> None:
    made = dataclasses.replace(record(), events=(Event(EventName.ACCEPTED, NOW, {"reply": "250 ok"}),))
    assert observations_of(made, ()) == []


@pytest.mark.parametrize(
    ("refused", "invalid"),
    [
        ((), 0),
        (("550 5.1.1 no",), 0),  # beside one that is valid
        (("550 5.1.1 no",) * 5, 4),
        (("452 4.2.2 later",) * 5, 0),
    ],
)
def test_a_stale_recipient_among_valid_ones_is_forgiven_and_guessing_is_not(refused: tuple[str, ...], invalid: int) -> None:
    (seen,) = observations_of(record("clean", refused=refused), ())
    assert seen.seen == Seen(1, invalid=invalid)


def test_recipients_that_a_filter_refuses_are_no_guesses_and_copies_no_mail_of_the_sender() -> None:
    made = record("clean", refused=["550 5.1.6 Bob has left"] * 3)
    events = tuple(
        dataclasses.replace(event, fields={**event.fields, "by": REFUSED_BY_FILTER}) if event.name is EventName.RECIPIENT_REFUSED else event
        for event in made.events
    )
    [observation] = observations_of(dataclasses.replace(made, events=events), ())
    assert observation.seen == Seen(1)
    assert observations_of(made, ())[0].seen.invalid > 0
    copied = tuple(
        dataclasses.replace(event, fields={**event.fields, "copy_of": "1"}) if event.name is EventName.ACCEPTED else event
        for event in events
    )
    assert observations_of(dataclasses.replace(made, events=copied), ()) == []


def test_recipients_tried_without_mail_are_learned_of(tmp_path: Path) -> None:
    with learner(tmp_path) as keeping:
        keeping.learn(batch(tried("192.0.2.7", 3), tried("198.51.100.1", 2, valid=1), tried("198.51.100.1", 1, valid=4)))
        keeping.learn(batch(tried("192.0.2.7", 9, policy="RELAYED"), start=1_000))
        assert known(tmp_path) == Seen(invalid=3)
        assert known(tmp_path, Subject(Kind.ADDRESS, "198.51.100.1")) == Seen(invalid=1)


def test_a_batch_that_is_read_again_after_a_crash_counts_once(tmp_path: Path) -> None:
    with learner(tmp_path) as keeping:
        keeping.learn(batch(record()))
        keeping.learn(batch(record()))
    with learner(tmp_path) as keeping:
        keeping.learn(batch(record(), record()))
        assert known(tmp_path) == Seen(2, 2)


def test_keep_learns_each_record_of_the_spools_once_whatever_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [record() for _ in range(6)])
    with OpenKeep(KeepSettings(tmp_path)) as keep:
        with monkeypatch.context() as patch:  # the disk fails after the histories were stored and before tracking was
            patch.setattr(type(keep.tracking), "add", lambda *_, **__: (_ for _ in ()).throw(StoreError("the disk is full", is_full=True)))
            with pytest.raises(StoreError):
                keep.drain()
        keep.drain()
    with OpenKeep(KeepSettings(tmp_path)) as keep:
        keep.start()
    assert known(tmp_path) == Seen(6, 6)
    assert len(read_all(SpoolReader(tmp_path / "spool")).stored) == 6


def test_positions_of_segments_go_with_them(tmp_path: Path) -> None:
    with learner(tmp_path) as keeping:
        keeping.learn(batch(record()))
        keeping.forget_segments([("receive-0", "1-a"), ("receive-9", "never")])
        keeping.learn(batch(record()))  # a new segment of that name
        assert known(tmp_path) == Seen(2, 2)


def test_a_flood_of_strangers_is_bounded_and_forgets_those_that_say_least(tmp_path: Path) -> None:
    now = [NOW]
    with learner(tmp_path, now=now, senders=1_000) as keeping:
        keeping.learn(batch(*[record() for _ in range(20)]))
        start = 2_000
        for block in range(40):
            now[0] += 60
            records = [
                record("clean", at=now[0], client=f"10.{block}.{number}.1", helo=f"h{block}-{number}.example") for number in range(100)
            ]
            keeping.learn(batch(*records, start=start))
            start += 100 * len(records)
        assert len(keeping) <= 1_000
        assert known(tmp_path) == Seen(20, 20)
        assert known(tmp_path, Subject(Kind.ADDRESS, "10.39.99.1")) == Seen(1)
    assert sum(SHARES.values()) == pytest.approx(1.0)


def test_rotating_through_an_ipv6_64_makes_one_sender(tmp_path: Path) -> None:
    with learner(tmp_path) as keeping:
        keeping.learn(batch(*[record(client=f"2001:db8::{number:x}", helo="[x]") for number in range(1, 500)]))
        assert known(tmp_path, Subject(Kind.ADDRESS, "2001:db8::/64")) == Seen(499, 499)
        assert len(keeping) == 3


def test_a_damaged_file_is_put_aside_and_begun_anew(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, but longer than a page would need" * 200)
    with learner(tmp_path) as keeping:
        keeping.learn(batch(record()))
        assert known(tmp_path) == Seen(1, 1)
    (aside,) = tmp_path.glob(f"{FILE_NAME}.damaged-*")
    assert aside.read_bytes().startswith(b"this is no database")
    with learner(tmp_path):
        assert known(tmp_path) == Seen(1, 1)


def test_a_file_damaged_while_it_is_used_is_written_anew_from_memory(tmp_path: Path) -> None:
    with learner(tmp_path) as keeping:
        keeping.learn(batch(*[record(client=f"192.0.2.{number}") for number in range(1, 200)]))
        with (tmp_path / FILE_NAME).open("r+b") as file:
            file.write(b"\xff" * 8_192)
        (tmp_path / f"{FILE_NAME}-wal").write_bytes(b"\xff" * 4_096)
        keeping._store.close()
        keeping._store._database = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        keeping.learn(batch(record(client="198.51.100.9"), start=20_000))
        assert known(tmp_path, Subject(Kind.ADDRESS, "198.51.100.9")) == Seen(1, 1)
    assert list(tmp_path.glob(f"{FILE_NAME}.damaged-*"))
    with learner(tmp_path) as again:
        assert known(tmp_path, Subject(Kind.ADDRESS, "192.0.2.150")) == Seen(1, 1)
        assert len(again) > 200


def test_a_fault_of_the_disk_learns_nothing_and_the_next_try_learns_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with learner(tmp_path) as keeping:
        with monkeypatch.context() as patch:
            patch.setattr(
                type(keeping._store), "save", lambda *_, **__: (_ for _ in ()).throw(StoreError("the disk is full", is_full=True))
            )
            with pytest.raises(StoreError):
                keeping.learn(batch(record()))
        assert known(tmp_path) is None
        keeping.learn(batch(record()))
        assert known(tmp_path) == Seen(1, 1)


def test_a_clock_that_jumps_loses_nothing_but_what_it_touches(tmp_path: Path) -> None:
    now = [NOW]
    with learner(tmp_path, now=now) as keeping:
        keeping.learn(batch(*[record() for _ in range(10)], *[record(client="198.51.100.9") for _ in range(10)]))
        now[0] = NOW + 3_650 * DAY
        keeping.learn(batch(record("clean", at=now[0], client="198.51.100.9"), start=10_000))
        now[0] = NOW + 60
        keeping.learn(batch(*[record(at=now[0], client="198.51.100.9") for _ in range(10)], start=20_000))
        table = TableReader(tmp_path / TABLE)
        for name in ("192.0.2.7", "198.51.100.9"):
            history = table.look_up(Subject(Kind.ADDRESS, name))
            assert history is not None
            points = share_points(history, now[0], Learning())
            assert points is not None
            assert points < -4


def test_honest_mail_recovers_with_time(tmp_path: Path) -> None:
    now = [NOW]
    address = read_address("192.0.2.7")
    assert address is not None
    with learner(tmp_path, now=now) as keeping:
        reputation = Reputation((), TableReader(tmp_path / TABLE))
        keeping.learn(batch(*[record() for _ in range(20)]))
        scores = [reputation.assess(address, {}, now[0]).score]
        for day in range(1, 15):
            now[0] = NOW + day * DAY
            keeping.learn(batch(*[record("clean", at=now[0]) for _ in range(4)], start=10_000 * day))
            scores.append(reputation.assess(address, {}, now[0]).score)
        numbers = [score for score in scores if score is not None]
        assert len(numbers) == len(scores)
        assert numbers == sorted(numbers)
        assert numbers[0] <= -3.0
        assert numbers[-1] > 0


def test_what_is_forgotten_is_gone_everywhere(tmp_path: Path) -> None:
    with learner(tmp_path) as keeping:
        keeping.learn(batch(record(), record(client="198.51.100.9")))
        assert keeping.forget([HERE, HERE, Subject(Kind.HELO, "nobody.example")]) == 1
        assert known(tmp_path) is None
        assert keeping.forget_all() == 5
    with learner(tmp_path) as keeping:
        assert len(keeping) == 0


def test_scores_of_another_gateway_are_taken_over_and_replaced(tmp_path: Path) -> None:
    with learner(tmp_path) as keeping:
        assert keeping.take_over({"192.0.2.7": -8.0, "203.0.113.0/24": 2.0}) == 2
        table = TableReader(tmp_path / TABLE)
        address = read_address("192.0.2.7")
        assert address is not None
        assert Reputation((), table).assess(address, {}, NOW).score == -4.0
        assert table.has_imported
        keeping.take_over({"192.0.2.7": 4.0})
        assert Reputation((), table).assess(address, {}, NOW).score == 2.0


@pytest.mark.parametrize(
    "request_",
    [
        {"verb": "forget", "keys": [["planet", "mars"]]},
        {"verb": "forget", "keys": [1]},
        {"verb": "take over", "scores": {"192.0.2.1": "much"}},
    ],
)
def test_a_request_that_makes_no_sense_is_refused_in_words(tmp_path: Path, request_: dict[str, object]) -> None:
    with OpenKeep(KeepSettings(tmp_path)) as keep, pytest.raises(StoreError):
        keep.obey(request_)
