"""Histories of senders: what makes points, how they fade, and the law that nothing bad ever helps."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.policy.history import (
    DAY,
    HOUR,
    MEMORY,
    NEUTRAL,
    History,
    Kind,
    Learning,
    Seen,
    Subject,
    learned,
    points_of,
    share_points,
    subjects_of,
    taken_over,
    volume_points,
    weight_of,
)
from esa.policy.senders import read_address

NOW = 1_800_000_000.0
LEARNING = Learning()
steps = st.lists(
    st.tuples(
        st.integers(1, 30).flatmap(
            lambda messages: st.builds(
                Seen,
                st.just(messages),
                st.integers(0, messages // 3),
                st.integers(0, messages // 3),
                st.integers(0, messages // 3),
                st.integers(0, 20),
            )
        ),
        st.floats(0, 30 * DAY),
    ),
    min_size=1,
    max_size=12,
)


def after(*seen: Seen, at: float = NOW) -> History:
    history: History | None = None
    for one in seen:
        history = learned(history, one, at, LEARNING)
    assert history is not None
    return history


def points(history: History, now: float = NOW) -> float | None:
    return share_points(history, now, LEARNING)


def test_too_little_evidence_makes_no_score() -> None:
    assert points(after(Seen(4, positive=4))) is None
    assert points(after(Seen(5, positive=5))) == pytest.approx(-3.33, abs=0.01)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(10), 2.5),
        (Seen(100), 4.55),
        (Seen(10, positive=10), -5.0),
        (Seen(100, positive=100), -9.09),
        (Seen(100, positive=3), 3.86),
        (Seen(100, suspect=100), -2.27),
        (Seen(10, malware=10), -5.0),
        (Seen(invalid=40), -5.0),
    ],
)
def test_points_follow_the_share_of_spam_and_how_much_is_known(seen: Seen, expected: float) -> None:
    assert points(after(seen)) == pytest.approx(expected, abs=0.01)


@given(steps, st.floats(0, 40 * DAY))
def test_one_more_spam_never_helps_and_one_more_clean_message_never_harms(given_steps: list[tuple[Seen, float]], later: float) -> None:
    history, now = None, NOW
    for seen, wait in given_steps:
        now += wait
        history = learned(history, seen, now, LEARNING)
    now += later
    everything = Learning(minimum=0.0)
    assert history is not None
    before = share_points(learned(history, Seen(), now, LEARNING), now, everything)
    assert before is not None
    for worse in (Seen(1, positive=1), Seen(1, malware=1), Seen(invalid=1)):
        found = share_points(learned(history, worse, now, LEARNING), now, everything)
        assert found is not None
        assert found <= before + 1e-9
    better = share_points(learned(history, Seen(1), now, LEARNING), now, everything)
    assert better is not None
    assert better >= before - 1e-9
    assert -10 <= before <= 5
    assert history.good + history.bad <= MEMORY + 1e-6


@given(st.floats(0, 1), st.floats(0, 1))
def test_points_fall_as_the_share_rises(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert points_of(low) >= points_of(high)
    assert points_of(NEUTRAL) == 0


def test_what_was_seen_fades_until_nothing_is_left_to_judge_by() -> None:
    history = after(Seen(12, positive=12))
    scores = [points(history, NOW + days * DAY) for days in (0, 2, 5, 30)]
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[2] is not None
    assert scores[0] < scores[1] < scores[2] < 0
    assert scores[3] is None
    assert weight_of(history, NOW + LEARNING.half_life, LEARNING) == pytest.approx(6)


def test_an_honest_sender_recovers_from_a_bad_day() -> None:
    history = after(Seen(10, positive=10))
    for day in range(1, 15):
        history = learned(history, Seen(3), NOW + day * DAY, LEARNING)
    now = NOW + 14 * DAY
    recovered = points(history, now)
    assert recovered is not None
    assert recovered > 0


def test_a_long_good_history_delays_the_answer_to_spam_no_longer_than_a_short_one() -> None:
    short, long = after(Seen(200)), after(*[Seen(1_000)] * 100)
    assert short.good == pytest.approx(long.good)
    spam = Seen(150, positive=150)
    assert points(learned(long, spam, NOW, LEARNING)) == pytest.approx(points(learned(short, spam, NOW, LEARNING)))


def test_a_sudden_rise_costs_points_and_a_usual_rate_does_not() -> None:
    assert volume_points(after(Seen(49)), NOW) == 0
    assert volume_points(after(Seen(50)), NOW) == pytest.approx(-1.0)
    assert volume_points(after(Seen(5_000)), NOW) == pytest.approx(-2.0)
    steady: History | None = None
    for hour in range(24 * 40):
        steady = learned(steady, Seen(100), NOW + hour * HOUR, LEARNING)
    now = NOW + 24 * 40 * HOUR
    assert steady is not None
    assert volume_points(steady, now) == 0
    assert volume_points(learned(steady, Seen(2_000), now, LEARNING), now) < -1
    assert volume_points(learned(steady, Seen(2_000), now, LEARNING), now + 6 * HOUR) == 0


def test_a_clock_that_goes_back_neither_fades_nor_grows_and_a_history_from_the_future_comes_back_to_now() -> None:
    history = after(Seen(10, positive=10), at=NOW + 3650 * DAY)
    assert points(history, NOW) == points(history, NOW + 3650 * DAY)
    again = learned(history, Seen(1), NOW, LEARNING)
    assert again.at == NOW
    assert again.bad == 10
    assert points(again, NOW + 60 * DAY) is None


def test_what_is_read_out_of_order_by_seconds_does_not_turn_the_clock_back() -> None:
    assert learned(after(Seen(1)), Seen(1), NOW - 30, LEARNING).at == NOW


@pytest.mark.parametrize("score", [-7.9, -3.0, -0.5, 0.0, 1.0, 4.0])
def test_a_score_taken_over_makes_its_points_and_fades(score: float) -> None:
    history = taken_over(score, NOW)
    assert points(history) == pytest.approx(score, abs=0.05)
    faded = points(history, NOW + LEARNING.half_life)
    assert faded is not None
    assert abs(faded) <= abs(score)


@pytest.mark.parametrize(
    ("address", "own", "network"),
    [
        ("192.0.2.200", "192.0.2.200", "192.0.2.0/24"),
        ("::ffff:192.0.2.200", "192.0.2.200", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48"),
    ],
)
def test_an_ipv6_sender_is_its_64_leading_bits(address: str, own: str, network: str) -> None:
    read = read_address(address)
    assert read is not None
    assert subjects_of(read) == (Subject(Kind.ADDRESS, own), Subject(Kind.NETWORK, network))
    assert ipaddress.ip_network(network).num_addresses > 1


def test_less_and_older_is_forgotten_first() -> None:
    once, often, old = after(Seen(1)), after(Seen(50)), after(Seen(50), at=NOW - 60 * DAY)
    ranks = [history.rank(LEARNING.half_life) for history in (old, once, often)]
    assert ranks == sorted(ranks)
