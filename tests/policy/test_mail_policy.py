"""What one mail policy does is a pure function of report and policy."""

from __future__ import annotations

import pytest

from esa.engine.verdict import Report, Verdict
from esa.errors import ConfigurationError
from esa.message.edits import InsertHeader, TagSubject
from esa.policy.disposition import Action
from esa.policy.mail_policy import MailPolicy, Treatment, treat, verdict_of

RECIPIENTS = ("b@example.org", "c@example.org")


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
    disposition = treat(report(score), RECIPIENTS, MailPolicy())
    assert disposition.action is action
    assert disposition.recipients == RECIPIENTS


@pytest.mark.parametrize("action", [Action.DROP, Action.QUARANTINE, Action.DELIVER])
def test_positive_mail_is_treated_as_the_policy_says(action: Action) -> None:
    disposition = treat(report(99.0), RECIPIENTS, MailPolicy(positive=Treatment(action)))
    assert disposition.action is action
    assert disposition.reason == "spam:positive"


def test_a_treatment_brings_its_edits_next_hop_and_archive() -> None:
    edits = (TagSubject("[SPAM] "), InsertHeader("X-Spam", "yes"))
    treatment = Treatment(Action.DELIVER, edits, ("spam@example.org",), "spam.example.org:25", "spam")
    disposition = treat(report(50.0), RECIPIENTS, MailPolicy(suspect=treatment))
    assert (disposition.edits, disposition.destinations) == (edits, ("spam@example.org",))
    assert (disposition.mailhost, disposition.archives) == ("spam.example.org:25", ("spam",))


@pytest.mark.parametrize(("anti_spam", "spam_check"), [(False, True), (True, False)])
def test_without_anti_spam_the_score_brings_nothing_about(anti_spam: bool, spam_check: bool) -> None:
    disposition = treat(report(99.0), RECIPIENTS, MailPolicy(anti_spam=anti_spam), spam_check=spam_check)
    assert (disposition.action, disposition.reason) == (Action.DELIVER, "spam:unchecked")


def test_a_policy_derives_its_own_verdict_from_the_score() -> None:
    strict = MailPolicy(suspect_above=10.0, positive_above=20.0)
    assert verdict_of(report(15.0), strict) is Verdict.SUSPECT
    assert treat(report(25.0), RECIPIENTS, strict).verdict is Verdict.POSITIVE


@pytest.mark.parametrize(("suspect", "positive"), [(80.0, 20.0), (-1.0, 50.0), (10.0, 101.0)])
def test_thresholds_out_of_order_or_range_are_no_policy(suspect: float, positive: float) -> None:
    with pytest.raises(ConfigurationError, match="thresholds"):
        MailPolicy(suspect_above=suspect, positive_above=positive)
