"""Runs filters over a message as the gateway does: one scan by the real scanner, then the plan."""

from __future__ import annotations

from typing import Any

from esa.engine.dictionary import Dictionary
from esa.engine.scanner import Scanner
from esa.message.envelope import Envelope, Session
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.read import read
from esa.policy.filters.scope import Listener, Scope
from esa.policy.outcome import Outcome
from esa.policy.view import View

MAIL = b"""\
From: Ann <ann@example.org>\r
To: bob@example.net\r
Subject: Hello Bob\r
X-Mailer: test mailer 1.0\r
\r
Dear Bob, this is the account of the bank.\r
"""
WITH_ATTACHMENTS = b"""\
From: Ann <ann@example.org>\r
To: bob@example.net, Carl <carl@example.net>\r
Cc: dora@example.net\r
Subject: Files\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=edge\r
\r
--edge\r
Content-Type: text/plain\r
\r
See the report.\r
--edge\r
Content-Type: text/plain; name="notes.txt"\r
Content-Disposition: attachment; filename="notes.txt"\r
\r
The secret number is seven. Secret!\r
--edge\r
Content-Type: application/octet-stream; name="setup.exe"\r
Content-Disposition: attachment; filename="setup.exe"\r
Content-Transfer-Encoding: base64\r
\r
TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAA=\r
--edge--\r
"""


class Running:
    """Filters with a scanner that listens for them."""

    def __init__(self, filters: str, *dictionaries: Dictionary, scope: Scope | None = None) -> None:
        self.scope = scope or Scope(dictionaries=frozenset(one.name for one in dictionaries))
        self.plan = FilterPlan(read(filters, "test.filters").filters, self.scope)
        self.scanner = Scanner(checks=["dictionaries", Listener(self.scope.terms.listed)], dictionaries=dictionaries)

    def view(
        self, raw: bytes = MAIL, *, sender: str = "ann@example.org", recipients: tuple[str, ...] = ("bob@example.net",), **facts: Any
    ) -> View:
        of_session = {key: facts.pop(key) for key in ("client_address", "listener", "user", "received_at") if key in facts}
        session = Session(**{"client_address": "192.0.2.1", "listener": "InboundMail", **of_session})
        facts.setdefault("lookup", self.scanner.lookup)
        return View(raw, session, Envelope(sender, recipients, len(raw)), self.scanner.scan(raw), **facts)

    def run(self, raw: bytes = MAIL, **facts: Any) -> Outcome:
        return self.plan.run(self.view(raw, **facts))


def run(filters: str, raw: bytes = MAIL, **facts: Any) -> Outcome:
    running = Running(filters)
    assert not [problem for problem in running.plan.problems if problem.severity in ("error", "invalid")]
    return running.run(raw, **facts)


def holds(condition: str, raw: bytes = MAIL, **facts: Any) -> bool | None:
    """What becomes of a condition: True or False, or None where it is unscanned."""
    outcome = run(f'x: if ({condition}) {{ log-entry("yes"); }} else {{ log-entry("no"); }}', raw, **facts)
    return None if not outcome.log_entries else outcome.log_entries == ["yes"]
