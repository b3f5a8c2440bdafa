"""How glibc's allocator treats message buffers; `listener.serve` sets it once a process.

By default a buffer of some 100 KiB is mapped when a message arrives and given back when it goes: at 256 KiB a message the page faults of
that cost more than receiving it (126 µs a message instead of 260, `benchmarks/front_end.py`). So buffers come from the heap, and
the heap keeps some memory for the next messages.
"""

from __future__ import annotations

import ctypes
from typing import Final

KEPT: Final = 32 * 2**20  # octets of free heap kept at most
MAPPED_FROM: Final = 4 * 2**20  # octets; larger buffers are mapped, as they go to files anyway

_TRIM_THRESHOLD: Final = -1  # of mallopt(3)
_MMAP_THRESHOLD: Final = -3


def keep_heap() -> bool:
    """Set both thresholds for this process. False where the C library has no mallopt (it then does as it does)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, MAPPED_FROM)) and bool(mallopt(_TRIM_THRESHOLD, KEPT))
