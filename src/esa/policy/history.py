"""What a gateway has seen of a sender so far, and the points that it makes of it. Pure; the clock is an argument.

A history is a handful of numbers that fade: each message adds to `good` or `bad`, and both are halved in every half-life, so that what was
yesterday weighs more than what was last month. `keep` learns with `learned`, receivers ask `share_points` and `volume_points`.

The law, held by a property test: one more spam, virus or invalid recipient never raises the points; one more clean message never lowers
those of the share. Volume is a piece of its own, and may cost points whatever the mail is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from esa.policy.senders import IpAddress, network_of

DAY, HOUR = 86_400.0, 3_600.0

SUSPECT_SHARE = 0.4  # a suspect message is so much spam: of such messages four in ten are, by the shipped model's own calibration
INVALID_WEIGHT = 0.25  # of a spam, for a recipient that is none: four in a row say as much, and a stale list of members does little
MEMORY = 200.0  # messages' worth that a history holds at most: a long good one delays the answer to a burst of spam no longer than this
PRIOR = 10.0  # messages' worth of a neutral sender that every share begins with: few messages make few points
NEUTRAL = 0.2  # share of spam that makes no points; large mail services lie below it
WORST, BEST = -10.0, 5.0  # points of a share of one and of zero: trust is cheap to come by, so good conduct makes half as much

USUAL_SPAN = 14 * DAY  # that a sender's usual rate is taken over
SPIKE_LEAST = 50.0  # messages within the hour; below it nothing is a spike
SPIKE_RATE = 10.0  # messages an hour that any sender is granted as usual
SPIKE_RATIO = 5.0  # times the usual rate: the first point
SPIKE_WORST = 2.0  # points, from ten times that ratio on
CLOCK_SLACK = HOUR  # a history that ends later than this after now was written while the clock was wrong


class Kind(StrEnum):
    """What a history is of."""

    ADDRESS = "address"  # an IPv4 address, or an IPv6 /64: the least that one owner has
    NETWORK = "network"  # the IPv4 /24 or IPv6 /48 around it
    HELO = "helo"  # the name said in EHLO or HELO: anyone may say it
    DOMAIN = "domain"  # of the reverse-path: anyone may say it
    SIGNER = "signer"  # a domain whose DKIM signature on the message verified
    IMPORTED = "imported"  # an address or network by another gateway's judgement


class Subject(NamedTuple):
    """Whom a history is of. `name` in lower case, an address or network as `network_of` writes it."""

    kind: Kind
    name: str


class Seen(NamedTuple):
    """What one message, or several, add to a history."""

    messages: int = 0  # scanned; those below are among them
    positive: int = 0
    suspect: int = 0
    malware: int = 0
    invalid: int = 0  # recipients, beside the messages

    def plus(self, other: Seen) -> Seen:
        return Seen(*(a + b for a, b in zip(self, other, strict=True)))


class History(NamedTuple):
    """`good`, `bad`, `recent` and `usual` are as they were at `at`; they fade from then on. Times are Unix seconds."""

    good: float = 0.0  # messages' worth, faded by the half-life
    bad: float = 0.0
    at: float = 0.0
    recent: float = 0.0  # messages, faded over an hour: about the rate of an hour
    usual: float = 0.0  # messages, faded over USUAL_SPAN
    first_at: float = 0.0
    messages: int = 0  # since first_at; nothing below fades
    positive: int = 0
    suspect: int = 0
    malware: int = 0
    invalid: int = 0

    def elapsed(self, now: float) -> float:
        """Seconds since `at`; 0 for a clock that went back."""
        return now - self.at if now > self.at else 0.0

    def rank(self, half_life: float) -> float:
        """How much is known of it and how late, on a scale that does not move with time: the least is forgotten first."""
        return math.log2(self.good + self.bad + 1e-9) + self.at / half_life


@dataclass(frozen=True, slots=True)
class Learning:
    """How histories fade, and how much makes a score."""

    half_life: float = 5 * DAY  # seconds
    minimum: float = 5.0  # messages' worth, faded, below which there is no score; of a network twice as many


def learned(history: History | None, seen: Seen, at: float, learning: Learning) -> History:
    """The history with what was seen at `at`. Of one that ends in the future, by a clock that was wrong, nothing has faded."""
    if history is None:
        history = History(at=at, first_at=at)
    elapsed = history.elapsed(at)
    fade = math.exp2(-elapsed / learning.half_life)
    suspect = seen.suspect
    spam = seen.positive + seen.malware
    bad = history.bad * fade + spam + SUSPECT_SHARE * suspect + INVALID_WEIGHT * seen.invalid
    good = history.good * fade + max(0, seen.messages - spam - suspect) + (1 - SUSPECT_SHARE) * suspect
    if good + bad > MEMORY:
        good, bad = good * MEMORY / (good + bad), bad * MEMORY / (good + bad)
    return History(
        good,
        bad,
        at if history.at > at + CLOCK_SLACK else max(history.at, at),
        history.recent * math.exp(-elapsed / HOUR) + seen.messages,
        history.usual * math.exp(-elapsed / USUAL_SPAN) + seen.messages,
        min(history.first_at, at),
        history.messages + seen.messages,
        history.positive + seen.positive,
        history.suspect + suspect,
        history.malware + seen.malware,
        history.invalid + seen.invalid,
    )


def weight_of(history: History, now: float, learning: Learning) -> float:
    """Messages' worth of evidence that is left."""
    return (history.good + history.bad) * math.exp2(-history.elapsed(now) / learning.half_life)


