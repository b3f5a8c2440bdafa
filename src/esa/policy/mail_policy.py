"""The mail policy: from the facts of a message to what shall be done with it. Pure: same report, envelope and policy, same answer.

The receive route calls `decide` once per message. The shipped policy refuses positive mail, quarantines suspect mail and delivers the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from esa.engine.verdict import POSITIVE_ABOVE, SUSPECT_ABOVE, Report, Verdict
from esa.errors import ConfigurationError
from esa.message.envelope import Envelope
from esa.policy.disposition import Action, Disposition


@dataclass(frozen=True, slots=True)
class MailPolicy:
    """Thresholds on the score (0–100; a score equal to a threshold stays below it) and what each verdict brings about.

    Raises ConfigurationError if the thresholds are out of order or range.
    """

    name: str = "default"
    suspect_above: float = SUSPECT_ABOVE
    positive_above: float = POSITIVE_ABOVE
    positive: Action = Action.REFUSE
    suspect: Action = Action.QUARANTINE
    anti_spam: bool = True  # whether verdicts bring anything about

    def __post_init__(self) -> None:
        if not 0.0 <= self.suspect_above <= self.positive_above <= 100.0:
            raise ConfigurationError(
                f"the thresholds of mail policy {self.name!r} are {self.suspect_above:g} and {self.positive_above:g}",
                mend="choose 0 <= suspect_above <= positive_above <= 100",
            )


def verdict_of(report: Report, policy: MailPolicy) -> Verdict:
    """The verdict at the thresholds of this policy; the report's own is the one at the shipped thresholds."""
    return Verdict.at(report.score, positive_above=policy.positive_above, suspect_above=policy.suspect_above)


def decide(report: Report, envelope: Envelope, policy: MailPolicy, *, spam_check: bool = True) -> tuple[Disposition, ...]:
    """One disposition per group of recipients that are treated alike; together they cover every recipient of the envelope once.

    Without `spam_check` (a mail flow policy may say so) or `policy.anti_spam` mail is delivered whatever its score.
    """
    if not (spam_check and policy.anti_spam):
        return (Disposition(Action.DELIVER, envelope.recipients, "spam:unchecked", policy.name),)
    verdict = verdict_of(report, policy)
    match verdict:
        case Verdict.POSITIVE:
            action = policy.positive
        case Verdict.SUSPECT:
            action = policy.suspect
        case _:
            action = Action.DELIVER
    return (Disposition(action, envelope.recipients, f"spam:{verdict}", policy.name),)
