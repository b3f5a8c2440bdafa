"""Files for mail data too large for memory, written while it arrives; `protocol` writes them, who takes the message owns them."""

from __future__ import annotations

import itertools
import os
import secrets
from pathlib import Path

_numbers = itertools.count()


class SpillFile:
    """A new file of mode 0600 in `directory`, not synced. Raises OSError as the system does; then the file is gone."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / f"{os.getpid()}-{next(_numbers)}-{secrets.token_hex(4)}.arriving"
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, octets: bytes) -> None:
        try:
            view = memoryview(octets)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self.remove()
            raise

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)
