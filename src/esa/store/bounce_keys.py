"""The file of the keys that tag return paths: made and changed by `esa bounce-verification`, read by the receive workers and by `deliver`.

One JSON object, mode 0600, replaced as a whole (written beside it, synced, renamed), so that a reader never sees half of it. It belongs into no
export of the configuration: who has it can make bounces that pass.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from esa.errors import StoreError
from esa.policy.bounce_verification import KEYS, Key
from esa.store.folder import make_private, sync_directory, take_lock, telling

SECRET_OCTETS = 32
LOOK_AGAIN = 5.0  # seconds after which a process looks whether the file has changed
_MEND = "make one with esa bounce-verification new"


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys, the newest first; none where there is no file. Raises StoreError: others can read it, or it is damaged."""
    with telling(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return ()
        with open(descriptor, "rb") as file:  # noqa: PTH123
            mode = os.fstat(descriptor).st_mode
            octets = file.read()
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        mend = f"chmod 600 {path}, and make a new key: others may have read these"
        raise StoreError("others can read these keys, and make bounces that pass", where=str(path), mend=mend)
    try:
        return tuple(_key_of(one) for one in json.loads(octets)["keys"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise StoreError(
            "this is no file of keys", where=str(path), mend=f"restore it, or take it away and {_MEND}", is_damaged=True
        ) from None


def _key_of(given: dict[str, object]) -> Key:
    number, made_at, retired_at = given["number"], given["made_at"], given["retired_at"]
    if not isinstance(number, int) or not 0 <= number < KEYS or not isinstance(made_at, int | float):
        raise TypeError("a key has a number and a time")
    if not isinstance(retired_at, int | float | None):
        raise TypeError("a key is retired at a time")
    return Key(number, base64.b64decode(str(given["secret"]), validate=True), made_at, retired_at)


def _write(path: Path, keys: Sequence[Key]) -> None:
    rows = [
        {
            "number": key.number,
            "secret": base64.b64encode(key.secret).decode("ascii"),
            "made_at": key.made_at,
            "retired_at": key.retired_at,
        }
        for key in keys
    ]
    working = path.with_name(f"{path.name}.new")
    with telling(path):
        with open(os.open(working, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
            os.fchmod(file.fileno(), 0o600)
            file.write(json.dumps({"keys": rows}, indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        working.rename(path)
        sync_directory(path.parent)


@contextmanager
def _changing(path: Path) -> Iterator[tuple[Key, ...]]:
    make_private(path.parent)
    lock = take_lock(path.with_name(f"{path.name}.lock"), what="the file of keys")
    try:
        yield read_keys(path)
    finally:
        os.close(lock)


def add_key(path: Path, now: float) -> Key:
    """Make a key, which makes the tags from now on; what the others made is accepted for a week more. Raises StoreError."""
    with _changing(path) as keys:
        alive = [key for key in keys if key.is_accepted(now)]
        used = {key.number for key in alive}
        newest = max(keys, key=lambda key: key.made_at).number if keys else -1
        free = [number for number in ((newest + 1 + step) % KEYS for step in range(KEYS)) if number not in used]
        if not free:
            mend = "wait until the oldest is a week out of use, or purge them: esa bounce-verification purge --all"
            raise StoreError(f"{KEYS} keys are still accepted, and a tag names one of {KEYS}", where=str(path), mend=mend)
        key = Key(free[0], secrets.token_bytes(SECRET_OCTETS), now)
        _write(path, [key, *(one if one.retired_at is not None else replace(one, retired_at=now) for one in alive)])
        return key


def purge_keys(path: Path, now: float, *, unused_for: float) -> list[Key]:
    """Take away the keys that made no tags for so many seconds. Returns them. Raises StoreError."""
    with _changing(path) as keys:
        gone = [key for key in keys if key.retired_at is not None and now - key.retired_at >= unused_for]
        if gone:
            _write(path, [key for key in keys if key not in gone])
        return gone


class Keys:
    """The keys as a running process sees them: read again when the file has changed. May be asked by several threads."""

    def __init__(self, path: Path, failed: Callable[[StoreError], None] | None = None) -> None:
        """`failed` is told once of a file that cannot be used; the keys known before hold then."""
        self._path, self._failed = path, failed
        self._lock = threading.Lock()
        self._keys: tuple[Key, ...] = ()
        self._seen: tuple[int, int, int] | None = None
        self._until = 0.0

    def current(self) -> tuple[Key, ...]:
        now = time.monotonic()
        if now < self._until:
            return self._keys
        with self._lock:
            self._until = now + LOOK_AGAIN
            seen = None
            with contextlib.suppress(OSError):
                found = self._path.stat()
                seen = (found.st_mtime_ns, found.st_ino, found.st_mode)
            if seen != self._seen:
                self._seen = seen
                try:
                    self._keys = read_keys(self._path)
                except StoreError as fault:
                    if self._failed is not None:
                        self._failed(fault)
        return self._keys
