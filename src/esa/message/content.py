"""The content of one message: its raw bytes, and a lazy view of what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esa.message.date import read_date

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import Buffer

    from esa_core import Parsed


class Message:
    """One message as it came over the wire or out of a file.

    `raw` is kept as given (bytes, or any object with a contiguous buffer, as a memory map) and must not change while the message lives.
    `parsed` is made on first use: structure at once, decoding when text is asked for. Odd input is a flag there, never an exception.
    """

    __slots__ = ("_parsed", "raw")

    def __init__(self, raw: Buffer) -> None:
        self.raw = raw
        self._parsed: Parsed | None = None

    @property
    def parsed(self) -> Parsed:
        if self._parsed is None:
            from esa_core import parse  # late: a message that nobody looks into needs no core

            self._parsed = parse(self.raw)
        return self._parsed

    @property
    def size(self) -> int:
        """Octets of the raw message."""
        return memoryview(self.raw).nbytes

    @property
    def date(self) -> datetime | None:
        """When its author says it was written (the first Date field), with the zone given; None if it does not say, or says nonsense."""
        values = self.parsed.header("date")
        return read_date(values[0]) if values else None

    def __bytes__(self) -> bytes:
        return bytes(self.raw)

    def __repr__(self) -> str:
        return f"Message({self.size} octets)"
