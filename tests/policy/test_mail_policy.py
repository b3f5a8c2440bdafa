"""The mail policy is a pure function of report, envelope and policy."""

from __future__ import annotations

import pytest

from esa.engine.verdict import Report, Verdict
from esa.errors import ConfigurationError
from esa.message.envelope import Envelope
from esa.policy.disposition import Action
from esa.policy.mail_policy import MailPolicy, decide, verdict_of

ENVELOPE = Envelope("a@example.net", ("b@example.org", "c@example.org"))


def report(score: float) -> Report:
    return Report(Verdict.at(score), score, 0.0)


@pytest.mark.parametrize(
    ("score", "action"),
    [
        (0.0, Action.DELIVER),
        (36.0, Action.DELIVER),
        (36.1, Action.QUARANTINE),
        (74.0, Action.QUARANTINE),
        (74.1, Action.REFUSE),
        (100.0, Action.REFUSE),
    ],
)
def test_the_shipped_policy_delivers_clean_quarantines_suspect_and_refuses_positive(score: float, action: Action) -> None:
    (disposition,) = decide(report(score), ENVELOPE, MailPolicy())
    assert disposition.action is action
    assert disposition.recipients == ENVELOPE.recipients


@pytest.mark.parametrize("action", [Action.DROP, Action.QUARANTINE, Action.DELIVER])
def test_positive_mail_is_treated_as_the_policy_says(action: Action) -> None:
    (disposition,) = decide(report(99.0), ENVELOPE, MailPolicy(positive=action))
    assert disposition.action is action
    assert disposition.reason == "spam:positive"


def test_a_policy_derives_its_own_verdict_from_the_score() -> None:
    strict = MailPolicy(suspect_above=10.0, positive_above=20.0)
    assert verdict_of(report(15.0), strict) is Verdict.SUSPECT
    assert verdict_of(report(25.0), strict) is Verdict.POSITIVE


@pytest.mark.parametrize(("suspect", "positive"), [(80.0, 20.0), (-1.0, 50.0), (10.0, 101.0)])
def test_thresholds_out_of_order_or_range_are_no_policy(suspect: float, positive: float) -> None:
    with pytest.raises(ConfigurationError, match="thresholds"):
        MailPolicy(suspect_above=suspect, positive_above=positive)
