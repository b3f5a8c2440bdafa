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


class PipelineRule(StrEnum):
    """What becomes of a client that sends on where it has to wait for a reply (RFC 2920 section 3.1)."""

    LOG = "log"
    REFUSE = "refuse"  # 554, and the connection ends


class Demand(StrEnum):
    """What a policy asks for of TLS, or of AUTH."""

    LISTENER = "listener"  # as the listener has it
    OFF = "off"  # it is not offered
    PREFERRED = "preferred"  # it is offered where the listener can, and mail is taken without
    REQUIRED = "required"  # no mail is taken without


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
    dkim_signing: bool = True  # of mail that may go to any domain
    delivery_interface: str = ""  # that its mail leaves from; empty: the usual one
    tls: Demand = Demand.LISTENER
    tls_mandatory_for: tuple[str, ...] = ()  # reverse-paths that no mail in the clear is taken of: address, @domain or .domain, lower case
    auth: Demand = Demand.LISTENER
    pipelining_violation: PipelineRule = PipelineRule.LOG
    accept_untagged_bounces: bool = False  # of bounce verification only forged tags are refused
    greylist: bool = False  # who is not known has to come back
    greeting_delay: float = 0.0  # seconds before the greeting; whoever speaks before it is refused
    banner_text: str = ""  # empty: the listener's own greeting
    banner_hostname: str = ""  # empty: the gateway's
    reject_banner_code: int = 554
    reject_banner_text: str = "Your access to this mail system has been rejected"

    @property
    def is_open(self) -> bool:
        """Whether mail can come in at all."""
        return self.access in (AccessRule.ACCEPT, AccessRule.RELAY)


def names_path(entries: tuple[str, ...], path: str) -> bool:
    """Whether one of the entries (address, @domain or .domain, lower case) is meant for this path; none is for the null path."""
    if not entries or not path:
        return False
    address = path.lower()
    domain = address.rpartition("@")[2]
    return address in entries or f"@{domain}" in entries or any(entry[0] == "." and domain.endswith(entry) for entry in entries)


SHIPPED = {
    policy.name: policy
    for policy in (
        MailFlowPolicy("ACCEPTED"),
        MailFlowPolicy("TRUSTED", spam_check=False, dhap_limit=0),
        MailFlowPolicy(
            "THROTTLED",
            max_msgs_per_session=10,
            max_rcpts_per_msg=20,
            max_message_size=MIB,
            max_concurrency=10,
            max_rcpts_per_hour=20,
            pipelining_violation=PipelineRule.REFUSE,
        ),
        MailFlowPolicy("BLOCKED", access=AccessRule.REJECT),
        MailFlowPolicy("RELAYED", access=AccessRule.RELAY, dhap_limit=0),
    )
}
