"""Mail flow policies: how a sender group may speak. Names of the parameters, and what is shipped, are AsyncOS's.

A `MailFlowPolicy` is a value; `host_access` finds the one of a connection, the listener keeps to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MIB = 1 << 20


class AccessRule(StrEnum):
    """What becomes of a connection."""

    ACCEPT = "ACCEPT"  # its mail is taken for the domains of the listener
    RELAY = "RELAY"  # its mail is taken for any domain
    REJECT = "REJECT"  # it is greeted with a refusal
    TCPREFUSE = "TCPREFUSE"  # it is reset without a word
    CONTINUE = "CONTINUE"  # the group is passed over; the next that matches decides


@dataclass(frozen=True, slots=True)
class MailFlowPolicy:
    """Limits and manners for the senders of a group."""

    name: str = "ACCEPTED"
    access: AccessRule = AccessRule.ACCEPT
    max_msgs_per_session: int = 1_000
    max_rcpts_per_msg: int = 1_000
    max_message_size: int = 100 * MIB  # octets; the listener's own limit holds too
    spam_check: bool = True
    banner_text: str = ""  # empty: the listener's own greeting
    banner_hostname: str = ""  # empty: the gateway's
    reject_banner_code: int = 554
    reject_banner_text: str = "Your access to this mail system has been rejected"

    @property
    def is_open(self) -> bool:
        """Whether mail can come in at all."""
        return self.access in (AccessRule.ACCEPT, AccessRule.RELAY)


SHIPPED = {
    policy.name: policy
    for policy in (
        MailFlowPolicy("ACCEPTED"),
        MailFlowPolicy("TRUSTED", spam_check=False),
        MailFlowPolicy("THROTTLED", max_msgs_per_session=10, max_rcpts_per_msg=20, max_message_size=MIB),
        MailFlowPolicy("BLOCKED", access=AccessRule.REJECT),
        MailFlowPolicy("RELAYED", access=AccessRule.RELAY),
    )
}
