"""Destination controls: how much at a time a destination gets, and how it is spoken to. Names and meanings are AsyncOS's.

Pure values; the deliver process keeps to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from esa.policy.smtp_routes import DomainTable
from esa.policy.tls_modes import Mode

UNLIMITED: Final = 0

IpPreference = Literal["prefer-v6", "prefer-v4", "require-v6", "require-v4"]


@dataclass(frozen=True, slots=True)
class DestinationControl:
    """What holds for each of some domains by itself."""

    concurrency: int = 20  # connections, each with one message at a time
    messages_per_connection: int = 50
    recipients_per_message: int = 100  # RFC 5321 section 4.5.3.1.8: every server takes so many
    recipients: int = UNLIMITED  # within `interval` seconds
    interval: float = 3_600.0
    ip_preference: IpPreference = "prefer-v6"
    tls: Mode = Mode.PREFERRED
    tls_names: tuple[str, ...] = ()  # that a certificate may stand for in the place of the domain
    bounce_profile: str = ""
    bounce_verification: bool = False  # return paths are tagged on the way to it

    @property
    def recipients_at_once(self) -> int:
        """The most recipients of one transaction."""
        return min(self.recipients_per_message, self.recipients) if self.recipients else self.recipients_per_message


DEFAULT_CONTROL = DestinationControl()
ControlTable = DomainTable[DestinationControl]
