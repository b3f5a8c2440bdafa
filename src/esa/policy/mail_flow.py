"""Mail flow policies: how a sender group may speak. Names of the parameters, and what is shipped, are AsyncOS's.

A `MailFlowPolicy` is a value; `host_access` finds the one of a connection, the listener keeps to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MIB = 1 << 20
UNLIMITED = -1


class AccessRule(StrEnum):
    """What becomes of a connection."""

    ACCEPT = "ACCEPT"  # its mail is taken for the domains of the listener
    RELAY = "RELAY"  # its mail is taken for any domain
    REJECT = "REJECT"  # it is greeted with a refusal
    TCPREFUSE = "TCPREFUSE"  # it is reset without a word
    CONTINUE = "CONTINUE"  # the group is passed over; the next that matches decides


@dataclass(frozen=True, slots=True)
class MailFlowPolicy:
    """Limits and manners for the senders of a group. UNLIMITED (-1) lifts a limit where it is said so."""

    name: str = "ACCEPTED"
    access: AccessRule = AccessRule.ACCEPT
    max_msgs_per_session: int = 1_000
    max_rcpts_per_msg: int = 1_000
    max_message_size: int = 100 * MIB  # octets; the listener's own limit holds too
    max_concurrency: int = 1_000  # connections of one sender at one time; UNLIMITED
    max_rcpts_per_hour: int = UNLIMITED  # of one sender in an hour
    max_rcpts_per_hour_code: int = 452
    max_rcpts_per_hour_text: str = "Too many recipients received this hour"
    max_rcpts_per_envelope_sender: int = UNLIMITED  # of one reverse-path in `envelope_sender_interval`
    envelope_sender_interval: float = 3_600.0  # seconds
    envelope_sender_code: int = 452
    envelope_sender_text: str = "Too many recipients received from the sender"
    envelope_sender_exempt: tuple[str, ...] = ()  # reverse-paths that are not counted: address, @domain or .domain, lower case
    significant_bits: int = 32  # of an IPv4 address that make one sender for counting; IPv6: twice that
    dhap_limit: int = 25  # invalid recipients of one sender in an hour; 0: not counted, UNLIMITED: counted, never over
    dhap_code: int = 550
    dhap_text: str = "Too many invalid recipients"
    dhap_disconnect: bool = True
    spam_check: bool = True
    greeting_delay: float = 0.0  # seconds before the greeting; whoever speaks before it is refused
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
        MailFlowPolicy("TRUSTED", spam_check=False, dhap_limit=0),
        MailFlowPolicy(
            "THROTTLED", max_msgs_per_session=10, max_rcpts_per_msg=20, max_message_size=MIB, max_concurrency=10, max_rcpts_per_hour=20
        ),
        MailFlowPolicy("BLOCKED", access=AccessRule.REJECT),
        MailFlowPolicy("RELAYED", access=AccessRule.RELAY, dhap_limit=0),
    )
}
