"""What rooms ask of the domain name system; the gateway implements it (`gateway.dns`), tests do with a dict.

An answer is found, nothing (the name or the type does not exist), or failed (time-out, SERVFAIL, garbage): a caller must be able to tell a
stranger without a name from a name server that is ill.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal, Protocol

RecordType = Literal["A", "AAAA", "MX", "PTR"]


class Outcome(Enum):
    FOUND = auto()
    NOTHING = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer to one question. `values`: addresses as text, or names in lower case without the last dot, of MX with the preference before.

    "10 mx.example.org" is a mail exchanger; "0 " is a null MX (RFC 7505).
    """

    outcome: Outcome
    values: tuple[str, ...] = ()
    ttl: int = field(default=0, compare=False)  # seconds that the values hold; 0: not said


NOTHING, FAILED = Lookup(Outcome.NOTHING), Lookup(Outcome.FAILED)


class Resolver(Protocol):
    """What may be asked. Nothing is raised."""

    async def look_up(self, name: str, kind: RecordType) -> Lookup: ...