def share_of(history: History, now: float, learning: Learning) -> float:
    """The share of spam in what is left, pulled towards NEUTRAL where little is."""
    fade = math.exp2(-history.elapsed(now) / learning.half_life)
    return (history.bad * fade + PRIOR * NEUTRAL) / ((history.good + history.bad) * fade + PRIOR)


def points_of(share: float) -> float:
    """Points of a share of spam: BEST at 0, none at NEUTRAL, WORST at 1, straight in between."""
    if share <= NEUTRAL:
        return BEST * (1.0 - share / NEUTRAL)
    return WORST * (share - NEUTRAL) / (1.0 - NEUTRAL)


def share_points(history: History, now: float, learning: Learning, *, minimum: float | None = None) -> float | None:
    """Points of the share of spam; None where less evidence is left than the minimum (that of `learning` if not given)."""
    if weight_of(history, now, learning) < (learning.minimum if minimum is None else minimum):
        return None
    return points_of(share_of(history, now, learning))


def volume_points(history: History, now: float) -> float:
    """Points, at most 0, of a sudden rise: the last hour against the sender's own usual rate."""
    elapsed = history.elapsed(now)
    recent = history.recent * math.exp(-elapsed / HOUR)
    if recent < SPIKE_LEAST:
        return 0.0
    ratio = recent / usual_rate(history, now)
    return -min(SPIKE_WORST, 1.0 + math.log10(ratio / SPIKE_RATIO)) if ratio >= SPIKE_RATIO else 0.0


def usual_rate(history: History, now: float) -> float:
    """Messages an hour that are usual of this sender. A new one has no more than anybody is granted."""
    return max(SPIKE_RATE, history.usual * math.exp(-history.elapsed(now) / USUAL_SPAN) * HOUR / USUAL_SPAN)


def taken_over(score: float, at: float) -> History:
    """The history that stands for another gateway's score, -10 to 10: so many messages' worth that their share makes these points.

    It fades as any does. Points are reached as far as IMPORTED_WORTH messages can make them.
    """
    wanted = NEUTRAL * (1.0 - score / BEST) if score >= 0 else NEUTRAL + (1.0 - NEUTRAL) * score / WORST
    bad = min(IMPORTED_WORTH, max(0.0, wanted * (IMPORTED_WORTH + PRIOR) - PRIOR * NEUTRAL))
    return History(IMPORTED_WORTH - bad, bad, at, first_at=at)


IMPORTED_WORTH = 40.0  # messages: enough to reach -8 and +4


def subjects_of(address: IpAddress) -> tuple[Subject, Subject]:
    """Whose histories an address has: its own (an IPv6 /64 is one sender, since its owner has all of it), and that of its network."""
    if address.version == 4:
        text = str(address)
        return Subject(Kind.ADDRESS, text), Subject(Kind.NETWORK, f"{text[: text.rindex('.')]}.0/24")
    return Subject(Kind.ADDRESS, network_of(address, 32)), Subject(Kind.NETWORK, network_of(address, 24))
