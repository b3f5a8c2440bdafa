"""One session of a rehearsal: the client's side of the dialogue, step by step, and what was said at each.

`rehearsal` plays it with the gateway's own parts; `fates` and `explaining` read it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esa.gateway.deciding import Refused
from esa.gateway.directory.sources import Finding
from esa.gateway.rehearsal.judgement import Mail, Step
from esa.gateway.rehearsal.loopback import Spoken
from esa.gateway.rehearsal.watching import Watch
from esa.gateway.tls import TlsFacts
from esa.policy.recipient_access import RecipientMatch

if TYPE_CHECKING:
    from esa.config.schema import Listener
    from esa.gateway.mail_in_work import Arrival

_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(slots=True)
class Said:
    """One step of a session, as it went."""

    step: Step
    subject: str
    reply: tuple[str, ...]
    microseconds: float
    match: RecipientMatch | None = None  # of a recipient: the entry of recipient access
    finding: Finding | None = None  # and what the sources of recipients said
    refused: Refused | None = None  # and the content filter that refuses it whatever the message
    path: str = ""  # of a recipient that was accepted: the forward-path as the session has it

    @property
    def is_accepted(self) -> bool:
        return bool(self.reply) and self.reply[0][:1] in ("2", "3")

    @property
    def text(self) -> str:
        return " / ".join(self.reply)


@dataclass(slots=True)
class Performance:
    """All that is known of one session when it has ended."""

    mail: Mail
    connection: Spoken
    watch: Watch
    said: list[Said] = field(default_factory=list)
    arrival: Arrival | None = None
    reason: str = ""  # why the route answered no 250


async def speak(performance: Performance, listener: Listener) -> None:
    """The client's side, as far as it comes."""
    mail, connection = performance.mail, performance.connection
    session, envelope = mail.session, mail.envelope
    is_secured = session.tls_version or session.user or listener.tls == "implicit"  # AUTH is offered inside TLS only
    facts = TlsFacts(session.tls_version or "TLSv1.3", session.tls_cipher, 0, session.tls_client) if is_secured else None
    if not await _take_step(performance, Step.CONNECTION, session.client_address, connection.open(facts)):
        return
    is_extended = session.protocol not in ("SMTP", "SMTPS", "SMTPA", "SMTPSA")
    helo = _printable(session.helo) or "localhost"
    if not await _take_step(performance, Step.HELLO, helo, connection.say(f"{'EHLO' if is_extended else 'HELO'} {helo}")):
        return
    connection.prove(session.user)
    content = as_mail_data(mail.content)
    command = f"MAIL FROM:<{_printable(envelope.reverse_path)}>"
    if is_extended:
        command += f" SIZE={len(content)}" + ("" if content.isascii() else " BODY=8BITMIME")
        is_wide = (
            envelope.smtputf8
            or session.protocol.startswith("UTF8")
            or not all(path.isascii() for path in (envelope.reverse_path, *envelope.recipients))
        )
        command += " SMTPUTF8" if is_wide else ""
    if not await _take_step(performance, Step.MAIL, envelope.reverse_path, connection.say(command)):
        return
    accepted = 0
    for recipient in envelope.recipients:
        accepted += await _take_step(performance, Step.RECIPIENTS, recipient, connection.say(f"RCPT TO:<{_printable(recipient)}>"))
        if connection.wire.is_closing():
            return
    if accepted:
        command = f"BDAT {len(content)} LAST\r\n"
        await _take_step(performance, Step.MAIL_DATA, "", connection.feed((command.encode(), content)))


async def _take_step(performance: Performance, step: Step, subject: str, answer: Awaitable[tuple[str, ...]]) -> bool:
    """Whether it was accepted."""
    watch = performance.watch
    watch.begin_recipient()
    began = time.perf_counter_ns()
    lines = await answer
    said = Said(step, subject, lines, (time.perf_counter_ns() - began) / 1000, watch.match, watch.finding, watch.refused)
    performance.said.append(said)
    if said.is_accepted and step is Step.RECIPIENTS and performance.connection.transaction is not None:
        said.path = performance.connection.transaction.recipients[-1]
    return said.is_accepted


def as_mail_data(raw: bytes) -> bytes:
    """Octets of a file as a client sends them: lines that end in a bare LF, as files have them, end in CRLF; so does the last.

    What has CRLF line ends is left as it is, with any bare LF that is among them.
    """
    if b"\r\n" not in raw:
        raw = raw.replace(b"\n", b"\r\n")
    return raw if not raw or raw.endswith(b"\r\n") else raw + b"\r\n"


def _printable(text: str) -> str:
    """Without what would end a command."""
    return _UNSPEAKABLE.sub("?", text)
