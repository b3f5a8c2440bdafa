"""The mail policy of one group of recipients: thresholds, what each class of mail is treated with, which content filters run.

`policy_table` says which policy holds for whom, `splinters` asks `treat` once for each. Pure: same report and policy, same answer.
The shipped policy refuses positive mail, quarantines suspect mail and delivers the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from esa.engine.verdict import POSITIVE_ABOVE, SUSPECT_ABOVE, Report, Verdict
from esa.errors import ConfigurationError
from esa.message.edits import Edit
from esa.policy.disposition import Action, Disposition

DEFAULT = "DEFAULT"  # name of the policy of all whom no other one names, as on the appliance
SPAM_QUARANTINE = "Spam"


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done with mail of one class. Edits, recipients, next hop and archive matter where it is delivered or held."""

    action: Action = Action.DELIVER
    edits: tuple[Edit, ...] = ()
    recipients: tuple[str, ...] = ()  # in the place of all; empty: as they are
    mailhost: str = ""  # host:port; empty: as routed
    archive: str = ""  # name of an mbox; empty: none
    quarantine: str = SPAM_QUARANTINE


UNTOUCHED = Treatment()
REFUSED, QUARANTINED = Treatment(Action.REFUSE), Treatment(Action.QUARANTINE)


@dataclass(frozen=True, slots=True)
class MailPolicy:
    """Thresholds on the score (0–100; a score equal to a threshold stays below it) and what each verdict brings about.

    Raises ConfigurationError if the thresholds are out of order or range.
    """

    name: str = DEFAULT
    suspect_above: float = SUSPECT_ABOVE
    positive_above: float = POSITIVE_ABOVE
    positive: Treatment = REFUSED
    suspect: Treatment = QUARANTINED
    anti_spam: bool = True  # whether verdicts bring anything about
    anti_virus: bool = True  # whether the anti-virus engine, once there is one, brings anything about
    content_filters: tuple[str, ...] = ()  # names, in the order that they run in
    drops_refused: bool = False  # what it refuses and others take is dropped; else it is held in quarantine

    def __post_init__(self) -> None:
        if not 0.0 <= self.suspect_above <= self.positive_above <= 100.0:
            raise ConfigurationError(
                f"the thresholds of mail policy {self.name!r} are {self.suspect_above:g} and {self.positive_above:g}",
                mend="choose 0 <= suspect_above <= positive_above <= 100",
            )


def verdict_of(report: Report, policy: MailPolicy) -> Verdict:
    """The verdict at the thresholds of this policy; the report's own is the one at the shipped thresholds."""
    return Verdict.at(report.score, positive_above=policy.positive_above, suspect_above=policy.suspect_above)


def treat(report: Report, recipients: tuple[str, ...], policy: MailPolicy, *, spam_check: bool = True) -> Disposition:
    """What the anti-spam part of a policy does with a message for its recipients.

    Without `spam_check` (a mail flow policy or a filter may say so) or `policy.anti_spam` mail is delivered whatever its score.
    """
    verdict = verdict_of(report, policy)
    if not (spam_check and policy.anti_spam):
        return Disposition(Action.DELIVER, recipients, "spam:unchecked", policy.name, verdict)
    if verdict is Verdict.CLEAN:
        return Disposition(Action.DELIVER, recipients, "spam:clean", policy.name, verdict)
    treatment = policy.positive if verdict is Verdict.POSITIVE else policy.suspect
    return Disposition(
        treatment.action,
        recipients,
        f"spam:{verdict}",
        policy.name,
        verdict,
        treatment.edits,
        treatment.recipients,
        treatment.mailhost,
        (treatment.quarantine,) if treatment.action is Action.QUARANTINE else (),
        archives=(treatment.archive,) if treatment.archive else (),
        drops_refused=policy.drops_refused,
    )
