"""What every child process of the gateway begins with: the configuration its parent hands down, and an end when the parent ends.

Used by process.py and patterns.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

from esa.config.schema import Configuration

_PR_SET_PDEATHSIG = 1


def configuration_of(descriptor: int) -> Configuration:
    """The configuration that the parent wrote to this descriptor; it is closed."""
    try:
        return Configuration.from_json(os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode())
    finally:
        os.close(descriptor)


def die_with_parent() -> bool:
    """Have the kernel send SIGTERM when the parent is gone; False if it is gone already."""
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == parent and parent != 1
