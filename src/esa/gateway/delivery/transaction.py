"""One mail transaction as a next hop answers it: replies in the order of the commands, and what they come to for each forward-path. No I/O.

Each forward-path gets its own result. A 4xx is deferred, a 5xx failed; what has no decisive reply is deferred.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from esa.gateway.delivery.replies import RemoteReply
from esa.store.entry import Result


@dataclass(frozen=True, slots=True)
class Attempt:
    """What sending one message came to: a result for each forward-path asked for, in order."""

    results: tuple[Result, ...]
    is_connection_usable: bool
    may_have_arrived: bool = False  # lost between the final dot and its reply
    is_stale: bool = False  # a kept connection was found closed before it took anything: try again on a new one, at once

    def within(self, addresses: Sequence[str], refused: Mapping[str, str]) -> Attempt:
        """The same for all these forward-paths, of which some were not offered: those failed, each with its reply."""
        results = {result.address: result for result in self.results}
        results |= {address: Result(address, "failed", reply) for address, reply in refused.items()}
        return replace(self, results=tuple(results[address] for address in addresses))


class Transaction:
    """Collects the replies of one mail transaction and turns them into a result for each forward-path.

    `replies_each`: the mail data is answered for each accepted recipient by itself, in order (LMTP, RFC 2033 section 4.2).
    """

    def __init__(self, addresses: Sequence[str], *, replies_each: bool = False) -> None:
        self.addresses = tuple(addresses)
        self._replies_each = replies_each
        self.mail: RemoteReply | None = None
        self.paths: list[RemoteReply] = []
        self.data: RemoteReply | None = None
        self.finals: list[RemoteReply] = []  # to the mail data
        self.was_sent = False  # mail data was begun: the transaction is over on the other side
        self.is_complete = False  # the final dot was written

    def take(self, replies: Iterable[RemoteReply]) -> None:
        """Take the next replies, in the order of the commands."""
        for reply in replies:
            if self.mail is None:
                self.mail = reply
            elif len(self.paths) < len(self.addresses):
                self.paths.append(reply)
            else:
                self.data = reply

    @property
    def has_replies(self) -> bool:
        return self.mail is not None and self.mail.code != 421

    @property
    def accepted(self) -> bool:
        """Whether the next hop takes the mail for anybody."""
        return self.mail is not None and self.mail.status == "delivered" and any(reply.status == "delivered" for reply in self.paths)

    @property
    def finals_wanted(self) -> int:
        return sum(reply.status == "delivered" for reply in self.paths) if self._replies_each else 1

    def end(self, reply: RemoteReply) -> None:
        """The mail data has this reply for all."""
        self.finals = [reply] * self.finals_wanted

    @property
    def says_goodbye(self) -> bool:
        return any(reply is not None and reply.code == 421 for reply in (self.mail, *self.paths, self.data, *self.finals))

    def attempt(self, reason: str, *, is_connection_usable: bool, is_stale: bool = False) -> Attempt:
        """Results in order; what has no decisive reply is deferred for `reason`."""
        results = []
        for index, address in enumerate(self.addresses):
            reply = self._decisive(index)
            if reply is None:
                results.append(Result(address, "deferred", reason))
            else:
                results.append(Result(address, reply.status, str(reply)))
        return Attempt(tuple(results), is_connection_usable, self.is_complete and len(self.finals) < self.finals_wanted, is_stale)

    def _decisive(self, index: int) -> RemoteReply | None:
        if self.mail is not None and self.mail.status != "delivered":
            return self.mail
        if index < len(self.paths) and self.paths[index].status != "delivered":
            return self.paths[index]
        if self.data is not None and self.data.code != 354:
            return self.data if self.data.status != "delivered" else None
        place = sum(reply.status == "delivered" for reply in self.paths[:index]) if self._replies_each else 0
        return self.finals[place] if place < len(self.finals) else None


def deferred(addresses: Sequence[str], reason: str, *, is_stale: bool) -> Attempt:
    return Attempt(tuple(Result(address, "deferred", reason) for address in addresses), False, False, is_stale)
