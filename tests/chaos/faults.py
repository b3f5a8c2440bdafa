"""Faults of system calls in one process of a running gateway: the n-th of a kind fails, waits, or is the last that the process makes.

A small library (faults.c) is built by gcc, preloaded into every process of the gateway, and told through a mapped file what to do; so a
gateway starts unharmed, and a test arms and disarms while it runs. Nothing in the product knows of it.
"""

from __future__ import annotations

import enum
import mmap
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

_SOURCE = Path(__file__).with_name("faults.c")
_PLAN = struct.Struct("IIiIIIII64s192s64s")  # struct plan of faults.c
_COUNTS = struct.Struct("II")
_COUNTS_AT = 24


class Call(enum.IntFlag):
    """Kinds of system calls."""

    OPEN = 1
    WRITE = 2  # write, writev, pwrite64, pwritev
    FSYNC = 4
    FDATASYNC = 8
    RENAME = 16
    UNLINK = 32
    TRUNCATE = 64
    SEND = 128
    RECEIVE = 256


class Action(enum.IntEnum):
    """What becomes of a call that is hit."""

    NOTHING = 0
    FAIL = 1
    KILL_BEFORE = 2
    KILL_AFTER = 3
    WAIT = 4


class Faults:
    """What is armed in the processes that were started with `environment`."""

    def __init__(self, folder: Path) -> None:
        """The mapped file is made in `folder`."""
        self._place = folder / "faults"
        self._place.write_bytes(bytes(_PLAN.size))
        with self._place.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _PLAN.size)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(library()), "ESA_TEST_FAULTS": str(self._place)}

    def arm(
        self,
        process: str,
        calls: Call,
        action: Action,
        *,
        path: str,
        error: int = 0,
        nth: int = 1,
        times: int = 1,
        seconds: float = 0.0,
        text: bytes = b"",
    ) -> None:
        """Hit the calls `nth` … `nth + times - 1` (`times` 0: all from there) of a process whose name begins with `process`.

        `path` is part of the path of the file; of what is sent, `text` is part of it. `error` is for FAIL, `seconds` for WAIT.
        """
        self.disarm()
        rest = struct.pack("IiIIIII", calls, error, nth, times, int(seconds * 1e6), 0, 0)
        names = struct.pack("64s192s64s", process.encode(), path.encode(), text)
        self._map[4:] = rest + names
        self._map[:4] = struct.pack("I", action)  # last: from here it counts

    def disarm(self) -> None:
        self._map[:4] = bytes(4)

    @property
    def seen(self) -> int:
        """Calls that counted since it was armed."""
        return int(_COUNTS.unpack_from(self._map, _COUNTS_AT)[0])

    @property
    def hit(self) -> int:
        return int(_COUNTS.unpack_from(self._map, _COUNTS_AT)[1])


def library() -> Path:
    """The built library; built once for each state of its source."""
    source = _SOURCE.read_bytes()
    built = Path(tempfile.gettempdir()) / f"esa-faults-{zlib.crc32(source):08x}.so"
    if not built.exists():
        with tempfile.NamedTemporaryFile(dir=built.parent, suffix=".so", delete=False) as made:
            subprocess.run(["gcc", "-O1", "-shared", "-fPIC", str(_SOURCE), "-o", made.name, "-ldl"], check=True)
        Path(made.name).replace(built)
    return built
