"""What is known of one connection while it lasts: its sender group and why, its mail flow policy, what it has done so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esa.gateway.events import FieldValue
from esa.gateway.rates import SenderCounts
from esa.policy.host_access import Match, Sender
from esa.policy.incoming_relay import IncomingRelay
from esa.policy.mail_flow import AccessRule, MailFlowPolicy
from esa.policy.reputation import Assessment

if TYPE_CHECKING:
    from esa.gateway.protocol import Connection


@dataclass(slots=True)
class Visit:
    """Stands in `Connection.context` from the moment the sender group is known."""

    match: Match
    sender: Sender | None  # None: a client without an IP address
    told: Mapping[str, FieldValue]  # `fields_of` them, of all connections alike that came within a second
    relay: IncomingRelay | None = None  # that the client is
    counts: SenderCounts | None = None  # None: nothing is counted of this client
    messages: int = 0  # begun in this connection
    refused: int = 0  # recipients, in this connection
    is_refused: bool = False  # before it was greeted, or because of how it spoke
    is_told: bool = False  # tracking knows that this connection was part of a directory harvest

    @property
    def policy(self) -> MailFlowPolicy:
        return self.match.policy

    def may_relay(self, user: str) -> bool:
        """Whether mail for any domain is taken of it, so that it counts as outbound."""
        return self.match.policy.access is AccessRule.RELAY or bool(user)

    def fields(self) -> Mapping[str, FieldValue]:
        """Group, reason and policy for log lines and tracking; what was not asked for is left out. As it was when the client connected."""
        return self.told


def fields_of(match: Match, sender: Sender | None) -> dict[str, FieldValue]:
    """What is told of a client with each of its messages."""
    told: dict[str, FieldValue] = {"group": match.group, "because": match.because, "policy": match.policy.name}
    if sender is None:
        return told
    if sender.reputation is not None:
        told["reputation"] = sender.reputation
    if sender.evidence:
        told["why"] = Assessment(sender.reputation, sender.evidence).describe(time.time())
    if sender.names:
        told["names"] = " ".join(sender.names)
    if sender.reverse:
        told["reverse"] = str(sender.reverse)
    if sender.listed:
        told["listed"] = " ".join(sorted(sender.listed))
    return told


def visit_of(connection: Connection) -> Visit | None:
    """The visit of a connection; None where another receiver is at work."""
    context = connection.context
    return context if isinstance(context, Visit) else None
