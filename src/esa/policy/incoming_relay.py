"""Incoming relays: hosts of our own that take mail from outside and hand it on to us, and the header that tells who they took it from.

The gateway asks `IncomingRelays.find` for a connecting host, and `true_client` for each of its messages. Pure. Rule: an address counts only if
the header can be read in one way; a field that somebody outside may have written, twice or with two addresses, gives none. Without an
address the connecting host counts, as in AsyncOS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from esa.policy.address_table import NOTHING, AddressTable
from esa.policy.senders import Addresses, IpAddress, read_address

RECEIVED = "Received"
VALUE_LIMIT = 4_096  # octets of a field that are looked at; a Received field has some hundred
_ADDRESS = re.compile(r"(?<![\w.:-])(?:IPv6:)?([0-9a-f:.]*[0-9a-f:])(?![\w:-]|\.\w)", re.IGNORECASE)
_CLIENT = re.compile(r"\[(?:IPv6:)?([0-9a-f:.]+)\][^()\[\]]*\)\s+by\s", re.IGNORECASE)  # behind it nothing of the from clause follows
_BY = re.compile(r"\sby\s", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IncomingRelay:
    """One relay or several alike. `header` is RECEIVED or the name of a field of theirs."""

    name: str
    hosts: tuple[Addresses, ...]
    header: str = RECEIVED
    hops: int = 1  # which Received field: 1 is the uppermost, which the relay itself has written
    match_after: str = ""  # the address is the first behind this text; empty: where RFC 5321 has it
    match_up_to: str = ""  # and stands before this one; empty: anywhere

    def true_client(self, values: Sequence[bytes]) -> IpAddress | None:
        """The address that the fields called `header` name, given from the top; None if they name none that can be relied on."""
        if self.header == RECEIVED:
            if len(values) < self.hops:
                return None
            value = values[self.hops - 1]
        elif len(values) == 1:
            value = values[0]
        else:  # one of them is not the relay's
            return None
        text = " ".join(value[:VALUE_LIMIT].decode("utf-8", "replace").split())
        if self.match_after or self.header != RECEIVED:
            address = self._behind(text)
        else:
            address = _only(_CLIENT.findall(text))
        if address is None or address.is_unspecified or address.is_multicast or _is_among(address, self.hosts):
            return None
        return address

    def _behind(self, text: str) -> IpAddress | None:
        """The first address behind `match_after`; None if that text stands twice with different ones, as when a HELO imitates it."""
        if self.header == RECEIVED and (by := _BY.search(text)):
            text = text[: by.start()]
        pieces = text.split(self.match_after)[1:] if self.match_after else [text]
        found: set[IpAddress | None] = set()
        for piece in pieces:
            part = piece.partition(self.match_up_to)[0] if self.match_up_to else piece
            addresses = (read_address(candidate) for candidate in _ADDRESS.findall(part))
            found.add(next((address for address in addresses if address is not None), None))
        found.discard(None)
        return found.pop() if len(found) == 1 else None


class IncomingRelays:
    """All relays; where hosts of two overlap, the first counts."""

    def __init__(self, relays: Sequence[IncomingRelay] = ()) -> None:
        self._relays = tuple(relays)
        self._tables = {
            version: AddressTable(
                (host.first, host.last, order) for order, relay in enumerate(relays) for host in relay.hosts if host.version == version
            )
            for version in (4, 6)
        }

    def __bool__(self) -> bool:
        return bool(self._relays)

    def find(self, address: IpAddress) -> IncomingRelay | None:
        """The relay that a connecting host is, or None."""
        order = self._tables[address.version].find(int(address))
        return None if order == NOTHING else self._relays[order]


def _only(candidates: Sequence[str]) -> IpAddress | None:
    found = {read_address(candidate) for candidate in candidates}
    return found.pop() if len(found) == 1 else None


def _is_among(address: IpAddress, hosts: Sequence[Addresses]) -> bool:
    return any(host.version == address.version and host.first <= int(address) <= host.last for host in hosts)
