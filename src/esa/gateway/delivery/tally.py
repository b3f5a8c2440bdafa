"""Counts what came of TLS with mail exchangers, in the words of reports (TLSRPT, RFC 8460). `securing` notes, `tls_reporting` takes what is counted."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from esa.gateway.peers.dane import Promise
from esa.gateway.peers.mta_sts import Found, Trouble
from esa.policy.tls_modes import Dane, Shown
from esa.store.tls_results import PolicyType, TlsResult

MOST: Final = 50_000  # kinds of results between two writes; what is more is not counted: it is a report, no ledger
_TROUBLES: Final[dict[Trouble, str]] = {
    "fetch": "sts-policy-fetch-error",
    "certificate": "sts-webpki-invalid",
    "content": "sts-policy-invalid",
}
REASON_LIMIT = 300  # characters


class Tally:
    """Owned by one event loop."""

    def __init__(self) -> None:
        self._counts: Counter[TlsResult] = Counter()

    def note(self, result: TlsResult) -> None:
        if result in self._counts or len(self._counts) < MOST:
            self._counts[result] += 1

    def take(self) -> dict[TlsResult, int]:
        """What was counted since the last time."""
        counts, self._counts = self._counts, Counter()
        return counts


def today(now: float | None = None) -> str:
    """The day of UTC that results are counted under."""
    return time.strftime("%Y-%m-%d", time.gmtime(now))


def policy_of(promise: Promise | None, found: Found | None) -> tuple[PolicyType, tuple[str, ...], tuple[str, ...]]:
    """What was promised of a host, as a report has it: type, text, and servers that it names."""
    if promise is not None and promise.records:
        return "tlsa", tuple(map(str, promise.records)), ()
    if found is not None and found.policy is not None and found.policy.mode != "none":
        policy = found.policy
        lines = ["version: STSv1", f"mode: {policy.mode}", *(f"mx: {one}" for one in policy.servers), f"max_age: {policy.max_age}"]
        return "sts", tuple(lines), policy.servers
    return "no-policy-found", (), ()


def failure_of(promise: Promise | None, found: Found | None, shown: Shown) -> tuple[str, str]:
    """The result type of a session that fell short of what was promised, and the reason; empty if it did not (section 4.3)."""
    if not shown.is_offered:
        return "starttls-not-supported", ""
    if shown.fault:
        return "validation-failure", shown.fault
    kind, _, _ = policy_of(promise, found)
    if kind == "tlsa":
        return ("", "") if shown.dane is Dane.MATCHED else ("validation-failure", "no TLSA record fits the certificate")
    if kind == "no-policy-found":
        return "", ""
    if shown.refusal:
        return "certificate-expired" if "expired" in shown.refusal else "certificate-not-trusted", shown.refusal
    return ("", "") if shown.matches_host else ("certificate-host-mismatch", "")


def trouble_of(promise: Promise | None, found: Found | None) -> tuple[str, str]:
    """As `failure_of`, of what was promised itself: what could not be found out."""
    if promise is not None and promise.state is Dane.UNKNOWN:
        return "dnssec-invalid", promise.reason
    if found is not None and found.policy is None and found.trouble:
        return _TROUBLES[found.trouble], found.reason
    return "", ""
