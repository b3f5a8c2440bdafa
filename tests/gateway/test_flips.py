"""Judgements are compared recipient by recipient; classes are counted by message, the worst examples kept, gates held."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.engine.verdict import Report, Verdict
from esa.errors import SyntaxFault
from esa.gateway.rehearsal.flips import EXAMPLES, Class, Comparison, at_most, never
from esa.gateway.rehearsal.judgement import Fate, Judgement, Mail, Outcome, Step
from esa.message.envelope import Envelope, Session

WORDS = list(Outcome)


def judgement(outcomes: dict[str, Outcome], *, score: float | None = 10.0, sender: str = "a@example.net", name: str = "x") -> Judgement:
    fates = tuple(Fate(recipient, outcome, Step.MAIL_DATA, "why", "250 2.0.0 ok") for recipient, outcome in outcomes.items())
    mail = Mail("0" * 26, b"", Session(), Envelope(sender, tuple(outcomes)), name)
    report = None if score is None else Report(Verdict.CLEAN, score, 0.0)
    return Judgement(mail, Step.MAIL_DATA, "250 2.0.0 ok", fates, report=report)


def compared(before: Outcome, after: Outcome, scores: list[float]) -> Comparison:
    comparison = Comparison()
    for number, score in enumerate(scores):
        comparison.add(
            judgement({"b@example.org": before}, score=score, name=str(number)),
            judgement({"b@example.org": after}, score=score, name=str(number)),
        )
    return comparison


def test_a_message_with_several_recipients_is_counted_once_in_each_class() -> None:
    comparison = Comparison()
    before = judgement({"a@x": Outcome.DELIVERED, "b@x": Outcome.DELIVERED, "c@x": Outcome.QUARANTINED, "d@x": Outcome.DELIVERED})
    after = judgement({"a@x": Outcome.DROPPED, "b@x": Outcome.DROPPED, "c@x": Outcome.DELIVERED, "d@x": Outcome.DELIVERED})
    comparison.add(before, after)
    assert [(str(kind), flips.messages, flips.recipients) for kind, flips in comparison.classes] == [
        ("delivered -> dropped", 1, 2),
        ("quarantined -> delivered", 1, 1),
    ]
    assert (comparison.messages, comparison.recipients, comparison.flipped) == (1, 4, 1)


def test_of_mail_that_would_be_lost_the_cleanest_is_the_worst_and_of_the_other_the_most_spam_like() -> None:
    scores = [50.0, 3.0, 99.0, 20.0, 7.0, 80.0, 1.0]
    [(_, lost)] = compared(Outcome.DELIVERED, Outcome.DROPPED, scores).classes
    assert [example.score for example in lost.examples] == sorted(scores)[:EXAMPLES]
    [(_, found)] = compared(Outcome.DROPPED, Outcome.DELIVERED, scores).classes
    assert [example.score for example in found.examples] == sorted(scores, reverse=True)[:EXAMPLES]


def test_of_equals_the_first_is_shown_first() -> None:
    [(_, flips)] = compared(Outcome.DELIVERED, Outcome.REFUSED, [5.0] * 9).classes
    assert [example.mail.name for example in flips.examples] == ["0", "1", "2", "3", "4"]


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)), max_size=40))
def test_counts_add_up(pairs: list[tuple[Outcome, Outcome]]) -> None:
    comparison = Comparison()
    for before, after in pairs:
        comparison.add(judgement({"b@example.org": before}), judgement({"b@example.org": after}))
    flipped = sum(before is not after for before, after in pairs)
    assert comparison.flipped == flipped == sum(flips.messages for _, flips in comparison.classes) == at_most(0).found(comparison)
    assert sum(never(f"{word} -> any").found(comparison) for word in WORDS) == flipped
    assert sum(never(f"any -> {word}").found(comparison) for word in WORDS) == flipped
    for kind, flips in comparison.classes:
        assert never(str(kind)).found(comparison) == flips.messages
    losses = [kind.rank[0] for kind, _ in comparison.classes]
    assert losses == sorted(losses)


@pytest.mark.parametrize(
    "text", ["delivered", "delivered > dropped", "delivered -> dropped -> refused", "-> dropped", "lost -> dropped", ""]
)
def test_what_is_no_class_is_told(text: str) -> None:
    with pytest.raises(SyntaxFault):
        never(text)


def test_a_class_has_an_order_of_gravity() -> None:
    kinds = [Class(Outcome.DELIVERED, after) for after in WORDS if after is not Outcome.DELIVERED]
    assert sorted(kinds, key=lambda kind: kind.rank)[0] == Class(Outcome.DELIVERED, Outcome.DROPPED)
