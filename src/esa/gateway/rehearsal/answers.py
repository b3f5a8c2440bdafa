"""Recorded answers of those whom the gateway asks: name servers, directories. With them a rehearsal asks nobody, and comes out the same each time.

A file of them is JSON, every part may be left out:

    {"dns": {"PTR 1.2.0.192.in-addr.arpa": ["mail.example.net"], "A 1.2.0.192.bl.example.org": [], "A 9.2.0.192.bl.example.org": null},
     "recipients": {"anna@example.org": "known", "bob@example.org": "unknown", "carl@example.org": "unsure"},
     "groups": {"anna@example.org": ["staff"]},
     "known_clients": ["192.0.2.1"]}

Of a name an empty list says that there is nothing, null that nobody answered. What is not recorded has no answer, and `missing` tells of it. Where
`known_clients` is given, clients of these networks have come back before, and greylisting puts off all others; else nobody is greylisted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from esa.engine.resolver import FAILED, NOTHING, Lookup, Outcome, RecordType, Resolver
from esa.errors import ConfigurationError
from esa.gateway.directory.groups import GroupFacts
from esa.gateway.directory.sources import Scope, Standing
from esa.policy.greylisting import client_network
from esa.policy.recipient_access import Recipient, recipient_of
from esa.policy.senders import read_address
from esa.store.greylist import Decision

MEND = 'write, as an example, {"dns": {"A 2.0.0.127.bl.example.org": ["127.0.0.2"]}, "recipients": {"anna@example.org": "known"}}'


class _File(BaseModel):
    """What a file of answers holds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dns: dict[str, list[str] | None] = Field(default_factory=dict)
    recipients: dict[str, Literal["known", "unknown", "unsure"]] = Field(default_factory=dict)
    groups: dict[str, list[str]] = Field(default_factory=dict)
    known_clients: list[str] | None = None


class Answers:
    """Recorded answers. A Resolver of name servers, and what sources of recipients and groups are made of.

    `missing`: what was asked for and is not recorded, in order, as "A name", "recipient address" and "groups of address".
    """

    def __init__(self, given: _File | None = None) -> None:
        given = given or _File()
        self._dns = {_key(question): values for question, values in given.dns.items()}
        self._recipients = {recipient_of(address): Standing(standing) for address, standing in given.recipients.items()}
        self._groups = {address.lower(): frozenset(groups) for address, groups in given.groups.items()}
        self._clients = None if given.known_clients is None else frozenset(_network(address) for address in given.known_clients)
        self.missing: dict[str, None] = {}

    @classmethod
    def from_file(cls, path: Path) -> Answers:
        """Raises ConfigurationError."""
        try:
            return cls(_File.model_validate_json(path.read_bytes()))
        except OSError as wrong:
            raise ConfigurationError(f"the answers cannot be read ({wrong.strerror})", where=str(path), mend="name a JSON file") from wrong
        except ValidationError as wrong:
            first = wrong.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ConfigurationError(
                f"these are no recorded answers: {place + ': ' if place else ''}{first['msg']}", where=str(path), mend=MEND
            ) from wrong
        except ConfigurationError as wrong:
            raise ConfigurationError(wrong.what, where=str(path), mend=wrong.mend) from wrong

    @property
    def has_groups(self) -> bool:
        return bool(self._groups)

    async def look_up(self, name: str, kind: RecordType) -> Lookup:
        """As a Resolver."""
        question = f"{kind} {name.lower().rstrip('.')}"
        if question not in self._dns:
            self.missing[question] = None
            return FAILED
        values = self._dns[question]
        if values is None:
            return FAILED
        return Lookup(Outcome.FOUND, tuple(values)) if values else NOTHING

    async def find(self, addresses: Iterable[str]) -> GroupFacts:
        """As Groups."""
        asked = list(dict.fromkeys(address.lower() for address in addresses if address))
        self.missing.update({f"groups of {address}": None for address in asked if address not in self._groups})
        return GroupFacts({address: self._groups[address] for address in asked if address in self._groups})

    def greylist(self, delay: float) -> RecordedGreylist | None:
        """Who has come back before, if that is recorded; others wait for `delay` seconds."""
        return None if self._clients is None else RecordedGreylist(self._clients, delay)

    def source(self, scope: Scope) -> RecordedSource:
        """A source of recipients of this scope."""
        return RecordedSource(scope, self._recipients, self.missing)


class RecordedSource:
    """A source of recipients that is not asked: what is recorded counts, and every other recipient is taken."""

    def __init__(self, scope: Scope, recorded: Mapping[Recipient, Standing], missing: dict[str, None]) -> None:
        self._scope, self._recorded, self._missing = scope, recorded, missing

    @property
    def scope(self) -> Scope:
        return self._scope

    def look_up(self, recipient: Recipient) -> Standing:
        found = self._recorded.get(recipient)
        if found is None:
            self._missing[f"recipient {recipient}"] = None
            return Standing.ASSUMED
        return found

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class RecordedGreylist:
    """A greylist that knows these networks of clients, and remembers nothing."""

    def __init__(self, networks: frozenset[str], delay: float) -> None:
        self._networks, self._delay = networks, delay

    def check(
        self,
        network: str,
        reverse_path: str,
        recipients: Sequence[str],
        *,
        author: Callable[[], str] | None = None,
        exempt: Callable[[], str] | None = None,
    ) -> Decision:
        if network in self._networks:
            return Decision(True, "client")
        reason = exempt() if exempt is not None else ""
        return Decision(True, reason) if reason else Decision(False, "new", round(self._delay))

    def knows_author(self, domain: str) -> bool:
        return False

    def close(self) -> None: ...


class Recording:
    """A resolver that takes down what another answers, for `Answers`."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._answers: dict[str, list[str] | None] = {}

    async def look_up(self, name: str, kind: RecordType) -> Lookup:
        found = await self._resolver.look_up(name, kind)
        self._answers[f"{kind} {name.lower().rstrip('.')}"] = None if found.outcome is Outcome.FAILED else list(found.values)
        return found

    def write(self, path: Path) -> None:
        """Write the file. Raises OSError."""
        path.write_text(json.dumps({"dns": dict(sorted(self._answers.items()))}, indent=1) + "\n", "utf-8")


def _network(text: str) -> str:
    """The network of a client. Raises ConfigurationError."""
    address = read_address(text)
    if address is None:
        raise ConfigurationError(f"known_clients: {text!r} is no IP address", mend="write addresses, as 192.0.2.1")
    return client_network(address)


def _key(question: str) -> str:
    kind, _, name = question.partition(" ")
    return f"{kind.upper()} {name.strip().lower().rstrip('.')}"
