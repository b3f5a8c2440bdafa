"""AUTH (RFC 4954): the mechanisms PLAIN (RFC 4616) and LOGIN without sockets, users of a file, and patience with those who guess.

`opening.Opening` drives an `Exchange`; `process` makes the `UserFile`. Rules: a password is only heard inside TLS; a name that is not there
takes as long as one that is; who fails too often from one address waits, and only there, so that nobody can lock another out. Passwords,
and what a client put into AUTH, are never logged.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from esa.errors import ConfigurationError
from esa.gateway import events
from esa.gateway.events import Event as Log

MECHANISMS: Final = ("PLAIN", "LOGIN")
NAME_LIMIT: Final = 255  # octets of an identity
HASHING_AT_ONCE: Final = 2  # each takes a core and some tens of MiB for as long as it runs
PROVEN_SECONDS: Final = 300.0  # a password that was right is not hashed again for so long
PROVEN_LIMIT: Final = 10_000
FREE_FAILURES: Final = 5  # of one address and name, and of one address with FREE_NAMES times as many
FREE_NAMES: Final = 4
FIRST_WAIT, LONGEST_WAIT = 2.0, 900.0  # seconds; doubled with each failure past the free ones
ADDRESSES_LIMIT: Final = 100_000  # places remembered; the oldest go first


class Credentials(NamedTuple):
    """What a client claims to be, and its proof. Do not print it."""

    name: str
    password: bytes

    def __repr__(self) -> str:
        return f"Credentials({self.name!r}, …)"


class Authenticator(Protocol):
    """Says who a client is."""

    async def verify(self, credentials: Credentials, client_address: str) -> str | None:
        """The identity that is proven, or None. Raises TooManyFailures. Takes the same time whether the name is known or not."""
        ...


class TooManyFailures(Exception):
    """From this address it has been tried too often; the text says for how long to wait."""


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


class UserFile:
    """Users of a file, one a line: `name:hash`, the hash as argon2 writes it ($argon2id$…). `#` begins a comment.

    Raises ConfigurationError for a file that cannot be used. `reload` reads it again and keeps the old one if that fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._users = read_users(path)
        self._nobody = _hash_like(next(iter(self._users.values()), None))
        self._proven: OrderedDict[bytes, float] = OrderedDict()
        self._secret = secrets.token_bytes(32)
        self._hashing = asyncio.Semaphore(HASHING_AT_ONCE)
        self._patience = Patience()

    def reload(self) -> bool:
        try:
            users = read_users(self.path)
        except ConfigurationError as error:
            events.error(Log.USERS_REFUSED, reason=str(error))
            return False
        self._users = users
        self._nobody = _hash_like(next(iter(users.values()), None))
        self._proven.clear()
        return True

    async def verify(self, credentials: Credentials, client_address: str) -> str | None:
        now = time.monotonic()
        name, password = credentials
        self._check_patience(client_address, name, now)
        known = self._users.get(name)
        fingerprint = hmac.digest(self._secret, name.encode() + b"\0" + (known or "").encode() + b"\0" + password, "sha256")
        if known is not None and self._proven.get(fingerprint, 0.0) > now:
            return name
        async with self._hashing:
            self._check_patience(client_address, name, now)  # of many tries at once, those that waited their turn
            right = await asyncio.to_thread(_matches, known or self._nobody, password)
        if known is None or not right:
            self._patience.failed(client_address, name, now)
            return None
        self._proven[fingerprint] = now + PROVEN_SECONDS
        while len(self._proven) > PROVEN_LIMIT:
            self._proven.popitem(last=False)
        return name

    def _check_patience(self, client_address: str, name: str, now: float) -> None:
        wait = self._patience.wait(client_address, name, now)
        if wait > 0:
            raise TooManyFailures(f"{wait:.0f} s")


def read_users(path: Path) -> Mapping[str, str]:
    """Name → hash. Raises ConfigurationError that names the line."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the file of users cannot be read ({error})", where=str(path), mend="check its path and mode") from error
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, digest = line.strip().rpartition(":")
        where = f"{path}, line {number}"
        if not colon or not digest.startswith("$argon2"):
            raise ConfigurationError("this is no user", where=where, mend="write name:hash, as esa config password prints it")
        if name in users:
            raise ConfigurationError(f"the user {name!r} is there twice", where=where, mend="take one of them out")
        users[name] = digest
    return users


def hash_password(password: str) -> str:
    """The hash for a file of users."""
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def _hash_like(example: str | None) -> str:
    """A hash of nothing that anybody knows, which takes as long to verify as `example`."""
    from argon2 import PasswordHasher, extract_parameters

    hasher = PasswordHasher() if example is None else PasswordHasher.from_parameters(extract_parameters(example))
    return hasher.hash(secrets.token_bytes(16))


def _matches(digest: str, password: bytes) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return PasswordHasher().verify(digest, password)
    except (VerificationError, InvalidHashError):
        return False


class Patience:
    """Failures by address and name, and by address alone: how long to wait before the next try is heard."""

    def __init__(self) -> None:
        self._failures: OrderedDict[bytes, tuple[int, float]] = OrderedDict()  # count, and when it is heard again

    def wait(self, address: str, name: str, now: float) -> float:
        """Seconds, or 0."""
        return max(0.0, *(until - now for _, until in (self._failures.get(place, (0, now)) for place, _ in _places(address, name))))

    def failed(self, address: str, name: str, now: float) -> None:
        for place, free in _places(address, name):
            count, until = self._failures.pop(place, (0, 0.0))
            if until and now - until > LONGEST_WAIT:
                count = 0
            count += 1
            over = count - free
            self._failures[place] = count, now + (min(FIRST_WAIT * 2.0**over, LONGEST_WAIT) if over >= 0 else 0.0)
        while len(self._failures) > ADDRESSES_LIMIT:
            self._failures.popitem(last=False)


def _places(address: str, name: str) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
    """Keys of equal length, whatever a client calls itself, and the failures that each has free."""
    of_address = hashlib.sha256(address.encode()).digest()
    return (hashlib.sha256(of_address + name.encode("utf-8", "replace")).digest(), FREE_FAILURES), (of_address, FREE_FAILURES * FREE_NAMES)
