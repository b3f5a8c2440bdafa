"""Whether a recipient exists: the sources of a listener, asked in order, and what is made of their answers.

    recipient → the sources that cover its domain → known by one: taken · unknown to all: refused · one could not say: its outage policy

`gateway.recipients` asks once for each RCPT that recipient access has accepted. A source that knows at once (a file, a kept answer) answers at
once; another gives a future, and only the session that asked waits for it. No source raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from esa.message.reply import Reply
from esa.policy.recipient_access import Recipient

UNKNOWN_RECIPIENT = Reply(550, "5.1.1", "Recipient unknown")
UNSURE_RECIPIENT = Reply(451, "4.4.3", "Recipient cannot be verified, try again later")


class Standing(Enum):
    """What a source says of a recipient."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    UNSURE = "unsure"  # it could not be asked: to be put off
    ASSUMED = "assumed"  # it could not be asked, or cannot tell: to be taken


@dataclass(frozen=True, slots=True)
class Scope:
    """Which recipients a source knows. Without domains: those of every domain that recipient access names."""

    name: str
    domains: frozenset[str] = frozenset()
    below: frozenset[str] = frozenset()  # every domain below these
    unknown: Reply = UNKNOWN_RECIPIENT  # said of a recipient that there is not

    @classmethod
    def of(cls, name: str, domains: Iterable[str] = (), unknown: Reply = UNKNOWN_RECIPIENT) -> Scope:
        """Domains as `example.org` and `.example.org`, lower case."""
        given = list(domains)
        exact = frozenset(domain for domain in given if not domain.startswith("."))
        return cls(name, exact, frozenset(domain[1:] for domain in given if domain.startswith(".")), unknown)

    def covers(self, domain: str, *, is_named: bool) -> bool:
        """Whether the source is asked about a domain; `is_named`: recipient access names it as one whose mail comes here."""
        if not self.domains and not self.below:
            return is_named
        if domain in self.domains:
            return True
        while self.below and (domain := domain.partition(".")[2]):
            if domain in self.below:
                return True
        return False


class Source(Protocol):
    """Says which recipients there are."""

    @property
    def scope(self) -> Scope: ...

    def look_up(self, recipient: Recipient) -> Standing | asyncio.Future[Standing]:
        """What is known of a recipient. Never raises; a future ends within the source's own time limit."""
        ...

    async def start(self) -> None:
        """Get ready. Raises ConfigurationError for what cannot be mended without a person."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of it: `source` is the one that decided, empty if none was asked; `reply` is the refusal if there is one."""

    standing: Standing
    source: str = ""
    reply: Reply | None = None


NOBODY_ASKED = Finding(Standing.ASSUMED)


class Directory:
    """The sources of one listener, in order."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def find(self, recipient: Recipient, *, is_named: bool) -> Finding | Awaitable[Finding]:
        """Ask the sources that cover the recipient's domain; the first that knows it decides."""
        asked = [source for source in self._sources if source.scope.covers(recipient.domain, is_named=is_named)]
        if not asked:
            return NOBODY_ASKED
        steps = self._ask(recipient, asked)
        try:
            under_way = next(steps)
        except StopIteration as end:
            found: Finding = end.value
            return found
        return self._go_on(steps, under_way)

    def _ask(self, recipient: Recipient, asked: Sequence[Source]) -> _Steps:
        """Yields what has to be waited for, and is sent what came of it."""
        worst: Finding | None = None
        for source in asked:
            answer = source.look_up(recipient)
            found = _finding((yield answer) if isinstance(answer, asyncio.Future) else answer, source.scope)
            if found.reply is None:
                return found
            worst = _worse(worst, found)
        assert worst is not None
        return worst

    async def _go_on(self, steps: _Steps, under_way: asyncio.Future[Standing]) -> Finding:
        while True:
            try:
                under_way = steps.send(await asyncio.shield(under_way))  # others may wait for the same answer
            except StopIteration as end:
                found: Finding = end.value
                return found


_Steps = Generator["asyncio.Future[Standing]", Standing, Finding]


def _finding(standing: Standing, scope: Scope) -> Finding:
    match standing:
        case Standing.UNKNOWN:
            return Finding(standing, scope.name, scope.unknown)
        case Standing.UNSURE:
            return Finding(standing, scope.name, UNSURE_RECIPIENT)
        case _:
            return Finding(standing, scope.name)


def _worse(before: Finding | None, found: Finding) -> Finding:
    """Of two that do not know the recipient, the one that cannot say for certain."""
    return before if before is not None and before.standing is Standing.UNSURE else found
