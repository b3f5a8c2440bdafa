"""Message identifiers: 26 characters that sort by time, unique without asking anybody; also the queue id in the reply to mail data.

48 bits of Unix milliseconds and 80 bits at random, in Crockford's base 32 (the layout of ULID). Within one process they strictly
increase, so a listing sorted by identifier is a listing sorted by arrival, even within a millisecond or when the clock is set back a
little.
"""

from __future__ import annotations

import os
import re
import threading
import time

LENGTH = 26
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]  # ten bits at a time: 13 look-ups an identifier
_SHIFTS = range(120, -1, -10)
_SHAPE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")
_RANDOM_BITS = 80
_STEP_BITS = 40  # the next one within a millisecond lies up to 2**40 further: not guessable by counting

_lock = threading.Lock()
_last = 0


def new_identifier(now: float | None = None) -> str:
    """Return an identifier greater than all this process made before. `now` is Unix seconds (default: the clock)."""
    global _last
    milliseconds = int((time.time() if now is None else now) * 1000) & 0xFFFF_FFFF_FFFF
    noise = int.from_bytes(os.urandom(10), "little")
    with _lock:
        value = milliseconds << _RANDOM_BITS | noise
        if value <= _last:
            value = _last + 1 + (noise >> (_RANDOM_BITS - _STEP_BITS))
        _last = value
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])


def is_identifier(text: str) -> bool:
    """True for 26 upper-case characters of the alphabet that fit in 128 bits."""
    return _SHAPE.match(text) is not None


def time_of(identifier: str) -> float:
    """Return the Unix seconds (to the millisecond) an identifier was made at. Raises ValueError if it is none."""
    if not is_identifier(identifier[:LENGTH]):
        raise ValueError(f"{identifier!r} is no message identifier")
    value = 0
    for letter in identifier[:10]:
        value = value << 5 | _VALUES[letter]
    return value / 1000
