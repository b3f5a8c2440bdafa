"""A source of recipients that has to be asked over the network or the disk: its answers are kept, its failures borne.

    look_up → kept and fresh: at once · already asked: the same future · left alone after failures: outage policy · else: asked, within its time

`sql`, `ldap` and `call_ahead` ask. Known and unknown recipients are kept apart, so that invented addresses never push real ones out. A source
that failed several times in a row is left alone for a while: a dead server delays few sessions and not all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, Protocol

from esa.gateway import events
from esa.gateway.directory.silence import Silence, SourceFailure
from esa.gateway.directory.sources import Scope, Standing
from esa.policy.recipient_access import Recipient

UNDER_WAY = 1_000  # questions of one source at one time; more is a flood, and is treated as an outage
Outage = Literal["defer", "accept", "stale"]


class Asker(Protocol):
    """Finds out whether there is a recipient."""

    async def ask(self, recipient: Recipient) -> bool | None:
        """True or False; None if it cannot tell and says so itself. Raises SourceFailure. Cancelled when it takes too long."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long answers are kept, and what is done without one. Seconds."""

    timeout: float = 5.0
    known: float = 900.0
    unknown: float = 60.0
    size: int = 100_000  # answers of each kind
    outage: Outage = "defer"
    stale: float = 86_400.0  # age up to which a kept answer does during an outage, with outage "stale"


class KeptSource:
    """One source; its scope, who asks, and what is kept. Belongs to one event loop."""

    def __init__(self, scope: Scope, asker: Asker, keeping: Keeping) -> None:
        self._scope, self._asker, self._keeping = scope, asker, keeping
        self._answers: dict[bool, OrderedDict[Recipient, float]] = {True: OrderedDict(), False: OrderedDict()}  # → loop seconds
        self._under_way: dict[Recipient, asyncio.Task[Standing]] = {}
        consequence = {"defer": "its recipients are put off", "accept": "its recipients are taken", "stale": "kept answers are used"}
        self._silence = Silence(scope.name, consequence[keeping.outage])

    @property
    def scope(self) -> Scope:
        return self._scope

    async def start(self) -> None:
        """Nothing: the first question opens what it needs, so that a dead server keeps no gateway from starting."""

    async def close(self) -> None:
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        await self._asker.close()

    def look_up(self, recipient: Recipient) -> Standing | asyncio.Future[Standing]:
        now = asyncio.get_running_loop().time()
        for is_known, lifetime in ((True, self._keeping.known), (False, self._keeping.unknown)):
            at = self._answers[is_known].get(recipient)
            if at is not None and now - at < lifetime:
                self._answers[is_known].move_to_end(recipient)
                return Standing.KNOWN if is_known else Standing.UNKNOWN
        task = self._under_way.get(recipient)
        if task is not None:
            return task
        if self._silence.is_on(now) or len(self._under_way) >= UNDER_WAY:
            return self._without(recipient)
        task = self._under_way[recipient] = asyncio.ensure_future(self._ask(recipient))
        return task

    async def _ask(self, recipient: Recipient) -> Standing:
        try:
            async with asyncio.timeout(self._keeping.timeout):
                is_known = await self._asker.ask(recipient)
        except (SourceFailure, OSError) as failure:  # TimeoutError is an OSError
            self._silence.failed(str(failure) or f"no answer within {self._keeping.timeout:g} s")
            return self._without(recipient)
        except Exception as error:
            self._silence.failed(events.describe(error))
            return self._without(recipient)
        finally:
            del self._under_way[recipient]
        self._silence.ended()
        if is_known is None:
            return Standing.ASSUMED
        kept = self._answers[is_known]
        self._answers[not is_known].pop(recipient, None)
        kept[recipient] = asyncio.get_running_loop().time()
        kept.move_to_end(recipient)
        if len(kept) > self._keeping.size:
            kept.popitem(last=False)
        return Standing.KNOWN if is_known else Standing.UNKNOWN

    def _without(self, recipient: Recipient) -> Standing:
        """What holds for a recipient that the source cannot be asked about."""
        if self._keeping.outage == "accept":
            return Standing.ASSUMED
        if self._keeping.outage == "stale":
            now = asyncio.get_running_loop().time()
            for is_known, standing in ((True, Standing.KNOWN), (False, Standing.UNKNOWN)):
                at = self._answers[is_known].get(recipient)
                if at is not None and now - at < self._keeping.stale:
                    return standing
        return Standing.UNSURE
