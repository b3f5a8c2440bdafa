"""AUTH (RFC 4954): the mechanisms PLAIN (RFC 4616) and LOGIN without sockets, and who says whether a name and a password belong together.

`opening.Opening` drives an `Exchange`; `users.make_users` makes the `Users`. Rules: a password is only heard inside TLS; who fails too often
from one address waits, and only there, so that nobody can lock another out; a failure is told after FAILURE_SECONDS, whatever it was that
failed and however long that took. Passwords, and what a client put into AUTH, are never logged.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Generator, Sequence
from enum import Enum
from typing import Final, NamedTuple, Protocol

from esa.gateway.patience import Patience

MECHANISMS: Final = ("PLAIN", "LOGIN")
NAME_LIMIT: Final = 255  # octets of an identity
PROVEN_LIMIT: Final = 10_000  # identities whose password was right lately
FAILURE_SECONDS: Final = 2.0  # longer than a file or a directory usually takes, so that the time tells nothing; and guessing is slow work


class Credentials(NamedTuple):
    """What a client claims to be, and its proof. Do not print it."""

    name: str
    password: bytes

    def __repr__(self) -> str:
        return f"Credentials({self.name!r}, …)"


class Authenticator(Protocol):
    """Says who a client is."""

    async def verify(self, credentials: Credentials, client_address: str) -> str | None:
        """The identity that is proven, or None. Raises TooManyFailures, CannotTell. Takes the same time whether the name is known or not."""
        ...


class CannotTell(Exception):
    """Those who know the users cannot be asked; the text says why."""


class Proof(Enum):
    """What a source of users says of a name and a password."""

    RIGHT = "right"
    WRONG = "wrong"  # the name is known, the password another
    UNKNOWN = "unknown"  # the next source may know the name


class UserSource(Protocol):
    """Knows users."""

    @property
    def name(self) -> str:
        """For the log and for people."""
        ...

    @property
    def proven_for(self) -> float:
        """Seconds for which a password that was right is believed without asking again."""
        ...

    async def check(self, credentials: Credentials) -> Proof:
        """Raises CannotTell."""
        ...

    def reload(self) -> bool:
        """Read again what it is made of; True if that is what has happened and passwords may have changed."""
        ...

    async def close(self) -> None: ...


class Exchange:
    """One AUTH command: give it the initial response and what follows; it asks, or has the credentials. ValueError: it is malformed."""

    def __init__(self, mechanism: str) -> None:
        """KeyError for a mechanism that is not spoken."""
        self._steps = {"PLAIN": _plain, "LOGIN": _login}[mechanism.upper()]()
        self._question = next(self._steps)
        self.credentials: Credentials | None = None

    def answer(self, response: str | None) -> bytes | None:
        """The next question to put into a 334, or None: `credentials` are complete. `response` is base64; None: there was none yet."""
        if response is None:
            assert isinstance(self._question, bytes)
            return self._question
        try:
            octets = b"" if response == "=" else base64.b64decode(response, validate=True)
        except binascii.Error as error:
            raise ValueError("no base64") from error
        step = self._steps.send(octets)
        if isinstance(step, Credentials):
            self.credentials = step
            return None
        self._question = step
        return step


_Steps = Generator[bytes | Credentials, bytes, None]


def _plain() -> _Steps:
    message = yield b""
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise ValueError("not: authorization identity, NUL, name, NUL, password")
    acts_as, name, password = parts
    if acts_as and acts_as != name:
        raise ValueError("nobody acts for another here")
    yield Credentials(_name(name), password)


def _login() -> _Steps:
    name = yield b"Username:"
    password = yield b"Password:"
    yield Credentials(_name(name), password)


def _name(octets: bytes) -> str:
    name = octets.decode("utf-8")
    if not name or len(octets) > NAME_LIMIT or not name.isprintable():
        raise ValueError("no name")
    return name


class Users:
    """All users of a process: the first source that knows a name decides. Belongs to one event loop."""

    def __init__(self, sources: Sequence[UserSource], patience: Patience, *, failure_seconds: float = FAILURE_SECONDS) -> None:
        self._sources, self._patience, self._failure_seconds = tuple(sources), patience, failure_seconds
        self._proven: OrderedDict[bytes, float] = OrderedDict()  # fingerprint → loop seconds until which it is believed
        self._secret = secrets.token_bytes(32)

    async def verify(self, credentials: Credentials, client_address: str) -> str | None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._patience.turn(client_address, credentials.name) as turn:
            if await self._is_right(credentials):
                return credentials.name
            turn.fail()
        await asyncio.sleep(began + self._failure_seconds - loop.time())
        return None

    async def _is_right(self, credentials: Credentials) -> bool:
        """Raises CannotTell."""
        name, password = credentials
        if not password:  # to an LDAP server that would be an anonymous bind, which succeeds (RFC 4513 section 5.1.2)
            return False
        now = asyncio.get_running_loop().time()
        fingerprint = hmac.digest(self._secret, name.encode() + b"\0" + password, "sha256")
        if self._proven.get(fingerprint, 0.0) > now:
            return True
        self._proven.pop(fingerprint, None)
        for source in self._sources:
            proof = await source.check(credentials)
            if proof is Proof.RIGHT and source.proven_for:
                self._proven[fingerprint] = now + source.proven_for
                while len(self._proven) > PROVEN_LIMIT:
                    self._proven.popitem(last=False)
            if proof is not Proof.UNKNOWN:
                return proof is Proof.RIGHT
        return False

    def reload(self) -> None:
        """Read again what can change, and believe nobody any more for what was there before."""
        for source in self._sources:
            if source.reload():
                self._proven.clear()

    async def close(self) -> None:
        for source in self._sources:
            await source.close()
