"""What has to be known of a connecting host before its sender group is: names that lead back to it, DNS lists that name it, its reputation.

`reception` asks when `HostAccess.needs` says so. What needs no question is told at once (`known`). All questions for one host go out
together, within a budget and a time limit; what is not known by then is not known: the reverse lookup has failed, no list names the host,
and its reputation is what we have learned ourselves. Who is asked and does not answer several hosts in a row is left alone for a while.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from esa.engine.resolver import Outcome, Resolver
from esa.gateway import events
from esa.gateway.dns_lists import GIVE_UP_AFTER, PAUSE, Answer, DnsLists, Questions, Silence
from esa.gateway.events import Event as Log
from esa.gateway.metrics import Counter, Row
from esa.policy.host_access import Needs, Sender
from esa.policy.reputation import Assessment, Reputation
from esa.policy.senders import IpAddress, ReverseDns

__all__ = ["GIVE_UP_AFTER", "SenderFacts"]

NAMES = 5  # names of one address that are led back; a host with more is a shared one that no name tells anything of
REVERSE = "PTR"
_FAILED: tuple[ReverseDns, tuple[str, ...]] = (ReverseDns.FAILED, ())


@dataclass(slots=True)
class _Found:
    """What is known so far of one host; the questions fill it in."""

    answers: dict[str, Answer] = field(default_factory=dict)
    reverse: tuple[ReverseDns, tuple[str, ...]] | None = None


class SenderFacts:
    """Finds things out; one per worker. `resolver` None answers nothing at all."""

    def __init__(
        self,
        resolver: Resolver | None,
        reputation: Reputation,
        *,
        timeout: float,
        budget: int,
        row: Row | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`timeout`: seconds for all that is asked of one host. `budget`: questions. `now`: Unix seconds, that histories fade by."""
        self._resolver, self._reputation = resolver, reputation
        self._timeout, self._budget, self._row, self._now = timeout, budget, row, now
        self._lists = DnsLists(row)
        self._reverse_silence = Silence()

    def known(self, address: IpAddress, needs: Needs) -> Sender | None:
        """All that `needs` asks for, if nobody has to be asked; else None."""
        zones = self._zones(needs)
        if self._resolver is None:
            return self._sender(address, needs, dict.fromkeys(zones), None)
        if needs.reverse:
            return None
        if not zones:
            return self._sender(address, needs, {}, None)
        answers = self._lists.recall(address, zones)
        return self._sender(address, needs, answers, None) if len(answers) == len(zones) else None

    def asks(self, needs: Needs) -> bool:
        """Whether name servers are asked for any of it."""
        return self._resolver is not None and (needs.reverse or bool(self._zones(needs)))

    async def find(self, address: IpAddress, needs: Needs) -> Sender:
        """All that `needs` asks for, or what of it is known in time. Never raises."""
        resolver = self._resolver
        zones = self._zones(needs)
        found = _Found(self._lists.recall(address, zones))
        if resolver is not None:
            questions = Questions(resolver, self._row, self._budget)
            unknown = [zone for zone in zones if zone not in found.answers][: self._budget]
            await self._ask(questions, found, address, unknown, needs.reverse)
        return self._sender(address, needs, {zone: found.answers.get(zone) for zone in zones}, found.reverse)

    def _zones(self, needs: Needs) -> tuple[str, ...]:
        if not needs.reputation or not self._reputation.zones:
            return needs.zones
        return tuple(dict.fromkeys((*needs.zones, *self._reputation.zones))) if needs.zones else self._reputation.zones

    def _sender(
        self, address: IpAddress, needs: Needs, answers: dict[str, Answer], reverse: tuple[ReverseDns, tuple[str, ...]] | None
    ) -> Sender:
        if needs.reverse and reverse is None:
            reverse = _FAILED
        assessed = self._reputation.assess(address, answers, self._now()) if needs.reputation else Assessment()
        return Sender(
            address,
            reverse=reverse[0] if reverse else None,
            names=reverse[1] if reverse else (),
            reputation=assessed.score,
            listed=frozenset(zone for zone, answer in answers.items() if answer) if answers else frozenset(),
            evidence=assessed.evidence,
        )

    # --- questions

    async def _ask(self, questions: Questions, found: _Found, address: IpAddress, zones: Sequence[str], reverse: bool) -> None:
        """Ask all at once, and take note of who did not answer."""
        loop = asyncio.get_running_loop()
        tasks = {loop.create_task(self._ask_list(questions, found, address, zone)): zone for zone in zones}
        if reverse and loop.time() >= self._reverse_silence.until:
            tasks[loop.create_task(self._ask_reverse(questions, found, address, len(zones)))] = REVERSE
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._timeout)
        for task in late:
            task.cancel()
        silent = []
        for task, subject in tasks.items():
            answered = task not in late and (subject == REVERSE or found.answers.get(subject) is not None)
            if task not in late and not task.cancelled() and (error := task.exception()) is not None:
                events.error(Log.RESOLVER_FAILED, cause=error, subject=subject)
                answered = False
            if not answered and self._row is not None:
                self._row.add(Counter.DNS_UNANSWERED)
            begins = (
                self._reverse_silence.note(answered=answered, now=loop.time())
                if subject == REVERSE
                else self._lists.note(subject, answered=answered)
            )
            if begins:
                silent.append(subject)
        if silent:
            consequence = "hosts have no names, are in no such DNS list, and have the reputation that was learned here"
            events.error(Log.RESOLVER_SILENT, subjects=" ".join(silent), seconds=PAUSE, consequence=consequence)

    async def _ask_list(self, questions: Questions, found: _Found, address: IpAddress, zone: str) -> None:
        found.answers[zone] = await self._lists.ask(questions, address, zone)

    async def _ask_reverse(self, questions: Questions, found: _Found, address: IpAddress, reserved: int) -> None:
        """The names of an address that lead back to it (RFC 8601 section 3 calls this iprev)."""
        lookup = await questions.look_up(address.reverse_pointer, "PTR")
        if lookup is None or lookup.outcome is Outcome.FAILED:
            found.reverse = _FAILED
            return
        names = lookup.values[: max(0, min(NAMES, questions.left - reserved))]
        if not names:
            found.reverse = (ReverseDns.NO_NAME, ())
            return
        forward = await asyncio.gather(*(questions.look_up(name, "A" if address.version == 4 else "AAAA") for name in names))
        confirmed = tuple(
            name for name, answer in zip(names, forward, strict=True) if answer is not None and _leads_to(answer.values, address)
        )
        if confirmed:
            found.reverse = (ReverseDns.CONFIRMED, confirmed)
        else:
            failed = any(answer is None or answer.outcome is Outcome.FAILED for answer in forward)
            found.reverse = (ReverseDns.FAILED if failed else ReverseDns.MISMATCHED, ())


def _leads_to(values: Sequence[str], address: IpAddress) -> bool:
    for value in values:
        try:
            if ipaddress.ip_address(value) == address:
                return True
        except ValueError:
            continue
    return False
