"""When a message is greylisted: at RCPT where its content cannot change that, else when all of it is there. docs/decisions/0022 says why.

`reception` asks for recipients, the route for messages that it would keep. One for each worker; what it knows is shared by all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.gateway.visit import Visit
from esa.message.reply import Reply
from esa.policy.greylisting import aligned_domain, client_network, looks_like_login_code, triplet_path
from esa.policy.mail_flow import AccessRule
from esa.policy.senders import ReverseDns
from esa.store.greylist import Decision
from esa_core import Parsed, parse

if TYPE_CHECKING:
    import mmap

    from esa.gateway.receiver import Transaction

LOOKED_AT = 1 << 18  # octets of a message that are parsed for its author and a login code
TOLD_SECONDS = 60.0  # a file that fails is told so often


class KnowsStrangers(Protocol):
    """Who has come back before; esa.store.greylist.Greylist knows it."""

    def check(
        self,
        network: str,
        reverse_path: str,
        recipients: Sequence[str],
        *,
        author: Callable[[], str] | None = None,
        exempt: Callable[[], str] | None = None,
    ) -> Decision: ...

    def knows_author(self, domain: str) -> bool: ...

    def close(self) -> None: ...


class Greylisting:
    def __init__(self, greylist: KnowsStrangers) -> None:
        self._greylist = greylist

    def recipient(self, transaction: Transaction, forward_path: str, visit: Visit) -> Reply | None:
        """The refusal of a recipient, where no content can help it; None if it is accepted, or decided when the mail is there."""
        if not self._applies(transaction, visit) or _content_may_help(transaction, visit):
            return None
        assert visit.sender is not None
        network = client_network(visit.sender.address)
        decision = self._greylist.check(network, triplet_path(transaction.reverse_path), [forward_path.lower()])
        return None if decision.passes else Reply(451, "4.7.1", _words(decision.wait))

    def message(self, transaction: Transaction, visit: Visit | None, content: bytes | mmap.mmap) -> tuple[str, str | None]:
        """Why a message passes or has to wait ("": greylisting has nothing to do with it), and the words of the refusal if it waits."""
        if visit is None or not self._applies(transaction, visit) or not _content_may_help(transaction, visit):
            return "", None
        sender = visit.sender
        assert sender is not None
        read: list[Parsed] = []

        def parsed() -> Parsed:
            if not read:
                read.append(parse(bytes(content[:LOOKED_AT])))
            return read[0]

        def author() -> str:
            return "" if "ambiguous" in parsed().flags else aligned_domain(parsed().from_address, sender.names)

        def exempt() -> str:
            if self._greylist.knows_author(author()):
                return "author"
            alone = len(transaction.recipients) == 1 and transaction.reverse_path
            return "login_code" if alone and looks_like_login_code(parsed().subject, parsed().text) else ""

        recipients = [recipient.lower() for recipient in transaction.recipients]
        path = triplet_path(transaction.reverse_path)
        decision = self._greylist.check(client_network(sender.address), path, recipients, author=author, exempt=exempt)
        return decision.why, None if decision.passes else _words(decision.wait)

    def close(self) -> None:
        self._greylist.close()

    @staticmethod
    def _applies(transaction: Transaction, visit: Visit) -> bool:
        policy = visit.policy
        return (
            policy.greylist
            and policy.access is AccessRule.ACCEPT
            and visit.sender is not None
            and visit.relay is None  # it would come back, and its client is asked nothing
            and not transaction.connection.user
        )


def _content_may_help(transaction: Transaction, visit: Visit) -> bool:
    """No author is aligned with a client that has no name, and no login code comes from there.

    Whoever asks with the null reverse-path whether an address is there (a call-ahead) is answered, and only its mail has to wait.
    """
    sender = visit.sender
    return not transaction.reverse_path or sender is None or sender.reverse in (None, ReverseDns.CONFIRMED, ReverseDns.FAILED)


def _words(seconds: int) -> str:
    return f"Greylisted, try again in {seconds} seconds"


def tell_failure(clock: Callable[[], float] = time.monotonic) -> Callable[[StoreError], None]:
    """What to do with faults of the file: log one now and then."""
    until = [0.0]

    def tell(fault: StoreError) -> None:
        if clock() >= until[0]:
            until[0] = clock() + TOLD_SECONDS
            events.error(Log.GREYLIST_FAILED, reason=str(fault), consequence="nobody is greylisted")

    return tell
