"""What has to be known of a connecting host before its sender group is: names that lead back to it, DNS lists that name it, its reputation.

`reception` asks when `HostAccess.needs` says so. All questions for one host go out together, within a budget and a time limit; what is not
known by then is not known: the reverse lookup has failed, no list names the host. When several hosts in a row ran out of time the name
servers are left alone for a while, so that a dead resolver delays few.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Coroutine, Sequence
from typing import Any

from esa.engine.resolver import Outcome, Resolver
from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.policy.host_access import Needs, Sender
from esa.policy.reputation import Reputation
from esa.policy.senders import IpAddress, ReverseDns

NAMES = 5  # names of one address that are led back; a host with more is a shared one that no name tells anything of
LISTED = ipaddress.ip_network("127.0.0.0/8")  # RFC 5782 section 2.1
REFUSED_CODES = ipaddress.ip_network("127.255.255.0/24")  # "you ask too much", "you may not ask": no listing
GIVE_UP_AFTER, PAUSE = 3, 30.0  # hosts in a row that ran out of time, and seconds without questions then


class SenderFacts:
    """Finds things out; one per worker. `resolver` None answers nothing at all."""

    def __init__(self, resolver: Resolver | None, reputation: Reputation, *, timeout: float, budget: int) -> None:
        self._resolver, self._reputation = resolver, reputation
        self._timeout, self._budget = timeout, budget
        self._late = 0
        self._silent_until = 0.0

    async def find(self, address: IpAddress, needs: Needs) -> Sender:
        """All that `needs` asks for, or what of it is known in time. Never raises."""
        zones = tuple(dict.fromkeys((*needs.zones, *(self._reputation.zones if needs.reputation else ()))))
        reverse: tuple[ReverseDns, tuple[str, ...]] | None = None
        listed: frozenset[str] = frozenset()
        if self._resolver is not None and (needs.reverse or zones):
            questions: list[Coroutine[Any, Any, Any]] = [self._listed(self._resolver, address, zone) for zone in zones[: self._budget]]
            spare = self._budget - len(questions)
            if needs.reverse:
                questions.insert(0, self._reverse(self._resolver, address, spare - 1))
            answers = await self._within_time(questions)
            if needs.reverse:
                reverse, *answers = answers
            listed = frozenset(zone for zone, answer in zip(zones, answers, strict=False) if answer)
        if needs.reverse and reverse is None:
            reverse = (ReverseDns.FAILED, ())
        return Sender(
            address,
            reverse=reverse[0] if reverse else None,
            names=reverse[1] if reverse else (),
            reputation=self._reputation.score(address, listed) if needs.reputation else None,
            listed=listed,
        )

    async def _within_time(self, questions: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
        """The answers in order, None for what was not answered in time."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._silent_until:
            for question in questions:
                question.close()
            return [None] * len(questions)
        tasks = [loop.create_task(question) for question in questions]
        done, late = await asyncio.wait(tasks, timeout=self._timeout)
        for task in late:
            task.cancel()
        self._late = self._late + 1 if late else 0
        if self._late >= GIVE_UP_AFTER:
            self._late = GIVE_UP_AFTER - 1  # after the pause, one host more is enough
            self._silent_until = loop.time() + PAUSE
            events.error(Log.RESOLVER_SILENT, seconds=PAUSE, consequence="hosts have no names and are in no DNS list")
        return [task.result() if task in done and task.exception() is None else None for task in tasks]

    async def _reverse(self, resolver: Resolver, address: IpAddress, budget: int) -> tuple[ReverseDns, tuple[str, ...]]:
        """The names of an address that lead back to it (RFC 8601 section 3 calls this iprev)."""
        found = await resolver.look_up(address.reverse_pointer, "PTR")
        if found.outcome is Outcome.FAILED:
            return ReverseDns.FAILED, ()
        names = found.values[: max(0, min(NAMES, budget))]
        if not names:
            return ReverseDns.NO_NAME, ()
        kind = "A" if address.version == 4 else "AAAA"
        forward = await asyncio.gather(*(resolver.look_up(name, kind) for name in names))  # type: ignore[arg-type]
        confirmed = tuple(name for name, answer in zip(names, forward, strict=True) if _leads_to(answer.values, address))
        if confirmed:
            return ReverseDns.CONFIRMED, confirmed
        failed = any(answer.outcome is Outcome.FAILED for answer in forward)
        return (ReverseDns.FAILED if failed else ReverseDns.MISMATCHED), ()

    async def _listed(self, resolver: Resolver, address: IpAddress, zone: str) -> bool:
        """Whether a DNS list names the address (RFC 5782). An answer that is no 127/8 address is none of a DNS list."""
        labels = address.reverse_pointer.rpartition(".")[0].rpartition(".")[0]  # without in-addr.arpa or ip6.arpa
        answer = await resolver.look_up(f"{labels}.{zone}", "A")
        return any(_is_listing(value) for value in answer.values)


def _leads_to(values: Sequence[str], address: IpAddress) -> bool:
    for value in values:
        try:
            if ipaddress.ip_address(value) == address:
                return True
        except ValueError:
            continue
    return False


def _is_listing(value: str) -> bool:
    try:
        answer = ipaddress.ip_address(value)
    except ValueError:
        return False
    return answer in LISTED and answer not in REFUSED_CODES
