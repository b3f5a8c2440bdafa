"""Delivery to a Maildir: whole files only, durable when reported, and no second copy when a delivery is repeated after a crash.

The file name is made of the message's own key, so a repeated delivery finds what the first one left. Many messages at a time share one
directory sync.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from esa.errors import StoreError
from esa.store.folder import make_private, store_error, sync_directory

_THREADS = 6  # file syncs at a time: they share commits of the file system's journal
_BLOCK = 64 << 10  # octets: chunks from here on are written as they come
_PENDING = 64  # buffers written in one call


class Chunked(Protocol):
    """Octets in order, anew each time."""

    def chunks(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message for the Maildir. `trace` are fields to put on top; `is_repeated`: an earlier attempt may have got through."""

    key: str
    accepted_at: float
    trace: bytes
    message: Chunked
    is_repeated: bool = False

    @property
    def name(self) -> str:
        return f"{int(self.accepted_at)}.{self.key}.esa"


class Maildir:
    """A Maildir that one process delivers to; mail programs may read it at the same time."""

    def __init__(self, path: Path) -> None:
        """Open or make it. Raises StoreError."""
        self.path = path
        for folder in ("tmp", "new", "cur"):
            make_private(path / folder)
        self._tmp, self._new = os.path.join(path, "tmp", ""), os.path.join(path, "new", "")  # noqa: PTH118 (strings, for the inner loop)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="maildir")

    def close(self) -> None:
        self._pool.shutdown()

    def deliver(self, parcels: Sequence[Parcel]) -> list[StoreError | None]:
        """Deliver the parcels; None for each that is durable in `new` (or was before), else why not. Raises nothing else."""
        present = self._present() if any(parcel.is_repeated for parcel in parcels) else frozenset()
        faults: list[StoreError | None] = [None] * len(parcels)
        written: list[tuple[int, int]] = []  # index, open descriptor
        for index, parcel in enumerate(parcels):
            if parcel.name in present:
                continue
            try:
                written.append((index, self._write(parcel)))
            except StoreError as error:
                faults[index] = error
        for (index, _), fault in zip(written, self._pool.map(self._sync, [descriptor for _, descriptor in written]), strict=True):
            faults[index] = fault or self._publish(parcels[index])
            if faults[index] is not None:  # after a failed sync the file is not to be trusted: the next attempt writes another
                with contextlib.suppress(OSError):
                    os.unlink(self._tmp + parcels[index].name)  # noqa: PTH108
        if written or present:  # what an earlier attempt left in `new` may not be on disk yet
            try:
                sync_directory(self.path / "new")
            except OSError as error:
                unsynced = store_error(error, self.path / "new")
                return [fault or unsynced for fault in faults]
        return faults

    def _sync(self, descriptor: int) -> StoreError | None:
        try:
            os.fsync(descriptor)
        except OSError as error:
            return store_error(error, self.path)
        finally:
            os.close(descriptor)
        return None

    def _publish(self, parcel: Parcel) -> StoreError | None:
        try:
            os.rename(self._tmp + parcel.name, self._new + parcel.name)  # noqa: PTH104 (plain strings: this is the inner loop)
        except OSError as error:
            return store_error(error, self.path)
        return None

    def _present(self) -> frozenset[str]:
        """Names in `new` and `cur`, without the flags a mail program adds."""
        names: set[str] = set()
        for folder in ("new", "cur"):
            with contextlib.suppress(FileNotFoundError):
                names.update(path.name.partition(":")[0] for path in (self.path / folder).iterdir())
        return frozenset(names)

    def _write(self, parcel: Parcel) -> int:
        """Write the parcel into `tmp` and return its open descriptor, not yet synced. Raises StoreError."""
        place = self._tmp + parcel.name
        try:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                write_chunks(descriptor, parcel.trace, parcel.message)
            except BaseException:
                os.close(descriptor)
                raise
        except (OSError, StoreError) as error:
            with contextlib.suppress(OSError):
                Path(place).unlink(missing_ok=True)
            raise (error if isinstance(error, StoreError) else store_error(error, self.path)) from None
        return descriptor


def write_chunks(descriptor: int, head: bytes, message: Chunked) -> None:
    """Write head and message; small ones in one call. Raises OSError, and StoreError if the message cannot be read."""
    pending = [head] if head else []
    for chunk in message.chunks():
        pending.append(chunk)
        if len(chunk) >= _BLOCK or len(pending) >= _PENDING:
            _write_all(descriptor, pending)
            pending = []
    _write_all(descriptor, pending)


def _write_all(descriptor: int, buffers: list[bytes]) -> None:
    wanted = sum(map(len, buffers))
    written = os.writev(descriptor, buffers) if wanted else 0
    rest = memoryview(b"".join(buffers))[written:] if written < wanted else memoryview(b"")
    while rest:
        rest = rest[os.write(descriptor, rest) :]
