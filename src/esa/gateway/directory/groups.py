"""Who is in which group of a directory: gathered before policy decides, which itself asks nobody.

    addresses of a message × groups that rules name → kept answers, or the directory → groups by address, or "cannot say"

`reception` asks once a message, and only where rules name groups. All that is not known is asked for at one time, and only that message waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from esa.gateway.directory.kept import KeptSource
from esa.gateway.directory.sources import Standing
from esa.policy.recipient_access import recipient_of


class GroupFacts(NamedTuple):
    """By address in lower case the groups it is in. `is_unsure`: a directory could not say, and its outage policy puts mail off."""

    groups: Mapping[str, frozenset[str]]
    is_unsure: bool = False


class Groups:
    """All directories of a process. Belongs to one event loop."""

    def __init__(self, sources: Mapping[str, Sequence[KeptSource]]) -> None:
        """For each group that rules name the sources that know it."""
        self._sources = sources

    async def find(self, addresses: Iterable[str]) -> GroupFacts:
        """The groups of these addresses. Raises nothing."""
        asked = [
            (address, group, source.look_up(recipient_of(address)))
            for address in dict.fromkeys(address.lower() for address in addresses if address)
            for group, sources in self._sources.items()
            for source in sources
        ]
        waiting = [answer for _, _, answer in asked if isinstance(answer, asyncio.Future)]
        if waiting:
            await asyncio.wait(waiting)  # others may wait for the same answers: they are not cancelled with us
        found: dict[str, set[str]] = {}
        is_unsure = False
        for address, group, answer in asked:
            standing = answer.result() if isinstance(answer, asyncio.Future) else answer
            if standing is Standing.KNOWN:
                found.setdefault(address, set()).add(group)
            is_unsure = is_unsure or standing is Standing.UNSURE
        return GroupFacts({address: frozenset(groups) for address, groups in found.items()}, is_unsure)

    async def close(self) -> None:
        for source in {id(one): one for sources in self._sources.values() for one in sources}.values():
            await source.close()
