"""Users of a file, one a line: `name:hash`, the hash as argon2 writes it ($argon2id$…). `#` begins a comment. A source of `authentication.Users`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from esa.errors import ConfigurationError
from esa.gateway import events
from esa.gateway.authentication import Credentials, Proof
from esa.gateway.events import Event as Log

HASHING_AT_ONCE: Final = 2  # each takes a core and some tens of MiB for as long as it runs


class UserFile:
    """Raises ConfigurationError for a file that cannot be used. `reload` reads it again and keeps the old one if that fails."""

    proven_for = 300.0  # a password that was right is not hashed again for so long

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        self._users = read_users(path)
        self._nobody = _hash_like(next(iter(self._users.values()), None))
        self._hashing = asyncio.Semaphore(HASHING_AT_ONCE)

    def reload(self) -> bool:
        try:
            users = read_users(self.path)
        except ConfigurationError as error:
            events.error(Log.USERS_REFUSED, reason=str(error))
            return False
        self._users = users
        self._nobody = _hash_like(next(iter(users.values()), None))
        return True

    async def check(self, credentials: Credentials) -> Proof:
        """A name that is not there is hashed too, so that it takes as long."""
        known = self._users.get(credentials.name)
        async with self._hashing:
            is_right = await asyncio.to_thread(_matches, known or self._nobody, credentials.password)
        return Proof.UNKNOWN if known is None else Proof.RIGHT if is_right else Proof.WRONG

    async def close(self) -> None:
        """Nothing is held open."""


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
