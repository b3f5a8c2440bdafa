"""Test markers: strings that stand for unwanted mail by agreement, so that a filter can be tried without any.

GTUBE (Generic Test for Unsolicited Bulk Email, Apache SpamAssassin) anywhere in the subject or decoded text makes a message positive.
"""

from __future__ import annotations

from collections.abc import Sequence

from esa.engine.check import Check, Evidence, Finding, Materials, Term
from esa.engine.verdict import Reason

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
CONTRIBUTION = 30.0  # log-odds: past 99.9 whatever else speaks for the message


class Markers:
    """Listens for the markers; each that stands in a message is one reason, however often it stands there."""

    name = "markers"
    terms: Sequence[Term] = (Term(GTUBE),)

    def examine(self, evidence: Evidence) -> Finding | None:
        return Finding({"gtube": evidence.matches[0]}, (Reason("gtube", "markers", CONTRIBUTION),), CONTRIBUTION)


def check(materials: Materials) -> Check:
    return Markers()
