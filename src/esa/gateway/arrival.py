"""Mail data while it arrives: how much memory it takes, the file it spills to, and why it may be thrown away. `protocol` calls it.

Promise: whatever arrives, the server's count of octets in memory is right, and no file is left behind that nobody owns.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from esa.gateway import replies
from esa.gateway.receiver import Transaction
from esa_core._smtp import STATES, Machine

if TYPE_CHECKING:
    from esa.gateway.listener import Server

log = logging.getLogger(__name__)

_ARRIVING: Final = frozenset(map(STATES.index, ("CHUNKS", "MAIL_DATA", "CHUNK")))
_numbers = itertools.count()


class Arrival:
    """The mail data of one connection's open transaction."""

    __slots__ = ("_file", "_machine", "_refusal", "_server", "held")

    def __init__(self, server: Server, machine: Machine) -> None:
        self._server = server
        self._machine = machine
        self._file: SpillFile | None = None
        self._refusal = b""
        self.held = 0  # octets counted in server.held

    def account(self, transaction: Transaction | None) -> None:
        """Keep the server's count of mail data in memory; past its budget this message is thrown away."""
        held = self._machine.held + (len(transaction.content) if transaction is not None else 0)
        server = self._server
        server.held += held - self.held
        self.held = held
        if server.held > server.limits.memory and self._machine.state in _ARRIVING and not self._refusal:
            self._throw_away(replies.NO_MEMORY)

    def spill(self) -> None:
        """Move what is in memory to the file."""
        directory = self._server.spill_directory
        assert directory is not None
        octets = self._machine.take_content()
        try:
            if self._file is None:
                self._file = SpillFile(directory)
            self._file.write(octets)
        except OSError:
            log.exception("event=spill.failed")
            self._throw_away(replies.NO_SPILL)

    @property
    def refusal(self) -> bytes:
        """Why what arrives is thrown away; empty: it is not."""
        return replies.TOO_LARGE if self._machine.oversized else self._refusal

    def complete(self, transaction: Transaction) -> bytes:
        """All has arrived: give it to `transaction`, or return the refusal."""
        machine = self._machine
        transaction.size = machine.size
        transaction.normalized = sum(machine.oddities)
        refusal = self.refusal
        if not refusal and transaction.normalized and self._server.bare_newline == "reject":
            refusal = replies.BARE_OCTETS
        if self._file is not None and not refusal:
            self.spill()
            refusal = self._refusal
        if refusal:
            return refusal
        if self._file is None:
            transaction.content = machine.take_content()
        else:
            self._file.close()
            transaction.content_path, self._file = self._file.path, None
        return b""

    def release(self) -> None:
        """The transaction has been answered: its octets count no more."""
        self._server.held -= self.held
        self.held = 0

    def discard(self) -> None:
        """The transaction has ended without its mail."""
        if self._file is not None:
            self._file.remove()
            self._file = None
        self._refusal = b""
        self.release()

    def _throw_away(self, refusal: bytes) -> None:
        """Forget what has arrived; the rest is read to its end and refused."""
        self._machine.discard()
        self.discard()
        self._refusal = refusal


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
