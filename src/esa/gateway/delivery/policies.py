"""Policies of domains (MTA-STS) as delivery uses them: fetched once, kept on disk for as long as they say, fetched anew when they change.

`securing` asks before it connects to a mail exchanger. Rules (RFC 8461 sections 3 to 5):

- A policy that is kept holds until its max_age is over: no record that is gone, no name server that is silent, no fetch that fails lowers it.
- Another identifier in DNS than the one that is kept, and a policy of a certain age, make it be fetched again.
- Without one in hand mail goes as if there were none; a fetch that failed is tried again after some minutes, not for each message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.gateway.peers import https, mta_sts
from esa.gateway.peers.answers import PeerResolver
from esa.gateway.peers.mta_sts import Found, Policy, PolicyMode
from esa.gateway.peers.probe import Manner
from esa.policy.tls_modes import MtaSts
from esa.store.tls_policies import MOST, KeptPolicy, TlsPolicies

FETCH_SECONDS: Final = 60.0  # section 3.3 proposes a minute
AGAIN: Final = 300.0  # seconds after a fetch that failed (section 3.3: five minutes or more)
FRESH: Final = 86_400.0  # seconds after which a policy is fetched again though its identifier is the same (section 5.1 asks for that)


@dataclass(frozen=True, slots=True)
class _Failure:
    at: float
    found: Found


class KeptPolicies:
    """Owned by the event loop of the deliver process."""

    def __init__(
        self,
        state: Path,
        resolver: PeerResolver,
        *,
        manner: Manner,
        port: int = https.HTTPS,
        is_allowed: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`manner`: what is trusted, and which ciphers are enough. Where the file cannot be used policies hold until this process ends."""
        self._resolver, self._manner, self._port, self._is_allowed = resolver, manner, port, is_allowed
        self._store: TlsPolicies | None = None
        self._kept: dict[str, KeptPolicy] = {}
        try:
            self._store = TlsPolicies(state)
            self._kept = {one.domain: one for one in self._store.all()}
        except StoreError as fault:
            events.error(Log.PROCESS_FAILED, reason=str(fault), consequence="policies of domains (MTA-STS) are not kept on disk")
        self._failures: dict[str, _Failure] = {}
        self._fetching: dict[str, asyncio.Task[Found]] = {}
        self._turn = asyncio.Lock()  # one at a time uses the store

    async def policy(self, domain: str) -> Found:
        """What counts of a domain just now."""
        record = await mta_sts.identify(self._resolver, domain)
        now = time.time()
        kept = self._kept.get(domain)
        if kept is not None and kept.expires_at <= now:
            kept = None
        if isinstance(record, Found):
            return record if kept is None else _found(kept)
        if kept is not None and kept.identifier == record:
            if now - kept.fetched_at > min(FRESH, kept.max_age / 2) and not self._has_failed(domain, now):
                self._fetch(domain, record)
            return _found(kept)
        if self._has_failed(domain, now):
            return self._failures[domain].found if kept is None else _found(kept)
        found = await asyncio.shield(self._fetch(domain, record))
        return found if found.policy is not None or kept is None else _found(kept)

    def _has_failed(self, domain: str, now: float) -> bool:
        failure = self._failures.get(domain)
        return failure is not None and 0 <= now - failure.at < AGAIN

    def _fetch(self, domain: str, identifier: str) -> asyncio.Task[Found]:
        """The fetch that is under way, or a new one."""
        task = self._fetching.get(domain)
        if task is None:
            task = self._fetching[domain] = asyncio.create_task(self._fetch_once(domain, identifier))
            task.add_done_callback(lambda _: self._fetching.pop(domain, None))
        return task

    async def _fetch_once(self, domain: str, identifier: str) -> Found:
        found = await mta_sts.fetch(
            self._resolver,
            domain,
            identifier,
            manner=self._manner,
            port=self._port,
            seconds=FETCH_SECONDS,
            is_allowed=self._is_allowed,
        )
        now = time.time()
        policy = found.policy
        if policy is None:
            self._failures = {name: one for name, one in self._failures.items() if now - one.at < AGAIN}
            self._failures[domain] = _Failure(now, found)
            events.warning(Log.TLS_POLICY_FAILED, domain=domain, reason=found.reason)
            return found
        self._failures.pop(domain, None)
        kept = KeptPolicy(domain, identifier, policy.mode, policy.servers, policy.max_age, now)
        self._kept[domain] = kept
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]
        try:
            async with self._turn:
                if self._store is not None:
                    await asyncio.to_thread(self._store.keep, kept)
        except StoreError as fault:  # it holds until this process ends
            events.error(Log.PROCESS_FAILED, reason=str(fault), consequence="the policy of a domain is not kept on disk", domain=domain)
        return found

    async def close(self) -> None:
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with self._turn:
            if self._store is not None:
                self._store.close()


def _found(kept: KeptPolicy) -> Found:
    policy = Policy(cast("PolicyMode", kept.mode), kept.servers, kept.max_age, kept.identifier)
    return Found(policy, MtaSts.ABSENT, "the policy says none" if kept.mode == "none" else "")
