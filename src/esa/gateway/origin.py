"""Where mail of an incoming relay comes from: the client that the relay took it from, found out anew as if it had connected itself.

`reception` asks before the route begins with a message. The sender group of the relay stays that of the connection; what is decided of the
message behind its mail data goes by the origin. A header that tells no address leaves the relay in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esa.gateway.events import FieldValue
from esa.gateway.sender_facts import SenderFacts
from esa.message.field import values_of
from esa.policy.host_access import HostAccess, Match, Needs, Sender
from esa.policy.incoming_relay import VALUE_LIMIT, IncomingRelay
from esa_core._header_lines import header_end

if TYPE_CHECKING:
    from esa.gateway.receiver import Transaction

HEAD_LIMIT = 1 << 16  # octets of a message in which the relay's field is looked for: relays put theirs on top
_NOTHING, _REPUTATION = Needs(), Needs(reputation=True)


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of the client of a relay. Without `sender` the header told no address."""

    relay: str
    header: str
    sender: Sender | None = None
    match: Match | None = None  # the sender group that the client would be in

    @property
    def address(self) -> str:
        return str(self.sender.address) if self.sender is not None else ""

    def fields(self) -> dict[str, FieldValue]:
        """For log lines and tracking."""
        sender, match = self.sender, self.match
        return {
            "relay": self.relay,
            "origin": self.address or "none",
            "origin_reputation": sender.reputation if sender is not None else None,
            "origin_group": match.group if match is not None else None,
            "origin_because": match.because if match is not None else None,
        }


async def find_origin(
    transaction: Transaction, relay: IncomingRelay, hosts: HostAccess, facts: SenderFacts | None, needs: Needs = _NOTHING
) -> Origin:
    """Read the header and find out about the address that it tells; `needs`: also this. OSError if the mail data cannot be read."""
    if transaction.content_path is None:
        content = transaction.content[:HEAD_LIMIT]
    else:
        with transaction.content_path.open("rb") as file:
            content = file.read(HEAD_LIMIT)
    head = content[: header_end(content)].lower()
    address = relay.true_client(list(values_of(content, head, relay.header.lower(), limit=VALUE_LIMIT)))
    if address is None:
        return Origin(relay.name, relay.header)
    sender = Sender(address) if facts is None else await facts.find(address, hosts.needs(address) | needs | _REPUTATION)
    return Origin(relay.name, relay.header, sender, hosts.match(sender))
