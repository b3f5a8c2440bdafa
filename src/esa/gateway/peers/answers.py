"""What is asked of the domain name system about servers of other domains, and what it answers; `dns` asks real name servers.

Apart from it because every process of the gateway knows these values, and few ever ask: the library that does takes long to load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from esa.engine.resolver import Outcome

Value = TypeVar("Value")


class Exchanger(NamedTuple):
    """An MX record; the host in lower case without the last dot, empty for a null MX (RFC 7505)."""

    preference: int
    host: str


class Tlsa(NamedTuple):
    """A TLSA record (RFC 6698 section 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()[:64]}"


@dataclass(frozen=True, slots=True)
class Answer(Generic[Value]):
    """`is_validated` counts for "nothing" too: it is proven then. `canonical`: the name that aliases (CNAME) led to; empty if there were none."""

    outcome: Outcome
    values: tuple[Value, ...] = ()
    is_validated: bool = False
    canonical: str = ""


class PeerResolver(Protocol):
    """What is asked. Nothing is raised."""

    async def exchangers(self, domain: str) -> Answer[Exchanger]: ...

    async def addresses(self, host: str) -> Answer[str]: ...

    async def tlsa(self, name: str) -> Answer[Tlsa]: ...

    async def texts(self, name: str) -> Answer[str]: ...
