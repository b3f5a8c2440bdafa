"""Archives: copies of messages in mbox files, for people and programs that read those (AsyncOS's archive action). Written by `keep` alone.

    state/archives/NAME.mbox       the one that is written, mode 0600
    state/archives/NAME.1.mbox …   older ones, 1 the youngest

Lines end with LF and begin with > more where they begin with >* and `From ` (mboxrd). Promise: a copy is on disk before the cursors that say so;
after a crash the last ones may stand twice, under the same identifier in X-Esa-Id.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from esa.errors import StoreError
from esa.store.folder import make_private, telling
from esa.store.segments import Batch, Location, StoredMessage

FOLDER = "archives"
FILE_LIMIT = 100 << 20  # octets at which another file is begun
FILES = 10  # of one name, the one that is written among them; the oldest goes
_FROM = re.compile(rb"^(>*From )", re.MULTILINE)
_UNSAFE = re.compile(r"[^\x21-\x7e]")


class Archives:
    """All archives of a state folder."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    def add(self, batch: Batch, read: Callable[[Location], StoredMessage]) -> int:
        """Append what a batch wants archived; durable on return. Returns how many copies. Raises StoreError."""
        wanted = [
            (stored, splinter.reason) for stored in batch.stored for splinter in stored.record.splinters if splinter.action == "archive"
        ]
        for name in dict.fromkeys(name for _, name in wanted):
            make_private(self._folder)
            path = self._folder / f"{name}.mbox"
            with telling(path):
                self._roll_over(name, path)
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                with open(descriptor, "wb") as file:  # noqa: PTH123
                    for stored, its_name in wanted:
                        if its_name != name:
                            continue
                        try:
                            content = read(stored.location).to_bytes()
                        except StoreError as fault:
                            if not fault.is_damaged:
                                raise
                            continue  # the damage is told where it was found
                        sender = _UNSAFE.sub("?", stored.record.envelope.reverse_path) or "MAILER-DAEMON"
                        moment = time.asctime(time.gmtime(stored.record.session.received_at))
                        file.write(f"From {sender} {moment}\n".encode("ascii"))
                        file.write(_FROM.sub(rb">\1", content.replace(b"\r\n", b"\n")).rstrip(b"\n") + b"\n\n")
                    file.flush()
                    os.fsync(file.fileno())
        return len(wanted)

    def _roll_over(self, name: str, path: Path) -> None:
        try:
            if path.stat().st_size < FILE_LIMIT:
                return
        except FileNotFoundError:
            return
        for number in range(FILES - 2, 0, -1):
            older = self._folder / f"{name}.{number}.mbox"
            if older.exists():
                older.replace(self._folder / f"{name}.{number + 1}.mbox")
        path.replace(self._folder / f"{name}.1.mbox")
