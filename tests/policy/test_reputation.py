"""The reputation of an address: a sum that anybody can check."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.policy.history import History, Kind, Learning, Seen, Subject, learned, subjects_of, taken_over
from esa.policy.reputation import UNANSWERED, DnsZone, Evidence, Reputation, age, total
from esa.policy.senders import IpAddress, read_address

NOW = 1_800_000_000.0


def address(text: str) -> IpAddress:
    found = read_address(text)
    assert found is not None
    return found


HERE = address("192.0.2.1")
OWN, NETWORK = subjects_of(HERE)


class Known(dict[Subject, History]):
    """Histories as a dict."""

    has_imported = True

    def look_up(self, subject: Subject) -> History | None:
        return self.get(subject)


def seen(messages: int, positive: int = 0) -> History:
    return learned(None, Seen(messages, positive), NOW, Learning())


def test_nothing_known_is_none_and_no_evidence() -> None:
    assert Reputation((), Known()).assess(HERE, {}, NOW) == (None, ())


def test_the_score_is_the_sum_of_its_evidence_in_tenths() -> None:
    lists = [DnsZone("bl.example.net", -1.0), DnsZone("allow.example.net", 1.5)]
    known = Known({OWN: seen(20, 20), NETWORK: seen(20, 20)})
    found = Reputation(lists, known).assess(HERE, {"bl.example.net": ("127.0.0.2",), "allow.example.net": ()}, NOW)
    assert [(piece.source, piece.name) for piece in found.evidence] == [
        ("address", "192.0.2.1"),
        ("network", "192.0.2.0/24"),
        ("dnslist", "bl.example.net"),
    ]
    assert found.score == round(sum(piece.points or 0 for piece in found.evidence), 1) == -9.3
    assert found.evidence[0].points == pytest.approx(-6.67, abs=0.01)
    assert found.evidence[1].points == pytest.approx(-6.67 / 4, abs=0.01)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=6), st.floats(-10, 0))
def test_a_piece_that_speaks_against_a_sender_never_raises_the_score(points: list[float], worse: float) -> None:
    evidence = [Evidence("dnslist", str(number), one) for number, one in enumerate(points)]
    before, after = total(evidence), total([*evidence, Evidence("dnslist", "more", worse)])
    assert before is not None
    assert after is not None
    assert after <= before
    assert -10 <= after <= 10


def test_neighbours_alone_never_bring_anybody_into_the_shipped_blacklist() -> None:
    found = Reputation((), Known({NETWORK: seen(100_000, 100_000)})).assess(HERE, {}, NOW)
    assert found.score == pytest.approx(-2.4)


def test_what_is_learned_alone_never_buys_the_trust_of_a_range_from_7_5() -> None:
    found = Reputation((), Known({OWN: seen(40), NETWORK: seen(40)})).assess(HERE, {}, NOW)
    assert found.score is not None
    assert 0 < found.score <= 6.25


def test_too_little_evidence_is_shown_and_makes_no_score() -> None:
    found = Reputation((), Known({OWN: seen(2, 2)})).assess(HERE, {}, NOW)
    assert found.score is None
    assert found.describe(NOW + 180) == "address 192.0.2.1 (2 of 2 messages spam, last 3 min ago)"


def test_a_list_that_does_not_answer_leaves_what_was_learned_and_says_so() -> None:
    found = Reputation([DnsZone("bl.example.net", -8.0)], Known({OWN: seen(20, 20)})).assess(HERE, {"bl.example.net": None}, NOW)
    assert found.score == -6.7
    assert found.evidence[-1] == Evidence("dnslist", "bl.example.net", None, UNANSWERED)
    assert "dnslist bl.example.net (no answer)" in found.describe(NOW)


def test_return_codes_have_points_of_their_own_and_the_worst_counts() -> None:
    zone = DnsZone("bl.example.net", -1.0, ((0x7F000002, 0x7F000003, -4.0), (0x7F00000A, 0x7F00000A, 0.0), (0x7F000020, 0x7F000020, 3.0)))
    assert zone.points_of(["127.0.0.3"]) == -4.0
    assert zone.points_of(["127.0.0.10"]) == 0.0
    assert zone.points_of(["127.0.0.99"]) == -1.0
    assert zone.points_of(["127.0.0.99", "127.0.0.2", "127.0.0.32"]) == -4.0
    assert zone.points_of(["127.0.0.32", "127.0.0.10"]) == 3.0


def test_a_zone_of_sender_groups_that_has_no_weight_is_no_evidence() -> None:
    assert (
        Reputation([DnsZone("bl.example.net")]).assess(HERE, {"bl.example.net": ("127.0.0.2",), "other.example": ("127.0.0.2",)}, NOW).score
        is None
    )


def test_what_another_gateway_said_counts_half_and_of_an_address_before_its_network() -> None:
    known = Known({Subject(Kind.IMPORTED, OWN.name): taken_over(-6.0, NOW), Subject(Kind.IMPORTED, NETWORK.name): taken_over(4.0, NOW)})
    assert Reputation((), known).assess(HERE, {}, NOW).score == -3.0
    assert Reputation((), known).assess(address("192.0.2.2"), {}, NOW).score == 2.0


def test_names_that_anyone_can_say_make_no_points() -> None:
    reputation = Reputation((), Known())
    assert reputation.evidence_of(Subject(Kind.HELO, "mx.example.net"), seen(50, 50), NOW).points is None
    assert reputation.evidence_of(Subject(Kind.DOMAIN, "example.net"), seen(50, 50), NOW).points is None
    assert reputation.evidence_of(Subject(Kind.SIGNER, "example.net"), seen(50, 50), NOW).points == pytest.approx(-8.33 / 2, abs=0.01)


def test_where_anti_spam_is_off_nobody_has_a_score_and_the_evidence_says_why() -> None:
    found = Reputation([DnsZone("bl.example.net", -8.0)], Known({OWN: seen(20, 20)}), off="anti-spam is off")
    assert found.zones == ()
    assert found.assess(HERE, {}, NOW).score is None
    assert found.assess(HERE, {}, NOW).describe(NOW) == "capability off (anti-spam is off)"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59, "59 s"), (200, "3 min"), (7_200, "2 h"), (1e6, "12 d")])
def test_ages_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert age(seconds) == words
