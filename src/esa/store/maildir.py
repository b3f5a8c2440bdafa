"""Delivery to a Maildir: whole files only, durable when reported, and no second copy when a delivery is repeated after a crash.

The file name is made of the message's own key, so a repeated delivery finds what the first one left. Many messages at a time share one directory sync.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from esa.errors import StoreError
from esa.store.folder import make_private, store_error, sync_directory

_THREADS = 6  # file syncs at a time: they share commits of the file system's journal


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
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="maildir")

    def close(self) -> None:
        self._pool.shutdown()

    def deliver(self, parcels: Sequence[Parcel]) -> list[StoreError | None]:
        """Deliver the parcels; None for each that is durable in `new` (or was before), else why not. Raises nothing else."""
        present = self._present() if any(parcel.is_repeated for parcel in parcels) else frozenset()
        faults = list(self._pool.map(lambda parcel: self._write(parcel, present), parcels))
        if any(fault is None for fault in faults):
            try:
                sync_directory(self.path / "new")
            except OSError as error:
                fault = store_error(error, self.path / "new")
                return [fault if earlier is None else earlier for earlier in faults]
        return faults

    def _present(self) -> frozenset[str]:
        """Names in `new` and `cur`, without the flags a mail program adds."""
        names: set[str] = set()
        for folder in ("new", "cur"):
            with contextlib.suppress(FileNotFoundError):
                names.update(path.name.partition(":")[0] for path in (self.path / folder).iterdir())
        return frozenset(names)

    def _write(self, parcel: Parcel, present: frozenset[str]) -> StoreError | None:
        if parcel.name in present:
            return None
        place = self.path / "tmp" / parcel.name
        try:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                _write_chunks(descriptor, [parcel.trace], parcel.message.chunks())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            place.rename(self.path / "new" / parcel.name)
        except (OSError, StoreError) as error:
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)
            return error if isinstance(error, StoreError) else store_error(error, self.path)
        return None


def _write_chunks(descriptor: int, *parts: Iterable[bytes]) -> None:
    for part in parts:
        for chunk in part:
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
