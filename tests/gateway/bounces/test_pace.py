"""How many notifications may be sent."""

from __future__ import annotations

from esa.gateway.bounces.pace import ADDRESSES, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_one_address_gets_so_many_an_hour_and_others_theirs() -> None:
    clock = Clock()
    pace = Pace(0, 3, clock)
    assert [pace.take("a@x.org") for _ in range(5)] == [True, True, True, False, False]
    assert pace.take("A@X.org") is False
    assert pace.take("b@x.org")
    clock.now += 3_700
    assert pace.take("a@x.org")


def test_all_together_get_so_many_an_hour() -> None:
    clock = Clock()
    pace = Pace(10, 0, clock)
    assert sum(pace.take(f"{number}@x.org") for number in range(50)) == 10
    assert pace.is_spent
    clock.now += 1_800
    assert not pace.take("late@x.org")
    clock.now += 1_900
    assert pace.take("late@x.org")


def test_the_hour_slides() -> None:
    clock = Clock()
    pace = Pace(60, 0, clock)
    for _ in range(60):
        assert pace.take("a@x.org")
        clock.now += 60
    taken = 0
    for _ in range(60):
        taken += pace.take("a@x.org")
        clock.now += 60
    assert 55 <= taken <= 60


def test_no_limit_is_no_limit() -> None:
    pace = Pace(0, 0, Clock())
    assert all(pace.take("a@x.org") for _ in range(1_000)) and not pace.is_spent


def test_addresses_without_end_are_forgotten() -> None:
    pace = Pace(0, 1, Clock())
    for number in range(ADDRESSES + 10):
        assert pace.take(f"{number}@x.org")
    assert pace.take("0@x.org")
    assert not pace.take(f"{ADDRESSES + 9}@x.org")
