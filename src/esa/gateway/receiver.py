"""What the listener hands up: a connection, a transaction, and the receiver that decides about them.

The gateway's route and the adapter of aiosmtpd handlers derive from `Receiver`; `protocol` calls it. All calls come from the event loop's
thread and must not block. Promise: whatever a receiver answers, replies keep the order of the commands (RFC 2920).
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from esa.message.envelope import Envelope, Options, RecipientOptions, Session
from esa.message.reply import Reply
from esa_core._smtp import NO_PARAMETERS

if TYPE_CHECKING:
    from esa.gateway.directory.groups import GroupFacts
    from esa.gateway.origin import Origin
    from esa.gateway.protocol import Connection
    from esa_core._smtp_parameters import MailParameters

Lines: TypeAlias = Reply | Sequence[Reply]
"""One reply, or the lines of a multi-line reply (RFC 5321 section 4.2.1), all of one code."""

Answer: TypeAlias = Lines | asyncio.Future[Lines | None] | None
"""None accepts with the usual reply; a code under 400 accepts with the words given; others refuse. A future makes the session wait."""


class Transaction:
    """One mail transaction: from MAIL to the reply after the mail data.

    `content` holds the mail data (CRLF line ends, dots unstuffed) if it has no more octets than `Limits.spill`; otherwise it is empty
    and `content_path` names a file of `size` octets (mode 0600, written, not synced). Whoever is handed a complete transaction
    in `Receiver.message` owns that file; of a transaction that ends earlier the listener unlinks it.
    """

    __slots__ = (
        "closed",
        "connection",
        "content",
        "content_path",
        "context",
        "entries",
        "finished",
        "groups",
        "normalized",
        "number",
        "options",
        "origin",
        "parameters",
        "received_at",
        "recipients",
        "reverse_path",
        "size",
    )

    def __init__(self, connection: Connection, reverse_path: str, parameters: MailParameters = NO_PARAMETERS) -> None:
        self.connection = connection
        self.reverse_path = reverse_path  # addr-spec; "" is the null reverse-path
        self.recipients: list[str] = []  # accepted forward-paths, addr-specs
        self.options: list[RecipientOptions] = []  # of the recipients that have any
        self.parameters = parameters
        self.content = b""
        self.content_path: Path | None = None
        self.size = 0  # octets of mail data after dot-unstuffing
        self.normalized = 0  # bare CRs, bare LFs and NULs that were mended in the mail data
        self.received_at = 0.0  # Unix seconds, end of data
        self.closed = False  # the client is gone: finish() still has to be called, nobody reads the reply
        self.finished = False
        self.number = 0  # of the message in logs (AsyncOS's MID), if the receiver gives it one
        self.origin: Origin | None = None  # of mail of an incoming relay
        self.groups: GroupFacts | None = None  # of directories, if rules ask for them
        self.context: object = None  # the receiver's own
        self.entries: dict[str, str] | None = None  # of recipient access, by recipient that one accepted

    @property
    def declared_size(self) -> int:
        """SIZE parameter in octets, 0 if not given."""
        return self.parameters.declared_size

    @property
    def body(self) -> str:
        return self.parameters.body

    @property
    def smtputf8(self) -> bool:
        return self.parameters.smtputf8

    @property
    def session(self) -> Session:
        return self.connection.describe(self.received_at or time.time(), smtputf8=self.smtputf8)

    @property
    def envelope(self) -> Envelope:
        given = self.parameters
        options = None
        if self.options or given.are_rare:
            submitter = given.auth if self.connection.user else given.auth and "<>"  # RFC 4954 section 5: nobody vouches for it
            options = Options(given.ret, given.envelope_id, submitter, given.requiretls, tuple(self.options))
        return Envelope(self.reverse_path, tuple(self.recipients), self.size, given.body, given.smtputf8, options, self.number)

    def finish(self, reply: Lines) -> None:
        """Answer the mail data, exactly once, on the event loop's thread; held-back commands of the session go on after it."""
        self.connection.finish(self, reply)


class Receiver(ABC):
    """Decides what a listener accepts. Derive from it and override what matters; every default accepts."""

    def greet(self, connection: Connection) -> Answer:
        """A client has connected. A refusal (554, 421) is sent instead of the greeting and the connection closed."""
        return None

    def early(self, connection: Connection, command: str) -> Reply | None:
        """The client has sent on behind a command whose reply it has to wait for (RFC 2920 section 3.1): HELLO, DATA or AUTH.

        Called once for a connection. A reply is the last one of it, and the command is not carried out.
        """
        return None

    def secured(self, connection: Connection) -> None:  # noqa: B027
        """TLS was agreed on (`connection.tls`). What the client said before counts no more (RFC 3207 section 4.2)."""

    def authenticated(self, connection: Connection) -> None:  # noqa: B027
        """AUTH has proven who the client is (`connection.user`)."""

    def hello(self, connection: Connection, name: str, capabilities: Sequence[str]) -> Answer:
        """EHLO (`connection.extended`) or HELO with the client's `name`; `capabilities` are the keyword lines that EHLO would list."""
        return None

    def mail(self, transaction: Transaction, parameters: Sequence[str]) -> Answer:
        """MAIL with its path and known parameters already checked. `parameters` as given: ("SIZE=1000", "BODY=8BITMIME")."""
        return None

    def recipient(self, transaction: Transaction, forward_path: str, parameters: Sequence[str]) -> Answer:
        """RCPT. On acceptance the listener appends `forward_path` (an addr-spec) to `transaction.recipients`."""
        return None

    def data(self, transaction: Transaction) -> Answer:
        """DATA before its 354, or the first BDAT. Only a refusal is looked at."""
        return None

    @abstractmethod
    def message(self, transaction: Transaction) -> None:
        """The mail data is complete. Call `transaction.finish(reply)` exactly once, now or later."""

    def reset(self, connection: Connection) -> Answer:
        """RSET."""
        return None

    def noop(self, connection: Connection, argument: str) -> Answer:
        """NOOP."""
        return None

    def verify(self, connection: Connection, argument: str) -> Answer:
        """VRFY; the default says 252 to everything."""
        return None

    def quit(self, connection: Connection) -> Answer:
        """QUIT."""
        return None

    def aborted(self, transaction: Transaction) -> None:  # noqa: B027
        """The transaction ended before its mail data did (RSET, connection lost, time-out, too large, …)."""

    def closed(self, connection: Connection) -> None:  # noqa: B027
        """The connection is gone; called once for each connection that `greet` saw."""
