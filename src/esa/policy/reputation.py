"""Reputation of a connecting host: -10.0 (a source of spam) to +10.0 (only good is known of it), or None where too little is known.

    score = sum of the points of every piece of evidence, held within -10 and +10, in tenths

A piece of evidence is a history of our own (of the address, of its network), a sudden rise of volume, what another gateway said of it, or a
DNS list that names it. Each stands with its points in an `Assessment`, so anybody can add them up. The sum is monotone: no piece that speaks
against a sender raises its score. `host_access` matches ranges of the score; the gateway finds the evidence. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from esa.policy.history import (
    DAY,
    HOUR,
    History,
    Kind,
    Learning,
    Subject,
    share_points,
    subjects_of,
    usual_rate,
    volume_points,
)
from esa.policy.senders import HIGHEST, LOWEST, IpAddress

WEIGHTS = {
    Kind.ADDRESS: 1.0,
    Kind.NETWORK: 0.25,  # the worst neighbours cost 2.5 points: a network alone never reaches a range of -3 and less
    Kind.IMPORTED: 0.5,
    Kind.SIGNER: 0.5,
    Kind.HELO: 0.0,  # anyone may say these: they are known and shown, and make points for nobody
    Kind.DOMAIN: 0.0,
}
NETWORK_MINIMUM = 2.0  # times the minimum of an address
DNS_LIST, VOLUME, CAPABILITY = "dnslist", "volume", "capability"  # sources of evidence that are no kind of history
UNANSWERED = "no answer"


class Histories(Protocol):
    """Where histories are looked up. Must not block."""

    @property
    def has_imported(self) -> bool:
        """Whether there can be any of Kind.IMPORTED."""
        ...

    def look_up(self, subject: Subject) -> History | None: ...


class Evidence(NamedTuple):
    """One piece. `points` None: it was looked for and makes none, which `text` explains."""

    source: str  # a Kind, DNS_LIST, VOLUME or CAPABILITY
    name: str
    points: float | None
    text: str = ""
    history: History | None = None

    def describe(self, now: float) -> str:
        """`address 192.0.2.1 -5.2 (12 of 13 messages spam, last 3 min ago)`."""
        points = "" if self.points is None else f" {self.points:+.1f}"
        words = self.text or (summary_of(self.history, now) if self.history is not None else "")
        return f"{self.source} {self.name}{points}" + (f" ({words})" if words else "")


class Assessment(NamedTuple):
    """A score with all that it was made of."""

    score: float | None = None
    evidence: tuple[Evidence, ...] = ()

    def describe(self, now: float) -> str:
        """One line for people; empty where nothing was found."""
        return "; ".join(piece.describe(now) for piece in self.evidence)


@dataclass(frozen=True, slots=True)
class DnsZone:
    """A DNS list, and the points of its answers: those of the first run of `codes` (first, last, points) that holds it, else `weight`."""

    zone: str
    weight: float = 0.0
    codes: tuple[tuple[int, int, float], ...] = ()  # IPv4 addresses as numbers, both ends in it

    def points_of(self, answers: Sequence[str]) -> float:
        """Of several answers the worst counts, or the best where none is bad."""
        points = [self._points(int(ipaddress.IPv4Address(answer))) for answer in answers]
        worst = min(points, default=0.0)
        return worst if worst < 0 else max(points, default=0.0)

    def _points(self, answer: int) -> float:
        return next((points for first, last, points in self.codes if first <= answer <= last), self.weight)


class Reputation:
    """Gives scores. The gateway asks the DNS lists in `zones` first and passes their answers."""

    def __init__(
        self, lists: Sequence[DnsZone] = (), histories: Histories | None = None, *, learning: Learning | None = None, off: str = ""
    ) -> None:
        """`histories` None: nothing has been learned. `off`: why nobody has a reputation, the one piece of evidence then."""
        self._lists = {one.zone: one for one in lists}
        self._histories = histories
        self._learning = learning or Learning()
        self._off = off
        self.zones: tuple[str, ...] = () if off else tuple(one.zone for one in lists if one.weight or one.codes)

    def without_lists(self) -> Reputation:
        """The same without DNS lists."""
        return Reputation((), self._histories, learning=self._learning, off=self._off)

    def assess(self, address: IpAddress, answers: Mapping[str, Sequence[str] | None], now: float) -> Assessment:
        """`answers`: of each zone that was asked the 127/8 addresses it gave, empty: not listed, None: it did not answer."""
        if self._off:
            return Assessment(None, (Evidence(CAPABILITY, "off", None, self._off),))
        evidence = self._own(address, now) if self._histories is not None else []
        for zone, values in answers.items() if answers else ():
            known = self._lists.get(zone)
            if values is None:
                evidence.append(Evidence(DNS_LIST, zone, None, UNANSWERED))
            elif values and known is not None and (known.weight or known.codes):
                evidence.append(Evidence(DNS_LIST, zone, known.points_of(values), " ".join(values)))
        return Assessment(total(evidence), tuple(evidence))

    def _own(self, address: IpAddress, now: float) -> list[Evidence]:
        histories = self._histories
        assert histories is not None
        evidence: list[Evidence] = []
        own, network = subjects_of(address)
        if (history := histories.look_up(own)) is not None:
            evidence.append(self.evidence_of(own, history, now))
            if points := volume_points(history, now):
                evidence.append(Evidence(VOLUME, own.name, points, _volume_text(history, now), history))
        if (history := histories.look_up(network)) is not None:
            evidence.append(self.evidence_of(network, history, now))
        if histories.has_imported:
            for _, name in (own, network):
                subject = Subject(Kind.IMPORTED, name)
                if (history := histories.look_up(subject)) is not None:
                    evidence.append(self.evidence_of(subject, history, now))
                    break  # what was said of the address itself is not said of its network again
        return evidence

    def evidence_of(self, subject: Subject, history: History, now: float) -> Evidence:
        """What one history says: its points by the weight of its kind."""
        weight = WEIGHTS[subject.kind]
        minimum = self._learning.minimum * (NETWORK_MINIMUM if subject.kind is Kind.NETWORK else 1.0)
        points = share_points(history, now, self._learning, minimum=minimum)
        return Evidence(subject.kind.value, subject.name, points * weight if points is not None and weight else None, "", history)


def total(evidence: Sequence[Evidence]) -> float | None:
    """The score of these pieces; None if none of them has points."""
    points = [piece.points for piece in evidence if piece.points is not None]
    return round(min(HIGHEST, max(LOWEST, sum(points))), 1) + 0.0 if points else None


def summary_of(history: History, now: float) -> str:
    """`12 of 13 messages spam, 2 invalid recipients, last 3 min ago`: counts since it was first seen."""
    if not history.messages and not history.invalid:
        return f"taken over {age(history.elapsed(now))} ago"
    spam = history.positive + history.malware
    words = [f"{spam} of {history.messages} messages spam"] if history.messages else []
    words += [f"{history.suspect} suspect"] if history.suspect else []
    words += [f"{history.invalid} invalid recipients"] if history.invalid else []
    return ", ".join([*words, f"last {age(history.elapsed(now))} ago"])


def _volume_text(history: History, now: float) -> str:
    return f"{history.recent:.0f} messages within the hour, {usual_rate(history, now):.0f} are usual"


def age(seconds: float) -> str:
    """Seconds as people say them: `40 s`, `3 min`, `5 h`, `12 d`."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (60.0, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
